package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/local"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// opened is a cluster of this machine, opened for reading. driveTo locks it for driving.
type opened struct {
	*app
	name    string
	state   *local.State      // nil for a cluster that is still to be made
	cluster *v1alpha1.Cluster // as last read
	// system of the attempt that runs, of what is applied, or as it is known now.
	system *system.System
	decide *upgrade.Decider
}

// open finds a cluster by its name and reads it.
func (a *app) open(name string) (*opened, error) {
	home, err := a.homeFolder()
	if err != nil {
		return nil, err
	}
	if err := interruptedRestore(home, name); err != nil {
		return nil, err
	}
	return a.openAnyway(name)
}

// openAnyway opens even a cluster whose restore was interrupted, to take it down.
func (a *app) openAnyway(name string) (*opened, error) {
	home, err := a.homeFolder()
	if err != nil {
		return nil, err
	}
	st, err := home.Open(name)
	if err != nil {
		return nil, meant(err)
	}
	k := a.with(st)
	return k, k.reload()
}

// meant adds the name that was perhaps meant to an error about an unknown one.
func meant(err error) error {
	var unknown *local.UnknownClusterError
	if !errors.As(err, &unknown) {
		return err
	}
	next := ""
	if near := system.Nearest(unknown.Name, unknown.Known); near != "" {
		next = "did you mean " + near + "?"
	}
	return &exitError{code: exitInput, err: err, next: next}
}

func (a *app) with(st *local.State) *opened {
	st.Systems = func(_ context.Context, name string) (*system.System, error) { return known(name) }
	st.Fault = faults("driver", st.Dir())
	return &opened{app: a, name: st.Name(), state: st, decide: upgrade.New()}
}

// reload reads the cluster again and finds its System.
func (k *opened) reload() error {
	c, _, err := k.state.Load(context.Background())
	if err != nil {
		return k.unreadable(err)
	}
	k.cluster = c
	k.system, err = k.systemNow()
	return err
}

// unreadable is a state folder that cannot be read: a newer Theseus made it, or it is damaged.
func (k *opened) unreadable(err error) error {
	if is[*local.NewerError](err) {
		return inputError(err)
	}
	return &exitError{code: exitUnknown, err: err, next: "nothing was changed, and members that run go on; look at " + k.state.Dir()}
}

func (k *opened) systemNow() (*system.System, error) {
	ctx := context.Background()
	st := &k.cluster.Status
	switch {
	case st.Attempt != nil && !st.Attempt.Phase.Ended():
		return k.state.Pinned(ctx, st.Attempt.Target.System.Hash)
	case st.Applied != nil:
		return k.state.Pinned(ctx, st.Applied.System.Hash)
	}
	return known(k.cluster.Spec.System)
}

// Whoever asks for a platform closes it: a member that is to stop may wait for every connection that is kept to it.
func (k *opened) platform() *local.Platform {
	return &local.Platform{State: k.state, Programs: k.programFolders(), Backups: &backups{opened: k}}
}

// input is what the core needs to plan: everything but requests. spec takes the place of the accepted one, if given.
func (k *opened) input(ctx context.Context, spec *v1alpha1.ClusterSpec) (upgrade.Input, error) {
	in := upgrade.Input{Cluster: k.cluster.DeepCopy(), Now: time.Now(), Systems: map[string]*system.System{}}
	if spec != nil {
		in.Cluster.Spec = *spec.DeepCopy()
	}
	now, err := known(in.Cluster.Spec.System)
	if err != nil {
		return in, err
	}
	in.System = now
	in.Systems[now.Hash()] = now
	for _, h := range runner.References(&k.cluster.Status) {
		if in.Systems[h], err = k.state.Pinned(ctx, h); err != nil {
			return in, err
		}
	}
	p := k.platform()
	defer p.Close()
	in.Look, err = p.Look(ctx, runner.Scene{Cluster: in.Cluster, System: k.system, Systems: in.Systems})
	return in, err
}

// planFor says what following a spec would do; nil: nothing. An error is a refusal: the user's mistake. again says that a
// failed upgrade may be tried again.
func (k *opened) planFor(ctx context.Context, spec *v1alpha1.ClusterSpec, again bool) (*upgrade.Plan, error) {
	in := upgrade.Input{Cluster: &v1alpha1.Cluster{Spec: *spec}, System: k.system, Systems: map[string]*system.System{k.system.Hash(): k.system}, Now: time.Now()}
	in.Cluster.Name = k.name
	if k.state != nil {
		var err error
		if in, err = k.input(ctx, spec); err != nil {
			return nil, err
		}
	}
	if again {
		in.Cluster.Status.FailedTarget, in.Cluster.Status.FailedRevision = "", ""
	}
	p, err := k.decide.Plan(in)
	return p, inputError(err)
}

// look is a fresh look at the members.
func (k *opened) look(ctx context.Context) (upgrade.Look, error) {
	in, err := k.input(ctx, nil)
	return in.Look, err
}

// refresh brings the counts up to a fresh look. Nobody drives by it: what it would decide is dropped.
func (k *opened) refresh(ctx context.Context) error {
	in, err := k.input(ctx, nil)
	if err != nil {
		return err
	}
	now, st := k.decide.Decide(in).Status, &k.cluster.Status
	st.Members, st.ReadyReplicas, st.Replicas = now.Members, now.ReadyReplicas, now.Replicas
	for i := range st.Conditions {
		for _, c := range now.Conditions {
			if c.Type == v1alpha1.ConditionReady && st.Conditions[i].Type == c.Type {
				st.Conditions[i] = c
			}
		}
	}
	return nil
}

// memberNames are the members that the spec asks for, in order.
func (k *opened) memberNames() []string {
	var out []string
	for _, c := range k.system.Components() {
		for i := range c.Replicas(&k.cluster.Spec) {
			out = append(out, upgrade.MemberName(k.name, c.Name(), i))
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

// create makes the folder of a new cluster.
func (k *opened) create(c *v1alpha1.Cluster) error {
	home, err := k.homeFolder()
	if err != nil {
		return err
	}
	st, err := home.Create(c, k.system)
	if err != nil {
		return inputError(err)
	}
	*k = *k.with(st)
	return k.reload()
}

// programsFor refuses versions whose programs are not on this machine, before anything is begun. Downloads are left to preflight.
func (k *opened) programsFor(spec *v1alpha1.ClusterSpec, versions ...string) error {
	for _, version := range versions {
		for _, c := range k.system.Components() {
			if err := k.programOf(c, spec, version); err != nil {
				return err
			}
		}
	}
	return nil
}

func (k *opened) programOf(c *system.Component, spec *v1alpha1.ClusterSpec, version string) error {
	m := &system.Member{Name: upgrade.MemberName(k.name, c.Name(), 0), Component: c.Name(), Host: "127.0.0.1", Version: version, Port: map[string]int64{}}
	for name, number := range c.API().Ports {
		m.Port[name] = int64(number)
	}
	p, err := k.system.Process(c.Name(), spec, &system.Scope{Cluster: k.name, Version: version, M: m, All: []*system.Member{m}})
	if err != nil {
		return inputError(err)
	}
	if p.Source != nil && p.Source.URL != "" {
		return nil
	}
	if _, err := local.FindProgram(k.programFolders(), p.Program); err != nil {
		return inputNext(fmt.Sprintf("put it into a folder of --programs or $THESEUS_PROGRAMS, or set spec.programs[%q].path", version),
			"%s %s: its program %s: %w", c.Name(), version, p.Program, err)
	}
	return nil
}
