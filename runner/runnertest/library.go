package runnertest

import (
	"errors"
	"testing"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/system"
)

// LibraryPlace is a library that knows one System and has kept none.
type LibraryPlace struct {
	// Open returns the library as another process sees it.
	Open func(t *testing.T) runner.Library
	// Known is the System that it knows by its name.
	Known *system.System
}

// Library runs the suite of runner.Library.
func Library(t *testing.T, fresh func(t *testing.T) LibraryPlace) {
	t.Run("a System is known by its name", func(t *testing.T) {
		p := fresh(t)
		s, err := p.Open(t).Known(t.Context(), p.Known.Name())
		if err != nil || s.Hash() != p.Known.Hash() {
			t.Errorf("got %v, %v; want %s", s, err, p.Known.Hash())
		}
		if s, err := p.Open(t).Known(t.Context(), "no-such-system"); !errors.As(err, new(*runner.UnusableError)) {
			t.Errorf("a System that nobody knows: got %v, %v; want an UnusableError", s, err)
		}
	})
	t.Run("what was kept is found elsewhere, the same", func(t *testing.T) {
		p := fresh(t)
		l := p.Open(t)
		for range 2 {
			if err := l.Keep(t.Context(), p.Known); err != nil {
				t.Fatalf("keep: %v", err)
			}
		}
		s, err := p.Open(t).Pinned(t.Context(), p.Known.Hash())
		if err != nil {
			t.Fatalf("pinned: %v", err)
		}
		if s.Hash() != p.Known.Hash() || s.Name() != p.Known.Name() || len(s.Components()) != len(p.Known.Components()) {
			t.Errorf("got %s %s, want %s %s", s.Name(), s.Hash(), p.Known.Name(), p.Known.Hash())
		}
	})
	t.Run("what an earlier Theseus kept is found, though it would be refused today", func(t *testing.T) {
		p := fresh(t)
		api := p.Known.Source().DeepCopy()
		api.Components[0].Workload = v1alpha1.WorkloadDeployment
		api.Components[0].Settled = []v1alpha1.Rule{{Rule: "all", Is: "true"}}
		if _, err := system.Compile(api); err == nil {
			t.Fatal("a System that is not refused today shows nothing")
		}
		early, err := system.CompileKept(api)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Open(t).Keep(t.Context(), early); err != nil {
			t.Fatalf("keep: %v", err)
		}
		if s, err := p.Open(t).Pinned(t.Context(), early.Hash()); err != nil || s.Hash() != early.Hash() {
			t.Errorf("pinned: %v", err)
		}
	})
	t.Run("what was never kept is an error", func(t *testing.T) {
		p := fresh(t)
		if s, err := p.Open(t).Pinned(t.Context(), p.Known.Hash()); err == nil {
			t.Errorf("got %s, want an error", s.Name())
		}
	})
}
