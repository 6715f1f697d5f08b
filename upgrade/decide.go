package upgrade

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// Input is everything that a decision depends on.
type Input struct {
	// Cluster with the spec that a person wants now and the status that was last decided.
	Cluster *v1alpha1.Cluster
	// System as it is known now. A new upgrade takes it; what runs stays on its own.
	System *system.System
	// Unusable is why there is none that is known now. System is then that of what runs, or nil where nothing does.
	Unusable error
	// Systems by hash: System, and all that the status refers to.
	Systems map[string]*system.System
	Look    Look
	// Said is what the platform answered when the act of the pass before was begun, where it refused. It decides nothing: people read it.
	Said string
	// Requests that are in the inbox; those already answered are passed over.
	Requests []v1alpha1.Request
	// Now is the wall clock. It is shown to people and bounds overrides; no deadline counts on it.
	Now time.Time
	// Tick is the time since this runner's last pass, by a clock that never jumps, and zero in its first pass.
	Tick time.Duration
}

// Situation is the name of what was found.
type Situation string

// The situations.
const (
	Idle        Situation = "Idle"        // nothing to do
	Repairing   Situation = "Repairing"   // no attempt runs, and a member that should run does not
	Refused     Situation = "Refused"     // the spec asks for what is not allowed
	Upgrading   Situation = "Upgrading"   // an attempt goes forward
	RollingBack Situation = "RollingBack" // an attempt goes back
	Resting     Situation = "Resting"     // an attempt waits for a person
)

// Decision is what follows from an Input: first Status is stored, if Write says so, then Act is done.
type Decision struct {
	Situation Situation
	// Status to go on with. It must be durable before Act is done, if Write is set.
	Status v1alpha1.ClusterStatus
	Write  bool
	// Act to do now, nil if there is none. Done again with the same id it does nothing twice.
	Act *v1alpha1.Intent
	// Rest is set when nothing will change without a person or an edit.
	Rest bool
	// Again is set when another pass should follow at once, because this one changed the state.
	Again bool
	// Due is set where nothing but time is waited for, and says how much.
	Due time.Duration
	// Refusal says why the spec cannot be followed, in situation Refused.
	Refusal error
	// Events and Ended are what Status has got of each with this decision.
	Events []v1alpha1.Event
	Ended  []v1alpha1.AttemptSummary
}

// Decider decides. Its only state is the table of step kinds.
type Decider struct {
	kinds  []Kind
	byName map[v1alpha1.StepKind]Kind
}

// New returns a Decider with the kinds of step that Theseus brings, and more.
func New(more ...Kind) *Decider {
	d := &Decider{byName: map[v1alpha1.StepKind]Kind{}}
	for _, k := range slices.Concat(builtin(), more) {
		d.kinds = append(d.kinds, k)
		d.byName[k.Name()] = k
	}
	return d
}

// Decide makes one decision. It does not change its input.
func (d *Decider) Decide(in Input) Decision {
	status := own(&in.Cluster.Status)
	s := newScene(&in, status)
	dec := Decision{Situation: Refused, Refusal: s.unusable(), Rest: true}
	if in.System == nil { // and nothing runs
		s.kstatus(&dec)
	} else {
		dec = d.decide(s)
		s.describe(&dec)
	}
	dec.Status, dec.Events, dec.Ended = *status, s.events, s.ended
	dec.Write = changed(&in.Cluster.Status, status)
	return dec
}

// own copies what a decision changes in place. Lists that only grow, and what is replaced as a whole, are shared with
// the input: most passes change little, and copying all of it costs more than deciding.
func own(in *v1alpha1.ClusterStatus) *v1alpha1.ClusterStatus {
	st := *in
	st.Conditions, st.Overrides = slices.Clone(st.Conditions), slices.Clone(st.Overrides)
	st.VersionHistory, st.Events = slices.Clip(st.VersionHistory), slices.Clip(st.Events)
	st.Requests, st.Attempts = slices.Clip(st.Requests), slices.Clip(st.Attempts)
	if st.Applied != nil {
		p := *st.Applied
		st.Applied = &p
	}
	if st.Attempt != nil {
		a := *st.Attempt
		a.Hops, a.Steps = slices.Clone(a.Hops), slices.Clone(a.Steps)
		for i := range a.Steps {
			in.Attempt.Steps[i].DeepCopyInto(&a.Steps[i])
		}
		st.Attempt = &a
	}
	return &st
}

// maxTick is the longest time between two passes that counts as looking: what is longer was not looked at.
const maxTick = 30 * time.Second

func newScene(in *Input, status *v1alpha1.ClusterStatus) *Scene {
	in.Tick = min(in.Tick, maxTick)
	s := &Scene{in: in, status: status, groups: map[string]*group{}, revisions: map[revisionKey]string{}}
	s.open()
	return s
}

// open puts the attempt that runs, or what is applied, on the scene.
func (s *Scene) open() {
	before := *s
	s.status.Journal = v1alpha1.JournalVersion
	s.attempt, s.sys, s.backing = nil, s.in.System, false
	if a := s.status.Attempt; a != nil && !a.Phase.Ended() {
		s.attempt = a
		s.sys = s.in.Systems[a.Target.System.Hash]
		s.backing = a.Phase == v1alpha1.PhaseRollingBack ||
			(resting(a.Phase) && a.Resume == v1alpha1.PhaseRollingBack)
	} else if p := s.status.Applied; p != nil {
		s.sys = s.in.Systems[p.System.Hash]
	}
	s.hop = -1
	if s.attempt != nil {
		s.hop = s.attempt.Hop
	}
	if s.attempt != before.attempt || s.sys != before.sys || s.hop != before.hop || s.backing != before.backing {
		clear(s.groups)
		clear(s.revisions)
	}
}

func resting(p v1alpha1.AttemptPhase) bool {
	return p == v1alpha1.PhasePaused || p == v1alpha1.PhaseStopped
}

// decide names the situation and chooses one move in it.
func (d *Decider) decide(s *Scene) Decision {
	s.expireOverrides()
	s.noteServed()
	if d.answerRequests(s) {
		s.open()
		return Decision{Situation: s.situation(), Again: true}
	}
	if s.followTemplates() {
		return Decision{Situation: s.situation(), Again: true}
	}
	if i := s.mend(); i != nil {
		situation := s.situation()
		if situation == Idle {
			situation = Repairing
		}
		return Decision{Situation: situation, Act: i}
	}
	switch {
	case s.attempt == nil:
		return d.begin(s)
	case resting(s.attempt.Phase):
		if moved := d.leaveRest(s); moved {
			return Decision{Situation: s.situation(), Again: true}
		}
		return Decision{Situation: Resting, Rest: true}
	}
	s.attempt.Clock.Duration += s.in.Tick
	if d.followSpec(s) {
		return Decision{Situation: s.situation(), Again: true}
	}
	if s.backing {
		return d.back(s)
	}
	return d.forward(s)
}

func (s *Scene) situation() Situation {
	switch {
	case s.attempt == nil || s.attempt.Phase.Ended():
		return Idle
	case resting(s.attempt.Phase):
		return Resting
	case s.backing:
		return RollingBack
	}
	return Upgrading
}

// forward looks at the steps in order until one is not over. One look serves them all: what ends a step takes no time, and
// what the next one wants first is decided on what was seen just now.
func (d *Decider) forward(s *Scene) Decision {
	for i := range s.attempt.Steps {
		st := &s.attempt.Steps[i]
		s.step = st
		if st.Phase == v1alpha1.StepDone && !d.cameBack(s, st) {
			continue
		}
		if dec := d.goOn(s, st); st.Phase != v1alpha1.StepDone {
			return dec
		}
	}
	return d.endHop(s)
}

// goOn asks a step what comes next, and begins it before that if nobody did.
func (d *Decider) goOn(s *Scene, st *v1alpha1.StepStatus) Decision {
	if m := s.keepUp(); m.Kind != MoveDone {
		return d.apply(s, m)
	}
	if st.Phase == v1alpha1.StepPending {
		if dec, begun := d.beginStep(s, st); !begun {
			return dec
		}
	}
	return d.apply(s, d.byName[st.Kind].Look(s, st))
}

// keepUp starts members that should run and do not, of the components that the step does not replace, with what
// new processes of theirs get now.
func (s *Scene) keepUp() Move {
	if s.attempt.Base == nil || s.attempt.Pausing {
		return Done() // the first members, or all of them, are what the attempt itself starts
	}
	for _, c := range s.sys.Components() {
		if c.Name() == s.step.Component && replaces(s.step.Kind) || s.moving(c.Name()) != nil {
			continue
		}
		for _, f := range s.group(c.Name()).facts {
			if !f.expected || f.State != ProcessAbsent {
				continue
			}
			if rev, version, known := s.configured(c.Name()); known && !s.tooLow(version) && s.fits(f, version != s.attempt.Base.Spec.Version) {
				return Do(startIntent(s, f, rev, version))
			}
		}
	}
	return Done()
}

// tooLow says that nothing of a version can be started any more, because the hop from it is finalized.
func (s *Scene) tooLow(version string) bool {
	hop := s.Hop()
	return hop.Finalized && !hop.Reopened && version == s.attempt.Base.Spec.Version && version != hop.To && !s.surelyNotFinalized()
}

// configured is what new processes of a component get, where it is one end of the hop.
func (s *Scene) configured(component string) (revision, version string, known bool) {
	got := s.in.Look.Configured[component]
	if got == s.revisionAfter(component) {
		return got, s.Hop().To, true
	}
	return got, s.attempt.Base.Spec.Version, got == s.revisionBefore(component)
}

// cameBack opens a step again that was done and is not any more, if its kind knows such a thing.
func (d *Decider) cameBack(s *Scene, st *v1alpha1.StepStatus) bool {
	k, ok := d.byName[st.Kind].(interface {
		CameBack(s *Scene, st *v1alpha1.StepStatus) bool
	})
	if !ok || !k.CameBack(s, st) {
		return false
	}
	if st.Phase, st.Ended = v1alpha1.StepRunning, nil; s.backing {
		st.Phase = v1alpha1.StepUndoing
	}
	st.ProgressAt = s.attempt.Clock
	s.event("StepReopened", "step "+st.Name, "a member of another revision turned up", true)
	return true
}

func (d *Decider) beginStep(s *Scene, st *v1alpha1.StepStatus) (dec Decision, begun bool) {
	if s.attempt.Pausing {
		return s.rest(v1alpha1.PhasePaused, "paused as asked, before step "+st.Name), false
	}
	if st.Begun == nil {
		now := s.Now()
		st.Begun, st.ProgressAt = &now, s.attempt.Clock
	}
	m := d.byName[st.Kind].Begin(s, st)
	if m.Kind != MoveDone {
		return d.apply(s, m), false
	}
	st.Phase = v1alpha1.StepRunning
	s.Progress()
	return Decision{}, true
}

// back undoes the last step that was begun and is not undone.
func (d *Decider) back(s *Scene) Decision {
	if s.shut() {
		return s.turnForward()
	}
	for i := range slices.Backward(s.attempt.Steps) {
		st := &s.attempt.Steps[i]
		s.step = st
		if (st.Phase == v1alpha1.StepPending || st.Phase == v1alpha1.StepUndone) && !d.cameBack(s, st) {
			continue
		}
		if i = d.undoFirst(s, i); &s.attempt.Steps[i] != st {
			st = &s.attempt.Steps[i]
		}
		s.step = st
		if m := s.keepUp(); m.Kind != MoveDone {
			return d.apply(s, m)
		}
		if st.Phase != v1alpha1.StepUndoing {
			s.turn(st)
		}
		return d.apply(s, d.byName[st.Kind].Undo(s, st))
	}
	return s.endBack()
}

// undoFirst follows needsFirst: a component that cannot become ready without the one before it is undone after it. So
// where step i rolls such a component, the earlier roll of its predecessor goes first.
func (d *Decider) undoFirst(s *Scene, i int) int {
	st := &s.attempt.Steps[i]
	if !replaces(st.Kind) {
		return i
	}
	c := s.sys.Component(st.Component)
	if c == nil || !s.needsFirst(c) {
		return i
	}
	for j := i - 1; j >= 0; j-- {
		before := &s.attempt.Steps[j]
		if replaces(before.Kind) && before.Component != st.Component {
			if (before.Phase == v1alpha1.StepPending || before.Phase == v1alpha1.StepUndone) && !d.cameBack(s, before) {
				return i
			}
			return d.undoFirst(s, j)
		}
	}
	return i
}

func (s *Scene) needsFirst(c *system.Component) bool {
	at := slices.Index(s.sys.Components(), c)
	return c.API().NeedsFirst || c.API().NeedsFirstAlone && at > 0 && s.replicas(s.sys.Components()[at-1]) == 1
}

// turn makes a step go back: what it remembers of the way forward does not count any more.
func (s *Scene) turn(st *v1alpha1.StepStatus) {
	st.Phase, st.ProgressAt, st.Ended = v1alpha1.StepUndoing, s.attempt.Clock, nil
	st.Hand, st.Best, st.Members, st.Then, st.Left, st.Since, st.Moved, st.Message = nil, "", nil, "", nil, nil, nil, ""
	st.Runs, st.Ready = nil, 0
}

// apply carries out what a step wants next.
func (d *Decider) apply(s *Scene, m Move) Decision {
	dec := Decision{Situation: s.situation()}
	if m.Kind == MoveWait && s.expired() {
		m = s.tooLong(m)
	}
	if m.Kind == MoveAct && s.again(m.Act) && s.expired() {
		m = s.neverSeen(m.Act)
	}
	if s.attempt.Pausing && !s.mayPass(m) {
		return s.rest(v1alpha1.PhasePaused, "paused as asked, in step "+s.step.Name)
	}
	switch m.Kind {
	case MoveWait:
		s.wait(m.Wait, true)
		dec.Due = m.due
	case MoveRest:
		s.wait(m.Wait, false)
		dec.Rest = true
	case MoveAct:
		s.intend(m)
		dec.Act = s.attempt.Intent
	case MovePause:
		return s.rest(v1alpha1.PhasePaused, m.Pause)
	case MoveDone:
		s.stepDone()
		dec.Again = true
	case MoveFail:
		dec.Again = true
		d.fail(s, m.Failure)
	}
	return dec
}

// mayPass says whether an attempt that shall pause may still make this move: the member in hand is
// finished, and nothing else is begun.
func (s *Scene) mayPass(m Move) bool {
	if m.Kind == MoveFail || m.Kind == MoveDone || s.halfway() {
		return true
	}
	h := s.step.Hand
	return h != nil && disruptedHand(h)
}

// halfway says that a step took down together what it must first bring up again.
func (s *Scene) halfway() bool {
	return s.step.Kind == KindRecreate && s.step.Since != nil && s.someDown(s.step.Component)
}

func (s *Scene) someDown(component string) bool {
	return slices.ContainsFunc(s.group(component).facts, func(f *fact) bool {
		return f.expected && (f.State == ProcessAbsent || f.State == ProcessStopping)
	})
}

func disruptedHand(h *v1alpha1.Hand) bool {
	return handOrder(h.Phase) > handOrder(v1alpha1.HandReplace) || h.Phase == v1alpha1.HandReplace && h.Incarnation != ""
}

// longWait is how long a wait lasts before an event tells of it. A soak is as long as somebody wanted it to be.
const longWait = time.Minute

// wait keeps since when this is waited for; the deadline moves with progress.
func (s *Scene) wait(w *v1alpha1.WaitingFor, bounded bool) {
	w.Since = s.Now()
	if old := s.waitBefore(); old != nil && old.Object == w.Object && old.Rule == w.Rule {
		w.Since, w.Told = old.Since, old.Told
	}
	if !w.Told && w.Rule != soakRule && s.in.Now.Sub(w.Since.Time) >= longWait {
		w.Told = true
		s.event("Waiting", w.Object, "for "+w.Rule+": "+w.Message, false)
	}
	if bounded {
		left := s.deadline() - (s.Clock() - s.step.ProgressAt.Duration)
		t := metav1.NewTime(s.in.Now.Add(left).Round(time.Second))
		w.Deadline = &t
	}
	s.attempt.WaitingFor = w
	if s.attempt.Intent != nil && w.Rule != seen {
		s.attempt.Intent = nil
	}
}

// waitBefore is what the pass before waited for, whatever was over in between.
func (s *Scene) waitBefore() *v1alpha1.WaitingFor {
	if a := s.in.Cluster.Status.Attempt; a != nil && a.ID == s.attempt.ID {
		return a.WaitingFor
	}
	return nil
}

// seen is the rule that an act's effect is seen.
const seen = "seen"

// again says whether this act was wanted in the pass before already, and is not seen to have happened.
func (s *Scene) again(i *v1alpha1.Intent) bool {
	old := s.attempt.Intent
	if old == nil {
		return false
	}
	same := *i
	same.Step = s.step.Name
	if same.ID == 0 {
		same.ID, same.Why = old.ID, old.Why
	}
	return same == *old
}

func (s *Scene) neverSeen(i *v1alpha1.Intent) Move {
	if f := s.successor(i); f != nil && (f.why != "" || f.State != ProcessRunning) { // where it is well, something else keeps the member from going
		return Fail(v1alpha1.FaultMember, "member "+f.View.Name, "ProgressDeadlineExceeded",
			fmt.Sprintf("it is to come before %s goes, and nothing got better for %s: %s", intentObject(i), s.deadline(), f.comes()))
	}
	return Fail(v1alpha1.FaultEnvironment, intentObject(i), "NotSeen", fmt.Sprintf("%s of %s was asked for and is not seen after %s", i.Act, intentObject(i), s.deadline())+s.excuse(i))
}

// excuse is why an act is not seen, as far as the platform knows: what it answered, or what keeps the process of a member from being there.
func (s *Scene) excuse(i *v1alpha1.Intent) string {
	if f := s.successor(i); f != nil {
		return note(f.View.Name + " comes before it goes: " + f.comes())
	}
	if s.in.Said != "" || i.Act != v1alpha1.ActStart {
		return note(s.in.Said)
	}
	if f := s.group(i.Component).member(i.Member); f != nil && f.State == ProcessAbsent {
		return note(f.Message)
	}
	return ""
}

// successor is who has to prove itself before a member goes that is to stop; nil where that one just goes.
func (s *Scene) successor(i *v1alpha1.Intent) *fact {
	if i.Act != v1alpha1.ActStop {
		return nil
	}
	return s.coming(i.Component, i.Revision)
}

// intend records an act before it is done. The same act wanted again keeps its id, and is waited for.
func (s *Scene) intend(m Move) {
	i := m.Act
	if s.again(i) {
		s.wait(WaitFirmly(intentObject(i), seen, "asked for and not seen yet: "+string(i.Act)+s.excuse(i)).Wait, true)
		return
	}
	i.Step = s.step.Name
	if i.ID == 0 {
		i.ID = s.NewID()
	}
	switch {
	case m.Disruptive && !s.backing:
		s.attempt.Disrupted = true
	case s.backing && (i.Act == v1alpha1.ActStop || i.Act == v1alpha1.ActGrow || i.Act == v1alpha1.ActShrink || i.Act == v1alpha1.ActStart && i.Version != s.Hop().To):
		s.Hop().Reopened = true // the way back is taken, so it was open; with a member gone the software finalizes nothing
	}
	if i.Act == v1alpha1.ActStart && s.attempt.Kind == v1alpha1.AttemptCreate {
		noteWrote(s.attempt)
	}
	s.attempt.Intent, s.attempt.WaitingFor = i, nil
	s.event(string(i.Act), intentObject(i), i.Why, false)
}

func intentObject(i *v1alpha1.Intent) string {
	switch {
	case i.Member != "":
		return "member " + i.Member
	case i.Workload != "":
		return "StatefulSet " + i.Workload
	case i.Component != "":
		return "component " + i.Component
	}
	return "step " + i.Step
}

func (s *Scene) stepDone() {
	now := s.Now()
	s.step.Ended = &now
	s.step.Hand = nil
	if s.backing {
		s.step.Phase = v1alpha1.StepUndone
	} else {
		s.step.Phase = v1alpha1.StepDone
	}
	s.attempt.Intent, s.attempt.WaitingFor = nil, nil
	s.event("StepDone", "step "+s.step.Name, s.step.Message, false)
}

// tooLong turns a wait whose deadline has passed into a failure, and says whose fault it is.
func (s *Scene) tooLong(m Move) Move {
	w := m.Wait
	f := Fail(s.blame(m), w.Object, "ProgressDeadlineExceeded",
		fmt.Sprintf("nothing got better for %s while waiting for %s of %s: %s", s.deadline(), w.Rule, w.Object, w.Message))
	return f
}

// rest stops until a person asks for something.
func (s *Scene) rest(phase v1alpha1.AttemptPhase, why string) Decision {
	a := s.attempt
	if !resting(a.Phase) {
		a.Resume = a.Phase
	}
	a.Phase, a.Rest, a.Pausing = phase, why, false
	a.Intent, a.WaitingFor = nil, nil
	a.HealthyFor = metav1.Duration{}
	s.event(string(phase), "", why, true)
	return Decision{Situation: Resting, Rest: true}
}

// fail gives a failure its consequence: a member's or a check's fault rolls back where the policy says so and a
// way back exists; an environment's pauses; an unknown outcome stops.
func (d *Decider) fail(s *Scene, f *v1alpha1.Failure) {
	a := s.attempt
	f.Step, f.At = s.step.Name, s.Now()
	a.Failure = f
	s.event("Failed", f.Object, f.Reason+": "+f.Message, true)
	switch {
	case f.Class == v1alpha1.FaultUnknown:
		s.rest(v1alpha1.PhaseStopped, "outcome unknown: "+f.Message)
		return
	case s.backing:
		s.rest(v1alpha1.PhasePaused, "going back failed: "+f.Message)
		return
	case f.Class == v1alpha1.FaultEnvironment:
		s.rest(v1alpha1.PhasePaused, f.Message)
		return
	}
	s.noteFailed()
	if object := s.foreignObject(); object != "" {
		s.rest(v1alpha1.PhasePaused, f.Message+"; "+object+" is somebody else's to change: set its template back, or correct it")
		return
	}
	if s.Policy().OnFailure == v1alpha1.FailurePauses {
		s.rest(v1alpha1.PhasePaused, f.Message)
		return
	}
	switch err := d.turnBack(s, v1alpha1.PhaseRolledBack, f.Reason+" of "+f.Object); {
	case err == nil:
	case a.Base == nil:
		s.rest(v1alpha1.PhasePaused, f.Message+"; "+err.Error())
	default:
		s.rest(v1alpha1.PhasePaused, f.Message+"; there is no way back: "+err.Error())
	}
}

// noteFailed keeps what is not to be tried again by itself.
func (s *Scene) noteFailed() {
	switch a := s.attempt; a.Kind {
	case v1alpha1.AttemptUpgrade:
		s.status.FailedTarget = a.To
	case v1alpha1.AttemptRestart:
		p := a.Target // as the next look at the spec will see it: with the System of what is applied
		p.System = a.Base.System
		s.status.FailedRevision = change(s.in.Systems[p.System.Hash], &p)
	}
}

func (s *Scene) forgetFailed() { s.status.FailedTarget, s.status.FailedRevision = "", "" }

// change names what a spec wants however often members were restarted since.
func change(sys *system.System, p *v1alpha1.Pinned) string {
	bare := *p
	bare.Restart = 0
	return revisions(sys, &bare)
}

// revisions names what all components run with.
func revisions(sys *system.System, p *v1alpha1.Pinned) string {
	var list []string
	for _, c := range sys.Components() {
		list = append(list, sys.Revision(p, c.Name(), p.Spec.Version))
	}
	return strings.Join(list, " ")
}

// turnBack begins to go back to the hop's start, if every begun step can.
func (d *Decider) turnBack(s *Scene, end v1alpha1.AttemptPhase, why string) error {
	a := s.attempt
	if a.Base == nil {
		way := "take the cause away and resume, or " + anew
		if Unused(a) {
			way = "correct the spec, or take the cause away and resume; a System that was corrected is taken by adopt-system"
		}
		return errors.New("there is no version to go back to: " + way)
	}
	for i := range a.Steps {
		st := &a.Steps[i]
		if st.Phase == v1alpha1.StepPending {
			continue
		}
		if ok, why := d.byName[st.Kind].Reversible(s, st); !ok {
			return fmt.Errorf("step %s: %s", st.Name, why)
		}
	}
	if a.Resume == v1alpha1.PhaseRollingBack || a.Phase == v1alpha1.PhaseRollingBack {
		end = a.Ending
	}
	a.Phase, a.Ending, a.Resume, a.Rest, a.Pausing = v1alpha1.PhaseRollingBack, end, "", "", false
	a.Intent, a.WaitingFor = nil, nil
	s.backing = true
	s.spendOverrides()
	s.event("RollingBack", "", why, true)
	return nil
}

// turnForward leaves a way back that has shut: the software finalized the hop after the attempt had turned.
func (s *Scene) turnForward() Decision {
	a := s.attempt
	a.Phase, a.Ending, a.Intent, a.WaitingFor = v1alpha1.PhaseRunning, "", nil, nil
	for i := range a.Steps {
		if st := &a.Steps[i]; st.Phase == v1alpha1.StepUndone || st.Phase == v1alpha1.StepUndoing {
			s.turn(st)
			st.Phase = v1alpha1.StepRunning
		}
	}
	s.backing = false
	s.spendOverrides()
	s.event("TurnedForward", "", "the software finalized the hop from "+s.Hop().From+" to "+s.Hop().To+" in the meantime: there is no way back", true)
	return Decision{Situation: Upgrading, Again: true}
}

// changed says whether what must survive changed. The clock alone counts every few seconds, so that waiting
// writes little; what a crash loses of it makes a deadline later, never earlier.
func changed(old, new *v1alpha1.ClusterStatus) bool {
	if old.Attempt == nil || new.Attempt == nil {
		return !reflect.DeepEqual(old, new)
	}
	const coarse = 5 * time.Second
	if old.Attempt.Clock.Duration/coarse != new.Attempt.Clock.Duration/coarse {
		return true
	}
	a, b := *old.Attempt, *new.Attempt
	a.Clock, a.HealthyFor, a.WaitingFor = b.Clock, b.HealthyFor, sameWait(a.WaitingFor, b.WaitingFor)
	o, n := *old, *new
	o.Attempt, n.Attempt = &a, &b
	return !reflect.DeepEqual(&o, &n)
}

// sameWait overlooks what moves by itself in a wait: the deadline, the amount left and the wording.
func sameWait(old, new *v1alpha1.WaitingFor) *v1alpha1.WaitingFor {
	if old == nil || new == nil || old.Object != new.Object || old.Rule != new.Rule {
		return old
	}
	return new
}
