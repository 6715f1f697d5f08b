package upgradetest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// lookAtSets shows the workloads of components whose members move.
func (s *Scenario) lookAtSets(l *upgrade.Look) {
	for _, c := range s.sys.Components() {
		if s.cluster.Status.Moving(c.Name()) == nil {
			continue
		}
		if l.Workloads == nil {
			l.Workloads = map[string][]upgrade.Workload{}
		}
		for _, name := range slices.Sorted(maps.Keys(s.sets)) {
			if w := s.sets[name]; w.component == c.Name() {
				l.Workloads[c.Name()] = append(l.Workloads[c.Name()], upgrade.Workload{Name: name, Incarnation: fmt.Sprint(w.changes), Revision: w.rev, Members: w.members})
			}
		}
	}
}

// revisionFor is what a member gets that comes back by itself.
func (s *Scenario) revisionFor(a *actor) string {
	if w := s.sets[strings.TrimSuffix(a.name, fmt.Sprintf("-%d", a.ordinal))]; w != nil && s.cluster.Status.Moving(a.component) != nil {
		return w.rev
	}
	return s.configured[a.component]
}

// makeSet makes the workload that members move to, or gives it another template.
func (s *Scenario) makeSet(i v1alpha1.Intent) {
	s.versionOf[i.Revision] = i.Version
	w := s.sets[i.Workload]
	if w == nil {
		w = &set{component: i.Component}
		s.sets[i.Workload] = w
	}
	w.rev = i.Revision
	w.changes++
}

// scale does what it is meant to do once, and to what it was meant for.
func (s *Scenario) scale(i v1alpha1.Intent) {
	w := s.sets[i.Workload]
	if w == nil || fmt.Sprint(w.changes) != i.Incarnation {
		return
	}
	if i.Act == v1alpha1.ActRemove {
		if w.members == 0 {
			delete(s.sets, i.Workload)
			s.print("%s  %s is removed", s.stamp(), i.Workload)
		}
		return
	}
	if w.members != int(i.Before) {
		return
	}
	w.members, w.changes = int(i.After), w.changes+1
	for n := int(i.After); n < int(i.Before); n++ {
		delete(s.members, fmt.Sprintf("%s-%d", i.Workload, n))
	}
	for n := int(i.Before); n < int(i.After); n++ {
		a := &actor{name: fmt.Sprintf("%s-%d", i.Workload, n), component: i.Component, ordinal: n}
		s.members[a.name] = a
		s.start(a, w.rev, s.versionOf[w.rev])
	}
	s.print("%s  %s has %d members", s.stamp(), i.Workload, w.members)
	s.elect()
}

// --- in simulated worlds -----------------------------------------------------

// adopt makes a component one whose workload somebody else made. What has to be done for one member after the other cannot be had of members that move.
func (c *compShape) adopt() {
	c.adopted, c.roles, c.handover, c.observers, c.quorum = true, false, false, false, false
}

func (s *shape) adopts() bool {
	return slices.ContainsFunc(s.comps, func(c compShape) bool { return c.adopted })
}

// move lets some edges give the workload of an adopted component another name, and takes away what such a workload cannot have.
func (s *shape) move(api *v1alpha1.System, r *rand.Rand) {
	for i := range s.comps {
		c := &s.comps[i]
		if !c.adopted {
			continue
		}
		k := &api.Components[i]
		k.Drain, k.Before, k.After = nil, nil, nil
		for j := range api.Edges {
			e := &api.Edges[j]
			e.Strategy = ""
			e.RecreateVolumes = slices.DeleteFunc(e.RecreateVolumes, func(name string) bool { return name == c.name })
			if r.IntN(3) == 0 {
				continue
			}
			if e.Finalizes == v1alpha1.FinalizesWithLastMember {
				e.Finalizes, e.Finalized, e.UndoAfter = "", "", nil
			}
			by := int32(1 + r.IntN(3))
			claims := []v1alpha1.ClaimRule{v1alpha1.KeepClaims, v1alpha1.DeleteClaims}[r.IntN(2)]
			e.Moves = []v1alpha1.Move{{Component: c.name, To: fmt.Sprintf("${cluster}-%s-m%d", c.name, j), By: &by, Claims: claims}}
		}
	}
}

// theirs is the name of the workload that somebody else made for a component.
func theirs(c *compShape) string { return "theirs-" + c.name }

func (w *World) adoptions() map[string]v1alpha1.ComponentSpec {
	var list map[string]v1alpha1.ComponentSpec
	for i := range w.shape.comps {
		if c := &w.shape.comps[i]; c.adopted {
			n := int32(c.replicas)
			list = map[string]v1alpha1.ComponentSpec{c.name: {Replicas: &n, Adopt: &v1alpha1.Adopt{StatefulSet: theirs(c), Mode: v1alpha1.AdoptVersion, Template: "t"}}}
		}
	}
	return list
}

// simSet is an adopted workload in a world.
type simSet struct {
	comp    *compShape
	name    string
	members int
	revision
	changes int
	seen    bool // by its controller
}

func (s *simSet) incarnation() string { return fmt.Sprintf("g%d", s.changes) }

// nextOf is what a member gets when the platform starts it.
func (w *World) nextOf(m *member) revision {
	if s := w.sets[m.set]; s != nil {
		return s.revision
	}
	return w.configured[m.comp.name]
}

// wants says that the workload of a member still has a place for it.
func (w *World) wants(m *member) bool {
	s := w.sets[m.set]
	return s != nil && m.ordinal < s.members
}

func (w *World) forgetMember(m *member) {
	if m.state == upgrade.ProcessAbsent && !w.wants(m) {
		w.members = slices.DeleteFunc(w.members, func(o *member) bool { return o == m })
	}
}

// place is the workload in which the members of an adopted component are by the journal.
func (w *World) place(component string) string {
	st := &w.journal.cluster.Status
	if b := st.Begun(); b != nil {
		return b.Components[component].Adopt.Workload()
	}
	return w.journal.cluster.Spec.Components[component].Adopt.StatefulSet
}

func (w *World) lookAtSets(st *v1alpha1.ClusterStatus, l *upgrade.Look) {
	for i := range w.shape.comps {
		c := &w.shape.comps[i]
		if !c.adopted {
			continue
		}
		if s := w.sets[w.place(c.name)]; s != nil && s.seen {
			l.Configured[c.name] = s.rev
		} else {
			delete(l.Configured, c.name)
		}
		if st.Moving(c.name) == nil {
			continue
		}
		l.Workloads = map[string][]upgrade.Workload{}
		for _, name := range slices.Sorted(maps.Keys(w.sets)) {
			if s := w.sets[name]; s.comp == c {
				seen := upgrade.Workload{Name: name, Incarnation: s.incarnation(), Members: s.members}
				if s.seen {
					seen.Revision = s.rev
				}
				l.Workloads[c.name] = append(l.Workloads[c.name], seen)
			}
		}
	}
}

// fenced is an act with what a platform reads live before it begins one: a write that comes late meets another resource version, and does nothing.
func (w *World) fenced(i v1alpha1.Intent) v1alpha1.Intent {
	if i.Act != v1alpha1.ActConfigure || !w.compOf(i.Component).adopted {
		return i
	}
	if i.Workload == "" {
		i.Workload = w.place(i.Component)
	}
	if s := w.sets[i.Workload]; s != nil {
		i.Incarnation = s.incarnation()
	}
	return i
}

func (w *World) configureSet(i v1alpha1.Intent) {
	s := w.sets[i.Workload]
	switch {
	case s == nil && i.Incarnation == "" && i.Workload != theirs(w.compOf(i.Component)):
		s = &simSet{comp: w.compOf(i.Component), name: i.Workload}
		w.sets[i.Workload] = s
	case s == nil || s.incarnation() != i.Incarnation:
		return
	}
	s.revision = revision{i.Revision, i.Version}
	w.say("%s gets %s", s.name, i.Version)
	w.touch(s)
}

// scale does what an act is meant to do, if the workload is still as it was when the act was decided.
func (w *World) scale(i v1alpha1.Intent) {
	s := w.sets[i.Workload]
	if s == nil || s.incarnation() != i.Incarnation {
		return
	}
	if i.Act == v1alpha1.ActRemove {
		if s.members == 0 {
			delete(w.sets, i.Workload)
			w.say("%s is removed", i.Workload)
		}
		return
	}
	if s.members != int(i.Before) {
		return
	}
	s.members = int(i.After)
	w.say("%s is to have %d members", s.name, s.members)
	w.touch(s)
}

// touch lets the controller of a workload see a change some time later.
func (w *World) touch(s *simSet) {
	w.setCount++
	s.changes, s.seen = w.setCount, false
	at := s.changes
	w.after(w.between(50*time.Millisecond, 2*time.Second), func() {
		if s.changes == at && w.sets[s.name] == s {
			s.seen = true
			w.reconcile(s)
		}
	})
}

// reconcile makes the members that are missing, and stops those that are too many.
func (w *World) reconcile(s *simSet) {
	there := map[int]bool{}
	for _, m := range slices.Clone(w.members) {
		if m.set != s.name {
			continue
		}
		there[m.ordinal] = true
		switch {
		case m.ordinal < s.members:
		case m.state == upgrade.ProcessAbsent:
			w.forgetMember(m)
		case m.state != upgrade.ProcessStopping:
			w.stop(m)
		}
	}
	for n := range s.members {
		if there[n] {
			continue
		}
		m := &member{comp: s.comp, name: fmt.Sprintf("%s-%d", s.name, n), ordinal: n, set: s.name, state: upgrade.ProcessAbsent}
		w.members = append(w.members, m)
		w.start(m, s.revision)
	}
}

// --- what must hold ------------------------------------------------------------

// move checks what is done to one of two workloads between which members move.
func (c *checks) move(w *World, s *sights, i v1alpha1.Intent) {
	h := &s.a.Hops[s.a.Hop]
	m := h.Move(i.Component)
	if m == nil {
		w.broke("move", "%s of %s, and the hop moves nobody", i.Act, i.Workload)
		return
	}
	from, to := m.From, m.To
	if s.back {
		from, to = to, from
	}
	wanted := w.compOf(i.Component).replicas
	have := map[string]int{}
	for _, x := range s.p.in.Look.Workloads[i.Component] {
		have[x.Name] = x.Members
	}
	switch i.Act {
	case v1alpha1.ActGrow:
		c.p2backupBeforeDisruption(w, s.a, i)
		c.p3componentsInOrder(w, s, i)
		if i.Workload != to || int(i.After) > wanted || i.After-i.Before > m.By || have[from]+int(i.After) > wanted+int(m.By) {
			w.broke("move", "%s grows from %d to %d, with %d in %s and %d wanted", i.Workload, i.Before, i.After, have[from], from, wanted)
		}
	case v1alpha1.ActShrink:
		c.p2backupBeforeDisruption(w, s.a, i)
		c.p3componentsInOrder(w, s, i)
		if i.Workload != from || i.Before-i.After > m.By {
			w.broke("move", "%s shrinks from %d to %d, and members leave %s", i.Workload, i.Before, i.After, from)
		}
		c.p1shrink(w, s, i, to, have)
	case v1alpha1.ActRemove:
		if i.Workload != from || have[from] != 0 {
			w.broke("move", "%s is removed with %d members, and members leave %s", i.Workload, have[i.Workload], from)
		}
		for n := range wanted {
			if name := fmt.Sprintf("%s-%d", to, n); readySeen(s.member(name)) != system.Yes && !overridden(&s.p.dec.Status, "ready") {
				w.broke("move", "%s is removed, and %s is not ready", i.Workload, name)
			}
		}
	}
}

// p1shrink: members that go leave as many behind as the budget demands, of both workloads together; and forward only once all new ones are good.
func (c *checks) p1shrink(w *World, s *sights, i v1alpha1.Intent, to string, have map[string]int) {
	if !s.p.in.Look.Complete {
		w.broke("promise 1", "%s shrinks on an incomplete look", i.Workload)
	}
	bad, seen, truth := true, 0, 0
	for set, members := range have {
		for n := range members {
			name := fmt.Sprintf("%s-%d", set, n)
			ready := readySeen(s.member(name))
			if set == i.Workload && n >= int(i.After) {
				bad = bad && ready == system.No
				continue
			}
			if ready == system.Yes {
				seen++
			}
			if m := w.member(name); m != nil && w.serves(m) {
				truth++
			}
			if set == to && !s.back && (ready != system.Yes && !overridden(&s.p.dec.Status, "ready") || s.member(name) != nil && s.member(name).Revision != s.wanted(i.Component)) {
				w.broke("move", "%s shrinks, and %s is not good", i.Workload, name)
			}
		}
	}
	wanted := w.compOf(i.Component).replicas
	most := budget(s.p, wanted)
	switch {
	case bad: // takes nothing away
	case wanted-seen > most:
		w.broke("promise 1", "%s shrinks from %d to %d: then %d of %d serve by the look, and %d may be unavailable", i.Workload, i.Before, i.After, seen, wanted, most)
	case s.p.honest && wanted-truth > most:
		w.broke("promise 1", "%s shrinks from %d to %d: then %d of %d serve in truth, and %d may be unavailable", i.Workload, i.Before, i.After, truth, wanted, most)
	}
}
