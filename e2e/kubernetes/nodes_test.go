//go:build linux

package kubernetes

import (
	"context"
	"slices"
	"strings"
	"testing"

	"theseus.dev/api/v1alpha1"
)

// TestUpgradeStandsNodes loses nodes while members are replaced, and gives them back when the attempt has said which member it waits for.
func TestUpgradeStandsNodes(t *testing.T) {
	if theLab == nil || theLab.Nodes < 3 {
		t.Skip("needs a lab of 3 nodes: THESEUS_NODES=3, or lab up --nodes 3")
	}
	for name, lose := range map[string]func(r *roll, node string) (back func()){
		"drained": (*roll).drained,
		"cut off": (*roll).cutOff,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoll(t)
			r.startOperator()
			r.made()
			r.edit("si", `{"spec": {"upgrade": {"soak": "2m"}}}`) // the first member stays in hand for longer than it takes to lose a node
			member, node := r.losable(r.begun())
			back := lose(r, node)
			r.edit("si", `{"spec": {"upgrade": {"soak": "1s"}}}`)
			r.await("si", "waits for what is on the node", func(c *v1alpha1.Cluster) bool {
				w := c.Status.Attempt.WaitingFor
				return w != nil && strings.Contains(w.Object+": "+w.Message, member) && c.Status.ReadyReplicas < 3 // it, or another one that cannot settle without it
			})
			back()
			r.arrives(1)
		})
	}
}

// losable is a member that is not being replaced, on a node without the control plane.
func (r *roll) losable(si *v1alpha1.Cluster) (member, node string) {
	r.t.Helper()
	for _, member := range others(si) {
		p, err := r.pod(member)
		must(r.t, err)
		if node := p.Spec.NodeName; node != "" && node != "node1" {
			return member, node
		}
	}
	r.t.Fatal("no member is on a node that can be lost")
	return "", ""
}

// others are the members that are not being replaced.
func others(si *v1alpha1.Cluster) []string {
	members := []string{"si-standin-0", "si-standin-1", "si-standin-2"}
	return slices.DeleteFunc(members, func(m string) bool {
		return slices.ContainsFunc(si.Status.Attempt.Steps, func(st v1alpha1.StepStatus) bool { return st.Hand != nil && st.Hand.Member == m })
	})
}

// drained empties a node of members, as for its own upgrade, once the member in hand is back: until then the budget holds it up. No node takes new pods, or
// the member would come back at once on another one: its volume is reached from all.
func (r *roll) drained(node string) (back func()) {
	const all = "--selector=kubernetes.io/hostname"
	back = func() { r.mustKubectl("", "uncordon", all) }
	r.t.Cleanup(func() { _, _ = r.kubectl("", "uncordon", all) })
	r.await("si", "has replaced a member, which soaks", func(c *v1alpha1.Cluster) bool {
		return slices.ContainsFunc(c.Status.Attempt.Steps, func(st v1alpha1.StepStatus) bool { return st.Hand != nil && st.Hand.Phase == v1alpha1.HandSoak })
	})
	r.mustKubectl("", "cordon", all)
	r.mustKubectl("", "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--pod-selector=theseus.dev/cluster=si", "--timeout=6m")
	return back
}

// cutOff takes a node off the network.
func (r *roll) cutOff(node string) (back func()) {
	heal := func() { must(r.t, theLab.Heal(context.WithoutCancel(r.t.Context()), node)) } // twice does no harm
	r.t.Cleanup(heal)
	must(r.t, theLab.Partition(r.t.Context(), node))
	return heal
}
