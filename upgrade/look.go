package upgrade

import (
	"fmt"
	"slices"
	"strings"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// ProcessState is what the platform knows about a member's process or pod.
type ProcessState int

// The process states. The zero value is unknown: a look that did not reach the
// platform permits nothing.
const (
	ProcessUnknown  ProcessState = iota
	ProcessAbsent                // there is none
	ProcessStarting              // asked for, not running yet
	ProcessRunning
	ProcessStopping // asked to end
	ProcessExited   // ended by itself; the platform may start it again
)

func (p ProcessState) String() string {
	return [...]string{"unknown", "absent", "starting", "running", "stopping", "exited"}[p]
}

// Look is one observation of everything, as fresh as the platform can make it.
type Look struct {
	// Complete is set when the list of members is whole. An incomplete look permits no disruption.
	Complete bool
	// Members that exist, and those that should but do not, in any order.
	Members []Member
	// Workloads are, of each component whose members move in the hop under way, those of the two that are there. All members of both are in Members.
	Workloads map[string][]Workload
	// Configured is the revision that a new process of each component would get.
	Configured map[string]string
	// Changed says by component what somebody else deleted or edited of what the platform made for it, its members aside. Adopted workloads are never in it.
	Changed map[string]Change
	// Blocked says by component what a person has to do before anything is done to its members, and how. Only adopted workloads
	// are ever blocked.
	Blocked map[string]string
	// Coming are there beside all members that are wanted: each takes the place of one that goes when it has proved itself, as in a Deployment. They are
	// named by their process, and asked nothing.
	Coming []Member
	// Prepared says by revision whether what it needs is on every machine.
	Prepared map[string]Outcome
	// Runs by intent id. A run that is not there was never begun.
	Runs map[int64]Outcome
	// Backups by name. A backup that is not there was never begun.
	Backups map[string]Outcome
}

// Workload is one of the two in which the members of a component are while they move.
type Workload struct {
	Name string
	// Incarnation changes with everything that is wanted of it: a grow, shrink or remove is meant for one.
	Incarnation string
	// Revision that a new process of it would get; empty as long as its controller has not seen that.
	Revision string
	// Members that are wanted of it.
	Members int
}

// Member is one member as the platform and its own answers show it.
type Member struct {
	// View is what expressions see: name, component, address, answers.
	View system.Member
	// Workload that it is a member of, where the members of its component move.
	Workload string
	// State of its process.
	State ProcessState
	// Incarnation identifies what one start made: it changes with each start that Theseus or Kubernetes makes, and
	// not when the process is restarted inside it.
	Incarnation string
	// Revision that it was started with.
	Revision string
	// Volume names what the member keeps its data on; another one has another name. Empty: it was never renewed.
	Volume string
	// Crashes counts how often its process ended by itself in this incarnation.
	Crashes int32
	// Broken is set when the platform knows that this incarnation cannot come up. Example: "program not found".
	Broken string
	// Unready is why the platform leads no clients to it though it runs; then it is not ready whatever it says itself. Empty: it does, or it leads nobody anywhere.
	Unready string
	// Message is what the platform says about it, with its own last log lines where it crashed.
	Message string
}

// Outcome is how far something long has come.
type Outcome struct {
	Phase OutcomePhase
	// Message of a failure, or progress, for people.
	Message string
}

// OutcomePhase is the state of something long.
type OutcomePhase int

// The outcome phases. The zero value is that it was never begun.
const (
	NotBegun OutcomePhase = iota
	Underway
	Succeeded
	Failed
	// OutcomeUnknown: it was begun, it is not under way, and how it ended was not recorded.
	OutcomeUnknown
)

func (o OutcomePhase) String() string {
	return [...]string{"not begun", "under way", "succeeded", "failed", "unknown"}[o]
}

// Ended is the phase of something long that has ended, by what its String was.
func Ended(text string) (phase OutcomePhase, ended bool) {
	for _, phase := range []OutcomePhase{Succeeded, Failed, OutcomeUnknown} {
		if text == phase.String() {
			return phase, true
		}
	}
	return NotBegun, false
}

// fact is a member with its answers judged.
type fact struct {
	*Member
	ready    system.Answer
	why      string // why it is not ready
	version  string // that it says it runs; empty when not known
	role     string
	roleOK   bool
	expected bool // the spec wants it
}

// bad says that the member surely does not serve.
func (f *fact) bad() bool { return f.ready == system.No }

// crashLoop is the failure of a member that ended by itself too often.
func (f *fact) crashLoop() Move {
	return Fail(v1alpha1.FaultMember, "member "+f.View.Name, "CrashLoop", fmt.Sprintf("it ended by itself %d times", f.Crashes)+note(f.Message))
}

// coming is the first that is to take a member's place with a revision; nil if there is none.
func (s *Scene) coming(component, revision string) *fact {
	for i := range s.in.Look.Coming {
		if m := &s.in.Look.Coming[i]; m.View.Component == component && m.Revision == revision {
			return &fact{Member: m, why: m.Unready}
		}
	}
	return nil
}

// comes says how far somebody is who is to take a member's place.
func (f *fact) comes() string {
	if text := f.lacks(); text != "" {
		return text
	}
	return "its process is " + f.State.String()
}

// lacks says why it is not ready, with what the platform adds to that.
func (f *fact) lacks() string { return lacks(f.why, f.Message) }

func lacks(why, message string) string {
	if strings.HasPrefix(message, why) {
		return message
	}
	return why + note(message)
}

// group is one component as the look shows it.
type group struct {
	comp  *system.Component
	facts []*fact // wanted members by ordinal, then others
	all   []*system.Member
}

func (g *group) member(name string) *fact {
	i := slices.IndexFunc(g.facts, func(f *fact) bool { return f.View.Name == name })
	if i < 0 {
		return nil
	}
	return g.facts[i]
}

func (g *group) wantedCount() (n int) {
	for _, f := range g.facts {
		if f.expected {
			n++
		}
	}
	return n
}

// unavailable counts the wanted members that are not surely ready, without the one named.
func (g *group) unavailable(without string) (n int, names []string) {
	for _, f := range g.facts {
		if f.expected && f.View.Name != without && f.ready != system.Yes {
			n++
			names = append(names, f.View.Name)
		}
	}
	return n, names
}

// MemberName is the name of a member that was not adopted: cluster, component and ordinal.
func MemberName(cluster, component string, ordinal int) string {
	return cluster + "-" + component + "-" + itoa(ordinal)
}

// Replicas is the component's own word, for package operator.
func Replicas(spec *v1alpha1.ClusterSpec, c *system.Component) int { return c.Replicas(spec) }

// gather judges the members of one component: the wanted ones in order, then any others.
func gather(l *Look, nameOf func(ordinal int) string, c *system.Component, replicas int, base system.Scope) *group {
	g := &group{comp: c}
	byName := map[string]*Member{}
	for i := range l.Members {
		if m := &l.Members[i]; m.View.Component == c.Name() {
			byName[m.View.Name] = m
		}
	}
	for i := range replicas {
		name := nameOf(i)
		m := byName[name]
		if m == nil {
			m = missing(l, name, c.Name(), i)
		}
		delete(byName, name)
		g.facts = append(g.facts, &fact{Member: m, expected: true})
	}
	g.finish(byName, base)
	return g
}

// finish adds the members that nobody wants, and judges all.
func (g *group) finish(others map[string]*Member, base system.Scope) {
	wanted := len(g.facts)
	for _, m := range others {
		g.facts = append(g.facts, &fact{Member: m})
	}
	slices.SortStableFunc(g.facts[wanted:], func(a, b *fact) int { return a.View.Ordinal - b.View.Ordinal })
	for _, f := range g.facts {
		g.all = append(g.all, &f.View)
	}
	for _, f := range g.facts {
		f.judge(g, base)
	}
}

// missing stands for a wanted member that the look does not show: absent if the look is whole, else unknown.
func missing(l *Look, name, component string, ordinal int) *Member {
	m := &Member{View: system.Member{Name: name, Component: component, Ordinal: ordinal}}
	if l.Complete {
		m.State = ProcessAbsent
	}
	return m
}

func (f *fact) judge(g *group, base system.Scope) {
	switch f.State {
	case ProcessUnknown:
		f.why = "the platform does not know its process"
		return
	case ProcessRunning:
	default:
		f.ready, f.why = system.No, "its process is "+f.State.String()
		return
	}
	sc := base
	sc.M, sc.All = &f.View, g.all
	f.ready, f.why = g.comp.Ready(&sc)
	if f.Unready != "" {
		f.ready, f.why = system.No, f.Unready
	}
	f.version, _ = g.comp.Version(&sc)
	f.role, f.roleOK = g.comp.Role(&sc)
}
