package upgrade

import (
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// errand is an action that a step wants done, with what it is for.
type errand struct {
	key     string // unique in the step
	path    string // of the action in the System
	action  *v1alpha1.Action
	group   *group
	hand    string // the member in hand, if one
	to      string // the receiver of a handover
	retries int32
	unknown v1alpha1.OnUnknown // where the action does not say
	why     string
	counts  bool // being done is progress; not so for what is done until something else is seen
}

// run brings an errand to its end on every member that it is meant for. It wants at most one act a pass.
func (s *Scene) run(e errand) Move {
	targets := s.targets(e)
	switch {
	case len(targets) > 0:
	case s.Overridden("run/" + e.key), e.action.Where == v1alpha1.OnOthers && e.group.wantedCount() == 1:
		return Done()
	default:
		return Wait("component "+e.group.comp.Name(), "run/"+e.key, "no ready member to do "+e.key+" on")
	}
	for _, member := range targets {
		if m := s.runOn(e, member); m.Kind != MoveDone {
			return m
		}
	}
	return Done()
}

// targets are the members that an errand is done on. What was begun on a member is finished there.
func (s *Scene) targets(e errand) []string {
	where := e.action.Where
	switch {
	case e.hand == "" && (where == "" || where == v1alpha1.OnMember):
		where = v1alpha1.OnAny
	case where == "" || where == v1alpha1.OnMember:
		return []string{e.hand}
	}
	var begun, ready []string
	last := lastRole(e.group.comp)
	for _, f := range e.group.facts {
		name := f.View.Name
		switch {
		case s.ref(e.key+"@"+name) != nil:
			begun = append(begun, name)
		case f.ready != system.Yes, where == v1alpha1.OnOthers && name == e.hand, where == v1alpha1.OnLeader && (!f.roleOK || f.role != last):
		default:
			ready = append(ready, name)
		}
	}
	if where == v1alpha1.OnOthers || where == v1alpha1.OnEach {
		return append(begun, ready...)
	}
	return append(begun, ready...)[:min(1, len(begun)+len(ready))]
}

func lastRole(c *system.Component) string {
	roles := c.API().Roles
	if len(roles) == 0 {
		return ""
	}
	return roles[len(roles)-1].Name
}

func (s *Scene) ref(key string) *v1alpha1.RunRef {
	for i := range s.step.Runs {
		if s.step.Runs[i].Key == key {
			return &s.step.Runs[i]
		}
	}
	return nil
}

// retryPause grows with each try, so that a passing trouble has time to pass.
func retryPause(tries int32) time.Duration {
	return time.Second << min(tries-1, 5)
}

func (s *Scene) runOn(e errand, member string) Move {
	key := e.key + "@" + member
	rule := "run/" + e.key
	r := s.ref(key)
	if r == nil {
		s.step.Runs = append(s.step.Runs, v1alpha1.RunRef{Key: key})
		r = &s.step.Runs[len(s.step.Runs)-1]
	}
	if r.Done {
		return Done()
	}
	if s.Overridden(rule) {
		r.Done = true
		return Done()
	}
	if r.ID == 0 {
		return s.try(e, r, member)
	}
	out := s.in.Look.Runs[r.ID]
	switch {
	case r.Failed != "" || r.Tries == 0:
		// A failure was seen, or a person let it be tried anew.
	case out.Phase == NotBegun:
		return Do(s.runIntent(e, r, member))
	case out.Phase == Underway:
		return Wait("run "+key, rule, strings.TrimSuffix("under way: "+out.Message, ": "))
	case out.Phase == Succeeded:
		r.Done, r.After.Duration = true, s.Clock()+bringPause
		if e.counts {
			s.Progress()
		}
		return Done()
	case out.Phase == OutcomeUnknown && onUnknown(e) == v1alpha1.StopOnUnknown:
		return Fail(v1alpha1.FaultUnknown, "run "+key, "OutcomeUnknown", "nobody knows whether "+key+" happened: "+out.Message+
			"; look, then resume to do it again or override '"+rule+"' to count it as done")
	default:
		r.Failed = out.Message
		if r.Failed == "" {
			r.Failed = out.Phase.String()
		}
		r.After = metav1.Duration{Duration: s.Clock() + retryPause(r.Tries)}
	}
	switch {
	case r.Tries > e.retries:
		return Fail(v1alpha1.FaultEnvironment, "run "+key, "ActionFailed", key+" failed "+itoa(int(r.Tries))+" times: "+r.Failed)
	case r.Tries > 0 && s.Clock() < r.After.Duration:
		return Wait("run "+key, rule, "failed, is tried again soon: "+r.Failed)
	}
	return s.try(e, r, member)
}

func onUnknown(e errand) v1alpha1.OnUnknown {
	if e.action.OnUnknown != "" {
		return e.action.OnUnknown
	}
	if e.unknown != "" {
		return e.unknown
	}
	return v1alpha1.StopOnUnknown
}

// try gives a run a new id, under which the platform does it at most once.
func (s *Scene) try(e errand, r *v1alpha1.RunRef, member string) Move {
	r.ID, r.Tries, r.Failed = s.NewID(), r.Tries+1, ""
	return Do(s.runIntent(e, r, member))
}

func (s *Scene) runIntent(e errand, r *v1alpha1.RunRef, member string) v1alpha1.Intent {
	return v1alpha1.Intent{ID: r.ID, Act: v1alpha1.ActRun, Component: e.group.comp.Name(), Member: member, To: e.to, Action: e.path,
		From: s.Hop().From, Version: s.Hop().To, Why: e.why}
}

// bringPause is the time between two runs that bring a rule about, so that the first has time to work.
const bringPause = time.Second

// rested says whether the last runs whose key begins so were long enough ago.
func (s *Scene) rested(prefix string) bool {
	return !slices.ContainsFunc(s.step.Runs, func(r v1alpha1.RunRef) bool {
		return strings.HasPrefix(r.Key, prefix) && s.Clock() < r.After.Duration
	})
}

// dropRuns forgets runs whose key begins so, because what they were for is done anew.
func dropRuns(st *v1alpha1.StepStatus, prefix string) {
	kept := st.Runs[:0]
	for _, r := range st.Runs {
		if !strings.HasPrefix(r.Key, prefix) {
			kept = append(kept, r)
		}
	}
	st.Runs = kept
}

const hookRetries = 2

// hooks brings a list of hooks to its end, one after the other.
func (s *Scene) hooks(list []v1alpha1.Hook, path func(hook string) string, key string, g *group, hand string) Move {
	for i := range list {
		h := &list[i]
		retries := int32(hookRetries)
		if h.Retries != nil {
			retries = *h.Retries
		}
		e := errand{key: key + "/" + h.Name, path: path(h.Name), action: &h.Action, group: g, hand: hand, retries: retries,
			to: hand, why: "hook " + h.Name, counts: true}
		if hand != "" {
			e.key += "/" + hand
		}
		m := s.run(e)
		if m.Kind == MoveFail && m.Failure.Class == v1alpha1.FaultEnvironment && h.OnFailure == v1alpha1.HookWarns {
			s.event("HookFailed", m.Failure.Object, m.Failure.Message, true)
			s.giveUp(e.key)
			continue
		}
		if m.Kind != MoveDone {
			return m
		}
	}
	return Done()
}

// giveUp counts an errand as done though it failed.
func (s *Scene) giveUp(key string) {
	for i := range s.step.Runs {
		if r := &s.step.Runs[i]; strings.HasPrefix(r.Key, key+"@") {
			r.Done = true
		}
	}
}
