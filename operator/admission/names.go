package admission

import (
	"fmt"
	"strings"

	"theseus.dev/system"
)

// Limits of Kubernetes.
const (
	// maxLabel bounds the value of a label and the name of a Service, a pod's host and a Job.
	maxLabel = 63
	// maxName bounds the name of a Cluster everywhere; manifest says so.
	maxName = 40
	// revisionHash is what Kubernetes adds to the name of a StatefulSet in the label controller-revision-hash: a dash and ten characters at most.
	revisionHash = 11
	// ordinal is what it adds for a pod: a dash and two digits, because a component has 99 members at most.
	ordinal = 3
	// attemptOf is what the core adds to the versions in the name of a hop's backup: "-a", the attempt, a dash, the run.
	attemptOf = len("-a999-99999")
)

// WorkloadName is the name of the StatefulSet or Deployment of a component, and of its Service.
func WorkloadName(cluster, component string) string { return cluster + "-" + component }

// checkNames refuses names that do not fit into the names of what follows from them. Kubernetes would say so only when the
// pods are to be made, or when the first backup is.
func checkNames(v *Verdict, cluster string, s *system.System) {
	const field = "metadata.name"
	if len(cluster) > maxName {
		return // that is said already
	}
	for _, c := range s.Components() {
		name := WorkloadName(cluster, c.Name())
		if over := len(name) + max(revisionHash, ordinal) - maxLabel; over > 0 {
			v.refuse(field, cluster, fmt.Sprintf("is too long with component %s: the revisions of StatefulSet %s would be named with more than %d characters", c.Name(), name, maxLabel),
				fmt.Sprintf("shorten it by %d", over))
		}
	}
	if s.API().Backup == nil {
		return
	}
	longest := 0
	for _, version := range s.Listed() {
		longest = max(longest, len(version))
	}
	if over := len(cluster) + 2*(longest+1) + attemptOf - maxLabel; over > 0 {
		v.refuse(field, cluster, fmt.Sprintf("is too long for the backups before upgrades, which are named by cluster, versions and attempt: a Job's name has at most %d characters", maxLabel),
			fmt.Sprintf("shorten it by %d", over))
	}
}

// Other is another Cluster of the namespace, as far as its names matter.
type Other struct {
	Name       string
	Components []string
}

// checkOthers refuses a Cluster whose workloads would have the names of another's: kv-a with component b, and kv with component a-b.
func checkOthers(v *Verdict, cluster string, s *system.System, others []Other) {
	for _, o := range others {
		if o.Name == cluster {
			continue
		}
		for _, theirs := range o.Components {
			for _, c := range s.Components() {
				if WorkloadName(cluster, c.Name()) == WorkloadName(o.Name, theirs) {
					v.refuse("metadata.name", cluster, fmt.Sprintf("collides with cluster %s: the component %s of this one and %s of that one would both be named %s",
						o.Name, c.Name(), theirs, WorkloadName(o.Name, theirs)), "use another name")
				}
			}
		}
	}
}

// mayCollide says whether two names of clusters can make one name of a workload, so that it is worth looking at components.
func mayCollide(a, b string) bool {
	return a != b && (strings.HasPrefix(a, b+"-") || strings.HasPrefix(b, a+"-"))
}
