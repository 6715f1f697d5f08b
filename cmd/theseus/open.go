package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os/user"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/local"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// app is one call of the command: its streams and the flags that all subcommands have.
type app struct {
	streams
	home     string
	programs []string
	json     bool
	watch    func(v1alpha1.Event) // told of each event of an attempt that this command drives
}

func (a *app) homeFolder() (local.Home, error) {
	if a.home != "" {
		return local.Home(a.home), nil
	}
	return local.DefaultHome()
}

// opened is a cluster of this machine, opened for reading. driveTo locks it for driving.
type opened struct {
	*app
	name    string
	state   *local.State
	cluster *v1alpha1.Cluster
	// system of the attempt that runs, of what is applied, or as it is known now.
	system *system.System
	decide *upgrade.Decider
}

func (a *app) open(name string) (*opened, error) {
	home, err := a.homeFolder()
	if err != nil {
		return nil, err
	}
	st, err := home.Open(name)
	if err != nil {
		return nil, inputError(err)
	}
	k := a.with(st)
	return k, k.reload()
}

func (a *app) with(st *local.State) *opened {
	st.Systems = func(_ context.Context, name string) (*system.System, error) { return known(name) }
	st.Fault = faults("driver", st.Dir())
	return &opened{app: a, name: st.Name(), state: st, decide: upgrade.New()}
}

// openFile opens the cluster of a file, or makes its folder where it is new. A new one has no status.
func (a *app) openFile(ctx context.Context, f *clusterFile) (*opened, error) {
	home, err := a.homeFolder()
	if err != nil {
		return nil, err
	}
	k, err := a.open(f.cluster.Name)
	var unknown *local.UnknownClusterError
	if !errors.As(err, &unknown) {
		return k, err
	}
	// Nothing is made before everything is checked.
	if err := checkBackupPlace(string(home), f.cluster); err != nil {
		return nil, err
	}
	return &opened{app: a, name: f.cluster.Name, system: f.system, decide: upgrade.New()}, ctx.Err()
}

// reload reads the cluster again and finds its System.
func (k *opened) reload() error {
	c, _, err := k.state.Load(context.Background())
	if err != nil {
		return inputIfNewer(err)
	}
	k.cluster = c
	k.system, err = k.systemNow()
	return err
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

func inputIfNewer(err error) error {
	var newer *local.NewerError
	if errors.As(err, &newer) {
		return inputError(err)
	}
	return err
}

func (k *opened) platform() *local.Platform {
	return &local.Platform{State: k.state, Programs: k.programFolders(), Backups: &backups{opened: k}}
}

// input is what the core needs to plan: everything but requests and time.
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
	in.Look, err = k.platform().Look(ctx, runner.Scene{Cluster: in.Cluster, System: k.system, Systems: in.Systems})
	return in, err
}

func (k *opened) plan(ctx context.Context) (*upgrade.Plan, error) {
	return k.planFor(ctx, &k.cluster.Spec)
}

// planFor says what following a spec would do. An error is a refusal: the user's mistake.
func (k *opened) planFor(ctx context.Context, spec *v1alpha1.ClusterSpec) (*upgrade.Plan, error) {
	if k.state == nil {
		return k.firstPlan(spec)
	}
	in, err := k.input(ctx, spec)
	if err != nil {
		return nil, err
	}
	p, err := k.decide.Plan(in)
	return p, inputError(err)
}

// firstPlan is the plan of a cluster that does not exist yet.
func (k *opened) firstPlan(spec *v1alpha1.ClusterSpec) (*upgrade.Plan, error) {
	c := &v1alpha1.Cluster{Spec: *spec}
	c.Name = k.name
	p, err := k.decide.Plan(upgrade.Input{Cluster: c, System: k.system, Systems: map[string]*system.System{k.system.Hash(): k.system}, Now: time.Now()})
	return p, inputError(err)
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

// driveTo makes this command the driver and runs until nothing is left to do without a person. change is done once the
// lock is held, so that nobody else drives by then.
func (k *opened) driveTo(ctx context.Context, want wanted, change func() error) error {
	unlock, err := k.state.Lock()
	if err != nil {
		return inputIfBusy(err)
	}
	defer unlock()
	if err := k.reload(); err != nil {
		return err
	}
	if change != nil {
		if err := change(); err != nil {
			return err
		}
	}
	show := newProgress(k.streams, &k.cluster.Status)
	news := newProgress(streams{err: nil}, &k.cluster.Status)
	r := &runner.Runner{Journal: k.state, Inbox: k.state, Library: k.state, Platform: k.platform(), Decider: k.decide,
		Watch: func(p runner.Pass) {
			show.pass(p)
			if k.watch != nil {
				for _, e := range news.news(p.Cluster.Status.Events) {
					k.watch(e)
				}
			}
		}}
	last, err := r.Run(ctx)
	show.close()
	if err != nil {
		return k.interrupted(err)
	}
	if k.json {
		k.printJSON(last.Cluster)
	}
	return k.outcome(want, last)
}

func inputIfBusy(err error) error {
	var busy *local.BusyError
	if errors.As(err, &busy) {
		return inputError(err)
	}
	return err
}

// put writes a request into the inbox.
func (k *opened) put(r v1alpha1.Request) (string, error) {
	r.ID = time.Now().UTC().Format("20060102T150405") + "-" + rand.Text()[:6]
	if u, err := user.Current(); err == nil {
		r.By = u.Username
	}
	return r.ID, k.state.Ask(r)
}

// request asks something of a cluster. If another command drives it, that one answers; else this one drives on.
func (a *app) request(ctx context.Context, name string, r v1alpha1.Request) error {
	k, err := a.open(name)
	if err != nil {
		return err
	}
	id := ""
	err = k.driveTo(ctx, wantOf(r.Kind), func() (err error) {
		id, err = k.put(r)
		return err
	})
	if id == "" && isBusy(err) {
		if id, err = k.put(r); err != nil {
			return err
		}
		return k.awaitAnswer(ctx, id)
	}
	if answer := k.answer(id); answer != nil && !answer.Accepted {
		return inputErrorf("%s %s: %s", name, r.Kind, answer.Message)
	}
	return err
}

func isBusy(err error) bool {
	var busy *local.BusyError
	return errors.As(err, &busy)
}

func wantOf(k v1alpha1.RequestKind) wanted {
	switch k {
	case v1alpha1.RequestRollback, v1alpha1.RequestAbort:
		return outcomeBack
	case v1alpha1.RequestPause:
		return outcomePause
	}
	return outcomeUpgrade
}

// answer finds the answer to a request in the journal.
func (k *opened) answer(id string) *v1alpha1.RequestAnswer {
	if id == "" || k.reload() != nil {
		return nil
	}
	list := k.cluster.Status.Requests
	i := slices.IndexFunc(list, func(r v1alpha1.RequestAnswer) bool { return r.ID == id })
	if i < 0 {
		return nil
	}
	return &list[i]
}

// awaitAnswer waits until the command that drives has answered.
func (k *opened) awaitAnswer(ctx context.Context, id string) error {
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for {
		if a := k.answer(id); a != nil {
			if !a.Accepted {
				return inputErrorf("%s: %s", k.name, a.Message)
			}
			k.printf("%s\n", a.Message)
			return nil
		}
		select {
		case <-ctx.Done():
			return k.interrupted(ctx.Err())
		case <-t.C:
		}
	}
}

// look is a fresh look at the members, judged, for status and probe.
func (k *opened) look(ctx context.Context) (upgrade.Look, error) {
	in, err := k.input(ctx, nil)
	return in.Look, err
}

func (a *app) names() []string {
	home, err := a.homeFolder()
	if err != nil {
		return nil
	}
	names, err := home.List()
	if err != nil {
		return nil
	}
	return names
}

func (a *app) completeNames(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.names(), cobra.ShellCompDirectiveNoFileComp
}

func (a *app) completeVersions(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 1 {
		if k, err := a.open(args[0]); err == nil {
			return k.system.API().Versions.Listed, cobra.ShellCompDirectiveNoFileComp
		}
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// programsFor refuses a version whose programs are not on this machine, before anything is begun. Downloads are left to preflight.
func (k *opened) programsFor(sys *system.System, spec *v1alpha1.ClusterSpec, version string) error {
	for _, c := range sys.Components() {
		m := &system.Member{Name: upgrade.MemberName(k.name, c.Name(), 0), Component: c.Name(), Host: "127.0.0.1", Version: version, Port: map[string]int64{}}
		for name, number := range c.API().Ports {
			m.Port[name] = int64(number)
		}
		p, err := sys.Process(c.Name(), spec, &system.Scope{Cluster: k.name, Version: version, M: m, All: []*system.Member{m}})
		if err != nil {
			return inputError(err)
		}
		if p.Source != nil && p.Source.URL != "" {
			continue
		}
		if _, err := local.FindProgram(k.programFolders(), p.Program); err != nil {
			return &exitError{code: exitInput, err: fmt.Errorf("the program of %s %s: %s: %w", c.Name(), version, p.Program, err),
				next: fmt.Sprintf("put it into a folder of --programs or $THESEUS_PROGRAMS, or set spec.programs[%q].path", version)}
		}
	}
	return nil
}

// statusOfAll prints a line for each cluster.
func (a *app) statusOfAll() error {
	var rows [][]string
	all := []*v1alpha1.Cluster{}
	for _, name := range a.names() {
		k, err := a.open(name)
		if err != nil {
			return err
		}
		c, st := k.cluster, &k.cluster.Status
		doing := "idle"
		if st.Attempt != nil && !st.Attempt.Phase.Ended() {
			doing = nowLine(st)
		}
		rows = append(rows, []string{name, or(st.CurrentVersion, "-"), c.Spec.Version, fmt.Sprint(st.Replicas), fmt.Sprint(st.ReadyReplicas), age(c.CreationTimestamp.Time), doing})
		all = append(all, c)
	}
	if a.json {
		a.printJSON(all)
		return nil
	}
	if len(rows) == 0 {
		a.talkf("there is no cluster yet; `theseus up FILE` makes one")
		return nil
	}
	a.table([]string{"NAME", "VERSION", "DESIRED VERSION", "DESIRED MEMBERS", "READY MEMBERS", "AGE", ""}, rows)
	return nil
}

func age(t time.Time) string { return roughly(time.Since(t).Truncate(time.Second)) }

// statusOf prints one cluster as a fresh look shows it. The journal is not written.
func (a *app) statusOf(ctx context.Context, name string) error {
	k, err := a.open(name)
	if err != nil {
		return err
	}
	if err := k.refresh(ctx); err != nil {
		return err
	}
	a.printStatus(k.cluster)
	return nil
}

// refresh brings counts and conditions up to a fresh look. Nobody drives by it: what it would decide is dropped.
func (k *opened) refresh(ctx context.Context) error {
	in, err := k.input(ctx, nil)
	if err != nil {
		return err
	}
	attempt := in.Cluster.Status.Attempt
	if attempt == nil || attempt.Phase.Ended() {
		st := k.decide.Decide(in).Status
		k.cluster.Status.Members, k.cluster.Status.ReadyReplicas, k.cluster.Status.Replicas = st.Members, st.ReadyReplicas, st.Replicas
	}
	return nil
}

// watchStatus prints events and waits as they come, until the attempt that runs ends or a person stops it.
func (a *app) watchStatus(ctx context.Context, name string) error {
	k, err := a.open(name)
	if err != nil {
		return err
	}
	show := newProgress(a.streams, &k.cluster.Status)
	defer show.close()
	a.talkf("%s", or(nowLine(&k.cluster.Status), name+": no attempt is under way; watching (Ctrl-C ends)"))
	t := time.NewTicker(500 * time.Millisecond)
	defer t.Stop()
	last := k.state.Stamp()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if now := k.state.Stamp(); now == last {
			continue // nothing was written: nothing is read
		} else {
			last = now
		}
		if err := k.reload(); err != nil {
			return err
		}
		show.status(&k.cluster.Status)
	}
}

func (a *app) completeMembers(c *cobra.Command, args []string, to string) ([]string, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return a.completeNames(c, args, to)
	}
	k, err := a.open(args[0])
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return k.memberNames(), cobra.ShellCompDirectiveNoFileComp
}

func (k *opened) memberNames() []string {
	var out []string
	for _, c := range k.system.Components() {
		for i := range upgrade.Replicas(&k.cluster.Spec, c) {
			out = append(out, upgrade.MemberName(k.name, c.Name(), i))
		}
	}
	return out
}

// logs prints what one member wrote, or all of them.
func (k *opened) logs(ctx context.Context, members []string, follow bool, lines int) error {
	if len(members) == 0 {
		members = k.memberNames()
	}
	if follow && len(members) > 1 {
		return inputErrorf("--follow: name one member of %s", k.name)
	}
	for _, m := range members {
		if !slices.Contains(k.memberNames(), m) {
			return inputErrorf("%s has no member %s; it has %v", k.name, m, k.memberNames())
		}
		if len(members) > 1 {
			k.printf("── %s\n", m)
		}
		if err := k.state.Logs(ctx, k.out, m, lines, follow); err != nil {
			return err
		}
	}
	return nil
}

// showPlanTo prints the plan to a version as talk.
func (a *app) showPlanTo(ctx context.Context, name, to string) error {
	k, err := a.open(name)
	if err != nil {
		return err
	}
	spec := k.cluster.Spec.DeepCopy()
	spec.Version = to
	p, err := k.planFor(ctx, spec)
	if err != nil {
		return err
	}
	talk := *a
	talk.out, talk.json = a.err, false
	talk.printPlan(name, p)
	return nil
}
