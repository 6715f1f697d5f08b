package upgrade

import (
	"fmt"
	"slices"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// recreate takes all members of a component down and then all up, because two
// versions must not mix. It also starts the first members of a cluster, when
// nothing is there to be taken down.
type recreate struct{}

// KindRecreate is the name of the kind.
const KindRecreate v1alpha1.StepKind = "Recreate"

func (recreate) Name() v1alpha1.StepKind { return KindRecreate }

func (recreate) Steps(h *HopPlan) []Planned {
	if h.Edge.Strategy != v1alpha1.Recreate && !startsAll(h.Attempt.Kind) {
		return nil
	}
	var out []Planned
	for _, c := range h.System.Components() {
		p := Planned{Place: PlaceRoll, Name: "recreate " + c.Name(), Component: c.Name(), Seconds: 2 * secondsToReplace, Disrupts: true,
			Irreversible: h.Edge.Finalizes == v1alpha1.FinalizesWithLastMember, Waits: []string{"all members stopped", "all members ready"}}
		if startsAll(h.Attempt.Kind) {
			p.Name, p.Disrupts, p.Waits = "start "+c.Name(), false, []string{"all members ready"}
		}
		out = append(out, p)
	}
	return out
}

// CameBack is as with a roll. Where the attempt itself starts all members, nobody else starts one that is lost after its step.
func (recreate) CameBack(s *Scene, st *v1alpha1.StepStatus) bool {
	lost := func(f *fact) bool { return f.expected && f.State == ProcessAbsent }
	return s.someOutdated(st.Component) || startsAll(s.attempt.Kind) && slices.ContainsFunc(s.group(st.Component).facts, lost)
}

func (recreate) Begin(s *Scene, st *v1alpha1.StepStatus) Move {
	if s.Edge().Finalizes == v1alpha1.FinalizesWithLastMember {
		return s.approval()
	}
	return Done()
}

func (recreate) Reversible(s *Scene, _ *v1alpha1.StepStatus) (bool, string) {
	if s.attempt.Base == nil {
		return false, "there was nothing before"
	}
	return s.reversible()
}

func (r recreate) Undo(s *Scene, st *v1alpha1.StepStatus) Move {
	if m := s.openWayBack(); m.Kind != MoveDone {
		return m
	}
	return r.Look(s, st)
}

func (r recreate) Look(s *Scene, st *v1alpha1.StepStatus) Move {
	g := s.group(st.Component)
	revision, version := s.wanted(st.Component)
	s.noteFinalized()
	if m := s.configure(st.Component); m.Kind != MoveDone {
		return m
	}
	if !s.in.Look.Complete {
		return WaitFirmly("platform", "look", "the list of members is not complete")
	}
	if m := r.stopOld(s, g, revision, version); m.Kind != MoveDone {
		return m
	}
	return r.startNew(s, st, g, revision, version)
}

// stopOld stops what has another revision. No member of the wanted one is started before all are gone.
func (recreate) stopOld(s *Scene, g *group, revision, version string) Move {
	var waiting *fact
	for _, f := range g.facts {
		switch {
		case !f.expected || f.State == ProcessAbsent || f.Revision == revision && f.State != ProcessUnknown:
		case f.State == ProcessUnknown:
			return WaitFirmly("member "+f.View.Name, "look", f.why)
		case f.State == ProcessStopping:
			waiting = f
		case s.attempt.Kind == v1alpha1.AttemptCreate && f.ready == system.Yes && !s.Overridden("served"):
			return Rest("member "+f.View.Name, "served", "it got ready with the spec as it was before the correction, and somebody may use it; all of "+g.comp.Name()+" would go down together", "override 'served'")
		default:
			m := Do(v1alpha1.Intent{Act: v1alpha1.ActStop, Component: g.comp.Name(), Member: f.View.Name, Incarnation: f.Incarnation,
				Revision: revision, Version: version, From: s.Hop().From, Why: "all of " + g.comp.Name() + " go down together"})
			m.Disruptive = true
			now := s.attempt.Clock
			s.step.Since = &now // going down: a pause waits until all are up again
			if !s.backing && s.Edge().Finalizes == v1alpha1.FinalizesWithLastMember {
				s.Hop().Finalized = true
			}
			return m
		}
	}
	if waiting != nil {
		return WaitFirmly("member "+waiting.View.Name, "stopped", "it is asked to end"+note(waiting.Message))
	}
	return Done()
}

func (recreate) startNew(s *Scene, st *v1alpha1.StepStatus, g *group, revision, version string) Move {
	ready := int32(0)
	var late Move
	s.noteProcesses(g.facts)
	for _, f := range g.facts {
		object := "member " + f.View.Name
		switch {
		case !f.expected:
		case f.Broken != "" && f.Revision == revision:
			return Fail(v1alpha1.FaultMember, object, "MemberBroken", f.Broken)
		case f.State == ProcessAbsent:
			return Do(startIntent(s, f, revision, version))
		case s.crashes(f) >= crashLimit && f.ready != system.Yes:
			return f.crashLoop()
		case f.ready != system.Yes && !s.Overridden("ready"):
			late = Wait(object, "ready", f.lacks())
		case f.version != "" && !s.sys.SameVersion(f.version, version) && !s.Overridden("version"):
			return Fail(v1alpha1.FaultMember, object, "WrongVersion", "it says that it runs "+f.version+", not "+version)
		default:
			ready++
		}
	}
	if ready > st.Ready {
		st.Ready, st.Message = ready, fmt.Sprintf("%d members ready", ready)
		s.Progress()
	}
	if late.Wait != nil {
		return late
	}
	return s.settle(g)
}
