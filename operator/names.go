package operator

import (
	"strconv"
	"strings"

	"theseus.dev/upgrade"
)

// The labels and annotations of what the operator makes.
const (
	managedByLabel = "app.kubernetes.io/managed-by"
	managerName    = "theseus"

	clusterLabel   = "theseus.dev/cluster"
	componentLabel = "theseus.dev/component"
	// revisionAnnotation of a pod says what it was made from. The image says nothing: admission rewrites images.
	revisionAnnotation = "theseus.dev/revision"
	versionAnnotation  = "theseus.dev/version"
	// memberAnnotation of a pod of a Deployment says which member it is.
	memberAnnotation = "theseus.dev/member"
	// appliedAnnotation of a workload is the generation that the operator made, as generationOf says it. Another one was edited by somebody else since.
	appliedAnnotation = "theseus.dev/applied-generation"
	// sumAnnotation of a workload is the sum of what was wanted when it was written.
	sumAnnotation = "theseus.dev/wanted"
)

// workloadName is the name of the workload, the headless service and the budget of a component.
func workloadName(cluster, component string) string { return cluster + "-" + component }

// clientServiceName is the service that clients use: ready members only.
func clientServiceName(cluster, component string) string {
	return workloadName(cluster, component) + "-client"
}

// ordinalOf a pod of a StatefulSet; false for a name that is not of this workload.
func ordinalOf(workload, pod string) (int, bool) {
	rest, ok := strings.CutPrefix(pod, workload+"-")
	n, err := strconv.Atoi(rest)
	return n, ok && err == nil && n >= 0 && strconv.Itoa(n) == rest
}

// hostOf is the DNS name of a member, which its headless service makes.
func hostOf(member, cluster, component, namespace string) string {
	return member + "." + workloadName(cluster, component) + "." + namespace + ".svc"
}

func memberName(cluster, component string, ordinal int) string {
	return upgrade.MemberName(cluster, component, ordinal)
}

func labelsOf(system, cluster, component string) map[string]string {
	return map[string]string{
		managedByLabel:                managerName,
		"app.kubernetes.io/name":      system,
		"app.kubernetes.io/instance":  cluster,
		"app.kubernetes.io/component": component,
		clusterLabel:                  cluster,
		componentLabel:                component,
	}
}

func selectorOf(cluster, component string) map[string]string {
	return map[string]string{clusterLabel: cluster, componentLabel: component}
}
