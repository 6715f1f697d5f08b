package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/system"
)

// Do is part of runner.Platform.
func (p *Platform) Do(ctx context.Context, s runner.Scene, i v1alpha1.Intent, pinned *v1alpha1.Pinned) error {
	switch i.Act {
	case v1alpha1.ActConfigure:
		return p.configure(i)
	case v1alpha1.ActPrepare:
		return p.prepare(s, i, pinned)
	case v1alpha1.ActStart:
		return p.start(ctx, s, i, pinned)
	case v1alpha1.ActStop:
		return p.stop(i)
	case v1alpha1.ActRenew:
		return p.renew(i)
	case v1alpha1.ActRun:
		return p.run(ctx, s, i)
	case v1alpha1.ActBackup:
		if p.Backups == nil {
			return errors.New("take backup: there is no way to take one here")
		}
		return p.Backups.Begin(ctx, s, i)
	}
	return fmt.Errorf("do %s: there is no such act here", i.Act)
}

func (p *Platform) configure(i v1alpha1.Intent) error {
	c, err := p.State.configured()
	if err != nil {
		return err
	}
	c[i.Component] = i.Revision
	return p.State.Fault.writeJSON("configured", p.State.path(configuredFile), c)
}

// errRevision is returned for an act whose revision cannot be made from what is recorded.
func errRevision(i v1alpha1.Intent) error {
	return fmt.Errorf("%s %s: nothing knows any more what revision %s was made from", i.Act, i.Component+i.Member, i.Revision)
}

// start gives an absent member a shim.
func (p *Platform) start(ctx context.Context, s runner.Scene, i v1alpha1.Intent, pinned *v1alpha1.Pinned) error {
	k := p.State.keeper(i.Member)
	if k.present() {
		return nil
	}
	if pinned == nil {
		return errRevision(i)
	}
	if ready, err := p.volumeFor(k, i); err != nil || !ready {
		return err
	}
	o, err := p.order(s, i, pinned)
	if err != nil {
		return fmt.Errorf("start %s: %w", i.Member, err)
	}
	if err := os.MkdirAll(k.path(dataFolder), 0o700); err != nil {
		return fmt.Errorf("start %s: make the data folder: %w", i.Member, err)
	}
	if err := p.State.Fault.writeJSON("order", k.path(orderFile), o); err != nil {
		return fmt.Errorf("start %s: %w", i.Member, err)
	}
	command := slices.Concat(self(p.Self), []string{ShimCommand, k.dir, o.Incarnation})
	if err := spawn(ctx, command, k.path(shimLogFile)); err != nil {
		return fmt.Errorf("start %s: %w", i.Member, err)
	}
	return nil
}

// The bounds of a member's log, where nobody says otherwise.
const (
	defaultLogSize = 8 << 20
	defaultLogKeep = 3
)

// order says how a member is run. What keeps it from ever starting is in the order too, so that the member is seen to be broken
// and the attempt can go back, instead of waiting for its deadline.
func (p *Platform) order(s runner.Scene, i v1alpha1.Intent, pinned *v1alpha1.Pinned) (*order, error) {
	sys := s.Systems[pinned.System.Hash]
	if sys == nil {
		return nil, errRevision(i)
	}
	views, err := p.State.Views(sys, &pinned.Spec, i.Component, i.Version)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(views, func(v *system.Member) bool { return v.Name == i.Member })
	if at < 0 {
		return nil, fmt.Errorf("the spec has %d members of %s, and not this one", len(views), i.Component)
	}
	o := &order{Protocol: ShimProtocol, Incarnation: rand.Text(), Revision: i.Revision, View: *views[at], LogSize: p.LogSize, LogKeep: p.LogKeep}
	if o.LogSize == 0 {
		o.LogSize, o.LogKeep = defaultLogSize, defaultLogKeep
	}
	o.Signal, o.Grace = stopOf(sys.Component(i.Component).API().Stop)
	if err := p.command(o, sys, pinned, i, views); err != nil {
		o.Broken = err.Error()
	}
	return o, nil
}

func (p *Platform) command(o *order, sys *system.System, pinned *v1alpha1.Pinned, i v1alpha1.Intent, views []*system.Member) error {
	sc := &system.Scope{Cluster: p.State.name, Version: i.Version, From: i.From, M: &o.View, All: views}
	proc, err := sys.Process(i.Component, &pinned.Spec, sc)
	if err != nil {
		return fmt.Errorf("start command: %w", err)
	}
	o.Args, o.Env = proc.Args, environment(proc.Env)
	o.Program, err = p.finder().locate(proc, i.Version)
	return err
}

// environment is small, so that a member does the same whoever starts it.
func environment(given map[string]string) []string {
	all := map[string]string{}
	for _, name := range []string{"PATH", "HOME", "USER", "TMPDIR", "LANG", "TZ"} {
		if v, ok := os.LookupEnv(name); ok {
			all[name] = v
		}
	}
	maps.Copy(all, given)
	env := make([]string, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		env = append(env, name+"="+all[name])
	}
	return env
}

const defaultGrace = 30 * time.Second

func stopOf(s *v1alpha1.Stop) (syscall.Signal, time.Duration) {
	sig, grace := syscall.SIGTERM, defaultGrace
	if s == nil {
		return sig, grace
	}
	if n := unix.SignalNum(s.Signal); n != 0 {
		sig = n
	}
	if s.Grace != nil {
		grace = s.Grace.Duration
	}
	return sig, grace
}

// stubbornness is how much longer than its grace a stop may take before the shim itself is killed.
const stubbornness = 10 * time.Second

// stop asks the shim of this incarnation to stop its member. Asking again does nothing more, until it takes too long.
func (p *Platform) stop(i v1alpha1.Intent) error {
	s, err := p.State.keeper(i.Member).state()
	if err != nil {
		return fmt.Errorf("stop %s: %w", i.Member, err)
	}
	if s == nil || s.Incarnation != i.Incarnation {
		return nil
	}
	if p.asker != nil {
		p.asker.Close() // a member that waits for its clients to go would wait for us: etcd 3.5 was seen to, for as long as we keep a connection
	}
	if err := p.askToEnd(s); err != nil && !gone(err) {
		return fmt.Errorf("stop %s: %w", i.Member, err)
	}
	return nil
}

func gone(err error) bool {
	return errors.Is(err, errEnded) || errors.Is(err, syscall.ESRCH) || errors.Is(err, os.ErrNotExist)
}

func (p *Platform) askToEnd(s *shimState) error {
	late := p.waited(s.Incarnation) > s.Grace+stubbornness
	switch {
	case s.Shim.alive() && late:
		return s.Shim.signal(syscall.SIGKILL) // and the kernel kills the member
	case s.Shim.alive():
		return s.Shim.signal(syscall.SIGTERM)
	case late:
		return s.Member.signal(syscall.SIGKILL)
	}
	return s.Member.signal(s.Signal)
}

// waited is how long ago this driver first asked an incarnation to stop.
func (p *Platform) waited(incarnation string) time.Duration {
	first, ok := p.patience[incarnation]
	if !ok {
		first = time.Now()
		if p.patience == nil {
			p.patience = map[string]time.Time{}
		}
		p.patience[incarnation] = first
	}
	return time.Since(first)
}

// downEvery is how often Down looks whether members have ended.
const downEvery = 50 * time.Millisecond

// Down stops all members at once, gracefully, and waits until they have ended. Their data stays. The caller holds the lock.
func (p *Platform) Down(ctx context.Context) error {
	names, err := p.State.memberNames()
	if err != nil {
		return err
	}
	asked := map[string]bool{}
	for {
		var left []string
		for _, name := range names {
			k := p.State.keeper(name)
			if !k.present() {
				continue
			}
			left = append(left, name)
			s, err := k.state()
			if err != nil {
				return fmt.Errorf("stop %s: %w", name, err)
			}
			if asked[s.Incarnation] && p.waited(s.Incarnation) <= s.Grace+stubbornness {
				continue
			}
			asked[s.Incarnation] = true
			if err := p.askToEnd(s); err != nil && !gone(err) {
				return fmt.Errorf("stop %s: %w", name, err)
			}
		}
		if len(left) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("stop %v: %w", left, context.Cause(ctx))
		case <-time.After(downEvery):
		}
	}
}
