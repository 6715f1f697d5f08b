package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/local"
	"theseus.dev/manifest"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// machine is the site of clusters whose members are processes here.
type machine struct {
	*app
	home local.Home
}

// homeFolder is an absolute path: shims and jobs work in folders of their own.
func (a *app) homeFolder() (local.Home, error) {
	if a.home == "" {
		home, err := local.DefaultHome()
		return home, inputError(err)
	}
	abs, err := filepath.Abs(a.home)
	return local.Home(abs), inputError(err)
}

// programFolders are where programs are looked up before the PATH.
func (a *app) programFolders() []string {
	folders := append(append([]string{}, a.programs...), local.ProgramsFromEnv()...)
	for i, f := range folders {
		if abs, err := filepath.Abs(f); err == nil {
			folders[i] = abs
		}
	}
	return folders
}

func (m *machine) all(context.Context) ([]access, error) {
	names, err := m.home.List()
	var out []access
	for _, name := range names {
		st, openErr := m.home.Open(name)
		if openErr != nil {
			err = errors.Join(err, openErr)
			continue
		}
		out = append(out, m.with(st))
	}
	return out, err
}

func (m *machine) open(_ context.Context, name string) (access, error) {
	st, err := m.home.Open(name)
	var unknown *local.UnknownClusterError
	if errors.As(err, &unknown) {
		return nil, &noClusterError{name: name, where: string(m.home), known: unknown.Known}
	}
	if err != nil {
		return nil, err
	}
	return m.with(st), nil
}

func (m *machine) with(st *local.State) *process {
	st.Systems = func(_ context.Context, name string) (*system.System, error) { return known(name) }
	st.Fault = faults("driver", st.Dir())
	return &process{machine: m, state: st}
}

// systemOf finds the System of a Cluster: in the same file, in a file beside it, or shipped. Its name becomes one that can be found from anywhere.
func (m *machine) systemOf(_ context.Context, path string, objects []manifest.Object, c *v1alpha1.Cluster) (*system.System, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, inputError(err)
	}
	if o := systemIn(objects, c.Spec.System); o != nil {
		c.Spec.System = abs
		return compileObject(o)
	}
	if isFile(c.Spec.System) && !filepath.IsAbs(c.Spec.System) {
		c.Spec.System = filepath.Join(filepath.Dir(abs), c.Spec.System)
	}
	return known(c.Spec.System)
}

func (m *machine) lacks(c *v1alpha1.Cluster) manifest.Errors { return manifest.ValidateHere(c) }

func (m *machine) create(_ context.Context, p *proposal) (access, error) {
	return m.make(p.file, m.home.Create)
}

// make makes the folder of a new cluster.
func (m *machine) make(f *clusterFile, create func(*v1alpha1.Cluster, *system.System) (*local.State, error)) (*process, error) {
	st, err := create(f.cluster, f.system)
	if err != nil {
		return nil, inputError(err)
	}
	return m.with(st), nil
}

// permit refuses versions whose programs are not on this machine. Downloads are left to preflight.
func (m *machine) permit(_ context.Context, p *proposal) error {
	if p.force {
		return inputErrorf("--force: it takes over what another manager of Kubernetes keeps; there is none on one machine")
	}
	if p.file != nil {
		if err := checkBackupPlace(string(m.home), p.file.cluster); err != nil {
			return err
		}
	}
	for _, version := range p.versions {
		for _, c := range p.system.Components() {
			if err := m.programOf(p, c, version); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *machine) foresee(ctx context.Context, p *proposal) (foresight, error) {
	s := foresight{}
	if refusal := m.permit(ctx, p); refusal != nil {
		s.warnings = append(s.warnings, refusal.Error())
	}
	return s, nil
}

func (m *machine) programOf(p *proposal, c *system.Component, version string) error {
	member := &system.Member{Name: upgrade.MemberName(p.name, c.Name(), 0), Component: c.Name(), Host: "127.0.0.1", Version: version, Port: map[string]int64{}}
	for name, number := range c.API().Ports {
		member.Port[name] = int64(number)
	}
	process, err := p.system.Process(c.Name(), p.spec, &system.Scope{Cluster: p.name, Version: version, M: member, All: []*system.Member{member}})
	if err != nil {
		return inputError(err)
	}
	if process.Source != nil && process.Source.URL != "" {
		return nil
	}
	if _, err := local.FindProgram(m.programFolders(), process.Program); err != nil {
		if meant := manifest.Meant(p.system, version); meant != "" {
			return inputNext("did you mean "+meant+"?", "%s %s: its program %s: %w", c.Name(), version, process.Program, err)
		}
		return inputNext(fmt.Sprintf("put it into a folder of --programs or $THESEUS_PROGRAMS, or set spec.programs[%q].path", version),
			"%s %s: its program %s: %w", c.Name(), version, process.Program, err)
	}
	return nil
}

// process is a cluster of this machine. The command that changes it drives it too.
type process struct {
	*machine
	state *local.State
	stamp string // of the status that was read last
	// restores is what this command writes into the members once they run.
	restores *restoring
}

func (m *process) name() string { return m.state.Name() }

// complete refuses a cluster whose restore was interrupted.
func (m *process) complete() error {
	if !m.state.Hollow() {
		return nil
	}
	return inputNext(fmt.Sprintf("if that does not run any more: %s, then restore again", m.command("down", m.name(), "--delete-data")), "%s: its restore has not ended", m.name())
}

func (m *process) load(ctx context.Context) (*v1alpha1.Cluster, error) {
	stamp := m.state.Stamp() // first: what is written in between is read again
	c, _, err := m.state.Load(ctx)
	switch {
	case err == nil:
		m.stamp = stamp
		m.seeLoading(&c.Status)
		return c, nil
	case is[*local.NewerError](err):
		return nil, inputError(err)
	}
	return nil, &exitError{code: exitUnknown, err: err, next: "nothing was changed, and members that run go on; look at " + m.state.Dir()}
}

// watchEvery is how often the journal is looked at. On one machine that is one call of stat.
const watchEvery = 500 * time.Millisecond

func (m *process) next(ctx context.Context) (*v1alpha1.Cluster, error) {
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for m.state.Stamp() == m.stamp { // nothing was written: nothing is read
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-t.C:
		}
	}
	return m.load(ctx)
}

// see has nothing to fill in: one machine adopts nothing.
func (m *process) see(context.Context, *system.System, *v1alpha1.Cluster) error { return nil }

func (m *process) library() runner.Library { return m.state }

// platform is closed by whoever asks for it: a member that is to stop may wait for every connection that is kept to it.
func (m *process) platform() *local.Platform {
	return &local.Platform{State: m.state, Programs: m.programFolders(), Backups: &backups{m}}
}

func (m *process) look(ctx context.Context, s runner.Scene) (upgrade.Look, error) {
	p := m.platform()
	defer p.Close()
	return p.Look(ctx, s)
}

// members are asked on this machine.
func (m *process) members(context.Context) []shownMember { return nil }

func (m *process) driver() string {
	if d := m.state.Driver(); d != nil && d.PID != os.Getpid() {
		return fmt.Sprintf("process %d", d.PID)
	}
	return ""
}

func (m *process) ask(_ context.Context, r v1alpha1.Request) error { return m.state.Ask(r) }

func (m *process) edit(_ context.Context, p *proposal) error { return m.state.AcceptSpec(p.spec) }

// drive makes this command the driver.
func (m *process) drive(ctx context.Context, begin func() error, watch func(runner.Pass)) (*v1alpha1.Cluster, error, error) {
	unlock, err := m.state.Lock()
	if err != nil {
		return nil, nil, m.busy(err)
	}
	defer unlock()
	if err := m.loaded(ctx); err != nil {
		return nil, nil, err
	}
	if err := begin(); err != nil {
		return nil, nil, err
	}
	p := m.platform()
	defer p.Close()
	local.DropProgram()
	r := &runner.Runner{Journal: m.state, Inbox: m.state, Library: m.state, Platform: p, Decider: upgrade.New(), Watch: watch}
	last, err := r.Run(ctx)
	if err == nil && m.restores != nil && serves(last.Cluster) {
		failed := m.write(ctx, p, last.Cluster)
		last, err = r.Run(ctx) // so that its status says how it went
		err = firstError(failed, err)
	}
	return last.Cluster, last.Refusal, err
}

// busy is the refusal of a second driver, with what one can do meanwhile.
func (m *process) busy(err error) error {
	if !is[*local.BusyError](err) {
		return err
	}
	return &exitError{code: exitInput, err: err, next: "to watch: " + m.command("status", m.name(), "--watch") + "; to stop it for now: " + m.command("pause", m.name())}
}

func (m *process) logs(ctx context.Context, to io.Writer, member string, lines int, follow bool) error {
	return m.state.Logs(ctx, to, member, lines, follow)
}

func (m *process) atStake(deleteData bool) string {
	if !deleteData {
		return "" // up starts them again
	}
	return fmt.Sprintf("delete all data of %s (%s)?", m.name(), m.state.Dir())
}

func (m *process) down(ctx context.Context, deleteData bool) (downed, error) {
	d := downed{Cluster: m.name(), Stopped: true, Deleted: deleteData, Folder: m.state.Dir(),
		words: fmt.Sprintf("the members of %s are stopped; their data stays in %s", m.name(), m.state.Dir())}
	if err := m.stopAll(ctx); err != nil || !deleteData {
		return d, err
	}
	d.words = m.name() + " is deleted; its backups stay where they are"
	return d, m.home.Delete(m.name())
}

func (m *process) stopAll(ctx context.Context) error {
	unlock, err := m.state.Lock()
	if err != nil {
		return m.busy(err)
	}
	defer unlock()
	p := m.platform()
	defer p.Close()
	return p.Down(ctx)
}
