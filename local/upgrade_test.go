package local

import (
	"testing"

	"theseus.dev/api/v1alpha1"
)

// TestUpgrade is the thin path: create, upgrade, stop, start again.
func TestUpgrade(t *testing.T) {
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
