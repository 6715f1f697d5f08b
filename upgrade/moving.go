package upgrade

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// Members of an adopted workload that an edge gives another name move to a new one: both are groups of one component, and as many members as
// the attempt began with shall serve in the two together.

// planMoves notes on the hops of an attempt which members move, and where to. What Theseus made has names without a version, and what has the new
// name already stays: then there is nothing to move, and members are replaced as ever.
func planMoves(sys *system.System, cluster string, a *v1alpha1.Attempt) error {
	if a.Kind != v1alpha1.AttemptUpgrade {
		return nil
	}
	at := map[string]string{}
	for i := range a.Hops {
		h := &a.Hops[i]
		for j := range edgeOf(sys, h.Edge).Moves {
			m := &edgeOf(sys, h.Edge).Moves[j]
			own := a.Target.Spec.Components[m.Component].Adopt
			if own == nil {
				continue
			}
			field := "spec.components." + m.Component + ".adopt"
			to, err := sys.MoveTo(m, cluster, h.From, &a.Target)
			if err != nil {
				return &RefusedError{Field: field, Reason: fmt.Sprintf("the hop from %s to %s gives its StatefulSet another name, which is wrong: %v", h.From, h.To, err), Remedy: "correct the System"}
			}
			from := cmp.Or(at[m.Component], own.Workload())
			if to == from {
				continue
			}
			if own.Mode == v1alpha1.AdoptOrder {
				return &RefusedError{Field: field, Value: string(own.Mode), Reason: fmt.Sprintf("the hop from %s to %s moves its members to StatefulSet %s, which nobody makes in mode Order", h.From, h.To, to),
					Remedy: "delete the Cluster, which leaves StatefulSet and pods alone, and make it anew with mode: Version"}
			}
			at[m.Component] = to
			h.Moves = append(h.Moves, v1alpha1.HopMove{Component: m.Component, From: from, To: to, By: *m.By, Claims: m.Claims, Env: m.Env})
		}
	}
	return nil
}

// moved puts the members of a pinned copy of the spec where they are at the end of a hop.
func moved(p, base *v1alpha1.Pinned, hop *v1alpha1.HopStatus) {
	if base == nil || !p.Spec.Adopts() {
		return
	}
	p.Spec.Components = maps.Clone(p.Spec.Components) // what is pinned is not changed
	for name, own := range p.Spec.Components {
		if own.Adopt == nil {
			continue
		}
		if there := base.Spec.Components[name].Adopt; there != nil {
			p.Spec.MoveTo(name, there.Workload())
		}
		if m := hop.Move(name); m != nil {
			p.Spec.MoveTo(name, m.To)
		}
	}
}

// moving is the move of a component in the hop under way; nil if its members stay where they are.
func (s *Scene) moving(component string) *v1alpha1.HopMove {
	if s.attempt == nil || s.attempt.Base == nil {
		return nil
	}
	return s.Hop().Move(component)
}

// workload finds one of the two of a component that moves.
func (l *Look) workload(component, name string) (Workload, bool) {
	list := l.Workloads[component]
	i := slices.IndexFunc(list, func(w Workload) bool { return w.Name == name })
	if i < 0 {
		return Workload{Name: name}, false
	}
	return list[i], true
}

// gatherMoving judges the members of both workloads: those that are wanted of the old one, of the new one, then any others.
func gatherMoving(l *Look, c *system.Component, m *v1alpha1.HopMove, base system.Scope) *group {
	g := &group{comp: c}
	byName := map[string]*Member{}
	for i := range l.Members {
		if o := &l.Members[i]; o.View.Component == c.Name() {
			byName[o.View.Name] = o
		}
	}
	for _, name := range []string{m.From, m.To} {
		w, _ := l.workload(c.Name(), name)
		for i := range w.Members {
			member := name + "-" + itoa(i)
			o := byName[member]
			if o == nil {
				o = missing(l, member, c.Name(), i)
				o.Workload = name
			}
			delete(byName, member)
			g.facts = append(g.facts, &fact{Member: o, expected: true})
		}
	}
	g.finish(byName, base)
	return g
}

// of are the facts about members of one workload that are wanted of it, by ordinal.
func (g *group) of(workload string) (list []*fact) {
	for _, f := range g.facts {
		if f.expected && f.Workload == workload {
			list = append(list, f)
		}
	}
	return list
}
