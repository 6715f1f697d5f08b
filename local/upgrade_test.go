package local

import (
	"testing"

	"theseus.dev/api/v1alpha1"
)

// TestUpgrade is the thin path: create, upgrade, stop, start again.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	if p := w.drive(); p.Status.CurrentVersion != "1.0.0" || p.Status.ReadyReplicas != 3 {
		t.Fatalf("created: version %q with %d ready, want 1.0.0 with 3: %+v", p.Status.CurrentVersion, p.Status.ReadyReplicas, p.Status.Attempt)
	}
	w.spec(func(s *v1alpha1.ClusterSpec) { s.Version = "1.1.0" })
	if p := w.drive(); p.Status.CurrentVersion != "1.1.0" || p.Status.Attempt.Phase != v1alpha1.PhaseSucceeded {
		t.Fatalf("upgraded: version %q, want 1.1.0: %+v", p.Status.CurrentVersion, p.Status.Attempt)
	}
	if err := w.platform().Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := w.drive(); p.Status.ReadyReplicas != 3 {
		t.Fatalf("started again: %d ready, want 3: %+v", p.Status.ReadyReplicas, p.Status.Attempt)
	}
}

// TestEnds are upgrades that cannot come to their target: each ends as documented, all members at one version and ready.
func TestEnds(t *testing.T) {
	tests := []struct {
		name    string
		control string
		phase   v1alpha1.AttemptPhase
		reason  string
	}{
		{"exits at once", `{"versions": {"1.1.0": {"exitAtStart": 1}}}`, v1alpha1.PhaseRolledBack, "CrashLoop"},
		{"answers the wrong version", `{"versions": {"1.1.0": {"answerVersion": "1.0.0"}}}`, v1alpha1.PhaseRolledBack, "WrongVersion"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 3)
			w.drive()
			w.misbehave(test.control)
			w.spec(func(s *v1alpha1.ClusterSpec) { s.Version = "1.1.0" })
			p := w.drive()
			a := p.Status.Attempt
			if a.Phase != test.phase || a.Failure == nil || a.Failure.Reason != test.reason {
				t.Errorf("it is %s because of %+v, want %s because of %s", a.Phase, a.Failure, test.phase, test.reason)
			}
			for _, m := range p.Look.Members {
				if m.View.Version != "1.0.0" || !w.healthy(m) {
					t.Errorf("%s is %s at %s, want running at 1.0.0", m.View.Name, m.State, m.View.Version)
				}
			}
		})
	}
}

// TestProgramMissing upgrades to a version whose program is not there: preflight says so, before it costs a member.
func TestProgramMissing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	before := w.drive()
	w.spec(func(s *v1alpha1.ClusterSpec) {
		s.Version = "1.1.0"
		s.Programs = map[string]v1alpha1.Program{"1.1.0": {Path: "/nowhere/standin"}}
	})
	p := w.drive()
	if a := p.Status.Attempt; a.Phase != v1alpha1.PhasePaused || a.Disrupted || a.Failure.Reason != "NotPrepared" {
		t.Errorf("it is %s, disrupted %v, %+v; want Paused, false, NotPrepared", a.Phase, a.Disrupted, a.Failure)
	}
	for i, m := range p.Look.Members {
		if m.Incarnation != before.Look.Members[i].Incarnation {
			t.Errorf("%s was replaced", m.View.Name)
		}
	}
}
