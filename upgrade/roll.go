package upgrade

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

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

var handPhases = []v1alpha1.HandPhase{v1alpha1.HandBefore, v1alpha1.HandDrain, v1alpha1.HandHandover, v1alpha1.HandReplace,
	v1alpha1.HandStart, v1alpha1.HandReady, v1alpha1.HandSettle, v1alpha1.HandSoak, v1alpha1.HandAfter}

func handOrder(p v1alpha1.HandPhase) int { return slices.Index(handPhases, p) }

func (roll) Name() v1alpha1.StepKind { return KindRoll }

func (roll) Steps(h *HopPlan) []Planned {
	if h.Edge.Strategy == v1alpha1.Recreate || startsAll(h.Attempt.Kind) {
		return nil
	}
	var out []Planned
	comps := h.System.Components()
	for i, c := range comps {
		n := float64(h.Replicas(c.Name()))
		out = append(out, Planned{Place: PlaceRoll, Name: "roll " + c.Name(), Component: c.Name(), Disrupts: true,
			Irreversible: i == len(comps)-1 && h.Edge.Finalizes == v1alpha1.FinalizesWithLastMember,
			Seconds:      n * (secondsToReplace + h.Soak(c.Name())), Waits: rollWaits(c)})
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
	if got := s.in.Look.Configured[st.Component]; got != w.revision {
		return Do(configureIntent(s, st.Component))
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
		return f.expected && f.State != ProcessUnknown && f.Revision != "" && f.Revision != want
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
	w.st.Message = fmt.Sprintf("%d of %d members updated", n, w.g.wantedCount())
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
	return Done()
}

func (w *walk) fault(f *fact) Move {
	object := "member " + f.View.Name
	switch {
	case f.Broken != "":
		return Fail(v1alpha1.FaultMember, object, "MemberBroken", f.Broken)
	case w.crashes(f) >= crashLimit:
		return Fail(v1alpha1.FaultMember, object, "CrashLoop", fmt.Sprintf("it ended by itself %d times. %s", f.Crashes, f.Message))
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
		return Do(startIntent(w.Scene, f, w.revision, w.version))
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
	return len(roles), w.backing || w.Overridden("role")
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

// reach moves the member in hand to a phase; only getting further than ever before is progress.
func (w *walk) reach(p v1alpha1.HandPhase) {
	w.st.Hand.Phase = p
	if handOrder(p) > handOrder(w.st.Best) {
		w.st.Best = p
		w.Progress()
	}
}

// advance brings the member in hand one move further. Each phase either returns a move or reaches the next.
func (w *walk) advance() Move {
	h := w.st.Hand
	f := w.g.member(h.Member)
	if f == nil {
		m, _ := w.drop(WaitFirmly("member "+h.Member, "look", "it is not there any more"))
		return m
	}
	if w.g.comparesWithThen() {
		w.keepThen(w.st, w.g)
	}
	for {
		m, next := w.phase(h, f)
		if next == "" {
			return m
		}
		w.reach(next)
	}
}

// phase is one phase of the member in hand: a move, or the phase to go on with.
func (w *walk) phase(h *v1alpha1.Hand, f *fact) (Move, v1alpha1.HandPhase) {
	switch h.Phase {
	case v1alpha1.HandBefore:
		return w.before(h, f)
	case v1alpha1.HandDrain:
		return w.drain(h, f)
	case v1alpha1.HandHandover:
		return w.handover(h, f)
	case v1alpha1.HandReplace:
		return w.replace(h, f)
	case v1alpha1.HandStart:
		return w.start(h, f)
	case v1alpha1.HandReady:
		return w.ready(f)
	case v1alpha1.HandSettle:
		return w.settling(h, f)
	case v1alpha1.HandSoak:
		return w.soaking(h, f)
	default:
		return w.after(h, f)
	}
}

// then is what a phase returns to go on with another one.
func then(p v1alpha1.HandPhase) (Move, v1alpha1.HandPhase) { return Move{}, p }

func stay(m Move) (Move, v1alpha1.HandPhase) { return m, "" }

// before waits until the group can spare the member, then runs the before-hooks. A pause and the canary stop here.
func (w *walk) before(h *v1alpha1.Hand, f *fact) (Move, v1alpha1.HandPhase) {
	if w.Attempt().Pausing {
		return w.drop(WaitFirmly("member "+h.Member, "pause", "a pause was asked for"))
	}
	if n := w.Policy().PauseAfter; n > 0 && !w.backing && !w.attempt.CanaryShown && w.attempt.Replaced >= n && w.attempt.Kind == v1alpha1.AttemptUpgrade {
		w.attempt.CanaryShown = true
		return w.drop(Pause(fmt.Sprintf("paused after %d member(s), as spec.upgrade.pauseAfter says; resume to go on", w.attempt.Replaced)))
	}
	if m := w.mayDisrupt(f); m.Kind != MoveDone {
		return w.orWorse(f, m)
	}
	if f.bad() || w.condemned(f) && f.ready != system.Yes {
		return then(v1alpha1.HandReplace) // nothing to drain and nothing to hand over; one that hangs cannot even be asked
	}
	if m := w.consent(f); m.Kind != MoveDone {
		return stay(m) // asked before the member is drained, because a person may take hours
	}
	c := w.g.comp
	if m := w.hooks(c.API().Before, memberHook(system.MemberBeforePath, c), "before", w.g, h.Member); m.Kind != MoveDone {
		return stay(m)
	}
	return then(v1alpha1.HandDrain)
}

// mayDisrupt is promise 1, asked in the look that permits the disruption and in those that prepare it.
func (w *walk) mayDisrupt(f *fact) Move {
	object := "member " + f.View.Name
	if !w.in.Look.Complete {
		return WaitFirmly(object, "look", "the list of members is not complete")
	}
	if f.bad() {
		return Done() // takes nothing away
	}
	others, names := w.g.unavailable(f.View.Name)
	if f.ready == system.Unknown && !w.condemned(f) {
		return WaitFirmly(object, "ready", "whether it is ready is not known: "+f.why)
	}
	if others+1 > w.budget() {
		rule := "budget"
		msg := fmt.Sprintf("%d more of %s may be unavailable, and unavailable are %v", w.budget(), w.g.comp.Name(), names)
		if others > 0 {
			return WaitFirmly("member "+names[0], rule, msg+w.whyNot(names[0]))
		}
		return WaitFirmly("component "+w.g.comp.Name(), rule, msg)
	}
	if w.condemned(f) {
		return Done() // a bad revision goes; a group that it keeps from settling cannot be waited for
	}
	return w.settle(w.g)
}

// orWorse puts back a member that may not go, where another one is to be replaced too and surely does not serve: it uses up the
// budget until it has been replaced, and one that crashes now and then may have looked well when the choice was made.
func (w *walk) orWorse(f *fact, m Move) (Move, v1alpha1.HandPhase) {
	for _, o := range w.g.facts {
		if o != f && o.expected && o.Revision != w.revision && o.State != ProcessAbsent && o.bad() && !w.underway() {
			return w.drop(WaitFirmly("member "+o.View.Name, "order", "it does not serve, and goes before "+f.View.Name))
		}
	}
	return stay(m)
}

// underway says that a run of this step has not ended: whoever it is done on stays in hand.
func (w *walk) underway() bool {
	return slices.ContainsFunc(w.st.Runs, func(r v1alpha1.RunRef) bool { return !r.Done && w.in.Look.Runs[r.ID].Phase == Underway })
}

func (w *walk) whyNot(name string) string {
	if f := w.g.member(name); f != nil {
		return ": " + f.why
	}
	return ""
}

// condemned says that an attempt that goes back takes this member because its revision is the one to be left.
func (w *walk) condemned(f *fact) bool { return w.backing && f.Revision != w.revision }

// budget is how many members may be unavailable: never all of them, unless downtime is allowed.
func (w *walk) budget() int {
	most := max(1, int(w.Policy().MaxUnavailable))
	if w.Policy().AllowDowntime {
		return most
	}
	return min(most, w.g.wantedCount()-1)
}

// memberHook is the path of a hook around the replacement of a member of c.
func memberHook(path func(component, hook string) string, c *system.Component) func(string) string {
	return func(hook string) string { return path(c.Name(), hook) }
}

func (w *walk) drain(h *v1alpha1.Hand, f *fact) (Move, v1alpha1.HandPhase) {
	if f.bad() {
		return then(v1alpha1.HandReplace) // it died while it was drained
	}
	c := w.g.comp
	if d := c.API().Drain; d != nil {
		list := []v1alpha1.Hook{*d}
		list[0].Name = "drain"
		if m := w.hooks(list, func(string) string { return system.DrainPath(c.Name()) }, "drain", w.g, h.Member); m.Kind != MoveDone {
			return stay(m)
		}
	}
	return then(v1alpha1.HandHandover)
}

// handover gives the role away and asks until it is gone. A handover that fails stops the attempt: the leader is
// never just taken down.
func (w *walk) handover(h *v1alpha1.Hand, f *fact) (Move, v1alpha1.HandPhase) {
	role, m := w.toGiveAway(h, f)
	switch {
	case m.Kind != MoveDone:
		return stay(m)
	case role == nil:
		return then(v1alpha1.HandReplace)
	}
	to := w.receiver(h, f)
	if to == "" {
		return stay(Wait("member "+h.Member, "handover", "no ready member can take the role "+f.role))
	}
	h.To = to
	c := w.g.comp
	e := errand{key: "handover/" + h.Member + "/" + to, path: system.HandoverPath(c.Name(), role.Name), action: role.Handover, group: w.g,
		hand: h.Member, to: to, retries: 3, unknown: v1alpha1.RepeatOnUnknown, why: "hand the role " + role.Name + " over to " + to}
	if m = w.run(e); m.Kind == MoveDone {
		m = w.confirm(h, f)
	}
	return stay(m)
}

// toGiveAway is promise 4, asked before a handover and again in the look that permits the disruption: the role that the
// member in hand must give away before it goes, nil if none; or what to wait for.
func (w *walk) toGiveAway(h *v1alpha1.Hand, f *fact) (*v1alpha1.Role, Move) {
	if f.bad() || len(w.g.comp.API().Roles) == 0 {
		return nil, Done()
	}
	rank, known := w.rank(f)
	if !known {
		return nil, Wait("member "+h.Member, "role", "its role is not known"+f.whyNoRole())
	}
	if w.otherGoesFirst(f, rank) {
		w.st.Hand = nil // the role came to it in the meantime
		return nil, WaitFirmly("member "+h.Member, "order", "it became "+f.role+", and others go first")
	}
	role := w.held(f)
	if role == nil || w.Overridden("handover") || w.Policy().AllowDowntime && w.receiver(h, f) == "" {
		return nil, Done()
	}
	return role, Done()
}

// handoverPatience is how long after a handover's good reply the role may take to be seen elsewhere before it is asked for again.
const handoverPatience = 10 * time.Second

func (w *walk) confirm(h *v1alpha1.Hand, f *fact) Move {
	if w.st.Since == nil {
		c := w.attempt.Clock
		w.st.Since = &c
	}
	if w.Clock()-w.st.Since.Duration > handoverPatience {
		w.st.Since = nil
		dropRuns(w.st, "handover/"+h.Member)
	}
	return Wait("member "+f.View.Name, "handover", "it still is "+f.role+" after the handover to "+h.To)
}

// held is the role with a handover that the member surely holds.
func (w *walk) held(f *fact) *v1alpha1.Role {
	if !f.roleOK || w.g.wantedCount() == 1 {
		return nil
	}
	roles := w.g.comp.API().Roles
	for i := range roles {
		if roles[i].Name == f.role && roles[i].Handover != nil {
			return &roles[i]
		}
	}
	return nil
}

// otherGoesFirst says that an outdated member comes before this one in the order of roles, or may do so.
func (w *walk) otherGoesFirst(f *fact, rank int) bool {
	return slices.ContainsFunc(w.g.facts, func(o *fact) bool {
		if o == f || !o.expected || o.Revision == w.revision || o.State == ProcessAbsent {
			return false
		}
		other, known := w.rank(o)
		return !known || other < rank
	})
}

// receiver of the role: the one chosen before if it still can, else a member of the wanted revision, else any that may.
func (w *walk) receiver(h *v1alpha1.Hand, f *fact) string {
	var found string
	for _, o := range w.g.facts {
		if o == f || !o.expected || o.ready != system.Yes || o.roleOK && o.role == f.role {
			continue
		}
		sc := w.scope()
		sc.M, sc.To, sc.All = &f.View, &o.View, w.g.all
		if may, _ := w.g.comp.MayTakeOver(f.role, &sc); may != system.Yes {
			continue
		}
		if o.View.Name == h.To {
			return h.To
		}
		if found == "" || o.Revision == w.revision && w.g.member(found).Revision != w.revision {
			found = o.View.Name
		}
	}
	return found
}

// replace stops the process: the disruption. Everything that permits it is asked in this look again.
func (w *walk) replace(h *v1alpha1.Hand, f *fact) (Move, v1alpha1.HandPhase) {
	w.st.Since = nil
	if f.State == ProcessAbsent {
		return then(v1alpha1.HandStart)
	}
	if f.Revision == w.revision && f.State != ProcessUnknown {
		return then(v1alpha1.HandReady) // it came back with the wanted revision: somebody else replaced it
	}
	if f.State == ProcessStopping {
		return stay(WaitFirmly("member "+h.Member, "stopped", "it is asked to end. "+f.Message))
	}
	// A stop that was permitted before and is not seen to have happened is permitted anew: much may have changed since.
	if m := w.mayDisrupt(f); m.Kind != MoveDone {
		return w.orWorse(f, m)
	}
	role, m := w.toGiveAway(h, f)
	switch {
	case m.Kind != MoveDone:
		return stay(m)
	case role != nil:
		return then(v1alpha1.HandHandover) // the role came back
	}
	if m := w.approved(f); m.Kind != MoveDone {
		return stay(m)
	}
	h.Incarnation = f.Incarnation
	m = Do(w.stop(f))
	m.Disruptive = true
	return stay(m)
}

func (w *walk) stop(f *fact) v1alpha1.Intent {
	return v1alpha1.Intent{Act: v1alpha1.ActStop, Component: w.g.comp.Name(), Member: f.View.Name, Incarnation: f.Incarnation,
		Revision: w.revision, Version: w.version, From: w.Hop().From, Why: "replace it by " + w.version}
}

// approved is asked before the last old member goes, where the software finalizes itself with it: then this is the
// point of no plain return, and a person may want to be asked.
func (w *walk) approved(f *fact) Move {
	if m := w.consent(f); m.Kind != MoveDone {
		return m
	}
	hop := w.Hop()
	if !w.pointOfNoReturn(f) {
		return Done()
	}
	hop.Finalized = true
	w.event("Finalizing", "member "+f.View.Name, "with the last member of "+hop.From+" the software finalizes "+hop.To, true)
	return Done()
}

// consent is a person's, where going on with this member is the point of no return.
func (w *walk) consent(f *fact) Move {
	if !w.pointOfNoReturn(f) {
		return Done()
	}
	return w.approval()
}

func (w *walk) pointOfNoReturn(f *fact) bool {
	return !w.backing && !w.Hop().Finalized && w.Edge().Finalizes == v1alpha1.FinalizesWithLastMember && w.lastOld(f)
}

// approval waits for a person before the last hop becomes irreversible, if the policy says so.
func (s *Scene) approval() Move {
	if s.Policy().Finalize != v1alpha1.Manual || !s.LastHop() || s.attempt.Approved || s.Overridden("approval") {
		return Done()
	}
	hop := s.Hop()
	return Rest("hop "+hop.From+" to "+hop.To, "approval", "what comes next makes the hop irreversible", "finalize")
}

// lastOld says whether no other member of any component is still of the old revision.
func (w *walk) lastOld(f *fact) bool {
	for _, c := range w.sys.Components() {
		old := w.revisionBefore(c.Name())
		for _, o := range w.group(c.Name()).facts {
			if o.expected && o.View.Name != f.View.Name && (o.Revision == "" || o.Revision == old) {
				return false
			}
		}
	}
	return true
}

// start brings the member up with the wanted revision.
func (w *walk) start(h *v1alpha1.Hand, f *fact) (Move, v1alpha1.HandPhase) {
	switch {
	case f.State == ProcessUnknown:
		return stay(WaitFirmly("member "+h.Member, "look", f.why))
	case f.State == ProcessAbsent:
		if f.Broken != "" && f.Revision == w.revision {
			return stay(Fail(v1alpha1.FaultMember, "member "+h.Member, "MemberBroken", f.Broken))
		}
		if m := w.approved(f); m.Kind != MoveDone {
			return stay(m)
		}
		return stay(Do(startIntent(w.Scene, f, w.revision, w.version)))
	case f.State == ProcessStopping:
		return stay(WaitFirmly("member "+h.Member, "stopped", "it is asked to end. "+f.Message))
	case f.Revision != w.revision:
		// It came back old. It is outdated, and has to be permitted as any other.
		return w.drop(WaitFirmly("member "+h.Member, "revision", "it runs, with another revision"))
	}
	return then(v1alpha1.HandReady)
}

func startIntent(s *Scene, f *fact, revision, version string) v1alpha1.Intent {
	return v1alpha1.Intent{Act: v1alpha1.ActStart, Component: f.View.Component, Member: f.View.Name, Revision: revision, Version: version,
		Why: "start it with " + version}
}

// ready waits until the member is ready and says the wanted version.
func (w *walk) ready(f *fact) (Move, v1alpha1.HandPhase) {
	if f.State == ProcessAbsent || f.Revision != w.revision {
		return then(v1alpha1.HandStart)
	}
	if f.State != ProcessRunning {
		return stay(WaitFirmly("member "+f.View.Name, "runs", f.why+note(f.Message)))
	}
	if f.ready != system.Yes && !w.Overridden("ready") {
		if o := w.alsoLost(f); o != nil {
			m := Do(w.stop(o))
			m.Disruptive = true
			return stay(m)
		}
		return stay(Wait("member "+f.View.Name, "ready", f.why+note(f.Message)))
	}
	if f.version == "" && !w.Overridden("version") {
		return stay(Wait("member "+f.View.Name, "version", "it does not say which version it runs"))
	}
	return then(v1alpha1.HandSettle)
}

// alsoLost is, on the way back, another member of the revision to be left that surely does not serve. It goes while the one in
// hand is not ready yet: that takes nothing away, and the group may need both before either can become ready.
func (w *walk) alsoLost(f *fact) *fact {
	if !w.backing || !w.in.Look.Complete {
		return nil
	}
	for _, o := range w.g.facts {
		if o != f && o.expected && o.bad() && o.Revision != w.revision && o.State != ProcessAbsent && o.State != ProcessStopping {
			return o
		}
	}
	return nil
}

func note(message string) string {
	if message == "" {
		return ""
	}
	return ". " + message
}

// passed says whether the checks before still hold; if not, the member goes back to the first of them. Only
// getting further than ever is progress, so that flapping ends by the deadline.
func (w *walk) passed(f *fact) bool {
	return f.State == ProcessRunning && f.Revision == w.revision && (f.ready == system.Yes || w.Overridden("ready"))
}

func (w *walk) settling(h *v1alpha1.Hand, f *fact) (Move, v1alpha1.HandPhase) {
	if !w.passed(f) {
		return then(v1alpha1.HandReady)
	}
	if w.condemnedDown(f) {
		return then(v1alpha1.HandSoak) // the group cannot settle before these are back too
	}
	var left leftover
	m := w.settled(w.g, thenOf(w.st), &left)
	w.noteLeft(left)
	if m.Kind != MoveDone {
		return stay(w.orBring(w.g, m))
	}
	h.Since = nil
	return then(v1alpha1.HandSoak)
}

// condemnedDown says that other members still have the revision to be left, and do not serve: they keep the group from
// settling, and are what goes next.
func (w *walk) condemnedDown(f *fact) bool {
	return w.backing && slices.ContainsFunc(w.g.facts, func(o *fact) bool {
		return o != f && o.expected && o.Revision != w.revision && o.ready != system.Yes
	})
}

// settle waits until a component has settled, and does what brings that about where the System says how.
func (s *Scene) settle(g *group) Move {
	m := s.settled(g, nil, nil)
	if m.Kind != MoveDone {
		return s.orBring(g, m)
	}
	return m
}

// orBring does what brings a rule about, where the System says how.
func (s *Scene) orBring(g *group, m Move) Move {
	for _, r := range g.comp.Settled() {
		if "settled/"+r.Name() == m.Wait.Rule && r.Bring() != nil {
			return s.bring(r, system.SettledBringPath(g.comp.Name(), r.Name()), g, m)
		}
	}
	return m
}

// bring repeats an action until the rule holds; between runs the look decides.
func (s *Scene) bring(r *system.Rule, path string, g *group, wait Move) Move {
	e := errand{key: "bring/" + r.Name(), path: path, action: r.Bring(), group: g, hand: wait.member, retries: 5,
		unknown: v1alpha1.RepeatOnUnknown, why: "bring about: " + r.Name()}
	m := s.run(e)
	if m.Kind == MoveDone {
		if s.rested(e.key + "@") {
			dropRuns(s.step, e.key+"@")
		}
		return wait
	}
	if m.Kind == MoveWait {
		m.Wait.Object, m.Wait.Rule, m.Wait.Override, m.Wait.Left = wait.Wait.Object, wait.Wait.Rule, wait.Wait.Override, wait.Wait.Left
	}
	return m
}

// soaking waits until the member has stayed good for long enough.
func (w *walk) soaking(h *v1alpha1.Hand, f *fact) (Move, v1alpha1.HandPhase) {
	if !w.passed(f) {
		h.Since = nil
		return then(v1alpha1.HandReady)
	}
	if m := w.wholeGroup(f); m.Kind != MoveDone {
		h.Since = nil
		return stay(m)
	}
	if h.Since == nil {
		c := w.attempt.Clock
		h.Since = &c
	}
	soak := w.soak(w.g.comp)
	if left := soak - (w.Clock() - h.Since.Duration); left > 0 && !w.Overridden("soak") {
		return stay(waitFor(left, "member "+h.Member, "soak", fmt.Sprintf("stays ready for %s", soak)))
	}
	return then(v1alpha1.HandAfter)
}

func (w *walk) otherOutdated(f *fact) bool {
	return slices.ContainsFunc(w.g.facts, func(o *fact) bool { return o != f && o.expected && o.Revision != w.revision })
}

// wholeGroup makes the last member's soak that of its component: all members are ready, and settled.
func (w *walk) wholeGroup(f *fact) Move {
	if w.otherOutdated(f) {
		return Done()
	}
	if n, names := w.g.unavailable(f.View.Name); n > 0 && !w.Overridden("ready") {
		return Wait("member "+names[0], "ready", "the whole group soaks"+w.whyNot(names[0]))
	}
	return w.settle(w.g)
}

func (w *walk) after(h *v1alpha1.Hand, f *fact) (Move, v1alpha1.HandPhase) {
	c := w.g.comp
	if m := w.hooks(c.API().After, memberHook(system.MemberAfterPath, c), "after", w.g, h.Member); m.Kind != MoveDone {
		return stay(m)
	}
	if !w.passed(f) {
		return then(v1alpha1.HandReady)
	}
	dropRuns(w.st, "after/")
	w.st.Members = append(w.st.Members, v1alpha1.MemberDone{Name: h.Member, Incarnation: f.Incarnation, Crashes: f.Crashes})
	w.st.Hand, w.st.Best = nil, ""
	if !w.backing {
		w.attempt.Replaced++
	}
	w.event("MemberReplaced", "member "+h.Member, "runs "+w.version+" and passed all checks", false)
	w.tell()
	w.Progress()
	return stay(w.choose())
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
	rev, version := s.wanted(component)
	return v1alpha1.Intent{Act: v1alpha1.ActConfigure, Component: component, Revision: rev, Version: version,
		Why: "new processes of " + component + " get " + version}
}
