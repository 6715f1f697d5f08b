package upgrade

import (
	"slices"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// HopPlan is what kinds see when they say which steps a hop needs.
type HopPlan struct {
	Cluster  *v1alpha1.Cluster
	System   *system.System
	Attempt  *v1alpha1.Attempt
	Hop      *v1alpha1.HopStatus
	Edge     *v1alpha1.Edge
	Last     bool
	Replicas func(component string) int
	// Soak of a component, in seconds.
	Soak func(component string) float64
}

// steps are what all kinds want in a hop, in order.
func (d *Decider) steps(h *HopPlan) (planned []Planned, kinds []v1alpha1.StepKind) {
	type entry struct {
		Planned
		kind v1alpha1.StepKind
	}
	var all []entry
	for _, k := range d.kinds {
		for _, p := range k.Steps(h) {
			all = append(all, entry{p, k.Name()})
		}
	}
	slices.SortStableFunc(all, func(a, b entry) int {
		if a.Place == PlaceRoll && b.Place == PlaceRoll { // component by component, of whatever kind
			return h.at(a.Component) - h.at(b.Component)
		}
		return int(a.Place) - int(b.Place)
	})
	for _, e := range all {
		planned, kinds = append(planned, e.Planned), append(kinds, e.kind)
	}
	return planned, kinds
}

func (h *HopPlan) at(component string) int {
	return slices.IndexFunc(h.System.Components(), func(c *system.Component) bool { return c.Name() == component })
}

func hopPlan(sys *system.System, c *v1alpha1.Cluster, a *v1alpha1.Attempt, hop int) *HopPlan {
	s := &Scene{in: &Input{Cluster: c}, attempt: a}
	return &HopPlan{Cluster: c, System: sys, Attempt: a, Hop: &a.Hops[hop], Edge: edgeOf(sys, a.Hops[hop].Edge), Last: hop == len(a.Hops)-1,
		Replicas: func(name string) int { return sys.Component(name).Replicas(&a.Target.Spec) },
		Soak:     func(name string) float64 { return s.soak(sys.Component(name)).Seconds() },
	}
}

// planSteps are the steps of the attempt's current hop.
func (d *Decider) planSteps(sys *system.System, c *v1alpha1.Cluster, a *v1alpha1.Attempt) []v1alpha1.StepStatus {
	planned, kinds := d.steps(hopPlan(sys, c, a, int(a.Hop)))
	var out []v1alpha1.StepStatus
	for i, p := range planned {
		out = append(out, v1alpha1.StepStatus{Name: p.Name, Kind: kinds[i], Component: p.Component, Arg: p.Arg, Phase: v1alpha1.StepPending})
	}
	return out
}

// Plan is what an attempt would do, to be shown before it starts.
type Plan struct {
	Kind     v1alpha1.AttemptKind `json:"kind"`
	From     string               `json:"from,omitempty"`
	To       string               `json:"to"`
	Hops     []PlannedHop         `json:"hops"`
	Warnings []string             `json:"warnings,omitempty"`
	// Seconds that all of it is likely to take.
	Seconds float64 `json:"seconds"`
}

// PlannedHop is one hop of a plan.
type PlannedHop struct {
	From  string        `json:"from"`
	To    string        `json:"to"`
	Note  string        `json:"note,omitempty"`
	Steps []PlannedStep `json:"steps"`
}

// PlannedStep is one step of a plan.
type PlannedStep struct {
	Name         string            `json:"name"`
	Kind         v1alpha1.StepKind `json:"kind"`
	Waits        []string          `json:"waits,omitempty"`
	Seconds      float64           `json:"seconds"`
	Disrupts     bool              `json:"disrupts,omitempty"`
	Irreversible bool              `json:"irreversible,omitempty"`
}

// Plan says what would be done if the spec were followed now. It returns nil where there is nothing to do, and a
// *RefusedError or an error of the System where the spec cannot be followed.
func (d *Decider) Plan(in Input) (*Plan, error) {
	s := newScene(&in, in.Cluster.Status.DeepCopy())
	if s.attempt != nil {
		return d.describePlan(s.sys, in.Cluster, s.attempt), nil
	}
	kind, err := s.wish()
	if err != nil || kind == "" {
		return nil, err
	}
	a, err := d.newAttempt(&in, s.status, kind, 0)
	if err != nil {
		return nil, err
	}
	sys := in.Systems[a.Target.System.Hash]
	if sys == nil {
		sys = in.System
	}
	return d.describePlan(sys, in.Cluster, a), nil
}

func (d *Decider) describePlan(sys *system.System, c *v1alpha1.Cluster, a *v1alpha1.Attempt) *Plan {
	p := &Plan{Kind: a.Kind, From: a.From, To: a.To, Warnings: warnings(sys, c, a)}
	for i, h := range a.Hops {
		ph := PlannedHop{From: h.From, To: h.To, Note: edgeOf(sys, h.Edge).Note}
		planned, kinds := d.steps(hopPlan(sys, c, a, i))
		for j, st := range planned {
			ph.Steps = append(ph.Steps, PlannedStep{Name: st.Name, Kind: kinds[j], Waits: st.Waits, Seconds: st.Seconds,
				Disrupts: st.Disrupts, Irreversible: st.Irreversible})
			p.Seconds += st.Seconds
		}
		p.Hops = append(p.Hops, ph)
	}
	return p
}

// warnings name what a person should know before the attempt: where availability or the way back cannot be promised.
func warnings(sys *system.System, c *v1alpha1.Cluster, a *v1alpha1.Attempt) []string {
	var out []string
	if a.Kind == v1alpha1.AttemptCreate || a.Kind == v1alpha1.AttemptStart {
		return nil
	}
	for _, comp := range sys.Components() {
		n := comp.Replicas(&a.Target.Spec)
		switch {
		case n == 1:
			out = append(out, "component "+comp.Name()+" has one member: the service is down while it is replaced")
		case n == 2 && len(comp.API().Roles) > 0:
			out = append(out, "component "+comp.Name()+" has two members: a group that votes cannot lose either without stopping")
		}
		if m := int(c.Spec.Upgrade.MaxUnavailable); m >= n && n > 1 {
			out = append(out, "spec.upgrade.maxUnavailable "+itoa(m)+" is not less than the "+itoa(n)+" members of "+comp.Name())
		}
	}
	for _, h := range a.Hops {
		e := edgeOf(sys, h.Edge)
		where := "the hop from " + h.From + " to " + h.To
		if e.Strategy == v1alpha1.Recreate {
			out = append(out, where+" stops all members at once")
		}
		if e.Finalizes == v1alpha1.FinalizesWithLastMember && len(e.UndoAfter) == 0 {
			out = append(out, where+" cannot be taken back once the last member is replaced")
		}
		if e.Backup == v1alpha1.BackupIfPossible && a.Target.Spec.Backup == nil && sys.API().Backup != nil {
			out = append(out, where+" begins without a backup: spec.backup is not set")
		}
	}
	return out
}
