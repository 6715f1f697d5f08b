package upgrade

import (
	"fmt"
	"slices"
	"time"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// The member in hand goes through the phases below, in this order. Each is asked
// in every pass, and says what is to be done or waited for, or which phase is next.
// Everything that permits a disruption is asked again in the look that permits it.

var handPhases = []v1alpha1.HandPhase{v1alpha1.HandBefore, v1alpha1.HandDrain, v1alpha1.HandHandover, v1alpha1.HandReplace,
	v1alpha1.HandStart, v1alpha1.HandReady, v1alpha1.HandSettle, v1alpha1.HandSoak, v1alpha1.HandAfter}

func handOrder(p v1alpha1.HandPhase) int { return slices.Index(handPhases, p) }

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
func (w *walk) budget() int { return budgetOf(w.Policy(), w.g.wantedCount()) }

func budgetOf(p *v1alpha1.UpgradePolicy, wanted int) int {
	most := max(1, int(p.MaxUnavailable))
	if p.AllowDowntime {
		return most
	}
	return min(most, wanted-1)
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
	if h.To != "" && to != h.To && w.underway() { // two at once might each undo what the other does
		return stay(Wait("member "+h.Member, "handover", "giving the role "+f.role+" to "+h.To+" is under way, which cannot take it any more; "+to+" is next"))
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
	if w.unfit(f) {
		return then(v1alpha1.HandStart)
	}
	if f.Revision == w.revision && f.State != ProcessUnknown {
		return then(v1alpha1.HandReady) // it came back with the wanted revision: somebody else replaced it
	}
	if f.State == ProcessStopping {
		return stay(WaitFirmly("member "+h.Member, "stopped", "it is asked to end"+note(f.Message)))
	}
	if w.Attempt().Pausing && h.Incarnation == "" {
		return stay(WaitFirmly("member "+h.Member, "pause", "a pause was asked for")) // no stop of it was decided on before
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
			if o.expected && o.View.Name != f.View.Name && (o.Revision == "" || o.Revision == old || !w.fits(o, true)) {
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
		if w.unfit(f) {
			return stay(w.renew(h, f))
		}
		return stay(Do(startIntent(w.Scene, f, w.revision, w.version)))
	case w.unfit(f):
		if m := w.approved(f); m.Kind != MoveDone {
			return stay(m)
		}
		return stay(w.renew(h, f))
	case f.State == ProcessStopping:
		return stay(WaitFirmly("member "+h.Member, "stopped", "it is asked to end"+note(f.Message)))
	case f.Revision != w.revision:
		// It came back old. It is outdated, and has to be permitted as any other.
		return w.drop(WaitFirmly("member "+h.Member, "revision", "it runs, with another revision"))
	}
	return then(v1alpha1.HandReady)
}

// ready waits until the member is ready and says the wanted version.
func (w *walk) ready(f *fact) (Move, v1alpha1.HandPhase) {
	if f.State == ProcessAbsent || f.Revision != w.revision || w.unfit(f) {
		return then(v1alpha1.HandStart)
	}
	if f.State != ProcessRunning {
		return stay(WaitFirmly("member "+f.View.Name, "runs", f.lacks()))
	}
	if f.ready != system.Yes && !w.Overridden("ready") {
		if o := w.otherUnfit(f); o != nil {
			return w.turnTo(o)
		}
		if o := w.alsoLost(f); o != nil {
			m := Do(w.stop(o))
			m.Disruptive = true
			return stay(m)
		}
		return stay(Wait("member "+f.View.Name, "ready", f.lacks()))
	}
	if f.version == "" && !w.Overridden("version") {
		return stay(Wait("member "+f.View.Name, "version", noVersion))
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
		if o != f && o.expected && o.bad() && o.Revision != w.revision && o.State != ProcessAbsent && o.State != ProcessStopping && w.fits(o, false) {
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

// soakRule is the rule of waits for a soak.
const soakRule = "soak"

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
		if o := w.otherUnfit(f); o != nil {
			return w.turnTo(o)
		}
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
	if !w.passed(f) || h.Since != nil && f.Crashes > h.SoakCrashes { // it may have ended and come back between two looks
		h.Since = nil
		return then(v1alpha1.HandReady)
	}
	if m := w.wholeGroup(f); m.Kind != MoveDone {
		if o := w.otherUnfit(f); o != nil {
			return w.turnTo(o)
		}
		h.Since = nil
		return stay(m)
	}
	if h.Since == nil {
		c := w.attempt.Clock
		h.Since, h.SoakCrashes = &c, f.Crashes
	}
	soak := w.soak(w.g.comp)
	if left := soak - (w.Clock() - h.Since.Duration); left > 0 && !w.Overridden(soakRule) {
		message := fmt.Sprintf("stays ready for %s", soak)
		if f.Crashes > 0 {
			message += note(f.Message)
		}
		return stay(waitFor(left, "member "+h.Member, soakRule, message))
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
		if o := w.otherUnfit(f); o != nil && !w.underway() {
			return w.turnTo(o) // what was begun on it cannot be finished before it is up
		}
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
