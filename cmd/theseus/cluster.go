package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// opened is a cluster, opened for reading. driveTo has it driven.
type opened struct {
	*app
	name    string
	site    site
	at      access            // nil for a cluster that is still to be made
	cluster *v1alpha1.Cluster // as last read
	// system of the attempt that runs, of what is applied, or as it is known now.
	system *system.System
	decide *upgrade.Decider
	asked  string // id of the request that this command puts
	heard  bool   // members were not asked now: what they say is what the operator last heard
}

// open finds a cluster by its name and reads it.
func (a *app) open(ctx context.Context, name string) (*opened, error) {
	s, err := a.site()
	if err != nil {
		return nil, err
	}
	return a.openIn(ctx, s, name)
}

func (a *app) openIn(ctx context.Context, s site, name string) (*opened, error) {
	k, err := a.findIn(ctx, s, name)
	if err != nil {
		return nil, err
	}
	if err := k.at.complete(); err != nil {
		return nil, err
	}
	return k, k.reload(ctx)
}

// find finds a cluster by its name, and even one that is not whole.
func (a *app) find(ctx context.Context, name string) (*opened, error) {
	s, err := a.site()
	if err != nil {
		return nil, err
	}
	return a.findIn(ctx, s, name)
}

func (a *app) findIn(ctx context.Context, s site, name string) (*opened, error) {
	at, err := s.open(ctx, name)
	if err != nil {
		return nil, a.meant(err)
	}
	return a.openedAt(s, at), nil
}

func (a *app) openedAt(s site, at access) *opened {
	return &opened{app: a, name: at.name(), site: s, at: at, decide: upgrade.New()}
}

// noClusterError is returned for a name that no cluster of a site has.
type noClusterError struct {
	name, where string
	known       []string
}

func (e *noClusterError) Error() string {
	if len(e.known) == 0 {
		return fmt.Sprintf("there is no cluster %q in %s, and no other", e.name, e.where)
	}
	return fmt.Sprintf("there is no cluster %q in %s; there are %s", e.name, e.where, strings.Join(e.known, ", "))
}

// meant adds the name that was perhaps meant to an error about an unknown one.
func (a *app) meant(err error) error {
	var unknown *noClusterError
	if !errors.As(err, &unknown) {
		return err
	}
	if near := system.Nearest(unknown.name, unknown.known); near != "" {
		return inputNext("did you mean "+near+"?", "%w", err)
	}
	var next []string
	if len(unknown.known) == 0 {
		next = append(next, "to make one: "+a.command("up", "FILE"))
	}
	if !a.remote() && a.home == "" && a.knowsKubernetes() {
		next = append(next, "those of Kubernetes are found with --namespace or --context")
	}
	return inputNext(strings.Join(next, "; "), "%w", err)
}

// reload reads the cluster again and finds its System.
func (k *opened) reload(ctx context.Context) error {
	c, err := k.at.load(ctx)
	if err != nil {
		return err
	}
	return k.take(ctx, c)
}

// take goes on with a cluster as it was read.
func (k *opened) take(ctx context.Context, c *v1alpha1.Cluster) (err error) {
	k.cluster = c
	k.system, err = k.systemNow(ctx)
	return err
}

func (k *opened) systemNow(ctx context.Context) (*system.System, error) {
	st := &k.cluster.Status
	switch {
	case st.Attempt != nil && !st.Attempt.Phase.Ended():
		return k.at.library().Pinned(ctx, st.Attempt.Target.System.Hash)
	case st.Applied != nil:
		return k.at.library().Pinned(ctx, st.Applied.System.Hash)
	}
	return k.at.library().Known(ctx, k.cluster.Spec.System)
}

// systemNext is what an upgrade takes from now on: the System as it is known now, or that of the attempt.
func (k *opened) systemNext(ctx context.Context) (*system.System, error) {
	if k.attempt() != nil {
		return k.system, nil
	}
	return k.at.library().Known(ctx, k.cluster.Spec.System)
}

// errOutside says that members cannot be asked from here.
var errOutside = errors.New("members cannot be asked from here")

// input is what the core needs to plan: everything but requests. spec takes the place of the accepted one, if given. With errOutside it is
// complete but for the look.
func (k *opened) input(ctx context.Context, spec *v1alpha1.ClusterSpec) (upgrade.Input, error) {
	in := upgrade.Input{Cluster: k.cluster.DeepCopy(), Now: time.Now(), Systems: map[string]*system.System{}}
	if spec != nil {
		in.Cluster.Spec = *spec.DeepCopy()
	}
	now, err := k.at.library().Known(ctx, in.Cluster.Spec.System)
	if err != nil {
		return in, err
	}
	if err := k.at.see(ctx, now, in.Cluster); err != nil {
		return in, err
	}
	in.System = now
	in.Systems[now.Hash()] = now
	for _, h := range runner.References(&k.cluster.Status) {
		if in.Systems[h] != nil {
			continue
		}
		if in.Systems[h], err = k.at.library().Pinned(ctx, h); err != nil {
			return in, err
		}
	}
	in.Look, err = k.at.look(ctx, runner.Scene{Cluster: in.Cluster, System: k.system, Systems: in.Systems})
	return in, err
}

// planFor says what following a spec would do, or of an attempt that is under way, what is left to do; nil: nothing. An error is a refusal: the user's mistake. again says that a
// failed upgrade may be tried again.
func (k *opened) planFor(ctx context.Context, spec *v1alpha1.ClusterSpec, again bool) (*upgrade.Plan, error) {
	in := upgrade.Input{Cluster: &v1alpha1.Cluster{Spec: *spec}, System: k.system, Systems: map[string]*system.System{k.system.Hash(): k.system}, Now: time.Now()}
	in.Cluster.Name = k.name
	if k.at != nil {
		var err error
		if in, err = k.input(ctx, spec); err != nil && !errors.Is(err, errOutside) {
			return nil, err
		}
		spec = &in.Cluster.Spec // with what adopted workloads say
	}
	if again {
		in.Cluster.Status.FailedTarget, in.Cluster.Status.FailedRevision = "", ""
	}
	at := in.Cluster.Status.Attempt
	under := at != nil && !at.Phase.Ended()
	if under && (k.wouldSupersede(at, spec.Version) || upgrade.StartsOver(k.system, &in.Cluster.Status, spec)) {
		in.Cluster.Status.Attempt, under = nil, false
	}
	p, err := k.decide.Plan(in)
	switch {
	case err != nil || p == nil || !under:
		return p, inputError(err)
	case k.wouldGoBack(at, spec.Version):
		return back(p, at), nil
	}
	return left(p, at), nil
}

// look is a fresh look at the members.
func (k *opened) look(ctx context.Context) (upgrade.Look, error) {
	in, err := k.input(ctx, nil)
	return in.Look, err
}

// refresh brings the counts up to a fresh look, where members can be asked from here, and returns the members. Nobody drives by it: what it
// would decide is dropped.
func (k *opened) refresh(ctx context.Context) ([]shownMember, error) {
	in, err := k.input(ctx, nil)
	if errors.Is(err, errOutside) {
		k.heard = true
		return saying(k.at.members(ctx), k.cluster.Status.Members.Said), nil
	}
	if err != nil {
		return nil, err
	}
	now, st := k.decide.Decide(in).Status, &k.cluster.Status
	st.Members, st.ReadyReplicas, st.Replicas = now.Members, now.ReadyReplicas, now.Replicas
	for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionRestoring} {
		if c := meta.FindStatusCondition(now.Conditions, kind); c != nil {
			meta.SetStatusCondition(&st.Conditions, *c)
		} else {
			meta.RemoveStatusCondition(&st.Conditions, kind)
		}
	}
	return judged(&in, k.system), nil
}

// seen is a spec with what the status says of the workloads that it adopts.
func (k *opened) seen(spec *v1alpha1.ClusterSpec) *v1alpha1.ClusterSpec {
	return withSeen(spec, &k.cluster.Status)
}

func withSeen(spec *v1alpha1.ClusterSpec, st *v1alpha1.ClusterStatus) *v1alpha1.ClusterSpec {
	spec = spec.DeepCopy()
	spec.TakeSeen(st)
	return spec
}

// foreign is the workload whose template, which is somebody else's to change, says the version instead of the spec; nil where there is none.
func (k *opened) foreign() *v1alpha1.Adopt {
	spec := k.seen(&k.cluster.Spec)
	for _, c := range k.system.Components() {
		if spec.Foreign(c.Name()) {
			return spec.Components[c.Name()].Adopt
		}
	}
	return nil
}

// memberNames are the members that the spec asks for, in order. How many somebody else's workload has, and where an upgrade moves them, is
// what the operator last saw.
func (k *opened) memberNames() []string {
	spec, last := k.seen(&k.cluster.Spec), &k.cluster.Status.Members
	if names := slices.Concat(last.Ready, last.Unready); spec.Adopts() && len(names) > 0 {
		slices.Sort(names)
		return names
	}
	var out []string
	for _, c := range k.system.Components() {
		for i := range c.Replicas(spec) {
			out = append(out, spec.MemberName(k.name, c.Name(), i))
		}
	}
	return out
}

// checkMember refuses the name of a member that the cluster does not have.
func (k *opened) checkMember(name string) error {
	names := k.memberNames()
	if slices.Contains(names, name) {
		return nil
	}
	if near := system.Nearest(name, names); near != "" {
		return inputErrorf("%s has no member %q; did you mean %s?", k.name, name, near)
	}
	return inputErrorf("%s has no member %q; it has %s", k.name, name, list(names))
}

// attempt is the one that runs, nil if none does.
func (k *opened) attempt() *v1alpha1.Attempt {
	if at := k.cluster.Status.Attempt; at != nil && !at.Phase.Ended() {
		return at
	}
	return nil
}

// propose is a spec for this cluster.
func (k *opened) propose(spec *v1alpha1.ClusterSpec, versions ...string) *proposal {
	return &proposal{name: k.name, cluster: k.cluster, spec: spec, system: k.system, versions: versions}
}
