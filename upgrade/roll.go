package upgrade

import (
	"encoding/json"
	"fmt"
	"slices"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// roll replaces the members of one component, one at a time. It remembers the
// members that passed all checks and the one in hand; which are outdated, who
// leads and whether a disruption is permitted it reads from each look anew.
//
// Going back is the same walk with the old revision as the wanted one.
type roll struct{}

// KindRoll is the name of the kind.
const KindRoll v1alpha1.StepKind = "Roll"

// crashLimit is how often a replaced member may end by itself before it counts as crash-looping.
const crashLimit = 3

func (roll) Name() v1alpha1.StepKind { return KindRoll }

func (roll) Steps(h *HopPlan) []Planned {
	if h.Edge.Strategy == v1alpha1.Recreate || startsAll(h.Attempt.Kind) {
		return nil
	}
	var out []Planned
	comps := h.System.Components()
	for i, c := range comps {
		if h.Hop.Move(c.Name()) != nil {
			continue
		}
		n := float64(h.Replicas(c.Name()))
		out = append(out, Planned{Place: PlaceRoll, Name: "roll " + c.Name(), Component: c.Name(), Disrupts: true,
			Irreversible: i == len(comps)-1 && h.Edge.Finalizes == v1alpha1.FinalizesWithLastMember,
			Seconds:      n * (secondsToReplace + h.Soak(c.Name())), Waits: rollWaits(c)})
		if slices.Contains(h.Edge.RecreateVolumes, c.Name()) {
			p := &out[len(out)-1]
			p.Waits = append(p.Waits, "each volume made anew, once all others serve and have settled without it")
		}
	}
	return out
}

// secondsToReplace is a guess for the plan: stop, start, join. A pod of etcd was measured at 2.5 to 3 s.
const secondsToReplace = 3

func rollWaits(c *system.Component) []string {
	w := []string{"each member: ready, says the version", "soak"}
	for _, r := range c.Settled() {
		w = append(w, "settled: "+r.Name())
	}
	for _, r := range c.API().Roles {
		if r.Handover != nil {
			w = append(w, "role "+r.Name+" handed over before its holder goes")
		}
	}
	return w
}

func startsAll(k v1alpha1.AttemptKind) bool {
	return k == v1alpha1.AttemptCreate || k == v1alpha1.AttemptStart
}

func (roll) Begin(s *Scene, st *v1alpha1.StepStatus) Move { return Done() }

func (roll) Reversible(s *Scene, _ *v1alpha1.StepStatus) (bool, string) { return s.reversible() }

func (r roll) Look(s *Scene, st *v1alpha1.StepStatus) Move { return r.walk(s, st) }

func (r roll) Undo(s *Scene, st *v1alpha1.StepStatus) Move {
	if m := s.openWayBack(); m.Kind != MoveDone {
		return m
	}
	if st.Message == "" {
		r.countUntouched(s, st)
	}
	return r.walk(s, st)
}

// countUntouched counts as done what never left the old revision, so that going back does not soak each of them.
func (roll) countUntouched(s *Scene, st *v1alpha1.StepStatus) {
	want, _ := s.wanted(st.Component)
	for _, f := range s.group(st.Component).facts {
		if f.expected && f.Revision == want && f.ready == system.Yes {
			st.Members = append(st.Members, v1alpha1.MemberDone{Name: f.View.Name, Incarnation: f.Incarnation, Crashes: f.Crashes})
		}
	}
}

// walk is one pass over the component.
func (r roll) walk(s *Scene, st *v1alpha1.StepStatus) Move {
	w := &walk{Scene: s, st: st, g: s.group(st.Component)}
	w.revision, w.version = s.wanted(st.Component)
	w.tell()
	s.noteFinalized()
	if m := s.configure(st.Component); m.Kind != MoveDone {
		return m
	}
	if m := w.faults(); m.Kind != MoveDone {
		return m
	}
	w.forgetChanged()
	if m := w.raise(); m.Kind != MoveDone {
		return m
	}
	if st.Hand == nil || w.othersFirst(st.Hand) {
		st.Hand = nil
		return w.choose()
	}
	return w.advance()
}

// othersFirst says that a member came back new while the one in hand still serves: it is checked before that one goes.
func (w *walk) othersFirst(h *v1alpha1.Hand) bool {
	f := w.g.member(h.Member)
	return f != nil && !f.bad() && f.Revision != w.revision && handOrder(h.Phase) <= handOrder(v1alpha1.HandReplace) && w.unchecked() != nil
}

// CameBack says that a member of another revision turned up after the step was done: somebody else started it, or
// the wanted revision is another one now.
func (roll) CameBack(s *Scene, st *v1alpha1.StepStatus) bool { return s.someOutdated(st.Component) }

func (s *Scene) someOutdated(component string) bool {
	want, _ := s.wanted(component)
	return slices.ContainsFunc(s.group(component).facts, func(f *fact) bool {
		return f.expected && (f.State != ProcessUnknown && f.Revision != "" && f.Revision != want || s.unfit(f))
	})
}

// walk is a roll in one pass.
type walk struct {
	*Scene
	st       *v1alpha1.StepStatus
	g        *group
	revision string // wanted
	version  string
}

// tell keeps the progress for people.
func (w *walk) tell() {
	n := 0
	for _, f := range w.g.facts {
		if f.expected && w.done(f) {
			n++
		}
	}
	what := "updated"
	if w.backing {
		what = "back"
	}
	w.st.Message = fmt.Sprintf("%d of %d members %s", n, w.g.wantedCount(), what)
}

// done says that this incarnation passed all checks.
func (w *walk) done(f *fact) bool {
	return f.Revision == w.revision && w.entry(f) != nil
}

func (w *walk) entry(f *fact) *v1alpha1.MemberDone {
	for i := range w.st.Members {
		if d := &w.st.Members[i]; d.Name == f.View.Name && d.Incarnation == f.Incarnation {
			return d
		}
	}
	return nil
}

// forgetChanged drops members whose process is not the one that passed: it has to pass again.
func (w *walk) forgetChanged() {
	w.st.Members = slices.DeleteFunc(w.st.Members, func(d v1alpha1.MemberDone) bool {
		f := w.g.member(d.Name)
		return f == nil || f.State != ProcessUnknown && (f.Incarnation != d.Incarnation || f.Revision != w.revision)
	})
}

// faults looks for what a wait cannot heal in any member of the wanted revision, in hand or done.
func (w *walk) faults() Move {
	for _, f := range w.g.facts {
		if !f.expected || f.Revision != w.revision || f.State == ProcessAbsent || f.State == ProcessStopping {
			continue
		}
		if m := w.fault(f); m.Kind != MoveDone {
			return m
		}
	}
	if f := w.coming(w.st.Component, w.revision); f != nil {
		switch {
		case f.Broken != "":
			return Fail(v1alpha1.FaultMember, "member "+f.View.Name, "MemberBroken", f.Broken)
		case f.Crashes >= crashLimit && f.State != ProcessRunning:
			return f.crashLoop()
		}
	}
	return Done()
}

func (w *walk) fault(f *fact) Move {
	object := "member " + f.View.Name
	switch {
	case !w.fits(f, !w.backing) && (f.State == ProcessRunning || f.State == ProcessExited):
		return Fail(v1alpha1.FaultUnknown, object, "OldVolume", "it was started with "+w.version+" on a volume that was not made anew for it")
	case f.Broken != "":
		return Fail(v1alpha1.FaultMember, object, "MemberBroken", f.Broken)
	case w.crashes(f) >= crashLimit:
		return f.crashLoop()
	case f.ready == system.Yes && f.version != "" && !w.sys.SameVersion(f.version, w.version) && !w.Overridden("version"):
		return Fail(v1alpha1.FaultMember, object, "WrongVersion", "it says that it runs "+f.version+", not "+w.version)
	}
	return Done()
}

// countAnew says that crashes are counted from the next look on: the member is new in hand, or a person resumed.
const countAnew = -1

// crashes counts how often a member ended by itself since it came in hand or passed the checks. What a member did
// before is not held against it: the platform counts from its start, which may be years ago.
func (w *walk) crashes(f *fact) int32 {
	before := w.crashesBefore(f)
	if before == nil {
		return 0
	}
	if *before == countAnew || *before > f.Crashes {
		*before = f.Crashes
	}
	return f.Crashes - *before
}

func (w *walk) crashesBefore(f *fact) *int32 {
	if h := w.st.Hand; h != nil && h.Member == f.View.Name {
		return &h.Crashes
	}
	if d := w.entry(f); d != nil {
		return &d.Crashes
	}
	return nil
}

// choose takes the next member in hand, or finds the component done.
func (w *walk) choose() Move {
	if f := w.unchecked(); f != nil {
		w.take(f, v1alpha1.HandStart)
		return w.advance()
	}
	f, m := w.next()
	if f == nil {
		return m
	}
	w.take(f, v1alpha1.HandBefore)
	dropRuns(w.st, "before/")
	dropRuns(w.st, "drain/")
	dropRuns(w.st, "handover/")
	return w.advance()
}

// unchecked is a member that has the wanted revision and has not passed the checks: it came back new by itself, or
// was replaced by somebody else. It gets all after-checks before another one goes.
func (w *walk) unchecked() *fact {
	for _, f := range w.g.facts {
		if f.expected && f.Revision == w.revision && f.State != ProcessAbsent && !w.done(f) {
			return f
		}
	}
	return nil
}

// raise starts members that do not run. It takes nothing away, and the group may need them before the one in hand can
// become ready: after a reboot all of them are down.
func (w *walk) raise() Move {
	for _, f := range w.g.facts {
		if !f.expected || f.State != ProcessAbsent || w.st.Hand != nil && w.st.Hand.Member == f.View.Name {
			continue
		}
		if m := w.approved(f); m.Kind != MoveDone {
			continue // it is taken in hand, and waits there
		}
		return w.startFitting(f)
	}
	return Done()
}

// next is the outdated member to be replaced next: a broken one first, then by role in the System's order, the
// leader last, then from the highest ordinal down. It returns Done where none is outdated.
func (w *walk) next() (*fact, Move) {
	var best *fact
	bestRank := 0
	for _, f := range w.g.facts {
		if !f.expected || w.done(f) {
			continue
		}
		if f.State == ProcessUnknown {
			return nil, WaitFirmly("member "+f.View.Name, "look", f.why)
		}
		rank, ok := w.rank(f)
		if !ok {
			return nil, Wait("member "+f.View.Name, "role", "its role is not known"+f.whyNoRole())
		}
		if best == nil || rank < bestRank || rank == bestRank && f.View.Ordinal > best.View.Ordinal {
			best, bestRank = f, rank
		}
	}
	if best == nil {
		return nil, Done()
	}
	return best, Move{}
}

func (f *fact) whyNoRole() string {
	if f.why != "" {
		return ": " + f.why
	}
	return ": what it says is none of the roles of its component"
}

// rank orders candidates. A role that is not known is not guessed, unless a person says so or the member is surely down.
func (w *walk) rank(f *fact) (int, bool) {
	if f.bad() {
		return -1, true
	}
	roles := w.g.comp.API().Roles
	if len(roles) == 0 {
		return 0, true
	}
	if f.roleOK {
		if i := slices.IndexFunc(roles, func(r v1alpha1.Role) bool { return r.Name == f.role }); i >= 0 {
			return i, true
		}
	}
	return 0, w.backing || w.Overridden("role") // before the one that is known to be the last
}

// take puts a member in hand and keeps the answers that rules compare with.
func (w *walk) take(f *fact, phase v1alpha1.HandPhase) {
	w.st.Hand = &v1alpha1.Hand{Member: f.View.Name, Phase: phase, Crashes: countAnew}
	if w.st.Best == "" {
		w.st.Best = phase
	}
	w.st.Then, w.st.Left, w.st.Since = "", nil, nil
}

// drop puts the member in hand back, undone. That is no progress, and neither is taking it again.
func (w *walk) drop(why Move) (Move, v1alpha1.HandPhase) {
	w.st.Hand = nil
	return stay(why)
}

// keepThen keeps the answers that rules compare with, each from the first look that has it: one that was
// not given when the step began must not be missing for ever.
func (s *Scene) keepThen(st *v1alpha1.StepStatus, g *group) {
	then, more := thenOf(st), false
	for _, f := range g.facts {
		a := s.sys.ThenOf(f.View.Answers)
		if len(a) > 0 && then[f.View.Name] == nil {
			then[f.View.Name], more = a, true
			continue
		}
		for question, answer := range a {
			if _, ok := then[f.View.Name][question]; !ok {
				then[f.View.Name][question], more = answer, true
			}
		}
	}
	if !more {
		return
	}
	if text, err := json.Marshal(then); err == nil {
		st.Then = string(text)
	}
}

func (g *group) comparesWithThen() bool {
	return slices.ContainsFunc(g.comp.Settled(), (*system.Rule).UsesThen)
}

// thenOf reads what keepThen kept.
func thenOf(st *v1alpha1.StepStatus) map[string]system.Answers {
	then := map[string]system.Answers{}
	if st.Then != "" && json.Unmarshal([]byte(st.Then), &then) != nil {
		return map[string]system.Answers{}
	}
	return then
}

// blame says whose fault it is that a wait took too long. What hangs on a member of the new revision that was
// replaced is the new revision's fault; a question or a rule that nobody can answer is not.
func (s *Scene) blame(m Move) v1alpha1.FailureClass {
	h := s.step.Hand
	switch {
	case s.questionFails(m):
		return v1alpha1.FaultEnvironment
	case s.step.Kind == KindVerify || s.step.Kind == KindSoak:
		return v1alpha1.FaultCheck
	case s.step.Component == "":
		return v1alpha1.FaultEnvironment
	case s.step.Kind == KindMove:
		return s.blameMove(m)
	case h == nil || handOrder(h.Phase) < handOrder(v1alpha1.HandStart):
		if s.badAndNew(m.Wait.Object) {
			return v1alpha1.FaultMember
		}
		return v1alpha1.FaultEnvironment
	}
	switch h.Phase {
	case v1alpha1.HandSettle:
		return v1alpha1.FaultCheck
	case v1alpha1.HandAfter:
		return v1alpha1.FaultEnvironment
	}
	return v1alpha1.FaultMember
}

// badAndNew says that a wait is about a member of the wanted revision that surely does not serve.
func (s *Scene) badAndNew(object string) bool {
	want, _ := s.wanted(s.step.Component)
	return slices.ContainsFunc(s.group(s.step.Component).facts, func(f *fact) bool {
		return f.expected && object == "member "+f.View.Name && f.Revision == want && f.bad()
	})
}

// questionFails says that the question or the rule is at fault: it has no answer for any member that runs, or a rule cannot
// be answered though all members are ready.
func (s *Scene) questionFails(m Move) bool {
	answered, ready := false, true
	for _, c := range s.sys.Components() {
		if s.step.Component != "" && s.step.Component != c.Name() {
			continue
		}
		for _, f := range s.group(c.Name()).facts {
			if f.expected {
				answered = answered || f.State == ProcessRunning && f.ready != system.Unknown
				ready = ready && f.ready == system.Yes
			}
		}
	}
	return !answered && s.someRuns() || m.unknown && ready
}

func (s *Scene) someRuns() bool {
	return slices.ContainsFunc(s.in.Look.Members, func(m Member) bool { return m.State == ProcessRunning })
}

func configureIntent(s *Scene, component string) v1alpha1.Intent {
	revision, version := s.wanted(component)
	return s.configuring(component, revision, version)
}

func (s *Scene) configuring(component, revision, version string) v1alpha1.Intent {
	i := v1alpha1.Intent{Act: v1alpha1.ActConfigure, Component: component, Revision: revision, Version: version,
		Why: "new processes of " + component + " get " + version}
	switch {
	case s.attempt == nil || !s.renews(component):
	case revision == s.revisionAfter(component):
		i.OnlyOn = s.forwardVolumes()
	case s.backing:
		i.NeverOn = s.forwardVolumes()
	}
	return i
}

func startIntent(s *Scene, f *fact, revision, version string) v1alpha1.Intent {
	return v1alpha1.Intent{Act: v1alpha1.ActStart, Component: f.View.Component, Member: f.View.Name, Revision: revision, Version: version, Volume: f.Volume,
		Why: "start it with " + version}
}
