package upgradetest

import (
	"fmt"
	"maps"
	"slices"

	"theseus.dev/api/v1alpha1"
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
