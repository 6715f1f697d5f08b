package upgradetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// Scenario plays a text scenario: one cluster whose members do at once what they are told, a driver that makes a pass
// when the text says so, and a clock that the text moves. What it prints is what a person would want to know of each pass.
//
// The commands:
//
//	system                 compile a System; the input is YAML laid over a small one, component: over its component
//	cluster [new] [v=1.0]  a cluster that runs, or one that is still to be created; the input is its spec
//	edit                   lay the input over the spec
//	filled VERSION         a restore filled the volumes with data that a version wrote
//	changed HOW            somebody else changes what is made for kv: beside (a service), edited or gone (its workload); twice: and does so again at once
//	loading HOW            a restore into the members is: noted, begun, failed, over
//	member NAME k=v …      change a member: ready, silent, role, left, crashes, broken, state, gone, version, why, unserved
//	bad VERSION HOW        processes of a version are: crashing, unready, silent, wrong, broken, good
//	outcome WHAT HOW       runs of an action, "backup" or "prepare" end: ok, failed, unknown, hanging
//	acts HOW               acts are done, or lost
//	look HOW               looks are complete, or incomplete
//	request KIND k=v …     ask: id, rule, for, by
//	pass [N]               make N passes, a second apart
//	run [until=WORD]       make passes until a line holds the word, or until nothing changes for 45 s or all is at rest
//	advance DURATION       let time go by in which nobody looks
//	crash                  the driver dies; the next pass begins with the journal
//	plan, status, spec     show
type Scenario struct {
	decider *upgrade.Decider
	sys     *system.System
	systems map[string]*system.System
	cluster *v1alpha1.Cluster
	stored  v1alpha1.ClusterStatus
	fresh   bool // the driver has just begun
	now     time.Duration
	looked  time.Duration

	members    map[string]*actor
	sets       map[string]*set // workloads of adopted components
	configured map[string]string
	versionOf  map[string]string // of a revision
	bad        map[string]string
	outcomes   map[string]string
	runs       map[int64]upgrade.Outcome
	backups    map[string]upgrade.Outcome
	prepared   map[string]upgrade.Outcome
	changed    string // how somebody else changed what is made for kv
	insists    bool   // and does so again at once
	blocked    string // what a person has to do to the adopted workload of kv
	lost       bool
	incomplete bool
	level      string
	lowered    bool // a way back was opened: the software does not finalize by itself
	requests   []v1alpha1.Request
	ids        int
	lastWait   string
	lastRest   string
	out        strings.Builder
}

// actor is one member of a scenario.
type actor struct {
	name, component string
	ordinal         int
	state           upgrade.ProcessState
	inc             int
	rev, version    string
	crashes         int32
	broken          string
	ready, silent   bool
	role            string
	left, snap      float64
	says            string
	gone            bool
	why, unserved   string // what the platform says of it, and why it leads no clients to it
	volume          string
}

// set is an adopted workload in a scenario.
type set struct {
	component string
	members   int
	rev       string
	changes   int
}

const baseSystem = `
metadata: {name: sys}
versions: {listed: ["1.0", "1.1", "1.2"], program: "p-${version}"}
edges:
- {from: "1.0", to: "1.1"}
- {from: "1.1", to: "1.2"}
options: {size: {default: "1"}}
backup: {run: [bk]}
actions:
  raise: {post: ":p/raise", timeout: 5s}
  lower: {post: ":p/lower", timeout: 5s}
`

const baseComponent = `
name: kv
replicas: 3
ports: {p: 80}
start: [kv, "--size=${options.size}"]
ask: {s: {get: ":p/s"}}
ready: m.s.json.ready == true
version: m.s.json.version
soak: 3s
`

// NewScenario returns a Scenario without a System; kinds are more kinds of step.
func NewScenario(kinds ...upgrade.Kind) *Scenario {
	return &Scenario{decider: upgrade.New(kinds...), systems: map[string]*system.System{}, members: map[string]*actor{}, sets: map[string]*set{}, configured: map[string]string{},
		versionOf: map[string]string{}, bad: map[string]string{}, outcomes: map[string]string{}, runs: map[int64]upgrade.Outcome{},
		backups: map[string]upgrade.Outcome{}, prepared: map[string]upgrade.Outcome{}, level: "1.0", fresh: true}
}

// Do plays one command and returns what is to be printed.
func (s *Scenario) Do(cmd string, args []string, input string) string {
	s.out.Reset()
	if err := s.play(cmd, args, input); err != nil {
		s.print("error: %v", err)
	}
	if s.out.Len() == 0 {
		return "ok\n"
	}
	return s.out.String()
}

func (s *Scenario) print(format string, args ...any) { fmt.Fprintf(&s.out, format+"\n", args...) }

func (s *Scenario) play(cmd string, args []string, input string) error {
	switch cmd {
	case "system":
		return s.setSystem(input)
	case "cluster":
		return s.setCluster(args, input)
	case "edit":
		return s.edit(input)
	case "template", "blocked", "filled", "changed", "loading":
		return s.setByOthers(cmd, args)
	case "member":
		return s.setMember(args)
	case "bad":
		s.bad[args[0]] = args[1]
	case "outcome":
		s.outcomes[args[0]] = args[1]
	case "acts":
		s.lost = args[0] == "lost"
	case "look":
		s.incomplete = args[0] == "incomplete"
	case "request":
		return s.request(args)
	case "pass":
		n := 1
		if len(args) > 0 {
			n, _ = strconv.Atoi(args[0])
		}
		for range n {
			s.pass()
		}
	case "run":
		s.run(option(args, "until"))
	case "advance":
		d, err := time.ParseDuration(args[0])
		s.now += d
		return err
	case "crash":
		s.cluster.Status, s.fresh = *s.stored.DeepCopy(), true
	case "plan":
		return s.plan()
	case "status":
		s.status()
	default:
		return fmt.Errorf("no command %q", cmd)
	}
	return nil
}

func option(args []string, name string) string {
	for _, a := range args {
		if k, v, ok := strings.Cut(a, "="); ok && k == name {
			return v
		}
	}
	return ""
}

// --- setting up --------------------------------------------------------------

func parse(text string) (map[string]any, error) {
	out := map[string]any{}
	err := yaml.Unmarshal([]byte(text), &out)
	return out, err
}

// lay puts values over others, map by map.
func lay(under, over map[string]any) {
	for k, v := range over {
		a, ok := under[k].(map[string]any)
		b, isMap := v.(map[string]any)
		if ok && isMap {
			lay(a, b)
		} else {
			under[k] = v
		}
	}
}

func convert(from map[string]any, to any) error {
	text, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, to)
}

func (s *Scenario) setSystem(input string) error {
	base, err := parse(baseSystem)
	if err != nil {
		return err
	}
	component, err := parse(baseComponent)
	if err != nil {
		return err
	}
	over, err := parse(input)
	if err != nil {
		return err
	}
	if c, ok := over["component"].(map[string]any); ok {
		lay(component, c)
		delete(over, "component")
	}
	components := []any{component}
	if more, ok := over["also"].([]any); ok { // more components, each over the first
		for _, m := range more {
			text, _ := json.Marshal(component)
			other := map[string]any{}
			if err := json.Unmarshal(text, &other); err != nil {
				return err
			}
			lay(other, m.(map[string]any))
			components = append(components, other)
		}
		delete(over, "also")
	}
	lay(base, over)
	base["components"] = components
	api := &v1alpha1.System{}
	if err := convert(base, api); err != nil {
		return err
	}
	sys, err := system.Compile(api)
	if err != nil {
		return err
	}
	s.sys = sys
	s.systems[sys.Hash()] = sys
	return nil
}

func (s *Scenario) setCluster(args []string, input string) error {
	s.cluster = &v1alpha1.Cluster{Spec: v1alpha1.ClusterSpec{System: "sys", Version: "1.0", Backup: &v1alpha1.BackupPlace{URL: "mem://"}}}
	s.cluster.Name = "c"
	if err := s.edit(input); err != nil {
		return err
	}
	applied := &v1alpha1.Pinned{Spec: *s.cluster.Spec.DeepCopy(), System: v1alpha1.SystemRef{Name: "sys", Hash: s.sys.Hash()}}
	running := !slices.Contains(args, "new")
	if running {
		s.cluster.Status.Applied = applied
	}
	for _, c := range s.sys.Components() {
		rev := s.sys.Revision(applied, c.Name(), s.cluster.Spec.Version)
		if running {
			s.configured[c.Name()], s.versionOf[rev] = rev, s.cluster.Spec.Version
		}
		if a := s.cluster.Spec.Components[c.Name()].Adopt; a != nil {
			s.sets[a.StatefulSet] = &set{component: c.Name(), members: c.Replicas(&s.cluster.Spec), rev: rev}
		}
		for i := range c.Replicas(&s.cluster.Spec) {
			a := &actor{name: s.cluster.Spec.MemberName("c", c.Name(), i), component: c.Name(), ordinal: i, state: upgrade.ProcessAbsent}
			if running {
				a.state, a.inc, a.rev, a.version, a.says, a.ready = upgrade.ProcessRunning, 1, rev, s.cluster.Spec.Version, s.cluster.Spec.Version, true
			}
			s.members[a.name] = a
		}
	}
	s.stored = *s.cluster.Status.DeepCopy()
	s.elect()
	return nil
}

// setByOthers is what somebody else does: to the adopted workload of kv, to volumes before there are members, or to the data of those that run.
func (s *Scenario) setByOthers(cmd string, args []string) error {
	switch cmd {
	case "blocked":
		s.blocked = strings.Join(args, " ")
		return nil
	case "filled":
		s.cluster.Status.Filled = args[0]
		return nil
	case "changed":
		s.changed, s.insists = args[0], len(args) > 1
		return nil
	case "loading":
		return s.setLoading(args)
	}
	return s.setTemplate(args)
}

// setLoading is how far a restore into the members is: noted, begun, failed, or over.
func (s *Scenario) setLoading(args []string) error {
	l := &v1alpha1.Loading{Restore: "r"}
	now := metav1.NewTime(epoch.Add(s.now))
	switch strings.Join(args, " ") {
	case "noted":
	case "begun":
		l.Begun = &now
	case "failed":
		l.Failed = "restore r failed: make the cluster anew"
	case "over":
		l = nil
	default:
		return fmt.Errorf("want: loading noted, begun, failed or over")
	}
	s.cluster.Status.Loading = l
	return nil
}

// setTemplate changes the template of the adopted workload of kv: somebody else does so. Where the template says the version, the version changes too.
func (s *Scenario) setTemplate(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("want: template VERSION SUM")
	}
	s.cluster.Spec.See("kv", args[1], s.cluster.Spec.Components["kv"].Replicas)
	p := &v1alpha1.Pinned{Spec: *s.cluster.Spec.DeepCopy()}
	if p.Spec.Version = args[0]; s.cluster.Spec.Foreign("kv") {
		s.cluster.Spec.Version = args[0]
	}
	s.configured["kv"] = s.sys.Revision(p, "kv", args[0])
	return nil
}

func (s *Scenario) edit(input string) error {
	over, err := parse(input)
	if err != nil {
		return err
	}
	spec := map[string]any{}
	text, err := json.Marshal(s.cluster.Spec)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &spec); err != nil {
		return err
	}
	before := s.cluster.Spec
	lay(spec, over)
	var after v1alpha1.ClusterSpec
	if err := convert(spec, &after); err != nil {
		return err
	}
	if s.cluster.Status.Attempt != nil {
		if err := upgrade.CheckEdit(s.sys, &s.cluster.Status, &before, &after); err != nil {
			s.print("would be refused: %v", err)
		}
	}
	s.cluster.Spec = after
	s.cluster.Generation++
	return nil
}

func (s *Scenario) setMember(args []string) error {
	a := s.members["c-"+args[0]]
	if a == nil {
		return fmt.Errorf("no member %q", args[0])
	}
	for _, arg := range args[1:] {
		k, v, _ := strings.Cut(arg, "=")
		switch k {
		case "ready":
			a.ready = v == "true"
		case "silent":
			a.silent = v == "true"
		case "role":
			for _, o := range s.members {
				if o.component == a.component && v == "leader" {
					o.role = "follower"
				}
			}
			a.role = v
		case "left":
			a.left, _ = strconv.ParseFloat(v, 64)
		case "crashes":
			n, _ := strconv.Atoi(v)
			a.crashes = int32(n)
		case "broken":
			a.broken = v
		case "gone":
			a.gone = v == "true"
		case "version":
			a.says = v
		case "unserved":
			a.unserved = strings.ReplaceAll(v, "_", " ")
		case "why":
			a.why = strings.ReplaceAll(v, "_", " ")
		case "state":
			a.state = map[string]upgrade.ProcessState{"absent": upgrade.ProcessAbsent, "unknown": upgrade.ProcessUnknown, "running": upgrade.ProcessRunning,
				"exited": upgrade.ProcessExited, "starting": upgrade.ProcessStarting}[v]
		case "evicted": // and come back with what is configured
			s.start(a, s.revisionFor(a), s.versionOf[s.revisionFor(a)])
		default:
			return fmt.Errorf("no property %q", k)
		}
	}
	s.elect()
	return nil
}

func (s *Scenario) request(args []string) error {
	s.ids++
	r := v1alpha1.Request{ID: fmt.Sprintf("r%d", s.ids), Kind: v1alpha1.RequestKind(args[0]), Rule: strings.ReplaceAll(option(args, "rule"), "_", " "), By: option(args, "by")}
	if id := option(args, "id"); id != "" {
		r.ID = id
	}
	if d := option(args, "for"); d != "" {
		for_, err := time.ParseDuration(d)
		if err != nil {
			return err
		}
		r.For = &metav1.Duration{Duration: for_}
	}
	s.requests = append(s.requests, r)
	return nil
}

// --- the world ---------------------------------------------------------------

func (s *Scenario) sorted() []*actor {
	return slices.SortedFunc(maps.Values(s.members), func(a, b *actor) int { return strings.Compare(a.name, b.name) })
}

// elect gives each component a leader among its ready members.
func (s *Scenario) elect() {
	for _, c := range s.sys.Components() {
		var first *actor
		led := false
		for _, a := range s.sorted() {
			if a.component != c.Name() {
				continue
			}
			up := a.state == upgrade.ProcessRunning && a.ready
			switch {
			case !up:
				a.role = "follower"
			case a.role == "leader":
				led = true
			default:
				a.role = "follower"
				if first == nil {
					first = a
				}
			}
		}
		if !led && first != nil {
			first.role = "leader"
		}
	}
}

func (s *Scenario) look() upgrade.Look {
	l := upgrade.Look{Complete: !s.incomplete, Configured: maps.Clone(s.configured), Runs: maps.Clone(s.runs), Backups: maps.Clone(s.backups), Prepared: maps.Clone(s.prepared)}
	s.lookAtSets(&l)
	if s.blocked != "" {
		l.Blocked = map[string]string{"kv": s.blocked}
	}
	s.lookAtChanges(&l)
	for _, a := range s.sorted() {
		m := upgrade.Member{Volume: a.volume, State: a.state, Incarnation: fmt.Sprint(a.inc), Revision: a.rev, Crashes: a.crashes, Broken: a.broken, Message: a.why, Unready: a.unserved}
		m.View.Name, m.View.Component, m.View.Ordinal = a.name, a.component, a.ordinal
		m.Workload = strings.TrimSuffix(a.name, fmt.Sprintf("-%d", a.ordinal))
		if a.state == upgrade.ProcessAbsent {
			m.Incarnation, m.Revision = "", ""
		}
		if a.state == upgrade.ProcessRunning && !a.silent {
			m.View.Answers = system.Answers{"s": map[string]any{"json": map[string]any{"ready": a.ready, "version": a.says, "role": a.role, "left": a.left,
				"snap": a.snap, "level": s.level}}}
		}
		l.Members = append(l.Members, m)
	}
	return l
}

func (s *Scenario) lookAtChanges(l *upgrade.Look) {
	c := upgrade.Change{What: "Service c-kv is gone", Revision: s.configured["kv"]}
	switch s.changed {
	case "", "none":
		return
	case "edited":
		c.What = "StatefulSet c-kv is not as wanted"
		delete(l.Configured, "kv")
	case "gone":
		c = upgrade.Change{What: "StatefulSet c-kv is gone"}
		delete(l.Configured, "kv")
	}
	l.Changed = map[string]upgrade.Change{"kv": c}
}

func (s *Scenario) start(a *actor, rev, version string) {
	a.inc++
	a.state, a.rev, a.version, a.says, a.ready, a.silent, a.crashes, a.broken, a.role = upgrade.ProcessRunning, rev, version, version, true, false, 0, "", "follower"
	switch s.bad[version] {
	case "crashing":
		a.state, a.ready, a.crashes = upgrade.ProcessExited, false, 0
	case "unready":
		a.ready = false
	case "silent":
		a.silent = true
	case "wrong":
		a.says = "0.9"
	case "broken":
		a.state, a.broken = upgrade.ProcessExited, "program p-"+version+" not found"
	}
	s.elect()
}

// live lets crashing members crash, work off what is left, and software finalize itself.
func (s *Scenario) live() {
	all := map[string]bool{}
	for _, a := range s.sorted() {
		if a.state == upgrade.ProcessExited && s.bad[a.version] == "crashing" {
			a.crashes++
		}
		all[a.version] = all[a.version] || a.state == upgrade.ProcessRunning
		if a.state != upgrade.ProcessRunning {
			all[""] = true
		}
	}
	if len(all) == 1 && !s.lowered {
		for v := range all {
			if e := s.edgeTo(v); e != nil && e.Finalizes == v1alpha1.FinalizesWithLastMember && s.sys.Compare(v, s.level) > 0 {
				s.level = v
				s.print("%s  the software finalizes %s", s.stamp(), v)
			}
		}
	}
}

func (s *Scenario) edgeTo(version string) *v1alpha1.Edge {
	for i := range s.sys.API().Edges {
		if e := s.sys.Edge(i); e.To == version {
			return e
		}
	}
	return nil
}

func (s *Scenario) do(i v1alpha1.Intent) {
	a := s.members[i.Member]
	switch i.Act {
	case v1alpha1.ActGrow, v1alpha1.ActShrink, v1alpha1.ActRemove:
		s.scale(i)
	case v1alpha1.ActConfigure:
		if i.Workload != "" {
			s.makeSet(i)
			return
		}
		s.configured[i.Component], s.versionOf[i.Revision] = i.Revision, i.Version
		if !s.insists {
			s.changed = ""
		}
	case v1alpha1.ActStop:
		if a.state != upgrade.ProcessAbsent && fmt.Sprint(a.inc) == i.Incarnation {
			a.state = upgrade.ProcessAbsent
			s.elect()
		}
	case v1alpha1.ActStart:
		if a.state == upgrade.ProcessAbsent && !a.gone && a.volume == i.Volume {
			s.start(a, i.Revision, i.Version)
		}
	case v1alpha1.ActRenew:
		if a.state == upgrade.ProcessAbsent && a.volume == i.Volume {
			a.volume = i.Name
			s.print("%s  the volume of %s is empty, and called %s", s.stamp(), a.name, a.volume)
		}
	case v1alpha1.ActPrepare:
		s.prepared[i.Revision] = s.outcome("prepare")
	case v1alpha1.ActBackup:
		s.backups[i.Name] = s.outcome("backup")
	case v1alpha1.ActRun:
		s.act(i, a)
	}
}

func (s *Scenario) outcome(what string) upgrade.Outcome {
	switch s.outcomes[what] {
	case "failed":
		return upgrade.Outcome{Phase: upgrade.Failed, Message: "it said no"}
	case "unknown":
		return upgrade.Outcome{Phase: upgrade.OutcomeUnknown, Message: "no reply"}
	case "hanging":
		return upgrade.Outcome{Phase: upgrade.Underway, Message: "no end yet"}
	}
	return upgrade.Outcome{Phase: upgrade.Succeeded}
}

// act does an action once for an id. It has its effect where its outcome is good.
func (s *Scenario) act(i v1alpha1.Intent, a *actor) {
	if s.runs[i.ID].Phase != upgrade.NotBegun {
		return
	}
	name := i.Action[strings.LastIndexByte(i.Action, '.')+1:]
	o := s.outcome(name)
	s.runs[i.ID] = o
	if o.Phase != upgrade.Succeeded {
		return
	}
	switch {
	case name == "handover":
		a.role, s.members[i.To].role = "follower", "leader"
	case name == "raise":
		s.level = i.Version
	case name == "lower":
		s.level, s.lowered = i.From, true
	case strings.HasPrefix(i.Action, "needs."):
		for _, o := range s.members {
			o.snap++
		}
	case name == "bring":
		a.left = max(0, a.left-1)
	}
}

// --- passes ------------------------------------------------------------------

func (s *Scenario) stamp() string { return fmt.Sprintf("%4ds", int(s.now.Seconds())) }

// pass makes one pass and tells what is new. It says whether anything is.
func (s *Scenario) pass() (told, rest bool) {
	s.now += time.Second
	s.live()
	s.cluster.Spec.TakeMoved(&s.cluster.Status)
	in := upgrade.Input{Cluster: s.cluster, System: s.sys, Systems: s.systems, Look: s.look(), Requests: s.requests, Now: epoch.Add(s.now)}
	if !s.fresh {
		in.Tick = s.now - s.looked
	}
	s.fresh, s.looked = false, s.now
	before := s.out.Len()
	dec := s.decider.Decide(in)
	s.tell(&s.cluster.Status, &dec)
	s.cluster.Status = dec.Status
	if dec.Write {
		s.stored = *dec.Status.DeepCopy()
	}
	if dec.Act != nil && !s.lost {
		s.do(*dec.Act)
	}
	return s.out.Len() > before || dec.Again, dec.Rest && dec.Act == nil && !dec.Again
}

func (s *Scenario) run(until string) {
	for quiet := 0; quiet < 45; {
		at := s.out.Len()
		told, rest := s.pass()
		if until != "" && strings.Contains(s.out.String()[at:], strings.ReplaceAll(until, "_", " ")) || until == "" && rest {
			return
		}
		if quiet++; told {
			quiet = 0
		}
		if s.now > 100*time.Hour {
			s.print("this does not end")
			return
		}
	}
}

// tell prints what a pass changed: events, which include acts, then what is waited for, or why the attempt rests.
func (s *Scenario) tell(old *v1alpha1.ClusterStatus, dec *upgrade.Decision) {
	st := &dec.Status
	for _, e := range st.Events[len(old.Events):] {
		s.print("%s  %s", s.stamp(), eventLine(e))
	}
	rest := ""
	if dec.Refusal != nil {
		rest = "refused: " + dec.Refusal.Error()
	}
	wait := ""
	if a := running(st); a != nil {
		wait = waitLine(a)
	}
	if rest != s.lastRest && rest != "" {
		s.print("%s  %s", s.stamp(), rest)
	}
	if wait != s.lastWait && wait != "" {
		s.print("%s    %s", s.stamp(), wait)
	}
	s.lastRest, s.lastWait = rest, wait
}

func eventLine(e v1alpha1.Event) string {
	line := e.Reason
	if e.Object != "" {
		line += " " + e.Object
	}
	if e.Message != "" {
		line += ": " + strings.TrimSpace(e.Message)
	}
	return line
}

func waitLine(a *v1alpha1.Attempt) string {
	w := a.WaitingFor
	if w == nil {
		return ""
	}
	line := fmt.Sprintf("waits for %s of %s: %s", w.Rule, w.Object, w.Message)
	if w.Left != "" {
		line += ", left " + w.Left
	}
	if w.Deadline == nil {
		line += " (a person: " + w.Override + ")"
	}
	return line
}

// --- showing -----------------------------------------------------------------

func (s *Scenario) plan() error {
	p, err := s.decider.Plan(upgrade.Input{Cluster: s.cluster, System: s.sys, Systems: s.systems, Look: s.look(), Now: epoch.Add(s.now)})
	var refused *upgrade.RefusedError
	switch {
	case errors.As(err, &refused):
		s.print("refused: %v", err)
		return nil
	case err != nil || p == nil:
		return err
	}
	s.print("%s %s to %s", p.Kind, p.From, p.To)
	for _, h := range p.Hops {
		s.print("hop %s to %s", h.From, h.To)
		for _, st := range h.Steps {
			marks := ""
			if st.Disrupts {
				marks += ", disrupts"
			}
			if st.Irreversible {
				marks += ", irreversible"
			}
			s.print("  %s (%s)%s", st.Name, strings.Join(st.Waits, "; "), marks)
		}
	}
	for _, w := range p.Warnings {
		s.print("warning: %s", w)
	}
	return nil
}

func (s *Scenario) status() {
	st := &s.cluster.Status
	s.print("version %s, target %q, %d of %d ready, history %v", st.CurrentVersion, st.TargetVersion, st.ReadyReplicas, st.Replicas, st.VersionHistory)
	for _, m := range st.Members.Said {
		if m.Role != "" {
			s.print("%s says %s, %s", m.Name, m.Version, m.Role)
		}
	}
	if st.FailedTarget != "" {
		s.print("failed target %s", st.FailedTarget)
	}
	if a := st.Attempt; a != nil {
		s.print("attempt %d %s %s to %s: %s %s", a.ID, a.Kind, a.From, a.To, a.Phase, a.Rest)
		for _, h := range a.Hops {
			s.print("  hop %s to %s: finalized %t, reopened %t, done %t, backup %q", h.From, h.To, h.Finalized, h.Reopened, h.Done, h.Backup)
		}
		if f := a.Failure; f != nil {
			s.print("  failure %s %s of %s: %s", f.Class, f.Reason, f.Object, f.Message)
		}
	}
	for _, a := range st.Attempts {
		s.print("earlier %d %s %s to %s: %s at %s %s", a.ID, a.Kind, a.From, a.To, a.Outcome, a.At, a.Message)
		if len(a.Overrides) > 0 {
			s.print("  overrides %q", a.Overrides)
		}
	}
	for _, c := range st.Conditions {
		if c.Status == metav1.ConditionTrue {
			s.print("condition %s %s: %s", c.Type, c.Reason, c.Message)
		}
	}
	for _, o := range st.Overrides {
		s.print("override %s until %s, used %t", o.Rule, o.Until.UTC().Format(time.TimeOnly), o.Used)
	}
}
