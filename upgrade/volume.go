package upgrade

import (
	"fmt"
	"slices"
	"strings"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// A hop whose edge says recreateVolumes has members of its new version start on empty volumes. Each volume that it makes
// has a name that begins with the attempt, the hop and the direction, so that a look tells which volume a version may start
// on: on the way forward those made for it, on the way back all but these.

// renews says whether the hop makes the volumes of a component anew.
func (s *Scene) renews(component string) bool {
	return s.attempt != nil && s.Hop().Edge >= 0 && slices.Contains(s.Edge().RecreateVolumes, component)
}

// forwardVolumes is how the names of the volumes begin that are made for the new version, backVolumes those for the old one.
func (s *Scene) forwardVolumes() string { return s.volumesOf("new") }
func (s *Scene) backVolumes() string    { return s.volumesOf("old") }

func (s *Scene) volumesOf(end string) string {
	return fmt.Sprintf("a%d.h%d.%s.", s.attempt.ID, s.attempt.Hop, end)
}

// fits says that a member's volume is one that the version at this end of the hop may start on.
func (s *Scene) fits(f *fact, forward bool) bool {
	return !s.renews(f.View.Component) || strings.HasPrefix(f.Volume, s.forwardVolumes()) == forward
}

// unfit says that a member waits for another volume before the wanted version can start: it is not there, or the platform has
// made it come back and holds it.
func (s *Scene) unfit(f *fact) bool {
	want, _ := s.wanted(f.View.Component)
	return !s.fits(f, !s.backing) && (f.State == ProcessAbsent || f.State == ProcessStarting && f.Revision == want)
}

// startFitting starts a member that does not run with the end of the hop that its volume is for.
func (s *Scene) startFitting(f *fact) Move {
	revision, version := s.wanted(f.View.Component)
	if s.fits(f, !s.backing) || s.attempt.Base == nil {
		return Do(startIntent(s, f, revision, version))
	}
	p, sys := s.attempt.Base, s.in.Systems[s.attempt.Base.System.Hash]
	if s.backing {
		p, sys = s.hopTarget(), s.sys
	}
	return Do(startIntent(s, f, sys.Revision(p, f.View.Component, p.Spec.Version), p.Spec.Version))
}

// renew makes the volume of the member in hand anew: what was on it is gone. So it is asked in this look whether the others
// have everything: all of them serve, and they have settled without it.
func (w *walk) renew(h *v1alpha1.Hand, f *fact) Move {
	object := "member " + f.View.Name
	if !w.in.Look.Complete {
		return WaitFirmly(object, "look", "the list of members is not complete")
	}
	if n, names := w.g.unavailable(f.View.Name); n > 0 && !w.Overridden("volume") {
		return Wait("member "+names[0], "volume", "the volume of "+f.View.Name+" is made anew only while all others serve"+w.whyNot(names[0]))
	}
	var left leftover
	m := w.settled(w.g.without(f), thenOf(w.st), &left)
	w.noteLeft(left)
	if m.Kind != MoveDone {
		return m
	}
	if h.Volume == "" {
		h.Volume = w.backVolumes()
		if !w.backing {
			h.Volume = w.forwardVolumes()
		}
		h.Volume += itoa(int(w.NewID()))
	}
	m = Do(v1alpha1.Intent{Act: v1alpha1.ActRenew, Component: w.g.comp.Name(), Member: f.View.Name, Incarnation: f.Incarnation, Volume: f.Volume, Name: h.Volume,
		Revision: w.revision, Version: w.version, From: w.Hop().From, Why: "its volume is made anew for " + w.version + ", which cannot read what is on it"})
	m.Disruptive = true
	return m
}

// without is the group as it is without one member.
func (g *group) without(f *fact) *group {
	rest := &group{comp: g.comp}
	for _, o := range g.facts {
		if o != f {
			rest.facts, rest.all = append(rest.facts, o), append(rest.all, &o.View)
		}
	}
	return rest
}

// checkVolumes refuses to make the volume of the only member anew: nobody would have the data.
func checkVolumes(sys *system.System, spec *v1alpha1.ClusterSpec, h *v1alpha1.HopStatus) error {
	for _, name := range edgeOf(sys, h.Edge).RecreateVolumes {
		if Replicas(spec, sys.Component(name)) == 1 {
			return &RefusedError{Field: "spec.components." + name + ".replicas", Value: "1",
				Reason: fmt.Sprintf("the hop from %s to %s makes volumes anew, and the data of the only member would be gone", h.From, h.To),
				Remedy: "restore a backup into a new cluster at " + h.To}
		}
	}
	return nil
}

// turnTo takes a member in hand that waits for its volume, instead of one that is up: the group may need it, and its wait says what a
// person can decide.
func (w *walk) turnTo(f *fact) (Move, v1alpha1.HandPhase) {
	w.take(f, v1alpha1.HandStart)
	return stay(w.advance())
}

// otherUnfit is another member that waits for its volume to be made anew.
func (w *walk) otherUnfit(f *fact) *fact {
	for _, o := range w.g.facts {
		if o != f && o.expected && w.unfit(o) {
			return o
		}
	}
	return nil
}
