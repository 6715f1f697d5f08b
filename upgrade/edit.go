package upgrade

import (
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// What an edit of the spec means while an attempt runs: promise 6.

// followSpec is what an edit brings about at once. Everything else in the spec waits, because the attempt works from its own copy.
func (d *Decider) followSpec(s *Scene) bool {
	a, want := s.attempt, s.in.Cluster.Spec.Version
	if a.Kind == v1alpha1.AttemptCreate {
		return d.startOver(s)
	}
	if s.backing {
		return false
	}
	if undone(s.sys, a, &s.in.Cluster.Spec) {
		return d.turnTo(s, endOfReturn(a), "the spec was set back to what it was")
	}
	if a.Kind != v1alpha1.AttemptUpgrade || s.sys.SameVersion(want, a.To) {
		return false
	}
	if s.sys.SameVersion(want, a.Base.Spec.Version) {
		return d.turnTo(s, endOfReturn(a), s.versionField()+" was set back to "+want)
	}
	if a.Disrupted {
		return false // refused: see describe
	}
	if _, err := s.in.System.Path(a.Base.Spec.Version, want); err != nil {
		return false // so is what no path leads to
	}
	return d.turnTo(s, v1alpha1.PhaseSuperseded, s.versionField()+" was set to "+want+" before anything was disrupted")
}

// undone says that an edit takes all of what a restart is for back, a wrong image or option.
func undone(sys *system.System, a *v1alpha1.Attempt, want *v1alpha1.ClusterSpec) bool {
	return changes(sys, a) && !corrects(sys, &a.Base.Spec, want)
}

// changes says that an attempt is a restart for something that was changed.
func changes(sys *system.System, a *v1alpha1.Attempt) bool {
	return a.Kind == v1alpha1.AttemptRestart && a.Base != nil && corrects(sys, &a.Base.Spec, &a.Target.Spec)
}

// endOfReturn is how an attempt ends that an edit turns back.
func endOfReturn(a *v1alpha1.Attempt) v1alpha1.AttemptPhase {
	if a.Disrupted {
		return v1alpha1.PhaseRolledBack
	}
	return v1alpha1.PhaseAborted
}

// turnTo goes back for an edit, or keeps why that cannot be.
func (d *Decider) turnTo(s *Scene, end v1alpha1.AttemptPhase, why string) bool {
	s.unfollowed = d.turnBack(s, end, why)
	return s.unfollowed == nil
}

// startOver ends the first start of a cluster that nobody used yet, when its spec is corrected, and begins another, which replaces all members
// that the first one started, together, on the volumes that they have.
func (d *Decider) startOver(s *Scene) bool {
	a, want := s.attempt, &s.in.Cluster.Spec
	paused := a.Pausing || resting(a.Phase) && a.Failure == nil // by a person: no edit lifts that
	if !Unused(a) || paused || !corrects(s.sys, &a.Target.Spec, want) || checkCorrection(s.sys, a, want) != nil {
		return false
	}
	next, err := d.newAttempt(s.in, s.status, v1alpha1.AttemptCreate, 0)
	if err != nil {
		s.unfollowed = err
		return false
	}
	s.end(v1alpha1.PhaseSuperseded, "", "the spec was corrected before any member was ready")
	s.begin(next)
	return true
}

// corrects says that a spec asks for other members than the one before.
func corrects(sys *system.System, old, new *v1alpha1.ClusterSpec) bool {
	return !sys.SameVersion(old.Version, new.Version) || firstDifference(old, new) != ""
}

// StartsOver says that an edit which CheckEdit allows begins the first start anew, at once.
func StartsOver(sys *system.System, status *v1alpha1.ClusterStatus, want *v1alpha1.ClusterSpec) bool {
	a := status.Attempt
	return a != nil && Unused(a) && corrects(sys, &a.Target.Spec, want)
}

// Unused says that an attempt starts the first members, and none of them was ready yet: until one is, the spec can be corrected. What is adopted
// was in use before.
func Unused(a *v1alpha1.Attempt) bool {
	return a.Kind == v1alpha1.AttemptCreate && !a.Phase.Ended() && !a.Served && !a.Target.Spec.Adopts()
}

// noteServed keeps how far the first members came, whatever becomes of them: they may have written their data, and somebody may have used the cluster.
func (s *Scene) noteServed() {
	a := s.attempt
	if a == nil || a.Kind != v1alpha1.AttemptCreate || a.Served {
		return
	}
	for _, c := range s.sys.Components() {
		for _, f := range s.group(c.Name()).facts {
			if f.Revision == s.revisionAfter(c.Name()) && (f.State == ProcessRunning || f.State == ProcessExited || f.Crashes > 0) {
				noteWrote(a)
			}
			a.Served = a.Served || f.ready == system.Yes
		}
	}
}

// noteWrote keeps that members may have written their volumes with the version of a first start.
func noteWrote(a *v1alpha1.Attempt) {
	if !slices.Contains(a.Wrote, a.To) {
		a.Wrote = append(slices.Clip(a.Wrote), a.To)
	}
}

// anew is what is left to do about a cluster that was never whole and cannot get whole as its spec is.
const anew = "delete the cluster with its data and make it anew"

// checkCorrection refuses what the members of a first start have all the same, though nobody used them: number, name and volumes.
func checkCorrection(sys *system.System, a *v1alpha1.Attempt, want *v1alpha1.ClusterSpec) error {
	have := &a.Target.Spec
	if want.System != have.System {
		return &RefusedError{Field: "spec.system", Value: want.System, Reason: "the cluster was begun as one of " + have.System, Remedy: anew}
	}
	for _, c := range sys.Components() {
		field := "spec.components." + c.Name()
		if w, h := c.Replicas(want), c.Replicas(have); w != h {
			return &RefusedError{Field: field + ".replicas", Value: itoa(w), Reason: fmt.Sprintf("the cluster was begun with %d members", h), Remedy: anew}
		}
		n, o := want.Components[c.Name()], have.Components[c.Name()]
		switch {
		case n.Adopt != nil:
			return &RefusedError{Field: field + ".adopt", Reason: "the cluster was begun with members of its own", Remedy: anew}
		case n.Storage != o.Storage:
			return &RefusedError{Field: field + ".storage", Value: n.Storage, Reason: "the cluster was begun with volumes of another kind", Remedy: anew}
		case n.StorageClass != o.StorageClass:
			return &RefusedError{Field: field + ".storageClass", Value: n.StorageClass, Reason: "the cluster was begun with volumes of another kind", Remedy: anew}
		}
	}
	for _, wrote := range a.Wrote {
		if !reads(sys, want.Version, wrote) {
			return &RefusedError{Field: "spec.version", Value: want.Version, Reason: wrote + " may have written to volumes already, and no edge says that " + want.Version + " can just go on with that",
				Remedy: "write " + wrote + ", or " + anew}
		}
	}
	return checkFixed(sys, have, want, anew)
}

// checkOlder refuses to start first members on volumes that a later version wrote to: a restore filled them, or they are those of an earlier cluster of
// this name, whose file was not changed when it was upgraded.
func checkOlder(sys *system.System, a *v1alpha1.Attempt) error {
	for _, wrote := range a.Wrote {
		if sys.Compare(a.To, wrote) < 0 {
			return &RefusedError{Field: "spec.version", Value: a.To, Reason: "is older than " + wrote + ", which wrote to the volumes that are there for its members already",
				Remedy: "write " + wrote + ", or delete the volumes if nobody needs their data"}
		}
	}
	return nil
}

// reads says that a version can go on with what another one wrote, without more ado: there is an edge to it that wants nothing but other processes.
func reads(sys *system.System, version, wrote string) bool {
	if sys.SameVersion(version, wrote) {
		return true
	}
	path, err := sys.Path(wrote, version)
	if err != nil || len(path) != 1 {
		return false
	}
	e := sys.Edge(path[0].Edge)
	return e.Strategy != v1alpha1.Recreate && len(e.RecreateVolumes) == 0 && e.Finalizes != v1alpha1.FinalizesTheseus &&
		len(e.Needs) == 0 && len(e.Before) == 0 && len(e.After) == 0 && len(e.Requires) == 0
}

// CheckEdit says whether an edit of the spec may be accepted in this state: promise 6. It is what the CLI and a
// webhook ask before they accept one; where no attempt runs, whether it may come together with another version. A nil error with edits: Defer means that the edit waits for the attempt's end.
func CheckEdit(sys *system.System, status *v1alpha1.ClusterStatus, old, new *v1alpha1.ClusterSpec) error {
	a := status.Attempt
	if a == nil || a.Phase.Ended() {
		if err := checkEditLoading(sys, status, old, new); err != nil {
			return err
		}
		if hops, ok := changesVersion(sys, status, new); ok {
			return checkTogether(sys, &status.Applied.Spec, new, hops)
		}
		if status.Applied != nil {
			return checkFixed(sys, &status.Applied.Spec, new, elsewhere)
		}
		return nil
	}
	if Unused(a) && corrects(sys, old, new) {
		return checkCorrection(sys, a, new)
	}
	if !sys.SameVersion(old.Version, new.Version) {
		if a.Base == nil || sys.SameVersion(new.Version, a.Base.Spec.Version) || !a.Disrupted || sys.SameVersion(new.Version, a.To) {
			return nil
		}
		return &RefusedError{Field: "spec.version", Value: new.Version, Reason: fmt.Sprintf("the upgrade to %s is under way", a.To),
			Remedy: "wait for its end, or set the version back to " + baseVersion(a) + " to roll back first"}
	}
	if new.Upgrade.Edits == v1alpha1.EditsDeferred || undone(sys, a, new) {
		return nil
	}
	if field := firstDifference(old, new); field != "" {
		remedy := "wait for its end, or set spec.upgrade.edits: Defer to have it done afterwards"
		if changes(sys, a) {
			remedy += "; what it changes can be set back as it was"
		}
		if a.Kind == v1alpha1.AttemptCreate {
			remedy += "; if it cannot end, " + anew
		}
		return &RefusedError{Field: "spec." + field, Reason: "an attempt is under way; until it ends only spec.upgrade and spec.version can change", Remedy: remedy}
	}
	return nil
}

// deferredField is what waits for the attempt's end because the policy has it wait: of edits that [CheckEdit] accepts those that the attempt itself does not follow.
func deferredField(sys *system.System, a *v1alpha1.Attempt, want *v1alpha1.ClusterSpec) string {
	has := &a.Target.Spec
	if want.Upgrade.Edits != v1alpha1.EditsDeferred || !sys.SameVersion(has.Version, want.Version) || undone(sys, a, want) || Unused(a) && corrects(sys, has, want) {
		return ""
	}
	return firstDifference(has, want)
}

func baseVersion(a *v1alpha1.Attempt) string {
	if a.Base == nil {
		return a.From
	}
	return a.Base.Spec.Version
}

// firstDifference is the first field in which two specs differ, the policy aside, and what was seen of adopted workloads. What is empty
// and what is left out are the same.
func firstDifference(a, b *v1alpha1.ClusterSpec) string {
	a, b = a.DeepCopy(), b.DeepCopy()
	a.Forget()
	b.Forget()
	same := equality.Semantic.DeepEqual
	if a.System != b.System {
		return "system"
	}
	for _, c := range slices.Sorted(maps.Keys(merge(a.Components, b.Components))) {
		if !same(a.Components[c], b.Components[c]) {
			return "components." + c
		}
	}
	switch {
	case !same(a.Options, b.Options):
		return "options"
	case !same(a.Programs, b.Programs):
		return "programs"
	case !same(a.Backup, b.Backup):
		return "backup"
	case !same(a.Credentials, b.Credentials):
		return "credentials"
	}
	return ""
}

func merge(a, b map[string]v1alpha1.ComponentSpec) map[string]v1alpha1.ComponentSpec {
	all := maps.Clone(a)
	if all == nil {
		return b
	}
	maps.Copy(all, b)
	return all
}
