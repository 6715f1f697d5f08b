package runnertest

import (
	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/upgrade"
)

// The volumes of member 0 are told apart by their names, and by what it counted: that is gone with the data.

func (s *stage) configureOn(onlyOn, neverOn string) {
	s.Helper()
	s.do(s.p, v1alpha1.Intent{Act: v1alpha1.ActConfigure, Component: s.comp.Name(), Revision: s.revision(), Version: s.Cluster.Spec.Version, OnlyOn: onlyOn, NeverOn: neverOn})
	await(s.T, "it is configured", func() bool { return s.look(s.p).Configured[s.comp.Name()] == s.revision() })
}

func (s *stage) renewIntent(from, to string) v1alpha1.Intent {
	return v1alpha1.Intent{ID: 4, Act: v1alpha1.ActRenew, Component: s.comp.Name(), Member: s.name(0), Volume: from, Name: to, Revision: s.revision(), Version: s.Cluster.Spec.Version}
}

// startOn starts member 0 on a volume: where members come back by themselves, it is when the volume is for them.
func (s *stage) startOn(p runner.Platform, volume string) {
	s.Helper()
	i := s.startIntent(s.name(0))
	i.Volume = volume
	s.do(p, i)
}

// takeDown stops member 0 and returns what it was.
func (s *stage) takeDown() upgrade.Member {
	s.Helper()
	m := s.member(s.p, s.name(0))
	s.stop(s.p, s.name(0), m.Incarnation)
	s.awaitGone(s.p, s.name(0), m.Incarnation)
	return m
}

// renewed repeats a renew, each time by a driver that knows nothing of the one before, until the look shows the new volume.
func (s *stage) renewed(from, to string) {
	s.Helper()
	await(s.T, "the volume is "+to, func() bool {
		p := s.Driver(s.T)
		s.do(p, s.renewIntent(from, to))
		return s.member(p, s.name(0)).Volume == to
	})
}

func (s *stage) awaitReadyOn(volume string) {
	s.Helper()
	await(s.T, s.name(0)+" is ready on volume "+volume, func() bool {
		p := s.Driver(s.T)
		s.startOn(p, volume)
		m := s.member(p, s.name(0))
		return s.ready(m) && m.Volume == volume
	})
}

// count has member 0 count, so that there is something on its volume.
func (s *stage) count(id int64, want int) {
	s.Helper()
	s.look(s.p) // an act is on what was seen last
	s.do(s.p, s.runIntent(id, s.Counts))
	await(s.T, "the run has succeeded", func() bool {
		o := s.outcome(s.p, id)
		if o.Phase > upgrade.Succeeded {
			s.Fatalf("the run is %s: %s", o.Phase, o.Message)
		}
		return o.Phase == upgrade.Succeeded
	})
	s.counted(want)
}

func (s *stage) counted(want int) {
	s.Helper()
	if n := s.Done(s.T); n != want {
		s.Errorf("member 0 has counted to %d, want %d", n, want)
	}
}

func platformRenew(s *stage) {
	s.startAll()
	s.count(7, 1)
	s.configureOn("v1.", "")
	s.do(s.p, s.renewIntent("", "v1.1"))
	if m := s.member(s.p, s.name(0)); m.Volume != "" || !s.ready(m) {
		s.Fatalf("a renew of a member that runs made it %s on volume %q", m.State, m.Volume)
	}
	first, other := s.takeDown(), s.member(s.p, s.name(1))
	s.do(s.p, s.renewIntent("another", "v1.0"))
	if m := s.member(s.p, s.name(0)); m.Volume != "" {
		s.Fatalf("a renew that was meant for another volume gave it %q", m.Volume)
	}
	s.renewed("", "v1.1")
	s.do(s.Driver(s.T), s.renewIntent("", "v1.1"))
	s.awaitReadyOn("v1.1")
	s.counted(0)

	s.count(8, 1)
	m := s.member(s.p, s.name(0))
	s.do(s.p, s.renewIntent("", "v1.1")) // comes late
	s.do(s.p, s.renewIntent("v1.1", "v1.2"))
	if again := s.member(s.p, s.name(0)); again.Incarnation != m.Incarnation || again.Incarnation == first.Incarnation || again.Volume != "v1.1" || !s.ready(again) {
		s.Errorf("after late renews it is %s on volume %q", again.State, again.Volume)
	}
	s.counted(1)
	if again := s.member(s.p, s.name(1)); again.Incarnation != other.Incarnation || again.Volume != "" || !s.ready(again) {
		s.Errorf("another member is %s on volume %q", again.State, again.Volume)
	}
}

func platformGuard(s *stage) {
	s.startAll()
	s.count(7, 1)
	s.configureOn("v1.", "")
	s.takeDown()
	s.startOn(s.p, "v1.1")
	s.renewed("", "v1.1") // which does nothing to a member that runs
	s.awaitReadyOn("v1.1")
	s.counted(0)

	s.count(8, 1)
	s.configureOn("", "v1.")
	s.takeDown()
	s.startOn(s.p, "v0.2")
	s.renewed("v1.1", "v0.2")
	s.awaitReadyOn("v0.2")
	s.counted(0)

	s.count(9, 1)
	s.takeDown()
	s.awaitReadyOn("v0.2")
	s.counted(1)
}
