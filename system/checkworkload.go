package system

import (
	"fmt"
	"slices"

	"theseus.dev/api/v1alpha1"
)

// replacedByKubernetes refuses what a component with workload: Deployment asks for and nobody would keep: Kubernetes takes its members one after the other, in its own
// order, and waits for no more than that each new one has stayed ready for the soak. Moves are refused with the moves. What is kept already goes on without.
func (c *checker) replacedByKubernetes(path string, k *v1alpha1.Component) {
	if k.Workload != v1alpha1.WorkloadDeployment || c.kept {
		return
	}
	refuse := func(field, value, what string) {
		c.errs.Add(field, value, what+": Kubernetes replaces members of a Deployment by itself", "write workload: StatefulSet, or leave this out")
	}
	if k.Drain != nil {
		refuse(path+".drain", "", "holds no member back")
	}
	for i := range k.Before {
		refuse(fmt.Sprintf("%s.before.%d", path, i), k.Before[i].Name, "holds no member back")
	}
	for i := range k.After {
		refuse(fmt.Sprintf("%s.after.%d", path, i), k.After[i].Name, "does not hold the next member back")
	}
	if len(k.Roles) > 0 {
		refuse(path+".roles", k.Roles[0].Name, "gives members no order, and hands nothing over")
	}
	for i := range k.Settled {
		refuse(fmt.Sprintf("%s.settled.%d", path, i), k.Settled[i].Rule, "does not hold the next member back")
	}
	for i := range c.api().Edges {
		c.edgeOfDeployment(i, k, refuse)
	}
}

func (c *checker) edgeOfDeployment(i int, k *v1alpha1.Component, refuse func(field, value, what string)) {
	e, list := &c.api().Edges[i], c.api().Components
	if slices.Contains(e.RecreateVolumes, k.Name) {
		refuse(fmt.Sprintf("edges.%d.recreateVolumes", i), k.Name, "has no volumes that could be made anew")
	}
	if last := list[len(list)-1].Name == k.Name; last && e.Finalizes == v1alpha1.FinalizesWithLastMember && e.Strategy == v1alpha1.Rolling {
		refuse(fmt.Sprintf("edges.%d.finalizes", i), string(e.Finalizes), "waits for nobody's approval before the last member of "+k.Name)
	}
}
