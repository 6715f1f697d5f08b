package runnertest

import (
	"context"
	"slices"
	"testing"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// World is a place for a Cluster of which nothing runs yet, with the hands that a suite needs to disturb it.
type World struct {
	Cluster *v1alpha1.Cluster
	System  *system.System
	// Driver returns the platform as a new driver sees it.
	Driver func(t *testing.T) runner.Platform
	// Crash ends the process of a member from outside.
	Crash func(t *testing.T, member string)
	// Lose ends what keeps the member's process, so that both are gone. Nil where there is no such thing.
	Lose func(t *testing.T, member string)
	// Mute makes a member not answer any more, or again.
	Mute func(t *testing.T, member string, on bool)
	// Counts is the path of an action that says how often it was done, and Fails of one that is always refused.
	Counts, Fails string
	// Done is how often the counting action was done, over all members.
	Done func(t *testing.T) int
}

// Platform runs the suite of runner.Platform. Each test gets a world of its own.
func Platform(t *testing.T, fresh func(t *testing.T) World) {
	tests := []struct {
		name string
		run  func(*stage)
	}{
		{"before anything begins all is absent", platformEmpty},
		{"prepare and configure show in the look", platformPrepare},
		{"a start gives one process however often it is asked", platformStart},
		{"a start of what nothing knows is an error", platformStartUnknown},
		{"a stop is for one incarnation", platformStop},
		{"a crash is counted and the member comes back", platformCrash},
		{"a new driver finds what runs", platformAdopt},
		{"what lost its keeper is absent and can be started", platformLose},
		{"a volume is made anew once, and only for a member that does not run", platformRenew},
		{"a member starts only on a volume that is for its version", platformGuard},
		{"a run is done once for its id", platformRun},
		{"a refused run is a failure", platformRunFails},
		{"a member that does not answer is running and unknown", platformMute},
		{"a look that is canceled is no look", platformCanceled},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := fresh(t)
			test.run(&stage{T: t, World: w, p: w.Driver(t), comp: w.System.Components()[0]})
		})
	}
}

// stage is a world with a driver in it.
type stage struct {
	*testing.T
	World
	p    runner.Platform
	comp *system.Component
}

func (s *stage) scene() runner.Scene {
	return runner.Scene{Cluster: s.Cluster, System: s.System, Systems: map[string]*system.System{s.System.Hash(): s.System}}
}

func (s *stage) pinned() *v1alpha1.Pinned {
	return &v1alpha1.Pinned{Spec: s.Cluster.Spec, System: v1alpha1.SystemRef{Name: s.System.Name(), Hash: s.System.Hash()}}
}

func (s *stage) revision() string {
	return s.System.Revision(s.pinned(), s.comp.Name(), s.Cluster.Spec.Version)
}

func (s *stage) name(ordinal int) string {
	return upgrade.MemberName(s.Cluster.Name, s.comp.Name(), ordinal)
}

func (s *stage) names() []string {
	var names []string
	for i := range s.comp.Replicas(&s.Cluster.Spec) {
		names = append(names, s.name(i))
	}
	return names
}

func (s *stage) look(p runner.Platform) upgrade.Look {
	s.Helper()
	look, err := p.Look(s.Context(), s.scene())
	if err != nil {
		s.Fatalf("look: %v", err)
	}
	if !look.Complete {
		s.Fatal("the look is not complete, and nothing is wrong here")
	}
	return look
}

// member as the driver sees it; one that the look leaves out is absent.
func (s *stage) member(p runner.Platform, name string) upgrade.Member {
	s.Helper()
	look := s.look(p)
	i := slices.IndexFunc(look.Members, func(m upgrade.Member) bool { return m.View.Name == name })
	if i < 0 {
		return upgrade.Member{View: system.Member{Name: name}, State: upgrade.ProcessAbsent}
	}
	return look.Members[i]
}

func (s *stage) do(p runner.Platform, i v1alpha1.Intent) {
	s.Helper()
	if err := p.Do(s.Context(), s.scene(), i, s.pinned()); err != nil {
		s.Fatalf("do %s: %v", i.Act, err)
	}
}

func (s *stage) startIntent(name string) v1alpha1.Intent {
	return v1alpha1.Intent{ID: 1, Act: v1alpha1.ActStart, Component: s.comp.Name(), Member: name, Revision: s.revision(), Version: s.Cluster.Spec.Version}
}

func (s *stage) stopIntent(name, incarnation string) v1alpha1.Intent {
	return v1alpha1.Intent{ID: 2, Act: v1alpha1.ActStop, Component: s.comp.Name(), Member: name, Incarnation: incarnation}
}

// ready says whether a member runs and says so itself.
func (s *stage) ready(m upgrade.Member) bool {
	sc := &system.Scope{Cluster: s.Cluster.Name, Version: s.Cluster.Spec.Version, Options: s.System.Options(&s.Cluster.Spec), M: &m.View, All: []*system.Member{&m.View}}
	answer, _ := s.comp.Ready(sc)
	return m.State == upgrade.ProcessRunning && answer == system.Yes
}

func (s *stage) startAll() {
	s.Helper()
	s.do(s.p, v1alpha1.Intent{Act: v1alpha1.ActConfigure, Component: s.comp.Name(), Revision: s.revision(), Version: s.Cluster.Spec.Version})
	for _, name := range s.names() {
		s.do(s.p, s.startIntent(name))
	}
	for _, name := range s.names() {
		await(s.T, name+" is ready", func() bool { return s.ready(s.member(s.p, name)) })
	}
}

func (s *stage) awaitAbsent(p runner.Platform, name string) {
	s.Helper()
	await(s.T, name+" is absent", func() bool { return s.member(p, name).State == upgrade.ProcessAbsent })
}

// stop asks until it is accepted: a platform may refuse for a while, where others may say no.
func (s *stage) stop(p runner.Platform, name, incarnation string) {
	s.Helper()
	await(s.T, "the stop of "+name+" is accepted", func() bool {
		err := p.Do(s.Context(), s.scene(), s.stopIntent(name, incarnation), s.pinned())
		if err != nil {
			s.Logf("stop %s: %v", name, err)
		}
		return err == nil
	})
}

// awaitGone waits until an incarnation is not there any more. Where members come back by themselves another one may be there at once.
func (s *stage) awaitGone(p runner.Platform, name, incarnation string) {
	s.Helper()
	await(s.T, name+" is gone", func() bool {
		m := s.member(p, name)
		return m.State == upgrade.ProcessAbsent || m.Incarnation != incarnation
	})
}

func platformEmpty(s *stage) {
	look := s.look(s.p)
	for _, m := range look.Members {
		if m.State != upgrade.ProcessAbsent {
			s.Errorf("%s is %s, want absent", m.View.Name, m.State)
		}
	}
	if got := look.Configured[s.comp.Name()]; got != "" {
		s.Errorf("configured is %q, want nothing", got)
	}
	if n := len(look.Prepared) + len(look.Runs) + len(look.Backups); n > 0 {
		s.Errorf("%d outcomes are known, want none", n)
	}
}

func platformPrepare(s *stage) {
	prepare := v1alpha1.Intent{Act: v1alpha1.ActPrepare, Component: s.comp.Name(), Revision: s.revision(), Version: s.Cluster.Spec.Version}
	s.do(s.p, prepare)
	s.do(s.p, prepare)
	await(s.T, "the revision is prepared", func() bool {
		o := s.look(s.p).Prepared[s.revision()]
		if o.Phase == upgrade.Failed {
			s.Fatalf("prepare failed: %s", o.Message)
		}
		return o.Phase == upgrade.Succeeded
	})
	s.do(s.p, v1alpha1.Intent{Act: v1alpha1.ActConfigure, Component: s.comp.Name(), Revision: s.revision(), Version: s.Cluster.Spec.Version})
	await(s.T, "another driver sees what is configured", func() bool {
		return s.look(s.Driver(s.T)).Configured[s.comp.Name()] == s.revision()
	})
}

func platformStart(s *stage) {
	name := s.name(0)
	s.startAll()
	first := s.member(s.p, name)
	if first.Incarnation == "" || first.Revision != s.revision() || first.Crashes != 0 || first.Broken != "" {
		s.Errorf("got incarnation %q, revision %q, %d crashes, broken %q; want one, %q, none", first.Incarnation, first.Revision, first.Crashes, first.Broken, s.revision())
	}
	if v := first.View; v.Component != s.comp.Name() || v.Ordinal != 0 || v.Host == "" || v.Version != s.Cluster.Spec.Version {
		s.Errorf("it is seen as component %q, ordinal %d, host %q, version %q", v.Component, v.Ordinal, v.Host, v.Version)
	}
	s.do(s.p, s.startIntent(name))
	s.do(s.Driver(s.T), s.startIntent(name))
	if again := s.member(s.p, name); again.Incarnation != first.Incarnation || !s.ready(again) {
		s.Errorf("after more starts it is incarnation %q and %s, want %q and running", again.Incarnation, again.State, first.Incarnation)
	}
}

func platformStartUnknown(s *stage) {
	i := s.startIntent(s.name(0))
	if err := s.p.Do(s.Context(), s.scene(), i, nil); err == nil {
		s.Error("got no error")
	}
	if m := s.member(s.p, s.name(0)); m.State != upgrade.ProcessAbsent {
		s.Errorf("it is %s, want absent", m.State)
	}
}

func platformStop(s *stage) {
	s.startAll()
	name := s.name(1)
	first := s.member(s.p, name)
	s.do(s.p, s.stopIntent(name, "another"))
	s.do(s.p, s.stopIntent(name, ""))
	if m := s.member(s.p, name); m.Incarnation != first.Incarnation || m.State != upgrade.ProcessRunning {
		s.Fatalf("a stop that was meant for another made it %s, incarnation %q", m.State, m.Incarnation)
	}
	s.stop(s.p, name, first.Incarnation)
	s.stop(s.p, name, first.Incarnation)
	s.awaitGone(s.p, name, first.Incarnation)
	s.do(s.p, s.stopIntent(name, first.Incarnation))
	s.do(s.p, s.startIntent(name))
	await(s.T, name+" is ready again", func() bool { return s.ready(s.member(s.p, name)) })
	second := s.member(s.p, name)
	if second.Incarnation == first.Incarnation {
		s.Errorf("the new process has incarnation %q as the old one had", second.Incarnation)
	}
	s.do(s.p, s.stopIntent(name, first.Incarnation)) // comes late
	if m := s.member(s.p, name); m.State != upgrade.ProcessRunning || m.Incarnation != second.Incarnation {
		s.Errorf("a late stop for the first made the second %s", m.State)
	}
	if m := s.member(s.p, s.name(0)); m.State != upgrade.ProcessRunning {
		s.Errorf("another member is %s", m.State)
	}
}

func platformCrash(s *stage) {
	s.startAll()
	name := s.name(0)
	first := s.member(s.p, name)
	for n := int32(1); n <= 2; n++ {
		s.Crash(s.T, name)
		await(s.T, "the crash is counted and it is ready again", func() bool {
			m := s.member(s.p, name)
			return m.Crashes == n && s.ready(m)
		})
	}
	m := s.member(s.Driver(s.T), name)
	if m.Incarnation != first.Incarnation {
		s.Errorf("after a crash the incarnation is %q, want %q: nobody started it anew", m.Incarnation, first.Incarnation)
	}
	if m.Message == "" {
		s.Error("there is no message about a member that crashed")
	}
	if other := s.member(s.p, s.name(1)); other.Crashes != 0 {
		s.Errorf("another member counts %d crashes", other.Crashes)
	}
}

func platformAdopt(s *stage) {
	s.startAll()
	p := s.Driver(s.T)
	for _, name := range s.names() {
		if old, m := s.member(s.p, name), s.member(p, name); m.Incarnation != old.Incarnation || !s.ready(m) {
			s.Errorf("%s: a new driver sees incarnation %q, %s; want %q, running", name, m.Incarnation, m.State, old.Incarnation)
		}
	}
	name := s.name(0)
	incarnation := s.member(p, name).Incarnation
	s.stop(p, name, incarnation)
	s.awaitGone(p, name, incarnation)
	s.awaitGone(s.p, name, incarnation)
}

func platformLose(s *stage) {
	if s.Lose == nil {
		s.Skip("nothing keeps a member here")
	}
	s.startAll()
	name := s.name(0)
	first := s.member(s.p, name)
	s.Lose(s.T, name)
	s.awaitAbsent(s.p, name)
	s.do(s.p, s.startIntent(name))
	await(s.T, name+" is ready again", func() bool { return s.ready(s.member(s.p, name)) })
	if m := s.member(s.p, name); m.Incarnation == first.Incarnation || m.Crashes != 0 {
		s.Errorf("got incarnation %q with %d crashes, want a new one with none", m.Incarnation, m.Crashes)
	}
}

func (s *stage) runIntent(id int64, action string) v1alpha1.Intent {
	return v1alpha1.Intent{ID: id, Act: v1alpha1.ActRun, Component: s.comp.Name(), Member: s.name(0), Action: action, Version: s.Cluster.Spec.Version}
}

func (s *stage) outcome(p runner.Platform, id int64) upgrade.Outcome {
	s.Helper()
	return s.look(p).Runs[id]
}

func platformRun(s *stage) {
	s.startAll()
	i := s.runIntent(7, s.Counts)
	s.do(s.p, i)
	s.do(s.p, i)
	s.do(s.Driver(s.T), i)
	await(s.T, "the run has succeeded", func() bool {
		o := s.outcome(s.p, 7)
		if o.Phase == upgrade.Failed || o.Phase == upgrade.OutcomeUnknown {
			s.Fatalf("the run is %s: %s", o.Phase, o.Message)
		}
		return o.Phase == upgrade.Succeeded
	})
	s.do(s.Driver(s.T), i)
	if o := s.outcome(s.Driver(s.T), 7); o.Phase != upgrade.Succeeded {
		s.Errorf("another driver sees it %s, want succeeded", o.Phase)
	}
	if o := s.outcome(s.p, 8); o.Phase != upgrade.NotBegun {
		s.Errorf("a run that nobody began is %s", o.Phase)
	}
	if n := s.Done(s.T); n != 1 {
		s.Errorf("the action was done %d times for one id, want 1", n)
	}
	s.do(s.p, s.runIntent(8, s.Counts))
	await(s.T, "the second run has succeeded", func() bool { return s.outcome(s.p, 8).Phase == upgrade.Succeeded })
	if n := s.Done(s.T); n != 2 {
		s.Errorf("the action was done %d times for two ids, want 2", n)
	}
}

func platformRunFails(s *stage) {
	s.startAll()
	s.do(s.p, s.runIntent(3, s.Fails))
	await(s.T, "the run has ended", func() bool { return s.outcome(s.p, 3).Phase > upgrade.Underway })
	if o := s.outcome(s.p, 3); o.Phase != upgrade.Failed || o.Message == "" {
		s.Errorf("got %s with message %q, want failed and why", o.Phase, o.Message)
	}
}

func platformMute(s *stage) {
	s.startAll()
	name := s.name(0)
	s.Mute(s.T, name, true)
	await(s.T, name+" is not known to be ready", func() bool { return !s.ready(s.member(s.p, name)) })
	m := s.member(s.p, name)
	if m.State != upgrade.ProcessRunning {
		s.Errorf("it is %s, want running", m.State)
	}
	sc := &system.Scope{Cluster: s.Cluster.Name, M: &m.View, All: []*system.Member{&m.View}}
	if answer, _ := s.comp.Ready(sc); answer != system.Unknown {
		s.Errorf("whether it is ready is %s, want unknown", answer)
	}
	if other := s.member(s.p, s.name(1)); !s.ready(other) {
		s.Errorf("another member is %s and not ready: one that hangs must not hide the others", other.State)
	}
	s.Mute(s.T, name, false)
	await(s.T, name+" is ready again", func() bool { return s.ready(s.member(s.p, name)) })
}

func platformCanceled(s *stage) {
	s.startAll()
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	look, err := s.p.Look(ctx, s.scene())
	if err != nil || !look.Complete {
		return
	}
	for _, m := range look.Members {
		if !s.ready(m) {
			s.Errorf("the look says that it is whole, and %s did not answer", m.View.Name)
		}
	}
}
