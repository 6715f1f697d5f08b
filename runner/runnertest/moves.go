package runnertest

import (
	"slices"
	"testing"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// MovesWorld is a place where members of an adopted workload run, with an attempt under way that moves them.
type MovesWorld struct {
	// Cluster whose attempt's hop moves the members of its System's first component.
	Cluster *v1alpha1.Cluster
	System  *system.System
	// Driver returns the platform as a new driver sees it.
	Driver func(t *testing.T) runner.Platform
	// Turn lets the workloads' controllers see what is wanted of them.
	Turn func(t *testing.T)
}

// Moves runs the suite of what a runner.Platform does where members move from one workload to another. Each test gets a world of its own.
func Moves(t *testing.T, fresh func(t *testing.T) MovesWorld) {
	tests := []struct {
		name string
		run  func(*movesStage)
	}{
		{"the new workload is made once, and has no members", movesMake},
		{"a grow is done once, and by the number that it leads from", movesGrow},
		{"a shrink is for the workload as it was seen", movesShrink},
		{"what has members is not removed, and what has none is, once", movesRemove},
		{"members of both are told apart", movesNames},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := fresh(t)
			test.run(&movesStage{T: t, MovesWorld: w, move: &w.Cluster.Status.Attempt.Hops[0].Moves[0]})
		})
	}
}

type movesStage struct {
	*testing.T
	MovesWorld
	move *v1alpha1.HopMove
}

func (s *movesStage) scene() runner.Scene {
	return runner.Scene{Cluster: s.Cluster, System: s.System, Systems: map[string]*system.System{s.System.Hash(): s.System}}
}

func (s *movesStage) look() upgrade.Look {
	s.Helper()
	s.Turn(s.T)
	look, err := s.Driver(s.T).Look(s.Context(), s.scene())
	if err != nil || len(look.Blocked) > 0 {
		s.Fatalf("look: %v, blocked %v", err, look.Blocked)
	}
	return look
}

// workload as the look shows it, nil if it is not there.
func (s *movesStage) workload(name string) *upgrade.Workload {
	s.Helper()
	list := s.look().Workloads[s.move.Component]
	i := slices.IndexFunc(list, func(w upgrade.Workload) bool { return w.Name == name })
	if i < 0 {
		return nil
	}
	return &list[i]
}

// do does an act twice, each time by a driver that knows nothing of the other.
func (s *movesStage) do(i v1alpha1.Intent) {
	s.Helper()
	a := s.Cluster.Status.Attempt
	for range 2 {
		if err := s.Driver(s.T).Do(s.Context(), s.scene(), i, upgrade.TargetOf(s.System, a)); err != nil {
			s.Fatalf("do %s: %v", i.Act, err)
		}
		s.Turn(s.T)
	}
}

func (s *movesStage) revision() string {
	target := upgrade.TargetOf(s.System, s.Cluster.Status.Attempt)
	return s.System.Revision(target, s.move.Component, target.Spec.Version)
}

func (s *movesStage) make() {
	s.Helper()
	s.do(v1alpha1.Intent{ID: 1, Act: v1alpha1.ActConfigure, Component: s.move.Component, Workload: s.move.To, Revision: s.revision(), Version: s.Cluster.Status.Attempt.To})
}

func (s *movesStage) scale(act v1alpha1.ActKind, w *upgrade.Workload, after int) v1alpha1.Intent {
	return v1alpha1.Intent{ID: 2, Act: act, Component: s.move.Component, Workload: w.Name, Incarnation: w.Incarnation, Before: int32(w.Members), After: int32(after)}
}

func (s *movesStage) want(name string, members int) *upgrade.Workload {
	s.Helper()
	w := s.workload(name)
	if w == nil || w.Members != members {
		s.Fatalf("%s is %+v, want %d members", name, w, members)
	}
	return w
}

func movesMake(s *movesStage) {
	before := s.workload(s.move.From)
	if s.workload(s.move.To) != nil || before == nil || before.Members != 3 {
		s.Fatalf("at first there are %+v", s.look().Workloads)
	}
	s.make()
	if w := s.want(s.move.To, 0); w.Revision != s.revision() {
		s.Errorf("new members get %s, want %s", w.Revision, s.revision())
	}
	if w := s.want(s.move.From, 3); *w != *before {
		s.Errorf("the old one is %+v, and was %+v", w, before)
	}
}

func movesGrow(s *movesStage) {
	s.make()
	empty := s.want(s.move.To, 0)
	s.do(s.scale(v1alpha1.ActGrow, empty, 2))
	two := s.want(s.move.To, 2)
	s.do(s.scale(v1alpha1.ActGrow, two, 3))
	s.do(s.scale(v1alpha1.ActGrow, empty, 2)) // late
	three := s.want(s.move.To, 3)
	wrong := s.scale(v1alpha1.ActShrink, three, 0)
	wrong.Before = 2
	s.do(wrong)
	s.want(s.move.To, 3)
}

func movesShrink(s *movesStage) {
	three := s.want(s.move.From, 3)
	s.do(s.scale(v1alpha1.ActShrink, three, 1))
	one := s.want(s.move.From, 1)
	s.do(s.scale(v1alpha1.ActGrow, one, 3))
	again := s.want(s.move.From, 3)
	if again.Incarnation == three.Incarnation {
		s.Errorf("it is %s again, and was shrunk and grown in between", again.Incarnation)
	}
	s.do(s.scale(v1alpha1.ActShrink, three, 1)) // it came late, and the number is the same
	s.want(s.move.From, 3)
}

func movesRemove(s *movesStage) {
	s.make()
	remove := func(w *upgrade.Workload) v1alpha1.Intent {
		return v1alpha1.Intent{ID: 3, Act: v1alpha1.ActRemove, Component: s.move.Component, Workload: w.Name, Incarnation: w.Incarnation}
	}
	s.do(remove(s.want(s.move.From, 3)))
	empty := s.want(s.move.To, 0)
	s.want(s.move.From, 3)
	s.do(s.scale(v1alpha1.ActGrow, empty, 1))
	s.do(remove(empty)) // it came late
	s.do(s.scale(v1alpha1.ActShrink, s.want(s.move.To, 1), 0))
	s.do(remove(s.want(s.move.To, 0)))
	if w := s.workload(s.move.To); w != nil {
		s.Errorf("it is still there: %+v", w)
	}
}

func movesNames(s *movesStage) {
	s.make()
	s.do(s.scale(v1alpha1.ActGrow, s.want(s.move.To, 0), 1))
	var names []string
	for _, m := range s.look().Members {
		if m.View.Component == s.move.Component {
			names = append(names, m.Workload+" "+m.View.Name)
		}
	}
	slices.Sort(names)
	want := []string{s.move.From + " " + s.move.From + "-0", s.move.From + " " + s.move.From + "-1", s.move.From + " " + s.move.From + "-2", s.move.To + " " + s.move.To + "-0"}
	slices.Sort(want)
	if !slices.Equal(names, want) {
		s.Errorf("the members are %q, want %q", names, want)
	}
}
