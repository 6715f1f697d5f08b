package upgradetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/upgrade"
)

// people edit the spec, ask, break things, and in the end look after what rests.
type people struct {
	campaigns int // upgrades and restarts still to be wanted
	ids       int
	rests     int // how often a rest was answered since the last attempt began
	attempt   int64
	tune      int
	done      bool
	patient   bool          // they repair what failed and see whether it heals
	until     time.Duration // and ask nothing until then
}

// live is what people do from time to time.
func (w *World) live() {
	if w.wrong != nil || w.people.done {
		return
	}
	w.answered()
	st := &w.journal.cluster.Status
	a := running(st)
	if a != nil && a.ID != w.people.attempt {
		w.people.attempt, w.people.rests = a.ID, 0
	}
	switch {
	case a == nil:
		w.want(st)
	case a.Phase == v1alpha1.PhasePaused || a.Phase == v1alpha1.PhaseStopped:
		w.lookAfter(a)
	default:
		w.approve(a)
		w.interfere(a)
	}
	w.after(w.between(2*time.Second, 15*time.Second), w.live)
}

// want edits the spec so that there is something to do.
func (w *World) want(st *v1alpha1.ClusterStatus) {
	spec := &w.journal.cluster.Spec
	if !w.quiet() && w.now > w.calm {
		clear(w.bad) // nothing runs that could tell: somebody repairs what does not serve
		w.repairProcesses()
	}
	if st.Applied == nil || !w.quiet() {
		return
	}
	at := slices.Index(versions, st.Applied.Spec.Version)
	if st.FailedTarget == spec.Version || st.FailedRevision != "" {
		w.afterFailure(st)
		return
	}
	if slices.Index(versions, spec.Version) < at {
		w.edit("a lower version set back", func(s *v1alpha1.ClusterSpec) { s.Version = st.Applied.Spec.Version })
		return
	}
	if spec.Version != st.Applied.Spec.Version && spec.Options["tune"] != st.Applied.Spec.Options["tune"] && w.rand.IntN(3) == 0 {
		w.edit("option set back", func(s *v1alpha1.ClusterSpec) { s.Options = st.Applied.Spec.Options }) // it may be refused
		return
	}
	if spec.Version != st.Applied.Spec.Version || spec.Options["tune"] != st.Applied.Spec.Options["tune"] {
		return // it is about to begin
	}
	if w.people.campaigns == 0 {
		w.people.done = true
		return
	}
	w.people.campaigns--
	switch {
	case at < len(versions)-1 && w.rand.IntN(5) > 0:
		w.edit("version", func(s *v1alpha1.ClusterSpec) {
			s.Version = versions[min(at+1+weighted(w.rand, 70, 20, 10), len(versions)-1)]
			if w.rand.IntN(4) == 0 {
				w.people.tune++
				s.Options = map[string]string{"tune": fmt.Sprint(w.people.tune)}
			}
		})
		w.spoil()
	case w.rand.IntN(4) == 0:
		w.say("somebody stops all members, and starts them again")
		w.stopAll()
	case w.rand.IntN(2) == 0:
		w.people.tune++
		w.edit("option", func(s *v1alpha1.ClusterSpec) { s.Options = map[string]string{"tune": fmt.Sprint(w.people.tune)} })
	default:
		w.hits[AskRestart]++
		w.ask(v1alpha1.Request{Kind: v1alpha1.RequestRestart})
	}
}

// quiet says that nothing is under way in the world any more.
func (w *World) quiet() bool {
	return len(w.inbox) == 0 && !slices.ContainsFunc(w.members, func(m *member) bool { return !m.extra && !w.serves(m) })
}

// spoil makes the version that is wanted a bad one, sometimes.
func (w *World) spoil() {
	traits := []Fault{CrashLoop, NeverReady, ReadyThenCrash, WrongVersion, BrokenVersion, Silent}
	t := traits[w.rand.IntN(len(traits))]
	if w.on[t] && w.now < w.calm && w.rand.IntN(3) == 0 {
		w.bad[w.journal.cluster.Spec.Version] = t
		w.say("version %s is bad: %s", w.journal.cluster.Spec.Version, t)
	}
}

// afterFailure repairs the version and tries again, or gives it up.
func (w *World) afterFailure(st *v1alpha1.ClusterStatus) {
	if w.rand.IntN(2) == 0 {
		clear(w.bad)
		w.hits[AskRetry]++
		w.ask(v1alpha1.Request{Kind: v1alpha1.RequestRetry})
		return
	}
	w.edit("set back after a failure", func(s *v1alpha1.ClusterSpec) {
		s.Version, s.Options = st.Applied.Spec.Version, st.Applied.Spec.Options
	})
}

// edit changes the spec as somebody with an editor does.
func (w *World) edit(what string, change func(*v1alpha1.ClusterSpec)) {
	spec := w.journal.cluster.Spec.DeepCopy()
	change(spec)
	w.journal.cluster.Spec = *spec
	w.journal.cluster.Generation++
	w.say("edit of %s: version %s, options %v", what, spec.Version, spec.Options)
}

// ask puts a request into the inbox. Nobody asks for ever where nobody answers: the core remembers so many ids and no more.
func (w *World) ask(r v1alpha1.Request) {
	if len(w.inbox) >= 20 {
		return
	}
	w.people.ids++
	r.ID, r.By = fmt.Sprintf("r%d", w.people.ids), "someone"
	w.say("asks %s %s %s", r.ID, r.Kind, r.Rule)
	w.inbox = append(w.inbox[:len(w.inbox):len(w.inbox)], r)
}

// lookAfter ends a rest, sooner or later: what rests is not left alone for ever.
func (w *World) lookAfter(a *v1alpha1.Attempt) {
	if len(w.inbox) > 0 || w.rand.IntN(3) == 0 && w.now < w.calm {
		return
	}
	if w.people.patient && w.now > w.people.until+3*time.Minute {
		w.people.until = w.now + 3*time.Minute
		clear(w.bad)
		w.repairProcesses()
	}
	if w.now < w.people.until {
		return
	}
	w.people.rests++
	if a.Kind == v1alpha1.AttemptCreate && w.rand.IntN(2) == 0 {
		w.correct()
		return
	}
	w.endRest(a)
}

// endRest asks for what people ask for after having looked.
func (w *World) endRest(a *v1alpha1.Attempt) {
	back := a.Resume == v1alpha1.PhaseRollingBack
	switch n := w.people.rests; {
	case n > 3 && n%4 == 0:
		w.say("the bad versions are repaired")
		clear(w.bad)
		w.repairProcesses()
		w.ask(v1alpha1.Request{Kind: v1alpha1.RequestResume})
	case a.Failure != nil && overrule(a.Failure.Message) != "" && w.rand.IntN(2) == 0:
		for _, rule := range []string{"volume", overrule(a.Failure.Message)} {
			w.ask(v1alpha1.Request{Kind: v1alpha1.RequestOverride, Rule: rule, For: &metav1.Duration{Duration: time.Hour}})
		}
		w.ask(v1alpha1.Request{Kind: v1alpha1.RequestResume})
	case !back && w.rand.IntN(3) == 0 || n > 6 && n%4 == 2 && !back:
		w.hits[AskRollback]++
		w.ask(v1alpha1.Request{Kind: v1alpha1.RequestRollback})
	case a.Failure != nil && a.Failure.Class == v1alpha1.FaultUnknown && w.rand.IntN(2) == 0 && !w.surelyNotRaised(a):
		w.ask(v1alpha1.Request{Kind: v1alpha1.RequestOverride, Rule: "run/" + errandOf(a.Failure.Object)})
		w.ask(v1alpha1.Request{Kind: v1alpha1.RequestResume})
	case w.rand.IntN(6) == 0 && a.Failure != nil:
		w.hits[AskRetry]++
		w.ask(v1alpha1.Request{Kind: v1alpha1.RequestRetry})
	default:
		w.hits[AskResume]++
		w.ask(v1alpha1.Request{Kind: v1alpha1.RequestResume})
	}
}

// correct edits the spec of a cluster that does not come up the first time.
func (w *World) correct() {
	w.edit("a first start", func(s *v1alpha1.ClusterSpec) {
		if w.rand.IntN(2) == 0 {
			s.Version = versions[w.rand.IntN(2)]
			return
		}
		w.people.tune++
		s.Options = map[string]string{"tune": fmt.Sprint(w.people.tune)}
	})
}

// errandOf is the errand in the name of a run: "run after/tell@w-a-0" is "after/tell".
func errandOf(object string) string {
	object = object[min(len("run "), len(object)):]
	if i := slices.Index([]byte(object), '@'); i >= 0 {
		return object[:i]
	}
	return object
}

// surelyNotRaised is what a person sees who looks whether the level was raised: to count that as done would wait for it for ever.
func (w *World) surelyNotRaised(a *v1alpha1.Attempt) bool {
	return errandOf(a.Failure.Object) == "action/raise" && w.level != a.Hops[a.Hop].To
}

// overrule is the rule of a failed wait that a person passes after having looked: about volumes that are made anew.
func overrule(message string) string {
	_, after, _ := strings.Cut(message, "while waiting for ")
	rule, _, _ := strings.Cut(after, " of ")
	if rule == "volume" || strings.HasPrefix(rule, "settled/") {
		return rule
	}
	return ""
}

// repairProcesses starts those of a version that was repaired.
func (w *World) repairProcesses() {
	for _, m := range w.members {
		if m.broken != "" {
			m.broken, m.state = "", upgrade.ProcessStarting
		}
		if m.alive() && !m.up && !m.held {
			w.boot(m)
		}
	}
}

// approve lets a hop be finalized, when that is waited for.
func (w *World) approve(a *v1alpha1.Attempt) {
	if f := a.WaitingFor; f != nil && f.Rule == "served" && len(w.inbox) == 0 && w.rand.IntN(2) == 0 {
		w.ask(v1alpha1.Request{Kind: v1alpha1.RequestOverride, Rule: f.Rule, For: &metav1.Duration{Duration: time.Hour}})
	}
	if f := a.WaitingFor; f != nil && f.Rule == "approval" && len(w.inbox) == 0 && w.rand.IntN(2) == 0 {
		w.hits[AskFinalize]++
		w.ask(v1alpha1.Request{Kind: v1alpha1.RequestFinalize})
	}
}

// interfere does things in the middle of an attempt.
func (w *World) interfere(a *v1alpha1.Attempt) {
	at := slices.Index(versions, w.journal.cluster.Spec.Version)
	const p = 0.05
	switch {
	case w.chance(AskPause, p):
		w.ask(v1alpha1.Request{Kind: v1alpha1.RequestPause})
	case w.chance(AskAbort, p):
		w.ask(v1alpha1.Request{Kind: v1alpha1.RequestAbort})
	case w.chance(AskRollback, p/2):
		w.ask(v1alpha1.Request{Kind: v1alpha1.RequestRollback})
	case w.chance(AskResume, p/2):
		w.ask(v1alpha1.Request{Kind: v1alpha1.RequestResume})
	case w.chance(AskAdopt, p):
		w.ask(v1alpha1.Request{Kind: v1alpha1.RequestAdoptSystem})
	case w.chance(AskOverride, p):
		r := v1alpha1.Request{Kind: v1alpha1.RequestOverride, Rule: "soak", For: &metav1.Duration{Duration: w.between(time.Second, time.Minute)}}
		if f := a.WaitingFor; f != nil && f.Rule != "handover" && f.Rule != "role" {
			r.Rule = f.Rule
		}
		w.ask(r)
	case w.chance(EditTarget, p):
		w.edit("target", func(s *v1alpha1.ClusterSpec) { s.Version = versions[w.rand.IntN(len(versions))] })
	case w.chance(EditBack, p/2) && a.Base != nil:
		w.edit("back", func(s *v1alpha1.ClusterSpec) { s.Version = a.Base.Spec.Version })
	case w.chance(EditOption, p/2):
		w.people.tune++
		w.edit("option", func(s *v1alpha1.ClusterSpec) { s.Options = map[string]string{"tune": fmt.Sprint(w.people.tune)} })
	case w.chance(EditPolicy, p):
		w.edit("policy", func(s *v1alpha1.ClusterSpec) { s.Upgrade = w.policy() })
	case w.chance(SystemEdit, p):
		w.known = w.shape.variants[w.rand.IntN(len(w.shape.variants))]
	}
	if at < 0 {
		panic("a version that is not listed")
	}
	w.breakThings()
}

// breakThings is what happens to members from outside.
func (w *World) breakThings() {
	if len(w.members) == 0 {
		return // somebody took them all
	}
	m := w.members[w.rand.IntN(len(w.members))]
	const p = 0.03
	switch {
	case w.chance(KilledMember, p):
		if m.alive() && w.kube {
			w.vanish(m)
		} else if m.alive() {
			w.crash(m)
		}
	case w.chance(RemovedMember, p) && !m.extra && m.state != upgrade.ProcessAbsent:
		m.gone = w.now + w.between(0, time.Minute)
		w.vanish(m)
	case w.chance(ExtraMember, p/2):
		w.addExtra(m)
	case w.chance(LeaderMoves, 3*p) && m.comp.roles:
		if to := w.pickLeader(m.comp, w.leaders[m.comp.name]); to != nil {
			w.lead(m.comp, to)
		}
	case w.chance(AllSilent, p/3):
		w.mute = w.now + w.between(time.Second, 4*time.Minute)
	case w.chance(Blackout, p/2):
		w.stopAll()
	case w.chance(WallClockJump, p):
		w.wall += w.between(-time.Hour, time.Hour)
	case w.chance(SecondDriver, p) && len(w.drivers) < 3:
		d := w.newDriver()
		w.after(w.between(time.Second, 2*time.Minute), func() { d.retired = true })
	}
}

func (w *World) stopAll() {
	for _, m := range w.members {
		if m.state != upgrade.ProcessAbsent {
			w.vanish(m)
		}
	}
}

func (w *World) addExtra(like *member) {
	n := 90 + len(w.members)
	m := &member{comp: like.comp, name: upgrade.MemberName(clusterName, like.comp.name, n), ordinal: n, extra: true, state: upgrade.ProcessRunning, inc: 1,
		revision: like.revision, up: true}
	w.members = append(w.members, m)
	w.after(w.between(time.Second, 5*time.Minute), func() {
		w.members = slices.DeleteFunc(w.members, func(o *member) bool { return o == m })
	})
}

// policy draws one that never forbids what runs.
func (w *World) policy() v1alpha1.UpgradePolicy {
	p := v1alpha1.UpgradePolicy{MaxUnavailable: int32(1 + weighted(w.rand, 80, 20)), AllowDowntime: w.needsDowntime() || w.rand.IntN(4) == 0,
		ProgressDeadline: &metav1.Duration{Duration: w.between(40*time.Second, 3*time.Minute)}}
	p.OnFailure = []v1alpha1.OnFailure{v1alpha1.FailureRollsBack, v1alpha1.FailurePauses}[weighted(w.rand, 70, 30)]
	p.Finalize = []v1alpha1.Approval{v1alpha1.Automatic, v1alpha1.Manual}[weighted(w.rand, 70, 30)]
	p.PauseAfter = int32(weighted(w.rand, 80, 15, 5))
	if w.rand.IntN(2) == 0 {
		p.Soak = &metav1.Duration{Duration: w.between(0, 6*time.Second)}
	}
	return p
}

func (w *World) needsDowntime() bool {
	return slices.ContainsFunc(w.shape.comps, func(c compShape) bool { return c.replicas == 1 }) ||
		slices.ContainsFunc(w.shape.edges, func(e v1alpha1.Edge) bool { return e.Strategy == v1alpha1.Recreate })
}
