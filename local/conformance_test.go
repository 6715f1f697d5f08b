package local

import (
	"context"
	"fmt"
	"syscall"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/runner/runnertest"
	"theseus.dev/system"
)

// again opens the cluster as another process does.
func (w *world) again(t *testing.T) *State {
	t.Helper()
	st, err := w.home.Open("kv")
	if err != nil {
		t.Fatal(err)
	}
	return w.open(st)
}

func TestJournal(t *testing.T) {
	runnertest.Journal(t, func(t *testing.T) runnertest.JournalPlace {
		w := newWorld(t, 1)
		return runnertest.JournalPlace{
			Open: func(t *testing.T) runner.Journal { return w.again(t) },
			Edit: func(t *testing.T, spec *v1alpha1.ClusterSpec) {
				if err := w.again(t).AcceptSpec(spec); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

func TestInbox(t *testing.T) {
	runnertest.Inbox(t, func(t *testing.T) runnertest.InboxPlace {
		w := newWorld(t, 1)
		return runnertest.InboxPlace{
			Open: func(t *testing.T) runner.Inbox { return w.again(t) },
			Ask: func(t *testing.T, r v1alpha1.Request) {
				if err := w.again(t).Ask(r); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

func TestLibrary(t *testing.T) {
	runnertest.Library(t, func(t *testing.T) runnertest.LibraryPlace {
		w := newWorld(t, 1)
		return runnertest.LibraryPlace{Known: w.sys, Open: func(t *testing.T) runner.Library {
			st := w.again(t)
			st.Systems = func(_ context.Context, name string) (*system.System, error) {
				if name != "standin" {
					return nil, fmt.Errorf("nobody knows System %q", name)
				}
				return w.sys, nil
			}
			return st
		}}
	})
}

func TestPlatform(t *testing.T) {
	runnertest.Platform(t, func(t *testing.T) runnertest.World {
		w := newWorld(t, 3)
		w.cluster.Spec.Upgrade.Soak = &metav1.Duration{}
		w.misbehave(`{"failActions": ["lower"]}`)
		return runnertest.World{
			Cluster: w.cluster, System: w.sys,
			Driver: func(t *testing.T) runner.Platform {
				p := w.platform()
				p.State = w.again(t)
				return p
			},
			Crash: func(_ *testing.T, name string) { w.kill(name, func(s *shimState) process { return s.Member }) },
			Lose:  func(_ *testing.T, name string) { w.kill(name, func(s *shimState) process { return s.Shim }) },
			Mute: func(_ *testing.T, name string, on bool) {
				w.misbehave(fmt.Sprintf(`{"failActions": ["lower"], "members": {%q: {"unknown": %v}}}`, name, on))
			},
			Counts: system.NamedActionPath("raise"), Fails: system.NamedActionPath("lower"),
			Done: func(*testing.T) int { return w.done("raise") },
		}
	})
}

// kill ends a process of a member that runs.
func (w *world) kill(name string, which func(*shimState) process) {
	w.Helper()
	s, err := w.state.keeper(name).state()
	if err != nil || s == nil {
		w.Fatalf("%s was never started: %v", name, err)
	}
	if err := which(s).signal(syscall.SIGKILL); err != nil {
		w.Fatalf("kill %s: %v", name, err)
	}
}

// done is how often the members say that an action was done.
func (w *world) done(action string) int {
	w.Helper()
	n := 0
	for _, m := range w.look(w.platform()).Members {
		status, _ := m.View.Answers["status"].(map[string]any)
		json, _ := status["json"].(map[string]any)
		actions, _ := json["actions"].(map[string]any)
		count, _ := actions[action].(int64)
		n += int(count)
	}
	return n
}
