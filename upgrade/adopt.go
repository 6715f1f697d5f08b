package upgrade

import (
	"fmt"
	"slices"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// Workloads that somebody else made. What the core sees of them is in the spec: whoever looks fills in a sum of the template and, where the
// template decides, the version (ClusterSpec.See). So a changed template is a changed spec, and is planned as every other one.

// blocked is what a person has to do first to an adopted workload. No attempt begins before that.
func (s *Scene) blocked() error {
	for _, c := range s.sys.Components() {
		if why := s.in.Look.Blocked[c.Name()]; why != "" {
			return &RefusedError{Field: "spec.components." + c.Name() + ".adopt", Reason: why}
		}
	}
	return nil
}

// configure brings about that new processes of a component get the wanted revision; where that is somebody else's to do, it waits for them.
func (s *Scene) configure(component string) Move {
	own := s.in.Cluster.Spec.Components[component].Adopt
	if why := s.in.Look.Blocked[component]; why != "" && own != nil {
		return Rest(own.Object(), "adopted", why, "")
	}
	revision, version := s.wanted(component)
	switch {
	case s.in.Look.Configured[component] == revision:
		return s.adoptsAsIs(component)
	case own == nil || own.Mode != v1alpha1.AdoptOrder:
		return Do(configureIntent(s, component))
	case s.backing && !s.someOutdated(component):
		return Done() // nobody was replaced: what a new one would get is not ours to take back
	case s.in.Look.Configured[component] == "":
		return WaitFirmly(own.Object(), "template", "its controller has not seen its template yet")
	}
	return Rest(own.Object(), "template", fmt.Sprintf("its template is for %s, and %s is under way: its owner has to set it to that, or back to %s",
		s.in.Cluster.Spec.Version, version, baseVersion(s.attempt)), "")
}

// adoptsAsIs is asked where an attempt starts all members: one of an adopted workload that runs something else is left alone.
func (s *Scene) adoptsAsIs(component string) Move {
	own := s.in.Cluster.Spec.Components[component].Adopt
	if own == nil || !startsAll(s.attempt.Kind) {
		return Done()
	}
	revision, _ := s.wanted(component)
	for _, f := range s.group(component).facts {
		if f.expected && f.State != ProcessAbsent && f.Revision != revision {
			return Rest("member "+f.View.Name, "adopted", "it was not made from the template of "+own.Object()+" as it is now, and adopting replaces nobody: replace it, or set the template back", "")
		}
	}
	return Done()
}

// reconfigure writes what is Theseus' of an adopted workload again where somebody else changed it while nothing else was to be done.
func (s *Scene) reconfigure() *v1alpha1.Intent {
	p := s.status.Applied
	for _, c := range s.sys.Components() {
		own, got := s.in.Cluster.Spec.Components[c.Name()].Adopt, s.in.Look.Configured[c.Name()]
		if own == nil || own.Mode != v1alpha1.AdoptVersion || got == "" {
			continue
		}
		if wanted := s.sys.Revision(p, c.Name(), p.Spec.Version); got != wanted {
			return &v1alpha1.Intent{ID: s.status.Acts, Act: v1alpha1.ActConfigure, Component: c.Name(), Revision: wanted, Version: p.Spec.Version,
				Why: "somebody else changed what new processes of " + c.Name() + " get"}
		}
	}
	return nil
}

// followTemplates takes a template that changed while the attempt runs for the end that it goes to, as long as it is for that version: it was
// changed already, and nobody can be told to wait. A person who did so in a failure goes on with it.
func (s *Scene) followTemplates() bool {
	a := s.attempt
	if a == nil {
		return false
	}
	end, now := &a.Target, &s.in.Cluster.Spec
	if s.backing {
		end = a.Base
	}
	changed := false
	for _, c := range s.sys.Components() {
		live, have := now.Components[c.Name()], end.Spec.Components[c.Name()]
		if live.Adopt == nil || have.Adopt == nil || live.Adopt.Template == have.Adopt.Template ||
			s.moving(c.Name()) != nil || // it is that of a workload which is left
			now.Foreign(c.Name()) && !s.sys.SameVersion(now.Version, end.Spec.Version) {
			continue
		}
		if !changed {
			end = end.DeepCopy() // what was read is not changed
			changed = true
		}
		end.Spec.See(c.Name(), live.Adopt.Template, have.Replicas)
		s.event("TemplateChanged", live.Adopt.Object(), "its template was changed while an attempt is under way, which goes on with it", true)
	}
	switch {
	case !changed:
		return false
	case s.backing:
		a.Base = end
	default:
		a.Target = *end
	}
	clear(s.groups)
	clear(s.revisions)
	if a.Phase == v1alpha1.PhasePaused && a.Failure != nil {
		s.resume()
	}
	return true
}

// foreignObject is a workload, of any component, whose template is somebody else's; empty if there is none.
func (s *Scene) foreignObject() string {
	spec := &s.in.Cluster.Spec
	for _, c := range s.sys.Components() {
		if spec.Foreign(c.Name()) {
			return spec.Components[c.Name()].Adopt.Object()
		}
	}
	return ""
}

// versionField is where a person says the version.
func (s *Scene) versionField() string {
	if object := s.foreignObject(); object != "" {
		return "the version of " + object
	}
	return "spec.version"
}

// checkAdopted refuses what cannot be kept with a workload that somebody else made.
func checkAdopted(sys *system.System, spec *v1alpha1.ClusterSpec, a *v1alpha1.Attempt) error {
	for _, c := range sys.Components() {
		own := spec.Components[c.Name()].Adopt
		if own == nil {
			continue
		}
		if len(a.Hops) > 1 && own.Mode == v1alpha1.AdoptOrder {
			return &RefusedError{Field: own.Object(), Value: a.To, Reason: fmt.Sprintf("its template goes from %s to %s at once, and there are %d hops between them", a.From, a.To, len(a.Hops)),
				Remedy: "set its template to " + a.Hops[0].To + " first"}
		}
		for _, h := range a.Hops {
			if err := checkAdoptedHop(edgeOf(sys, h.Edge), c.Name(), own, &h); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkAdoptedHop(e *v1alpha1.Edge, component string, own *v1alpha1.Adopt, h *v1alpha1.HopStatus) error {
	var what string
	switch {
	case e.Strategy == v1alpha1.Recreate:
		what = "stops all members at once"
	case slices.Contains(e.RecreateVolumes, component):
		what = "makes volumes anew"
	default:
		return nil
	}
	return &RefusedError{Field: "spec.components." + component + ".adopt",
		Reason: fmt.Sprintf("the hop from %s to %s %s, which cannot be done with %s: somebody else made it", h.From, h.To, what, own.Object()),
		Remedy: "restore a backup into a Cluster that Theseus makes, at " + h.To}
}
