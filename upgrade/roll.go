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
			st.Members = append(st.Members, v1alpha1.MemberDone{Name: f.View.Name, Incarnation: f.Incarnation})
		}
	}
}

// walk is one pass over the component.
func (r roll) walk(s *Scene, st *v1alpha1.StepStatus) Move {
	w := &walk{Scene: s, st: st, g: s.group(st.Component)}
	w.revision, w.version = s.wanted(st.Component)
	w.tell()
	if got := s.in.Look.Configured[st.Component]; got != w.revision {
		return Do(configureIntent(s, st.Component))
	}
	if m := w.faults(); m.Kind != MoveDone {
		return m
	}
	w.forgetChanged()
	if st.Hand == nil {
		return w.choose()
	}
	return w.advance()
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
	w.st.Message = fmt.Sprintf("%d of %d members updated", n, w.wantedCount())
}

func (w *walk) wantedCount() (n int) {
	for _, f := range w.g.facts {
		if f.expected {
			n++
		}
	}
	return n
}

// done says that this incarnation passed all checks.
func (w *walk) done(f *fact) bool {
	return f.Revision == w.revision && slices.Contains(w.st.Members, v1alpha1.MemberDone{Name: f.View.Name, Incarnation: f.Incarnation})
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
	case f.Crashes-w.crashesBefore(f) >= crashLimit:
		return Fail(v1alpha1.FaultMember, object, "CrashLoop", fmt.Sprintf("it ended by itself %d times. %s", f.Crashes, f.Message))
	case f.ready == system.Yes && f.version != "" && !w.sys.SameVersion(f.version, w.version) && !w.Overridden("version"):
		return Fail(v1alpha1.FaultMember, object, "WrongVersion", "it says that it runs "+f.version+", not "+w.version)
	}
	return Done()
}

// crashesBefore is what a person let pass by resuming: it is counted from the first look after that.
func (w *walk) crashesBefore(f *fact) int32 {
	h := w.st.Hand
	if h == nil || h.Member != f.View.Name {
		return 0
	}
	if h.Crashes < 0 {
		h.Crashes = f.Crashes
	}
	return h.Crashes
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
	// A member that does not run takes nothing away by being started.
	for _, f := range w.g.facts {
		if f.expected && f.State == ProcessAbsent {
			return f
		}
	}
	return nil
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
			return nil, Wait("member "+f.View.Name, "role", "its role is not known: "+f.why)
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
	w.st.Hand = &v1alpha1.Hand{Member: f.View.Name, Phase: phase, Best: phase}
	if phase == v1alpha1.HandStart {
		w.st.Hand.Incarnation = "" // whatever runs is not one that we stop
	}
	w.st.Then = w.thenNow()
	w.st.Left = nil
	w.Progress()
}

func (w *walk) thenNow() string {
	then := map[string]system.Answers{}
	for _, f := range w.g.facts {
		if a := w.sys.ThenOf(f.View.Answers); len(a) > 0 {
			then[f.View.Name] = a
		}
	}
	if len(then) == 0 {
		return ""
	}
	text, err := json.Marshal(then)
	if err != nil {
		return ""
	}
	return string(text)
}

// thenOf reads what thenNow kept.
func thenOf(st *v1alpha1.StepStatus) map[string]system.Answers {
	then := map[string]system.Answers{}
	if st.Then != "" && json.Unmarshal([]byte(st.Then), &then) != nil {
		return map[string]system.Answers{}
	}
	return then
}

// reach moves the member in hand to a phase; only getting further than ever before is progress.
func (w *walk) reach(p v1alpha1.HandPhase) {
	h := w.st.Hand
	h.Phase = p
	if handOrder(p) > handOrder(h.Best) {
		h.Best = p
		w.Progress()
	}
}

// advance brings the member in hand one move further. Each phase either returns a move or reaches the next.
func (w *walk) advance() Move {
	h := w.st.Hand
	f := w.g.member(h.Member)
	if f == nil {
		w.st.Hand = nil // the spec does not want it any more
		return Wait("member "+h.Member, "look", "it is not there any more")
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
		return w.settle(h, f)
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
		w.st.Hand = nil
		return stay(Wait("member "+h.Member, "pause", "a pause was asked for"))
	}
	if n := w.Policy().PauseAfter; n > 0 && !w.backing && !w.attempt.CanaryShown && w.attempt.Replaced >= n && w.attempt.Kind == v1alpha1.AttemptUpgrade {
		return stay(Rest("member "+h.Member, "canary", fmt.Sprintf("paused after %d member(s), as spec.upgrade.pauseAfter says", w.attempt.Replaced), "resume"))
	}
	if m := w.mayDisrupt(f); m.Kind != MoveDone {
		return stay(m)
	}
	if f.bad() {
		return then(v1alpha1.HandReplace) // nothing to drain and nothing to hand over
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
		return Wait(object, "ready", "whether it is ready is not known: "+f.why)
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
	if m := w.settled(w.g, nil, nil); m.Kind != MoveDone {
		return m
	}
	return Done()
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
	return min(most, w.wantedCount()-1)
}

// memberHook is the path of a hook around the replacement of a member of c.
func memberHook(path func(component, hook string) string, c *system.Component) func(string) string {
	return func(hook string) string { return path(c.Name(), hook) }
}

func (w *walk) drain(h *v1alpha1.Hand, f *fact) (Move, v1alpha1.HandPhase) {
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
	if f.bad() {
		return then(v1alpha1.HandReplace)
	}
	role := w.held(f)
	if role == nil {
		if !f.roleOK && len(w.g.comp.API().Roles) > 0 && !w.backing && !w.Overridden("role") {
			return stay(Wait("member "+h.Member, "role", "its role is not known: "+f.why))
		}
		return then(v1alpha1.HandReplace)
	}
	if w.Overridden("handover") {
		return then(v1alpha1.HandReplace)
	}
	if other := w.otherOutdated(f); other != nil && !w.backing {
		w.st.Hand = nil // the role came to it in the meantime: another member goes first
		return stay(Wait("member "+h.Member, "role", "it became "+f.role+"; others go first"))
	}
	to := w.receiver(h, f)
	if to == "" {
		if w.Policy().AllowDowntime {
			return then(v1alpha1.HandReplace)
		}
		return stay(Wait("member "+h.Member, "handover", "no ready member can take the role "+f.role))
	}
	h.To = to
	c := w.g.comp
	e := errand{key: "handover/" + h.Member + "/" + to, path: system.HandoverPath(c.Name(), role.Name), action: role.Handover, group: w.g,
		hand: h.Member, to: to, retries: 3, unknown: v1alpha1.RepeatOnUnknown, why: "hand the role " + role.Name + " over to " + to}
	m := w.run(e)
	if m.Kind == MoveDone {
		return stay(w.confirm(h, f))
	}
	return stay(m)
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
	if !f.roleOK || w.wantedCount() == 1 {
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

func (w *walk) otherOutdated(f *fact) *fact {
	for _, o := range w.g.facts {
		if o != f && o.expected && o.Revision != w.revision && !w.done(o) {
			return o
		}
	}
	return nil
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
	if h.Incarnation != "" && h.Incarnation == f.Incarnation {
		return stay(Do(w.stop(h, f))) // permitted before, and not seen to happen yet
	}
	if !f.bad() && w.held(f) != nil && !w.Overridden("handover") && w.receiver(h, f) != "" {
		return then(v1alpha1.HandHandover) // the role came back
	}
	if m := w.mayDisrupt(f); m.Kind != MoveDone {
		return stay(m)
	}
	if m := w.approved(f); m.Kind != MoveDone {
		return stay(m)
	}
	h.Incarnation = f.Incarnation
	m := Do(w.stop(h, f))
	m.Disruptive = true
	return stay(m)
}

func (w *walk) stop(h *v1alpha1.Hand, f *fact) v1alpha1.Intent {
	return v1alpha1.Intent{Act: v1alpha1.ActStop, Component: w.g.comp.Name(), Member: h.Member, Incarnation: f.Incarnation,
		Revision: w.revision, Version: w.version, From: w.Hop().From, Why: "replace it by " + w.version}
}

// approved is asked before the last old member goes, where the software finalizes itself with it: then this is the
// point of no plain return, and a person may want to be asked.
func (w *walk) approved(f *fact) Move {
	hop := w.Hop()
	if w.backing || hop.Finalized || w.Edge().Finalizes != v1alpha1.FinalizesWithLastMember || !w.lastOld(f) {
		return Done()
	}
	if m := w.approval(); m.Kind != MoveDone {
		return m
	}
	hop.Finalized = true
	w.event("Finalizing", "member "+f.View.Name, "with the last member of "+hop.From+" the software finalizes "+hop.To, true)
	return Done()
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
		want, _ := w.wanted(c.Name())
		for _, o := range w.group(c.Name()).facts {
			if o.expected && o.View.Name != f.View.Name && o.Revision != want {
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
		return stay(Wait("member "+h.Member, "look", f.why))
	case f.State == ProcessAbsent:
		if f.Broken != "" {
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
		w.st.Hand = nil
		return stay(Wait("member "+h.Member, "revision", "it runs, with another revision"))
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
	if f.ready != system.Yes && !w.Overridden("ready") {
		return stay(Wait("member "+f.View.Name, "ready", f.why+note(f.Message)))
	}
	if f.version == "" && !w.Overridden("version") {
		return stay(Wait("member "+f.View.Name, "version", "it does not say which version it runs"))
	}
	return then(v1alpha1.HandSettle)
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

func (w *walk) settle(h *v1alpha1.Hand, f *fact) (Move, v1alpha1.HandPhase) {
	if !w.passed(f) {
		return then(v1alpha1.HandReady)
	}
	var left leftover
	m := w.settled(w.g, thenOf(w.st), &left)
	w.noteLeft(left)
	if m.Kind != MoveDone {
		return stay(w.orBring(m))
	}
	h.Since = nil
	return then(v1alpha1.HandSoak)
}

// orBring does what brings a rule about, where the System says how.
func (w *walk) orBring(m Move) Move {
	for _, r := range w.g.comp.Settled() {
		if "settled/"+r.Name() == m.Wait.Rule && r.Bring() != nil {
			return w.bring(r, system.SettledBringPath(w.g.comp.Name(), r.Name()), w.g, m)
		}
	}
	return m
}

// bring repeats an action until the rule holds; between runs the look decides.
func (s *Scene) bring(r *system.Rule, path string, g *group, wait Move) Move {
	e := errand{key: "bring/" + r.Name(), path: path, action: r.Bring(), group: g, retries: 5, unknown: v1alpha1.RepeatOnUnknown, why: "bring about: " + r.Name()}
	m := s.run(e)
	if m.Kind == MoveDone {
		dropRuns(s.step, e.key+"@")
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
	if h.Since == nil {
		c := w.attempt.Clock
		h.Since = &c
	}
	soak := w.soak(w.g.comp)
	if gone := w.Clock() - h.Since.Duration; gone < soak && !w.Overridden("soak") {
		return stay(Wait("member "+h.Member, "soak", fmt.Sprintf("stays ready for %s", soak)))
	}
	return then(v1alpha1.HandAfter)
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
	w.st.Members = append(w.st.Members, v1alpha1.MemberDone{Name: h.Member, Incarnation: f.Incarnation})
	w.st.Hand = nil
	if !w.backing {
		w.attempt.Replaced++
	}
	w.event("MemberReplaced", "member "+h.Member, "runs "+w.version+" and passed all checks", false)
	w.tell()
	w.Progress()
	return stay(w.choose())
}

// blame says whose fault it is that a wait took too long. What hangs on a member of the new revision that was
// replaced is the new revision's fault; a question that nobody answers is not.
func (s *Scene) blame(w *v1alpha1.WaitingFor) v1alpha1.FailureClass {
	h := s.step.Hand
	if s.step.Kind == KindVerify || s.step.Kind == KindSoak {
		return v1alpha1.FaultCheck
	}
	if s.step.Component == "" {
		return v1alpha1.FaultEnvironment
	}
	g := s.group(s.step.Component)
	want, _ := s.wanted(s.step.Component)
	if h == nil || handOrder(h.Phase) < handOrder(v1alpha1.HandStart) {
		for _, f := range g.facts {
			if f.expected && w.Object == "member "+f.View.Name && f.Revision == want && f.bad() {
				return v1alpha1.FaultMember
			}
		}
		return v1alpha1.FaultEnvironment
	}
	switch h.Phase {
	case v1alpha1.HandSettle:
		return v1alpha1.FaultCheck
	case v1alpha1.HandAfter:
		return v1alpha1.FaultEnvironment
	}
	f := g.member(h.Member)
	if f != nil && f.ready == system.Unknown && s.nobodyAnswers(g) {
		return v1alpha1.FaultEnvironment
	}
	return v1alpha1.FaultMember
}

// nobodyAnswers says that the question fails for every running member, old and new: the question is at fault.
func (s *Scene) nobodyAnswers(g *group) bool {
	for _, f := range g.facts {
		if f.expected && f.ready != system.Unknown && f.State == ProcessRunning {
			return false
		}
	}
	return true
}

func configureIntent(s *Scene, component string) v1alpha1.Intent {
	rev, version := s.wanted(component)
	return v1alpha1.Intent{Act: v1alpha1.ActConfigure, Component: component, Revision: rev, Version: version,
		Why: "new processes of " + component + " get " + version}
}
