package upgrade

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// TargetOf is what the members run with at the end of the attempt's current hop: the hop's version, and of the options
// that change with the version those that this hop's edge or an earlier one lists.
func TargetOf(sys *system.System, a *v1alpha1.Attempt) *v1alpha1.Pinned {
	return targetOf(sys, a.Base, &a.Target, &a.Hops[a.Hop])
}

func targetOf(sys *system.System, base, target *v1alpha1.Pinned, hop *v1alpha1.HopStatus) *v1alpha1.Pinned {
	p := *target
	p.Spec.Version = hop.To
	moved(&p, base, hop)
	if base == nil || hop.Edge < 0 || maps.Equal(base.Spec.Options, target.Spec.Options) {
		return &p
	}
	p.Spec.Options = maps.Clone(base.Spec.Options)
	if p.Spec.Options == nil {
		p.Spec.Options = map[string]string{}
	}
	for _, name := range sys.Edge(int(hop.Edge)).Changes {
		if value, set := target.Spec.Options[name]; set {
			p.Spec.Options[name] = value
		} else {
			delete(p.Spec.Options, name)
		}
	}
	if len(p.Spec.Options) == 0 && len(target.Spec.Options) == 0 {
		p.Spec.Options = target.Spec.Options // empty and absent are the same to people, and not to a comparison
	}
	return &p
}

// checkTogether refuses what may not change together with the version: everything but the policy, the place for backups,
// where programs are, and the options that an edge on the way lists.
func checkTogether(sys *system.System, have, want *v1alpha1.ClusterSpec, hops []v1alpha1.HopStatus) error {
	var listed []string
	for _, h := range hops {
		listed = append(listed, edgeOf(sys, h.Edge).Changes...)
	}
	for _, name := range changedOptions(sys.Options(have), sys.Options(want)) {
		if !slices.Contains(listed, name) {
			return &RefusedError{Field: "spec.options." + name, Value: want.Options[name],
				Reason: fmt.Sprintf("it changes together with the version, %s to %s", have.Version, want.Version), Remedy: alone(listed)}
		}
	}
	o, n := have.DeepCopy(), want.DeepCopy()
	for _, s := range []*v1alpha1.ClusterSpec{o, n} {
		s.Options, s.Programs, s.Backup = nil, nil, nil
	}
	if field := firstDifference(o, n); field != "" {
		return &RefusedError{Field: "spec." + field, Reason: fmt.Sprintf("it changes together with the version, %s to %s", have.Version, want.Version), Remedy: alone(listed)}
	}
	return nil
}

// elsewhere is what is left to do about a cluster whose data cannot be had in another form.
const elsewhere = "restore a backup into a new cluster"

// checkFixed refuses another value for what cannot change any more, and says what else there is to do.
func checkFixed(sys *system.System, have, want *v1alpha1.ClusterSpec, otherwise string) error {
	old, values := sys.Options(have), sys.Options(want)
	for _, name := range changedOptions(old, values) {
		if sys.API().Options[name].Fixed {
			return &RefusedError{Field: "spec.options." + name, Value: values[name], Reason: fmt.Sprintf("it cannot change once the cluster was created (it is %q)", old[name]),
				Remedy: "set it back, or " + otherwise}
		}
	}
	return nil
}

func alone(listed []string) string {
	remedy := "change it before the upgrade or after it"
	if len(listed) > 0 {
		slices.Sort(listed)
		remedy += fmt.Sprintf("; together with this version may change the options %v", slices.Compact(listed))
	}
	return remedy
}

// changedOptions are the names of options whose values differ, sorted. Saying what holds anyway changes nothing.
func changedOptions(a, b map[string]string) []string {
	var names []string
	for name, value := range b {
		if a[name] != value {
			names = append(names, name)
		}
	}
	for name, value := range a {
		if _, set := b[name]; !set && value != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// checkOptions refuses an attempt at the end of one of whose hops the options would be wrong, or miss what the edge requires.
func checkOptions(sys *system.System, a *v1alpha1.Attempt) error {
	base := a.Base
	for i := range a.Hops {
		h := &a.Hops[i]
		p := targetOf(sys, base, &a.Target, h)
		values := sys.Options(&p.Spec)
		for _, name := range edgeOf(sys, h.Edge).Requires {
			if values[name] == "" {
				remedy := "set it, in this edit or before it"
				if d := sys.API().Options[name].Description; d != "" {
					remedy += ": " + d
				}
				return &RefusedError{Field: "spec.options." + name, Reason: fmt.Sprintf("the hop from %s to %s requires it", h.From, h.To), Remedy: remedy}
			}
		}
		if errs := sys.CheckOptions(&p.Spec); len(errs) > 0 {
			e := errs[0]
			value := ""
			if e.Value != "" {
				value = fmt.Sprintf("%q", e.Value)
			}
			return &RefusedError{Field: e.Path, Value: value, Reason: fmt.Sprintf("with %s it %s", h.To, e.Problem), Remedy: e.Remedy}
		}
		base = p
	}
	return nil
}

// changesVersion says that a spec asks for another version than the one that is applied, and plans the way there.
func changesVersion(sys *system.System, status *v1alpha1.ClusterStatus, want *v1alpha1.ClusterSpec) ([]v1alpha1.HopStatus, bool) {
	have := status.Applied
	if have == nil || reflect.DeepEqual(&have.Spec, want) || sys.SameVersion(have.Spec.Version, want.Version) {
		return nil, false
	}
	hops, err := planHops(sys, &v1alpha1.Attempt{Kind: v1alpha1.AttemptUpgrade, From: have.Spec.Version, To: want.Version})
	return hops, err == nil
}
