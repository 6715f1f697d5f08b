package upgrade

import (
	"fmt"
	"slices"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// relocate moves the members of one component from a workload to another one, some at a time: the new one grows, its members pass all checks, and
// the old one shrinks. What comes next it reads from the numbers of both in each look; it remembers which members soak, and how far it came.
//
// Going back is the same walk with the two exchanged. What the attempt made is removed in the end, on the way back the new workload; on the
// way forward the old one, by a step of its own that comes after everything that can be taken back.
type relocate struct{}

// KindMove and KindRemove are the names of the kinds.
const (
	KindMove   v1alpha1.StepKind = "Move"
	KindRemove v1alpha1.StepKind = "Remove"
)

func (relocate) Name() v1alpha1.StepKind { return KindMove }

func (relocate) Steps(h *HopPlan) []Planned {
	var out []Planned
	for _, m := range h.Hop.Moves {
		c := h.System.Component(m.Component)
		n := float64(h.Replicas(m.Component))
		out = append(out, Planned{Place: PlaceRoll, Name: "move " + m.Component, Component: m.Component, Disrupts: true,
			Seconds: (n/float64(m.By) + 1) * (2*secondsToReplace + h.Soak(m.Component)),
			Waits:   append([]string{fmt.Sprintf("StatefulSet %s takes over from %s, %d at a time", m.To, m.From, m.By)}, rollWaits(c)...)})
	}
	return out
}

func (relocate) Begin(*Scene, *v1alpha1.StepStatus) Move { return Done() }

func (relocate) Reversible(s *Scene, _ *v1alpha1.StepStatus) (bool, string) { return s.reversible() }

func (relocate) Look(s *Scene, st *v1alpha1.StepStatus) Move {
	return s.relocation(st).walk()
}

func (relocate) Undo(s *Scene, st *v1alpha1.StepStatus) Move {
	if m := s.openWayBack(); m.Kind != MoveDone {
		return m
	}
	w := s.relocation(st)
	if m := w.blocked(); m.Kind != MoveDone {
		return m
	}
	if !w.from.there {
		return Done() // nothing was made, or it is removed again
	}
	if m := w.walk(); m.Kind != MoveDone {
		return m
	}
	return w.remove(w.from.Workload)
}

// CameBack says that somebody is again in the workload that was left.
func (relocate) CameBack(s *Scene, st *v1alpha1.StepStatus) bool {
	w := s.relocation(st)
	outdated := func(f *fact) bool { return w.outdated(f) }
	return w.from.Members > 0 || s.backing && w.from.there || slices.ContainsFunc(w.to.facts, outdated)
}

// relocation is a move in one pass.
type relocation struct {
	*Scene
	st       *v1alpha1.StepStatus
	g        *group
	from, to side
	by       int
	wanted   int    // members, in both together
	revision string // wanted of those in to
	version  string
}

// side is one of the two workloads.
type side struct {
	Workload
	there bool
	facts []*fact // that are wanted of it, by ordinal
}

func (s *Scene) relocation(st *v1alpha1.StepStatus) *relocation {
	m := s.moving(st.Component)
	w := &relocation{Scene: s, st: st, g: s.group(st.Component), by: int(m.By)}
	w.wanted = s.replicas(w.g.comp)
	w.revision, w.version = s.wanted(st.Component)
	w.from, w.to = s.side(w.g, m.From), s.side(w.g, m.To)
	if s.backing {
		w.from, w.to = w.to, w.from
	}
	return w
}

func (s *Scene) side(g *group, name string) side {
	w, there := s.in.Look.workload(g.comp.Name(), name)
	return side{w, there, g.of(name)}
}

// walk is one pass over both workloads.
func (w *relocation) walk() Move {
	if w.st.Moved == nil {
		w.st.Moved = &v1alpha1.Moved{}
	}
	w.know()
	w.tell()
	if m := w.blocked(); m.Kind != MoveDone {
		return m
	}
	if m := w.made("StatefulSet " + w.to.Name); m.Kind != MoveDone {
		return m
	}
	if m := w.faults(); m.Kind != MoveDone {
		return m
	}
	if m := w.left(); m.Kind != MoveDone {
		return m
	}
	if m := w.retreat(); m.Kind != MoveDone {
		return m
	}
	if m := w.good(); m.Kind != MoveDone {
		return m
	}
	return w.next()
}

// blocked waits for what a person has to do first, and for a look that is whole.
func (w *relocation) blocked() Move {
	switch why := w.in.Look.Blocked[w.st.Component]; {
	case why != "":
		return Rest("StatefulSet "+w.to.Name, "adopted", why, "")
	case !w.in.Look.Complete:
		return WaitFirmly("platform", "look", "the list of members is not complete")
	}
	return Done()
}

// made brings about that there is a workload to move to, for members of the wanted revision. What there was before is taken as it is.
func (w *relocation) made(object string) Move {
	switch {
	case w.backing && !w.to.there:
		return Fail(v1alpha1.FaultUnknown, object, "Gone", "the members would go back to it, and it is not there: somebody else removed it")
	case w.backing || w.to.there && w.to.Revision == w.revision:
		return Done()
	case w.to.there && w.to.Revision == "":
		return WaitFirmly(object, "template", "its controller has not seen its template yet")
	}
	return Do(v1alpha1.Intent{Act: v1alpha1.ActConfigure, Component: w.st.Component, Workload: w.to.Name, Revision: w.revision, Version: w.version,
		Why: "members of " + w.st.Component + " move to it from " + w.from.Name + ", with " + w.version})
}

// know keeps who is in the workload that grows. Who is new soaks.
func (w *relocation) know() {
	if w.noteProcesses(w.to.facts) {
		w.st.Since = nil
	}
}

// tell keeps the progress: for people, and for the deadline, which only more than ever moves.
func (w *relocation) tell() {
	if !w.in.Look.Complete {
		return
	}
	ready, there := 0, 0
	for _, f := range w.to.facts {
		if f.ready == system.Yes {
			ready++
		}
	}
	for _, f := range w.g.facts {
		if f.Workload == w.from.Name && f.State != ProcessAbsent {
			there++
		}
	}
	w.st.Message = fmt.Sprintf("%d of %d members moved to %s", max(0, w.wanted-max(there, w.from.Members)), w.wanted, w.to.Name)
	if best := int32(ready+len(w.st.Members)+w.wanted-there) + w.st.Moved.Passed; best > w.st.Moved.Best { //nolint:gosec // some hundred at most
		w.st.Moved.Best = best
		w.Progress()
	}
}

// outdated says that a member of the new workload was made from another template: somebody edited it, or a newer System means another one.
func (w *relocation) outdated(f *fact) bool {
	return !w.backing && f.Revision != "" && f.State != ProcessUnknown && f.Revision != w.revision
}

// faults looks for what a wait cannot heal in the workload that grows.
func (w *relocation) faults() Move {
	for _, f := range w.to.facts {
		object := "member " + f.View.Name
		switch {
		case f.State == ProcessAbsent, f.State == ProcessStopping, w.outdated(f):
		case f.Broken != "":
			return Fail(v1alpha1.FaultMember, object, "MemberBroken", f.Broken)
		case w.crashes(f) >= crashLimit:
			return f.crashLoop()
		case f.ready == system.Yes && f.version != "" && !w.sys.SameVersion(f.version, w.version) && !w.Overridden("version"):
			return Fail(v1alpha1.FaultMember, object, "WrongVersion", "it says that it runs "+f.version+", not "+w.version)
		}
	}
	return Done()
}

// left waits until those are gone that a shrink took.
func (w *relocation) left() Move {
	for _, f := range w.g.facts {
		if !f.expected && f.Workload == w.from.Name && f.State != ProcessAbsent && f.View.Ordinal < w.wanted {
			return WaitFirmly("member "+f.View.Name, "stopped", "StatefulSet "+w.from.Name+" is to have "+itoa(w.from.Members)+" members. "+f.Message)
		}
	}
	return Done()
}

// retreat does on the way back what takes nothing away: members that surely do not serve go, and those that were there before come again. Neither
// waits for anybody to be ready, because the group may need just that.
func (w *relocation) retreat() Move {
	if !w.backing {
		return Done()
	}
	if going := w.going(); len(going) > 0 && !slices.ContainsFunc(going, func(f *fact) bool { return !f.bad() }) {
		return w.shrink(len(going))
	}
	if w.surplus() <= 0 && w.to.Members < w.wanted {
		return w.grow()
	}
	return Done()
}

// surplus is how many members there are more than wanted.
func (w *relocation) surplus() int { return w.from.Members + w.to.Members - w.wanted }

// going are the members that the next shrink takes: as many as are there too many, from the highest number down.
func (w *relocation) going() []*fact {
	n := max(0, min(w.by, w.surplus(), w.from.Members))
	return w.from.facts[len(w.from.facts)-n:]
}

// good waits until all members of the workload that grows are ready at the wanted version, settled, and have stayed so.
func (w *relocation) good() Move {
	for _, f := range w.to.facts {
		object := "member " + f.View.Name
		m := Done()
		switch {
		case w.outdated(f):
			m = w.replace(f)
		case f.ready != system.Yes && !w.Overridden("ready"):
			m = Wait(object, "ready", f.lacks())
		case f.version == "" && !w.Overridden("version"):
			m = Wait(object, "version", noVersion)
		}
		if m.Kind != MoveDone {
			w.st.Since = nil
			return m
		}
	}
	if !w.backing || !slices.ContainsFunc(w.from.facts, func(f *fact) bool { return f.ready != system.Yes }) { // these keep the group from settling, and go next
		if m := w.settle(w.g); m.Kind != MoveDone {
			w.st.Since = nil
			return m
		}
	}
	return w.soaking()
}

// replace stops a member of the new workload that has another revision. It comes back by itself.
func (w *relocation) replace(f *fact) Move {
	if f.State == ProcessStopping || f.State == ProcessAbsent {
		return WaitFirmly("member "+f.View.Name, "stopped", "it is asked to end"+note(f.Message))
	}
	if m := w.spare([]*fact{f}); m.Kind != MoveDone {
		return m
	}
	m := Do(v1alpha1.Intent{Act: v1alpha1.ActStop, Component: w.st.Component, Member: f.View.Name, Incarnation: f.Incarnation, Revision: w.revision, Version: w.version,
		From: w.Hop().From, Why: "it was made from another template of " + w.to.Name})
	m.Disruptive = true
	return m
}

func (w *relocation) soaking() Move {
	crashes := int32(0)
	for _, f := range w.to.facts {
		crashes += f.Crashes
	}
	if len(w.to.facts) == 0 {
		return Done()
	}
	if w.st.Since == nil || w.st.Moved.Crashes != crashes { // one may have ended and come back between two looks
		c := w.attempt.Clock
		w.st.Since, w.st.Moved.Crashes = &c, crashes
	}
	soak := w.soak(w.g.comp)
	if left := soak - (w.Clock() - w.st.Since.Duration); left > 0 && !w.Overridden(soakRule) {
		return waitFor(left, "StatefulSet "+w.to.Name, soakRule, fmt.Sprintf("its %d members stay ready for %s", len(w.to.facts), soak))
	}
	if n := int32(len(w.to.facts)); n > w.st.Moved.Passed { //nolint:gosec // at most 99
		if !w.backing {
			w.attempt.Replaced += n - w.st.Moved.Passed
		}
		w.st.Moved.Passed = n
		w.event("MembersMoved", "StatefulSet "+w.to.Name, fmt.Sprintf("its %d members run %s and passed all checks", n, w.version), false)
		w.tell()
	}
	return Done()
}

// next is what the numbers of both say: where there are more members than wanted the one that is left shrinks, else the other one grows.
func (w *relocation) next() Move {
	going := w.going()
	if len(going) == 0 && w.from.Members == 0 && w.to.Members >= w.wanted {
		return Done()
	}
	if n := w.Policy().PauseAfter; n > 0 && !w.backing && !w.attempt.CanaryShown && w.attempt.Replaced >= n {
		w.attempt.CanaryShown = true
		return Pause(fmt.Sprintf("paused after %d member(s), as spec.upgrade.pauseAfter says; resume to go on", w.attempt.Replaced))
	}
	if len(going) == 0 {
		return w.grow()
	}
	if m := w.spare(going); m.Kind != MoveDone {
		return m
	}
	return w.shrink(len(going))
}

// spare asks whether the group can spare some members: promise 1, in the look that permits it. Those that are there in both workloads count.
func (w *relocation) spare(going []*fact) Move {
	ready := 0
	var names []string
	for _, f := range w.g.facts {
		switch {
		case !f.expected || slices.Contains(going, f):
		case f.ready == system.Yes:
			ready++
		default:
			names = append(names, f.View.Name)
		}
	}
	for _, f := range going {
		if f.ready == system.Unknown && !w.backing {
			return WaitFirmly("member "+f.View.Name, "ready", "whether it is ready is not known: "+f.why)
		}
	}
	if most := budgetOf(w.Policy(), w.wanted); w.wanted-ready > most {
		object := "component " + w.st.Component
		if len(names) > 0 {
			object = "member " + names[0]
		}
		return WaitFirmly(object, "budget", fmt.Sprintf("%d of %d members would serve, %d may be unavailable, and not ready are %v", ready, w.wanted, most, names))
	}
	return Done()
}

func (w *relocation) grow() Move {
	after := min(w.to.Members+w.by, w.wanted)
	i := w.scale(v1alpha1.ActGrow, &w.to, after)
	i.Why = fmt.Sprintf("%d more members, with %s", after-w.to.Members, w.version)
	return Do(i)
}

func (w *relocation) shrink(n int) Move {
	i := w.scale(v1alpha1.ActShrink, &w.from, w.from.Members-n)
	i.Why = fmt.Sprintf("%d members less: others serve with %s", n, w.version)
	m := Do(i)
	m.Disruptive = true
	return m
}

// scale carries all that it depends on: done twice, or late, it does nothing.
func (w *relocation) scale(act v1alpha1.ActKind, of *side, after int) v1alpha1.Intent {
	return v1alpha1.Intent{Act: act, Component: w.st.Component, Workload: of.Name, Incarnation: of.Incarnation, From: w.Hop().From, Version: w.version,
		Before: int32(of.Members), After: int32(after)} //nolint:gosec // at most 99
}

// remove removes a workload that its members have left.
func (s *Scene) remove(old Workload) Move {
	return Do(v1alpha1.Intent{Act: v1alpha1.ActRemove, Component: s.step.Component, Workload: old.Name, Incarnation: old.Incarnation, From: s.Hop().From,
		Why: "its members have left it"})
}

// remover removes the old workload of members that moved. It stands behind all that can be taken back: whoever goes back before needs the workload,
// with the volumes that are its.
type remover struct{}

func (remover) Name() v1alpha1.StepKind { return KindRemove }

func (remover) Steps(h *HopPlan) []Planned {
	var out []Planned
	for _, m := range h.Hop.Moves {
		waits := []string{"every member ready, and all rules still hold", "StatefulSet " + m.From + " removed"}
		if m.Claims == v1alpha1.DeleteClaims {
			waits = append(waits, "its volumes deleted")
		}
		out = append(out, Planned{Place: PlaceContract, Name: "remove " + m.From, Component: m.Component, Seconds: 1, Irreversible: true, Waits: append(waits, finalizeWaits(h)...)})
	}
	return out
}

// Begin is the last point at which a person may say no.
func (remover) Begin(s *Scene, _ *v1alpha1.StepStatus) Move { return s.approval() }

func (remover) Look(s *Scene, st *v1alpha1.StepStatus) Move {
	old, there := s.in.Look.workload(st.Component, s.moving(st.Component).From)
	if !s.in.Look.Complete {
		return WaitFirmly("platform", "look", "the list of members is not complete")
	}
	if !there {
		return Done()
	}
	if m := s.allGood(); m.Kind != MoveDone {
		return m
	}
	if st.Since == nil {
		c := s.attempt.Clock
		st.Since = &c
	}
	return s.remove(old)
}

func (remover) Undo(*Scene, *v1alpha1.StepStatus) Move { return Done() }

func (remover) Reversible(s *Scene, st *v1alpha1.StepStatus) (bool, string) {
	if st.Since == nil {
		return true, ""
	}
	return false, "StatefulSet " + s.moving(st.Component).From + ", to which members would go back, is being removed"
}

// replaces says that a kind of step replaces the members of its component.
func replaces(k v1alpha1.StepKind) bool { return k == KindRoll || k == KindRecreate || k == KindMove }

// blameMove says whose fault it is that a wait of a move took too long.
func (s *Scene) blameMove(m Move) v1alpha1.FailureClass {
	w := s.relocation(s.step)
	for _, f := range w.to.facts {
		if m.Wait.Object == "member "+f.View.Name && f.Incarnation != "" && (m.Wait.Rule == "ready" || m.Wait.Rule == "version") {
			return v1alpha1.FaultMember
		}
	}
	for _, r := range w.g.comp.Settled() {
		if m.Wait.Rule == "settled/"+r.Name() && len(w.to.facts) > 0 {
			return v1alpha1.FaultCheck
		}
	}
	return v1alpha1.FaultEnvironment
}
