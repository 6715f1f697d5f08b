package upgrade

import (
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

func itoa(n int) string { return strconv.Itoa(n) }

// Scene is what a step sees in one pass: the look, judged, and the attempt that it
// is part of. It lives for that pass.
type Scene struct {
	in        *Input
	status    *v1alpha1.ClusterStatus
	attempt   *v1alpha1.Attempt
	step      *v1alpha1.StepStatus
	sys       *system.System // of the attempt, or of what is applied
	groups    map[string]*group
	revisions map[revisionKey]string
	backing   bool  // going back
	hop       int32 // of the attempt, -1 without one
	// unfollowed is why an edit that the attempt would follow is not followed.
	unfollowed error
	// What the journal got in this pass.
	events []v1alpha1.Event
	ended  []v1alpha1.AttemptSummary
}

// Now is the wall clock, for people.
func (s *Scene) Now() metav1.Time { return metav1.NewTime(s.in.Now) }

// Clock is the attempt's clock: time in which it was looked at and not paused.
func (s *Scene) Clock() time.Duration { return s.attempt.Clock.Duration }

// Look is the observation of this pass.
func (s *Scene) Look() *Look { return &s.in.Look }

// System of the attempt.
func (s *Scene) System() *system.System { return s.sys }

// Attempt that the step is part of. Steps read it; only the StepStatus is theirs.
func (s *Scene) Attempt() *v1alpha1.Attempt { return s.attempt }

// Hop that is being taken.
func (s *Scene) Hop() *v1alpha1.HopStatus { return &s.attempt.Hops[s.attempt.Hop] }

// LastHop says whether no other hop follows.
func (s *Scene) LastHop() bool { return int(s.attempt.Hop) == len(s.attempt.Hops)-1 }

// Edge that the hop takes, with its defaults.
func (s *Scene) Edge() *v1alpha1.Edge { return edgeOf(s.sys, s.Hop().Edge) }

// Policy of the cluster, as it is now: it may be edited while an attempt runs.
func (s *Scene) Policy() *v1alpha1.UpgradePolicy { return &s.in.Cluster.Spec.Upgrade }

// restartEdge is the edge of a hop that changes no version.
var restartEdge = v1alpha1.Edge{Strategy: v1alpha1.Rolling, Backup: v1alpha1.BackupNone, Finalizes: v1alpha1.FinalizesNobody}

func edgeOf(sys *system.System, index int32) *v1alpha1.Edge {
	if index < 0 {
		return &restartEdge
	}
	return sys.Edge(int(index))
}

// hopTarget is what the members run with at the end of the current hop.
func (s *Scene) hopTarget() *v1alpha1.Pinned {
	return TargetOf(s.sys, s.attempt)
}

// wanted is what the members of a component shall run now: the hop's target, or what was before when going back.
func (s *Scene) wanted(component string) (revision, version string) {
	switch {
	case !s.backing:
		return s.revisionAfter(component), s.Hop().To
	case s.attempt.Base == nil:
		return "", ""
	}
	return s.revisionBefore(component), s.attempt.Base.Spec.Version
}

// revisionAfter is what the members of a component have at the end of the hop.
func (s *Scene) revisionAfter(component string) string {
	return s.once(revisionKey{component, true}, func() string { return s.sys.Revision(s.hopTarget(), component, s.Hop().To) })
}

// revisionBefore is what they had when it began, and nothing where nothing ran.
func (s *Scene) revisionBefore(component string) string {
	base := s.attempt.Base
	if base == nil {
		return ""
	}
	return s.once(revisionKey{component, false}, func() string {
		return s.in.Systems[base.System.Hash].Revision(base, component, base.Spec.Version)
	})
}

type revisionKey struct {
	component string
	after     bool
}

// once finds a revision once in a pass: it is a hash of much.
func (s *Scene) once(key revisionKey, find func() string) string {
	r, ok := s.revisions[key]
	if !ok {
		r = find()
		s.revisions[key] = r
	}
	return r
}

// scope is what expressions see in this pass.
func (s *Scene) scope() system.Scope {
	return s.in.scope(s.sys, s.attempt)
}

func (in *Input) scope(sys *system.System, a *v1alpha1.Attempt) system.Scope {
	sc := system.Scope{Cluster: in.Cluster.Name}
	spec := &in.Cluster.Spec
	if a != nil {
		spec = &TargetOf(sys, a).Spec
		sc.From, sc.Version = a.Hops[a.Hop].From, a.Hops[a.Hop].To
	} else {
		sc.Version = spec.Version
	}
	sc.Options = sys.Options(spec)
	return sc
}

// group judges a component, once in a pass.
func (s *Scene) group(component string) *group {
	if g := s.groups[component]; g != nil {
		return g
	}
	c := s.sys.Component(component)
	var g *group
	if m := s.moving(component); m != nil && s.in.Look.Workloads[component] != nil { // who looked before this hop began saw the one workload alone
		g = gatherMoving(&s.in.Look, c, m, s.scope())
	} else {
		g = gather(&s.in.Look, s.memberNames(component), c, s.replicas(c), s.scope())
	}
	s.groups[component] = g
	return g
}

// memberNames names the members of a component by ordinal. Where they are is in the status: an upgrade may have moved them.
func (s *Scene) memberNames(component string) func(ordinal int) string {
	spec := s.status.Begun()
	if spec == nil {
		spec = &s.in.Cluster.Spec
	}
	return func(ordinal int) string { return spec.MemberName(s.in.Cluster.Name, component, ordinal) }
}

func (s *Scene) replicas(c *system.Component) int {
	spec := &s.in.Cluster.Spec
	if s.attempt != nil {
		spec = &s.attempt.Target.Spec
	} else if s.status.Applied != nil {
		spec = &s.status.Applied.Spec
	}
	return c.Replicas(spec)
}

// defaultSoak is used where neither Cluster nor System says how long. etcd members were seen to answer
// healthy and die a second later, so none is not a choice.
const defaultSoak = 5 * time.Second

func (s *Scene) soak(c *system.Component) time.Duration { return Soak(s.Policy(), c) }

// Soak is how long a new member of a component has to prove itself, for platforms that replace members themselves.
func Soak(policy *v1alpha1.UpgradePolicy, c *system.Component) time.Duration {
	if d := policy.Soak; d != nil {
		return d.Duration
	}
	if d := c.API().Soak; d != nil {
		return d.Duration
	}
	return defaultSoak
}

const defaultDeadline = 10 * time.Minute

func (s *Scene) deadline() time.Duration {
	if d := s.Policy().ProgressDeadline; d != nil && d.Duration > 0 {
		return d.Duration
	}
	return defaultDeadline
}

// NewID is the id of a new act. A kind keeps the id of what it runs in its step, and finds the run in the look by it.
func (s *Scene) NewID() int64 {
	s.status.Acts++
	return s.status.Acts
}

// Progress says that the step got better: its deadline starts anew.
func (s *Scene) Progress() { s.step.ProgressAt = s.attempt.Clock }

// expired says whether the step has not got better for the deadline.
func (s *Scene) expired() bool {
	return s.Clock()-s.step.ProgressAt.Duration >= s.deadline()
}

// Overridden says whether a person lets the attempt pass this rule, and keeps that it did.
func (s *Scene) Overridden(rule string) bool {
	for i := range s.status.Overrides {
		o := &s.status.Overrides[i]
		if o.Rule == rule && s.in.Now.Before(o.Until.Time) {
			if !o.Used {
				o.Used = true
				s.event("RulePassed", rule, "passed by override "+o.Request+by(o.By, o.Reason), true)
			}
			return true
		}
	}
	return false
}

// by says who asked, and why, in brackets.
func by(who, why string) string {
	text := who
	if who != "" && why != "" {
		text += ": "
	}
	if text += why; text == "" {
		return ""
	}
	return " (" + text + ")"
}

const maxEvents = 200

func (s *Scene) event(reason, object, message string, warning bool) {
	e := v1alpha1.Event{At: s.Now(), Reason: reason, Object: object, Message: message, Warning: warning}
	if s.attempt != nil {
		e.Attempt = s.attempt.ID
	}
	s.events = append(s.events, e)
	s.status.Events = appendBounded(s.status.Events, e, maxEvents)
}

func appendBounded[T any](list []T, v T, most int) []T {
	list = append(list, v)
	if over := len(list) - most; over > 0 {
		list = append([]T(nil), list[over:]...)
	}
	return list
}

// noteProcesses keeps how often each process had ended by itself when the step first saw it, or when a person resumed: what was before that is not
// held against it. It says whether there was a new one.
func (s *Scene) noteProcesses(facts []*fact) (fresh bool) {
	for _, f := range facts {
		if f.Incarnation == "" {
			continue
		}
		d := s.process(f)
		if d == nil {
			s.step.Members = append(s.step.Members, v1alpha1.MemberDone{Name: f.View.Name})
			d = &s.step.Members[len(s.step.Members)-1]
		}
		if d.Incarnation != f.Incarnation {
			d.Incarnation, d.Crashes, fresh = f.Incarnation, s.countedFrom(f), true
		}
		if d.Crashes == countAnew || d.Crashes > f.Crashes {
			d.Crashes = f.Crashes
		}
	}
	return fresh
}

// countedFrom is what an earlier step counts from with this process, or what the platform counts now.
func (s *Scene) countedFrom(f *fact) int32 {
	for i := range s.attempt.Steps {
		for _, d := range s.attempt.Steps[i].Members {
			if d.Name == f.View.Name && d.Incarnation == f.Incarnation {
				return d.Crashes
			}
		}
	}
	return f.Crashes
}

func (s *Scene) process(f *fact) *v1alpha1.MemberDone {
	i := slices.IndexFunc(s.step.Members, func(d v1alpha1.MemberDone) bool { return d.Name == f.View.Name })
	if i < 0 {
		return nil
	}
	return &s.step.Members[i]
}

// crashes counts how often the process of a member ended by itself since noteProcesses first saw it.
func (s *Scene) crashes(f *fact) int32 {
	if d := s.process(f); d != nil && d.Incarnation == f.Incarnation {
		return f.Crashes - d.Crashes
	}
	return 0
}

// settled asks the rules that say that a component has settled. Rules that compare with then are asked only where
// then is given. It returns Done or what is waited for; left collects how much is left.
func (s *Scene) settled(g *group, then map[string]system.Answers, left *leftover) Move {
	sc := s.scope()
	sc.All = g.all
	sc.Then = then
	for _, r := range g.comp.Settled() {
		if r.UsesThen() && then == nil {
			continue
		}
		if m := s.holds(r, "settled/"+r.Name(), g, &sc, left); m.Kind != MoveDone {
			return m
		}
	}
	return Done()
}

// holds asks one rule about a group: of each member where it speaks of one, else once.
func (s *Scene) holds(r *system.Rule, name string, g *group, sc *system.Scope, left *leftover) Move {
	if s.Overridden(name) {
		return Done()
	}
	if !r.PerMember() {
		a, why := r.Is(sc)
		if a == system.Yes {
			return Done()
		}
		m := withLeft(Wait("component "+g.comp.Name(), name, g.silent(why)), left.add(r, sc))
		m.unknown = a == system.Unknown
		return m
	}
	worst := Done()
	for _, f := range g.facts {
		if !f.expected {
			continue
		}
		sc.M = &f.View
		if a, why := r.Is(sc); a != system.Yes && worst.Kind == MoveDone {
			worst = withLeft(Wait("member "+f.View.Name, name, why), left.add(r, sc))
			worst.unknown, worst.member = a == system.Unknown, f.View.Name
		} else if a != system.Yes {
			left.add(r, sc)
		}
	}
	return worst
}

// silent says of an answer that is missing what the platform says of that.
func (g *group) silent(why string) string {
	for _, f := range g.facts {
		if question, of := strings.CutSuffix(why, " of "+f.View.Name); of && strings.HasPrefix(f.Message, question+": ") {
			return f.View.Name + ": " + f.Message
		}
	}
	return why
}

// leftover adds up what rules say is left.
type leftover struct {
	sum   float64
	known bool
}

func (l *leftover) add(r *system.Rule, sc *system.Scope) string {
	n, ok := r.Left(sc)
	if !ok {
		return ""
	}
	text := strconv.FormatFloat(n, 'f', -1, 64)
	if l != nil {
		l.sum, l.known = l.sum+n, true
	}
	return text
}

func withLeft(m Move, left string) Move {
	m.Wait.Left = left
	return m
}

// noteLeft counts less left as progress.
func (s *Scene) noteLeft(l leftover) {
	if !l.known {
		return
	}
	if s.step.Left != nil {
		if best, err := strconv.ParseFloat(*s.step.Left, 64); err == nil && l.sum >= best {
			return
		}
		s.Progress()
	}
	text := strconv.FormatFloat(l.sum, 'f', -1, 64)
	s.step.Left = &text
}
