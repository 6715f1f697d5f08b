package runnertest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// NewMoving is a Memory for a Cluster whose attempt moves the members of one component: so many are in the workload that they are to leave.
func NewMoving(c *v1alpha1.Cluster, sys *system.System, members int) *Memory {
	m := NewMemory(c, sys)
	from := c.Status.Attempt.Hops[0].Moves[0].From
	m.workloads = map[string]upgrade.Workload{from: {Name: from, Incarnation: "0", Members: members}}
	return m
}

// lookAtWorkloads shows the two workloads of members that move, and a member for each that is wanted of them.
func (m *Memory) lookAtWorkloads(s runner.Scene, look *upgrade.Look) {
	if len(m.workloads) == 0 {
		return
	}
	component := s.System.Components()[0].Name()
	look.Workloads = map[string][]upgrade.Workload{}
	for _, name := range slices.Sorted(maps.Keys(m.workloads)) {
		w := m.workloads[name]
		look.Workloads[component] = append(look.Workloads[component], w)
		for i := range w.Members {
			look.Members = append(look.Members, upgrade.Member{Workload: name, State: upgrade.ProcessRunning,
				View: system.Member{Name: fmt.Sprintf("%s-%d", name, i), Component: component, Ordinal: i}})
		}
	}
}

// next gives a workload another incarnation.
func (m *Memory) next(w upgrade.Workload) {
	m.incarnation++
	w.Incarnation = strconv.Itoa(m.incarnation)
	m.workloads[w.Name] = w
}

func (m *Memory) makeWorkload(i v1alpha1.Intent) {
	w := m.workloads[i.Workload]
	if w.Revision != i.Revision {
		w.Name, w.Revision = i.Workload, i.Revision
		m.next(w)
	}
}

func (m *Memory) scale(i v1alpha1.Intent) {
	w, there := m.workloads[i.Workload]
	switch {
	case !there || w.Incarnation != i.Incarnation:
	case i.Act == v1alpha1.ActRemove:
		if w.Members == 0 {
			delete(m.workloads, i.Workload)
		}
	case w.Members == int(i.Before):
		w.Members = int(i.After)
		m.next(w)
	}
}
