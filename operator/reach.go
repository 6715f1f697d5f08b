package operator

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
)

// What others see of a Cluster from outside, by what the operator writes on its objects. The command calls these.

// Waiting are the requests of a Cluster that have no answer yet.
func Waiting(c *v1alpha1.Cluster) []v1alpha1.Request {
	return slices.DeleteFunc(requestsIn(c.Annotations[RequestsAnnotation]), func(r v1alpha1.Request) bool {
		return slices.ContainsFunc(c.Status.Requests, func(a v1alpha1.RequestAnswer) bool { return a.ID == r.ID })
	})
}

// OfCluster selects workloads, pods and claims of a Cluster.
func OfCluster(name string) client.MatchingLabels { return client.MatchingLabels{clusterLabel: name} }

// MemberOf says which member a pod is, and which of its containers is the member's; empty where it is none.
func MemberOf(pod *corev1.Pod) (member, container string) {
	member, container = pod.Annotations[memberAnnotation], pod.Labels[componentLabel]
	if member == "" && container != "" {
		member = pod.Name
	}
	return member, container
}

// HalfFilled says that a Restore began to fill a volume, and did not end.
func HalfFilled(claim *corev1.PersistentVolumeClaim) bool {
	_, marked := claim.Annotations[restoringAnnotation]
	return marked
}
