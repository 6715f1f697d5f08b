package upgrade

import (
	"time"

	"theseus.dev/api/v1alpha1"
)

// Change is what somebody else did to what the platform made for a component.
type Change struct {
	// What was done. Example: "Service kv-etcd is gone".
	What string
	// Revision that new processes of the component were given last; empty where nothing is left that says so.
	Revision string
}

const (
	mended = "Mended"
	// mendAgain is how soon after it was mended a thing is mended again, at first; it doubles with each time within the hour.
	mendAgain = 10 * time.Second
)

// mend has the platform make again what somebody else deleted or edited of what it made. That takes no member away, so it is no step of a plan: it is done at
// rest and while an attempt runs, is paused or waits. Who insists on a change is met less and less often, so that no two write for ever. Where all members are
// absent there is nothing to mend: they are started, which makes everything.
func (s *Scene) mend() *v1alpha1.Intent {
	if len(s.in.Look.Changed) == 0 || s.attempt == nil && s.allAbsent() {
		return nil
	}
	for _, c := range s.sys.Components() {
		change, changed := s.in.Look.Changed[c.Name()]
		revision, version := s.due(c.Name(), change.Revision)
		message := change.What + ": it is put right, for " + version
		if !changed || revision == "" || s.mendedLately(message) {
			continue
		}
		i := s.configuring(c.Name(), revision, version)
		i.ID, i.Why = s.status.Acts, message // done again it does nothing twice: it needs no id of its own
		s.event(mended, "component "+c.Name(), message, false)
		return &i
	}
	return nil
}

// due is what new processes of a component get as far as the attempt has come, or as it is applied; nothing where nobody can say so, or where its first start
// is to come. What they were given last counts, if it is an end of the hop.
func (s *Scene) due(component, last string) (revision, version string) {
	if s.attempt == nil {
		p := s.status.Applied
		if p == nil {
			return "", ""
		}
		if wanted := s.sys.Revision(p, component, p.Spec.Version); last == "" || last == wanted {
			return wanted, p.Spec.Version
		}
		return "", ""
	}
	switch after, base := s.revisionAfter(component), s.attempt.Base; {
	case last == after || last == "" && base != nil && s.configuredTo(component):
		return after, s.Hop().To
	case base != nil && (last == "" || last == s.revisionBefore(component)):
		return s.revisionBefore(component), base.Spec.Version
	}
	return "", ""
}

// configuredTo says that the step which replaces the members of a component has given new processes the end of the hop, and not taken it back.
func (s *Scene) configuredTo(component string) bool {
	for _, st := range s.attempt.Steps {
		if st.Component == component && replaces(st.Kind) {
			return st.Phase == v1alpha1.StepRunning || st.Phase == v1alpha1.StepDone
		}
	}
	return false
}

// mendedLately says that the same was mended too short a time ago.
func (s *Scene) mendedLately(message string) bool {
	pause, lately := mendAgain, false
	for _, e := range s.status.Events {
		ago := s.in.Now.Sub(e.At.Time)
		if e.Reason != mended || e.Message != message || ago < 0 || ago > time.Hour {
			continue
		}
		lately = ago < pause
		pause *= 2
	}
	return lately
}
