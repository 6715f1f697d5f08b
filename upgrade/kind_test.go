package upgrade_test

import (
	"strings"
	"testing"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/upgrade"
	"theseus.dev/upgradetest"
)

// announce is a kind of step that the core does not know: it runs an action before anything is disrupted, and another
// one when the attempt goes back.
type announce struct{}

func (announce) Name() v1alpha1.StepKind { return "Announce" }

func (announce) Steps(h *upgrade.HopPlan) []upgrade.Planned {
	return []upgrade.Planned{{Place: upgrade.PlaceExpand, Name: "announce", Waits: []string{"all were told of " + h.Hop.To}}}
}

func (announce) Begin(*upgrade.Scene, *v1alpha1.StepStatus) upgrade.Move { return upgrade.Done() }

func (k announce) Look(s *upgrade.Scene, st *v1alpha1.StepStatus) upgrade.Move {
	return k.tell(s, st, "actions.raise")
}

func (k announce) Undo(s *upgrade.Scene, st *v1alpha1.StepStatus) upgrade.Move {
	return k.tell(s, st, "actions.lower")
}

func (announce) Reversible(*upgrade.Scene, *v1alpha1.StepStatus) (bool, string) { return true, "" }

func (announce) tell(s *upgrade.Scene, st *v1alpha1.StepStatus, action string) upgrade.Move {
	if len(st.Runs) == 0 {
		st.Runs = []v1alpha1.RunRef{{ID: s.NewID(), Key: action}}
	}
	i := v1alpha1.Intent{ID: st.Runs[0].ID, Act: v1alpha1.ActRun, Component: "kv", Member: "c-kv-0", Action: action, From: s.Hop().From,
		Version: s.Hop().To, Why: "announce " + s.Hop().To}
	switch s.Look().Runs[i.ID].Phase {
	case upgrade.Succeeded:
		return upgrade.Done()
	case upgrade.NotBegun:
		return upgrade.Do(i)
	case upgrade.Underway:
		return upgrade.Wait("run "+action, "announced", "under way")
	}
	return upgrade.Fail(v1alpha1.FaultEnvironment, "run "+action, "NotAnnounced", "nobody listened")
}

// TestNewKind shows that a new kind of step needs no change of the core.
func TestNewKind(t *testing.T) {
	s := upgradetest.NewScenario(announce{})
	s.Do("system", nil, "")
	s.Do("cluster", nil, "")
	s.Do("bad", []string{"1.1", "broken"}, "")
	s.Do("edit", nil, `version: "1.1"`)
	story := s.Do("run", nil, "")
	at := 0
	for _, want := range []string{"Run member c-kv-0: announce 1.1", "StepDone step announce", "Stop member c-kv-2", "Failed member c-kv-2: MemberBroken", "RollingBack",
		"StepDone step roll kv", "Run member c-kv-0: announce 1.1", "StepDone step announce", "AttemptRolledBack"} {
		i := strings.Index(story[at:], want)
		if i < 0 {
			t.Fatalf("got\n%swithout %q after position %d", story, want, at)
		}
		at += i + len(want)
	}
}
