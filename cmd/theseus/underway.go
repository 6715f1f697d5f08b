package main

import (
	"slices"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/upgrade"
)

// What is left of an attempt that is under way.

// planBack is the kind of a plan that goes back to where the current hop began.
const planBack v1alpha1.AttemptKind = "Rollback"

func goingBack(at *v1alpha1.Attempt) bool {
	return at.Phase == v1alpha1.PhaseRollingBack || at.Resume == v1alpha1.PhaseRollingBack
}

// wouldGoBack says that the attempt goes back, or would with this version wanted.
func (k *opened) wouldGoBack(at *v1alpha1.Attempt, version string) bool {
	return goingBack(at) || at.Kind == v1alpha1.AttemptUpgrade && k.system.SameVersion(version, baseVersion(at)) && !k.system.SameVersion(version, at.To)
}

// wouldSupersede says that the attempt would give way to another version, because it disrupted nothing yet.
func (k *opened) wouldSupersede(at *v1alpha1.Attempt, version string) bool {
	return at.Kind == v1alpha1.AttemptUpgrade && !at.Disrupted && !k.wouldGoBack(at, version) && !k.system.SameVersion(version, at.To)
}

// left is what of an attempt's plan is still to be done.
func left(p *upgrade.Plan, at *v1alpha1.Attempt) *upgrade.Plan {
	out := *p
	out.Hops, out.Seconds = nil, 0
	hops := slices.Clone(p.Hops[at.Hop:])
	hops[0].Steps = slices.DeleteFunc(slices.Clone(hops[0].Steps), func(st upgrade.PlannedStep) bool { return stepPhase(at, st.Name) == v1alpha1.StepDone })
	return withHops(&out, hops...)
}

// back is what going back from an attempt undoes: the steps of the current hop that were begun, the last one first.
func back(p *upgrade.Plan, at *v1alpha1.Attempt) *upgrade.Plan {
	from, to := p.Hops[at.Hop].To, baseVersion(at)
	hop := upgrade.PlannedHop{From: from, To: to}
	for _, st := range slices.Backward(p.Hops[at.Hop].Steps) {
		if phase := stepPhase(at, st.Name); phase == "" || phase == v1alpha1.StepPending || phase == v1alpha1.StepUndone {
			continue
		}
		if !st.Disrupts { // taken back at once, if there is anything to take back
			st.Seconds, st.Waits = 0, nil
		}
		st.Name, st.Irreversible = "undo "+st.Name, false
		hop.Steps = append(hop.Steps, st)
	}
	return withHops(&upgrade.Plan{Kind: planBack, From: from, To: to}, hop)
}

// withHops adds hops to a plan, with the time that they are likely to take.
func withHops(p *upgrade.Plan, hops ...upgrade.PlannedHop) *upgrade.Plan {
	for _, h := range hops {
		p.Hops = append(p.Hops, h)
		for _, st := range h.Steps {
			p.Seconds += st.Seconds
		}
	}
	return p
}

func stepPhase(at *v1alpha1.Attempt, name string) v1alpha1.StepPhase {
	i := slices.IndexFunc(at.Steps, func(st v1alpha1.StepStatus) bool { return st.Name == name })
	if i < 0 {
		return ""
	}
	return at.Steps[i].Phase
}

// notTaken says that the attempt goes back from this very version; empty where it does not.
func notTaken(at *v1alpha1.Attempt, to string) string {
	if at == nil || !goingBack(at) || to != at.To {
		return ""
	}
	return "going back to " + baseVersion(at) + "; --to " + to + " was not taken"
}
