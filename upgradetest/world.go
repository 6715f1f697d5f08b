package upgradetest

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// clusterName of every simulated cluster.
const clusterName = "w"

// World is one simulated cluster with everything around it. The truth is here;
// what controllers know of it they see by look.
type World struct {
	seed  uint64
	rand  *rand.Rand
	shape *shape
	kube  bool // stopped members come back by themselves, with what is configured
	now   time.Duration
	queue events
	seq   int

	on   [faultCount]bool
	hits [faultCount]int32
	calm time.Duration // no new fault from here on
	wall time.Duration // how far the wall clock jumped

	members    []*member          // wanted ones first, by component and ordinal
	sets       map[string]*simSet // workloads of adopted components
	setCount   int
	leaders    map[string]*member
	configured map[string]revision
	guards     map[string]guard // of components, in Kubernetes: on which volumes what is configured may start
	prepared   map[string]upgrade.Outcome
	runs       map[int64]upgrade.Outcome
	backups    map[string]upgrade.Outcome
	level      string // the version that the software cannot go below
	lowered    bool   // a way back was opened: the level does not rise by itself
	bad        map[string]Fault
	mute       time.Duration // no question is answered until then

	journal journal
	inbox   []v1alpha1.Request
	known   *system.System
	systems map[string]*system.System
	decider *upgrade.Decider
	drivers []*driver
	people  people

	checks   checks
	outcomes map[string]int32 // what was reached, for the coverage table
	wrong    error            // the promise that was broken
	passes   int
	tell     bool
	story    []string
	lastLine string // of the last pass told
}

// journal is the durable state: the Cluster, and a mark of what was written.
type journal struct {
	cluster v1alpha1.Cluster
	mark    int
}

type revision struct{ rev, version string }

// member is one pretended process.
type member struct {
	comp    *compShape
	name    string
	ordinal int
	extra   bool
	set     string // the workload that it is a member of, where that was adopted
	state   upgrade.ProcessState
	inc     int
	revision
	crashes int32
	broken  string
	up      bool // it finished its start
	down    bool // it flaps, and is down for now
	left    int
	snap    int
	gone    time.Duration // nothing brings it back until then
	volume  string
	format  string // of the data on it: the version that first started on it; empty with the volume
	empty   bool   // the data has not come back since the volume was made anew
	held    bool   // the guard of the platform keeps it from starting on this volume

	said  said // that the answers were made from
	cache system.Answers
	old   *upgrade.Member // an earlier sight, for stale looks
}

type said struct {
	ready, well          bool
	version, role, level string
	left, snap           int
}

// event is something that happens at its time.
type event struct {
	at  time.Duration
	seq int
	do  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}

func (w *World) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.queue, event{w.now + d, w.seq, do})
}

// next lets the earliest event happen, and says whether there was one.
func (w *World) next() bool {
	if len(w.queue) == 0 {
		return false
	}
	e := heap.Pop(&w.queue).(event)
	w.now = e.at
	e.do()
	return true
}

// chance says whether a fault happens at this opportunity.
func (w *World) chance(f Fault, p float64) bool {
	if !w.on[f] || w.now >= w.calm || w.rand.Float64() >= p {
		return false
	}
	w.hits[f]++
	w.say("fault: %s", f)
	return true
}

// between draws a duration.
func (w *World) between(a, b time.Duration) time.Duration {
	return a + time.Duration(w.rand.Int64N(int64(b-a)+1))
}

const storyLines = 4000

func (w *World) say(format string, args ...any) {
	if !w.tell {
		return
	}
	if len(w.story) >= storyLines {
		w.story = slices.Delete(w.story, 0, storyLines/4)
	}
	w.story = append(w.story, fmt.Sprintf("%9.2fs  ", w.now.Seconds())+fmt.Sprintf(format, args...))
}

// broke records the first broken promise.
func (w *World) broke(promise, format string, args ...any) {
	if w.wrong == nil {
		w.wrong = fmt.Errorf("%s: %s", promise, fmt.Sprintf(format, args...))
		w.say("BROKEN %v", w.wrong)
	}
}

// --- members ---------------------------------------------------------------

func (w *World) member(name string) *member {
	for _, m := range w.members {
		if m.name == name {
			return m
		}
	}
	return nil
}

// group are the wanted members of a component.
func (w *World) group(c *compShape) []*member {
	var g []*member
	for _, m := range w.members {
		if m.comp == c && !m.extra {
			g = append(g, m)
		}
	}
	return g
}

// start makes a new incarnation.
func (w *World) start(m *member, r revision) {
	m.inc++
	m.revision, m.state, m.crashes, m.broken, m.down = r, upgrade.ProcessStarting, 0, "", false
	if m.held = w.kube && !w.guards[m.comp.name].permits(m.volume); m.held {
		w.say("%s is held: its volume %q is not for it", m.name, m.volume)
		return
	}
	w.say("%s starts as %d with %s (%s)", m.name, m.inc, r.version, r.rev)
	if w.trait(m) == BrokenVersion {
		w.hits[BrokenVersion]++
		m.state, m.broken = upgrade.ProcessExited, "program of "+r.version+" not found"
		return
	}
	w.boot(m)
}

// trait is what is wrong with the version that a member runs.
func (w *World) trait(m *member) Fault {
	if f, ok := w.bad[m.version]; ok {
		return f
	}
	return faultCount
}

// boot brings a process of the current incarnation up.
func (w *World) boot(m *member) {
	m.up = false
	w.checks.p14formats(w, m)
	if m.comp.synced {
		m.left = w.rand.IntN(4)
	}
	w.during(m, w.between(50*time.Millisecond, 400*time.Millisecond), func() {
		m.state = upgrade.ProcessRunning
		w.rise()
	})
	d := w.between(500*time.Millisecond, 3*time.Second)
	if w.chance(SlowStart, 0.1) {
		d = w.between(10*time.Second, 40*time.Second)
	}
	w.during(m, d, func() { w.ready(m) })
	if w.trait(m) == CrashLoop {
		w.during(m, d/2, func() { w.crash(m) })
	}
	w.progress(m)
}

// during does something unless the process is another one by then.
func (w *World) during(m *member, d time.Duration, do func()) {
	inc, crashes := m.inc, m.crashes
	w.after(d, func() {
		if m.inc == inc && m.crashes == crashes && m.alive() {
			do()
		}
	})
}

func (m *member) alive() bool {
	return m.state == upgrade.ProcessStarting || m.state == upgrade.ProcessRunning
}

// ready ends a start, if what the member needs is there.
func (w *World) ready(m *member) {
	switch w.trait(m) {
	case NeverReady, Silent:
		w.hits[w.trait(m)]++
		return
	case ReadyThenCrash:
		w.during(m, w.between(time.Second, 8*time.Second), func() { w.crash(m) })
	case WrongVersion:
		w.hits[WrongVersion]++
	}
	if m.comp.needsFirst && !w.firstRuns(m) {
		w.during(m, 2*time.Second, func() { w.ready(m) })
		return
	}
	m.up, m.empty = true, m.empty && m.left > 0
	if w.chance(CrashOnce, 0.05) {
		w.during(m, w.between(time.Second, 20*time.Second), func() { w.crash(m) })
	}
	if w.chance(Flapping, 0.04) {
		w.flap(m, 2*w.rand.IntN(12)+1)
	}
}

// firstRuns says whether the component before has a member of the same version up.
func (w *World) firstRuns(m *member) bool {
	i := w.index(m.comp.name)
	return slices.ContainsFunc(w.group(&w.shape.comps[i-1]), func(o *member) bool {
		return o.up && o.state == upgrade.ProcessRunning && o.version == m.version
	})
}

func (w *World) index(component string) int {
	return slices.IndexFunc(w.shape.comps, func(c compShape) bool { return c.name == component })
}

// flap turns a member's readiness so many times, an odd number: it ends up.
func (w *World) flap(m *member, times int) {
	m.down = times%2 == 1
	if times == 0 {
		return
	}
	w.during(m, w.between(500*time.Millisecond, 6*time.Second), func() { w.flap(m, times-1) })
}

// crash ends the process by itself; the platform starts it again in the same incarnation.
func (w *World) crash(m *member) {
	if t := w.trait(m); t < faultCount {
		w.hits[t]++
	}
	m.state, m.up, m.down = upgrade.ProcessExited, false, false
	m.crashes++
	w.say("%s crashes for the %d. time", m.name, m.crashes)
	inc, crashes := m.inc, m.crashes
	w.after(w.between(200*time.Millisecond, time.Second)<<min(m.crashes, 4), func() {
		if m.inc == inc && m.crashes == crashes && m.state == upgrade.ProcessExited {
			m.state = upgrade.ProcessStarting
			w.boot(m)
		}
	})
	w.elect(m.comp)
}

// progress works off what is left to do after a start.
func (w *World) progress(m *member) {
	if !m.comp.synced || m.comp.brought {
		return
	}
	w.during(m, w.between(500*time.Millisecond, 3*time.Second), func() {
		m.left = max(0, m.left-1)
		m.empty = m.empty && m.left > 0
		if m.left > 0 {
			w.progress(m)
		}
	})
}

// stop ends a process as the platform does it; in Kubernetes another one comes by itself.
func (w *World) stop(m *member) {
	m.state, m.up, m.down = upgrade.ProcessStopping, false, false
	w.elect(m.comp)
	inc := m.inc
	w.after(w.between(100*time.Millisecond, 2*time.Second), func() {
		if m.inc == inc && m.state == upgrade.ProcessStopping {
			w.vanish(m)
		}
	})
}

// vanish ends a process at once.
func (w *World) vanish(m *member) {
	m.state, m.up, m.down = upgrade.ProcessAbsent, false, false
	w.say("%s is gone", m.name)
	w.elect(m.comp)
	switch {
	case m.set != "" && !w.wants(m):
		w.after(0, func() { w.forgetMember(m) })
	case w.kube:
		w.comeBack(m)
	}
}

func (w *World) comeBack(m *member) {
	inc := m.inc
	w.after(max(w.between(100*time.Millisecond, time.Second), m.gone-w.now), func() {
		switch {
		case m.inc != inc || m.state != upgrade.ProcessAbsent:
		case m.set != "" && !w.wants(m):
			w.forgetMember(m)
		default:
			w.start(m, w.nextOf(m))
		}
	})
}

// elect finds a new leader some time after the old one is gone.
func (w *World) elect(c *compShape) {
	if !c.roles {
		return
	}
	w.after(w.between(200*time.Millisecond, 2*time.Second), func() {
		if l := w.leaders[c.name]; l != nil && l.state == upgrade.ProcessRunning && l.up {
			return
		}
		w.lead(c, w.pickLeader(c, nil))
	})
}

func (w *World) lead(c *compShape, m *member) {
	w.leaders[c.name] = m
	if m != nil {
		w.say("%s leads", m.name)
	} else {
		w.elect(c)
	}
}

// pickLeader draws a member that can lead, other than one.
func (w *World) pickLeader(c *compShape, not *member) *member {
	var can []*member
	for _, m := range w.group(c) {
		if m != not && m.up && m.state == upgrade.ProcessRunning && !m.observer() {
			can = append(can, m)
		}
	}
	if len(can) == 0 {
		return nil
	}
	return can[w.rand.IntN(len(can))]
}

func (m *member) observer() bool { return m.comp.observers && m.ordinal >= 3 }

func (w *World) role(m *member) string {
	switch {
	case !m.comp.roles:
		return ""
	case w.leaders[m.comp.name] == m:
		return "leader"
	case m.observer():
		return "observer"
	}
	return "follower"
}

// serves is the truth of a member's readiness.
func (w *World) serves(m *member) bool {
	return m.state == upgrade.ProcessRunning && m.up && !m.down && (!m.comp.quorum || w.hasQuorum(m.comp))
}

func (w *World) hasQuorum(c *compShape) bool {
	n, up := 0, 0
	for _, m := range w.members {
		if m.comp != c || m.extra {
			continue
		}
		n++
		if m.up && m.state == upgrade.ProcessRunning {
			up++
		}
	}
	return 2*up > n
}

// rise is what software does that finalizes a hop by itself: when every member runs the new version, there is no plain way back.
func (w *World) rise() {
	v := ""
	for _, m := range w.members {
		switch {
		case m.extra:
		case m.state != upgrade.ProcessRunning || v != "" && m.version != v:
			return
		default:
			v = m.version
		}
	}
	if w.lowered {
		w.lowered = v != w.level // the way back was gone to its end
		return
	}
	i := slices.Index(versions, v)
	if i > 0 && slices.Index(versions, w.level) < i && w.shape.edges[i-1].Finalizes == v1alpha1.FinalizesWithLastMember {
		w.level = v
		w.say("the software finalizes %s", v)
	}
}

// --- looks -----------------------------------------------------------------

// look observes everything, with the faults of looking. It also says whether it shows the truth.
func (w *World) look(st *v1alpha1.ClusterStatus) (upgrade.Look, bool) {
	l := upgrade.Look{Complete: true, Members: make([]upgrade.Member, 0, len(w.members)), Configured: make(map[string]string, len(w.configured)),
		Prepared: w.prepared, Runs: w.runs, Backups: w.backups}
	for c, r := range w.configured {
		l.Configured[c] = r.rev
	}
	w.lookAtSets(st, &l)
	honest := true
	partial := w.chance(PartialLook, 0.02)
	for _, m := range w.members {
		if partial && w.rand.IntN(3) == 0 {
			l.Complete, honest = false, false
			continue
		}
		seen := w.see(m)
		if m.old != nil && w.chance(StaleLook, 0.01) {
			seen, honest = *m.old, false
		} else if w.on[StaleLook] && w.rand.IntN(8) == 0 {
			old := seen
			m.old = &old
		}
		l.Members = append(l.Members, seen)
	}
	return l, honest
}

func (w *World) see(m *member) upgrade.Member {
	seen := upgrade.Member{Workload: m.set, Volume: m.volume, State: m.state, Incarnation: incarnation(m.inc), Revision: m.rev, Crashes: m.crashes, Broken: m.broken}
	seen.View.Name, seen.View.Component, seen.View.Ordinal = m.name, m.comp.name, m.ordinal
	if m.state == upgrade.ProcessAbsent {
		seen.Incarnation, seen.Revision = "", ""
	}
	if w.chance(UnknownProcess, 0.005) {
		seen.State = upgrade.ProcessUnknown
		return seen
	}
	silent := w.trait(m) == Silent || w.now < w.mute
	if m.state == upgrade.ProcessRunning && !silent && !w.chance(UnknownAnswer, 0.01) {
		seen.View.Answers = w.answers(m)
	}
	return seen
}

var incarnations = func() (list [200]string) {
	for i := range list {
		list[i] = fmt.Sprintf("i%d", i)
	}
	return list
}()

func incarnation(n int) string {
	if n < len(incarnations) {
		return incarnations[n]
	}
	return fmt.Sprintf("i%d", n)
}

// answers are made anew only when they change.
func (w *World) answers(m *member) system.Answers {
	s := said{ready: w.serves(m), well: true, version: m.version, role: w.role(m), level: w.level, left: m.left, snap: m.snap}
	if w.trait(m) == WrongVersion {
		s.version = "0.9.0"
	}
	if m.cache == nil || m.said != s {
		m.said = s
		m.cache = system.Answers{"s": map[string]any{"json": map[string]any{"ready": s.ready, "well": s.well, "version": s.version, "role": s.role,
			"level": s.level, "left": float64(s.left), "snap": float64(s.snap)}}}
	}
	return m.cache
}

// summary is a look in a line.
func summary(l *upgrade.Look) string {
	var b strings.Builder
	for i := range l.Members {
		m := &l.Members[i]
		fmt.Fprintf(&b, " %s:%s", strings.TrimPrefix(m.View.Name, clusterName+"-"), m.State)
		if s, ok := sight(m); ok {
			fmt.Fprintf(&b, ",%s", s["version"])
			if s["ready"] == true {
				b.WriteString(",ready")
			}
			if s["role"] == "leader" {
				b.WriteString(",leader")
			}
			if s["left"] != 0.0 {
				fmt.Fprintf(&b, ",left %v", s["left"])
			}
		}
		if len(m.Revision) > 3 {
			fmt.Fprintf(&b, ",%s", m.Revision[:4])
		}
	}
	if !l.Complete {
		b.WriteString(" (incomplete)")
	}
	return b.String()
}

// sight is what a member's answer says.
func sight(m *upgrade.Member) (map[string]any, bool) {
	s, ok := m.View.Answers["s"].(map[string]any)
	if !ok {
		return nil, false
	}
	j, ok := s["json"].(map[string]any)
	return j, ok
}
