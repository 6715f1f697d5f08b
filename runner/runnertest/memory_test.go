package runnertest

import (
	"context"
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/systems"
	"theseus.dev/upgrade"
)

func TestMemory(t *testing.T) {
	sys := compile(t)
	t.Run("Journal", func(t *testing.T) {
		Journal(t, func(*testing.T) JournalPlace {
			m := NewMemory(cluster(), sys)
			return JournalPlace{
				Open: func(*testing.T) runner.Journal { return m },
				Edit: func(_ *testing.T, spec *v1alpha1.ClusterSpec) { m.Edit(spec) },
			}
		})
	})
	t.Run("Inbox", func(t *testing.T) {
		Inbox(t, func(*testing.T) InboxPlace {
			m := NewMemory(cluster(), sys)
			return InboxPlace{
				Open: func(*testing.T) runner.Inbox { return m },
				Ask:  func(_ *testing.T, r v1alpha1.Request) { m.Ask(r) },
			}
		})
	})
	t.Run("Library", func(t *testing.T) {
		Library(t, func(*testing.T) LibraryPlace {
			m := NewMemory(cluster(), sys)
			return LibraryPlace{Open: func(*testing.T) runner.Library { return m }, Known: sys}
		})
	})
	t.Run("Platform", func(t *testing.T) {
		Platform(t, func(*testing.T) World {
			m, done := standins(sys)
			return World{
				Cluster: cluster(), System: sys,
				Driver: func(*testing.T) runner.Platform { return m },
				Crash:  func(_ *testing.T, name string) { m.Crash(name) },
				Lose:   func(_ *testing.T, name string) { m.Lose(name) },
				Mute: func(_ *testing.T, name string, on bool) {
					m.Change(name, func(o *MemoryMember) { o.Mute = on })
				},
				Counts: system.NamedActionPath("raise"), Fails: system.NamedActionPath("lower"),
				Done: func(t *testing.T) int { return done(t) },
			}
		})
	})
}

func TestMemoryMoves(t *testing.T) {
	sys := compile(t)
	Moves(t, func(*testing.T) MovesWorld {
		c := cluster()
		own := c.Spec.Components["standin"]
		own.Adopt = &v1alpha1.Adopt{StatefulSet: "old", Mode: v1alpha1.AdoptVersion, Template: "t"}
		c.Spec.Components["standin"] = own
		base := v1alpha1.Pinned{Spec: *c.Spec.DeepCopy(), System: v1alpha1.SystemRef{Hash: sys.Hash()}}
		c.Status.Attempt = &v1alpha1.Attempt{Phase: v1alpha1.PhaseRunning, Kind: v1alpha1.AttemptUpgrade, To: "1.1.0", Base: &base, Target: base,
			Hops: []v1alpha1.HopStatus{{From: "1.0.0", To: "1.1.0", Edge: 1, Moves: []v1alpha1.HopMove{{Component: "standin", From: "old", To: "new", By: 2}}}}}
		m := NewMoving(c, sys, 3)
		return MovesWorld{Cluster: c, System: sys, Driver: func(*testing.T) runner.Platform { return m }, Turn: func(*testing.T) {}}
	})
}

// TestRunner brings a cluster up and upgrades it, with every port in memory.
func TestRunner(t *testing.T) {
	sys := compile(t)
	m, _ := standins(sys)
	run := func() runner.Pass {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		r := &runner.Runner{Journal: m, Inbox: m, Library: m, Platform: m, Decider: upgrade.New(), Every: time.Millisecond}
		p, err := r.Run(ctx)
		if err != nil {
			t.Fatalf("run: %v", err)
		}
		return p
	}
	if p := run(); p.Status.CurrentVersion != "1.0.0" || p.Status.ReadyReplicas != 3 {
		t.Fatalf("created: %q with %d ready, want 1.0.0 with 3", p.Status.CurrentVersion, p.Status.ReadyReplicas)
	}
	c := cluster()
	c.Spec.Version = "1.1.0"
	m.Edit(&c.Spec)
	if p := run(); p.Status.CurrentVersion != "1.1.0" || p.Status.Attempt.Phase != v1alpha1.PhaseSucceeded {
		t.Errorf("upgraded: %q, %s; want 1.1.0, Succeeded", p.Status.CurrentVersion, p.Status.Attempt.Phase)
	}
}

func compile(t *testing.T) *system.System {
	t.Helper()
	text, err := systems.Load("standin")
	if err != nil {
		t.Fatal(err)
	}
	api := &v1alpha1.System{}
	if err := yaml.UnmarshalStrict(text, api); err != nil {
		t.Fatal(err)
	}
	s, err := system.Compile(api)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func cluster() *v1alpha1.Cluster {
	three := int32(3)
	return &v1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: "kv"}, Spec: v1alpha1.ClusterSpec{
		System: "standin", Version: "1.0.0", Components: map[string]v1alpha1.ComponentSpec{"standin": {Replicas: &three}},
		Upgrade: v1alpha1.UpgradePolicy{Soak: &metav1.Duration{}},
	}}
}

// standins are members in memory that answer as the stand-in does. The first is the leader until it hands over. What they counted is on their volumes.
func standins(sys *system.System) (*Memory, func(*testing.T) int) {
	counts := map[string]int{}
	leader := ""
	m := NewMemory(cluster(), sys)
	m.Answer = func(o *MemoryMember, all []*MemoryMember) system.Answers {
		lead := all[0].View.Name
		for _, x := range all {
			if x.View.Name == leader {
				lead = leader
			}
		}
		role := "follower"
		if o.View.Name == lead {
			role = "leader"
		}
		return system.Answers{
			"health": map[string]any{"status": int64(200), "json": map[string]any{"health": "true"}},
			"status": map[string]any{"status": int64(200), "json": map[string]any{"version": o.View.Version, "role": role, "leader": lead, "settled": true, "left": int64(0)}},
		}
	}
	m.Act = func(o *MemoryMember, i v1alpha1.Intent) error {
		switch i.Action {
		case system.NamedActionPath("lower"):
			return errors.New("refused")
		case system.NamedActionPath("raise"):
			counts[o.View.Name+"/"+o.Volume]++
		default:
			leader = i.To
		}
		return nil
	}
	return m, func(t *testing.T) (done int) {
		t.Helper()
		look, err := m.Look(t.Context(), runner.Scene{})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range look.Members {
			done += counts[o.View.Name+"/"+o.Volume]
		}
		return done
	}
}
