package system

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"

	"theseus.dev/api/v1alpha1"
)

// workloadPattern and longestWorkload are what the name of a StatefulSet may be, so that its pods can be named by it.
var workloadPattern = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)

const longestWorkload = 52

// MoveTo is the name of the StatefulSet that a move of an edge leads to.
func (s *System) MoveTo(m *v1alpha1.Move, cluster, from string, p *v1alpha1.Pinned) (string, error) {
	name, err := s.Expand(m.To, &Scope{Cluster: cluster, From: from, Version: p.Spec.Version, Options: s.Options(&p.Spec)})
	switch {
	case err != nil:
		return "", err
	case !workloadPattern.MatchString(name) || len(name) > longestWorkload:
		return "", fmt.Errorf("%q cannot be the name of a StatefulSet: it has to be a DNS label of at most %d characters", name, longestWorkload)
	}
	return name, nil
}

// Env are some variables of the environment of sc.M.
func (s *System) Env(component string, names []string, sc *Scope) (map[string]string, error) {
	all := s.Component(component).api.Env
	some := map[string]string{}
	for _, name := range names {
		some[name] = all[name]
	}
	return s.env(some, nil, sc)
}

// moves checks that members can move: only those do that nothing has to be said of one by one.
func (c *checker) moves(path string, e *v1alpha1.Edge) {
	seen := map[string]bool{}
	for i := range e.Moves {
		m := &e.Moves[i]
		at := fmt.Sprintf("%s.moves.%d", path, i)
		k := c.known(at+".component", m.Component)
		if k != nil {
			at = path + ".moves." + m.Component
			c.movable(at, e, k)
		}
		if seen[m.Component] {
			c.errs.Add(at, m.Component, "is named twice", "name it once")
		}
		seen[m.Component] = true
		if m.To == "" {
			c.errs.Add(at+".to", "", "is missing", `name the new StatefulSet, as "${cluster}-store"`)
		}
		c.template(at+".to", m.To, place{vars: baseVariables, noAnswers: true})
		if *m.By < 1 || *m.By > 99 {
			c.errs.Add(at+".by", strconv.Itoa(int(*m.By)), "is not between 1 and 99", "write how many members may be in both StatefulSets at a time")
		}
		if k != nil {
			c.references(at+".env", m.Env, "components."+k.Name+".env", slices.Collect(maps.Keys(k.Env)))
		}
		enum(c, at+".claims", m.Claims, v1alpha1.KeepClaims, v1alpha1.DeleteClaims)
	}
}

// movable refuses moves beside what needs one member after the other, or all of them at once.
func (c *checker) movable(at string, e *v1alpha1.Edge, k *v1alpha1.Component) {
	const one = ", and members that move come and go several at a time"
	switch {
	case e.Strategy == v1alpha1.Recreate:
		c.errs.Add(at, k.Name, "cannot move with strategy: Recreate, which leaves nobody to take over", "write strategy: Rolling, or leave moves away")
	case e.Finalizes == v1alpha1.FinalizesWithLastMember:
		c.errs.Add(at, k.Name, "cannot move with finalizes: WithLastMember: nobody could say which one is the last", "write finalizes: Theseus or Nobody, or leave moves away")
	case slices.Contains(e.RecreateVolumes, k.Name):
		c.errs.Add(at, k.Name, "is in recreateVolumes too", "leave it away there: members that move have volumes of their own")
	case k.Workload == v1alpha1.WorkloadDeployment:
		c.errs.Add(at, k.Name, "is no StatefulSet: Kubernetes replaces its members", "leave moves away")
	case len(k.Roles) > 0:
		c.errs.Add(at, k.Name, "has roles"+one, "leave moves away")
	case k.Drain != nil || len(k.Before) > 0 || len(k.After) > 0:
		c.errs.Add(at, k.Name, "has hooks around each member"+one, "leave moves away, or move the hooks to the edge")
	}
}
