package admission

import (
	"fmt"
	"slices"
	"strings"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// Limits of Kubernetes.
const (
	// maxLabel bounds the value of a label, the name of a Service and of a pod's host.
	maxLabel = 63
	// maxName bounds the name of a Cluster everywhere; manifest says so.
	maxName = 40
	// revisionHash is what Kubernetes adds to the name of a StatefulSet in the label controller-revision-hash: a dash and ten characters at most.
	// That is the most that anything adds: a pod has a dash and two digits, and the Service for clients has "-client". Jobs are named by UID.
	revisionHash = 11
)

// WorkloadName is the name of the StatefulSet or Deployment of a component, and of its Service.
func WorkloadName(cluster, component string) string { return cluster + "-" + component }

// checkNames refuses names that do not fit into the names of what follows from them. Kubernetes would say so only when the
// pods are to be made.
func checkNames(v *Verdict, c *v1alpha1.Cluster, s *system.System) {
	const field = "metadata.name"
	cluster := c.Name
	if len(cluster) > maxName {
		return // that is said already
	}
	for _, component := range s.Components() {
		if c.Spec.Components[component.Name()].Adopt != nil {
			continue // its names are there already
		}
		name := WorkloadName(cluster, component.Name())
		if over := len(name) + revisionHash - maxLabel; over > 0 {
			v.refuse(field, cluster, fmt.Sprintf("is too long with component %s: the revisions of StatefulSet %s would be named with more than %d characters", component.Name(), name, maxLabel),
				fmt.Sprintf("shorten it by %d", over))
		}
	}
}

// Other is another Cluster of the namespace, as far as its names matter.
type Other struct {
	Name string
	// Components whose workloads the Cluster makes.
	Components []string
	// Adopts are StatefulSets that it adopts.
	Adopts []string
}

// checkOthers refuses a Cluster whose workloads would have the names of another's: kv-a with component b, and kv with component a-b.
func checkOthers(v *Verdict, c *v1alpha1.Cluster, s *system.System, others []Other) {
	cluster := c.Name
	for _, o := range others {
		if o.Name == cluster {
			continue
		}
		checkAdopts(v, c, s, o)
		for _, theirs := range o.Components {
			for _, component := range s.Components() {
				if c.Spec.Components[component.Name()].Adopt != nil {
					continue
				}
				if name := shared(serviceNames(cluster, component.Name()), serviceNames(o.Name, theirs)); name != "" {
					v.refuse("metadata.name", cluster, fmt.Sprintf("collides with cluster %s: the component %s of this one and %s of that one would both be named %s",
						o.Name, component.Name(), theirs, name), "use another name")
				}
			}
		}
	}
}

// serviceNames are those of a component: of its workload, and of what clients use.
func serviceNames(cluster, component string) []string {
	name := WorkloadName(cluster, component)
	return []string{name, name + "-client"}
}

// shared is the first name that is in both lists.
func shared(a, b []string) string {
	for _, name := range a {
		if slices.Contains(b, name) {
			return name
		}
	}
	return ""
}

// mayCollide says whether two names of clusters can make one name of a workload, so that it is worth looking at components.
func mayCollide(a, b string) bool {
	return a != b && (strings.HasPrefix(a, b+"-") || strings.HasPrefix(b, a+"-"))
}
