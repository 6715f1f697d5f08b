package operator

import (
	"cmp"
	"errors"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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

// Hindrance is what keeps a pod from running, as the pod itself says it; empty where that is nothing but time. For good says that waiting does not help.
func Hindrance(pod *corev1.Pod) (why string, forGood bool) {
	for _, st := range pod.Status.ContainerStatuses {
		if t := st.State.Terminated; t != nil {
			return joined(ending(t), t.Message), true
		}
	}
	if why := brokenBy(pod); why != "" {
		return why, true
	}
	return cmp.Or(pending(pod), joined(pod.Status.Reason, pod.Status.Message)), pod.Status.Phase == corev1.PodFailed
}

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

// FieldConflicts are what the API server says of each field manager that a server-side apply conflicts with, as: conflict with "kubectl-edit" using
// apps/v1. There are none for every other error.
func FieldConflicts(err error) (said []string) {
	status := apierrors.APIStatus(nil)
	if !errors.As(err, &status) || status.Status().Details == nil {
		return nil
	}
	for _, cause := range status.Status().Details.Causes {
		if cause.Type == metav1.CauseTypeFieldManagerConflict {
			said = append(said, cause.Message)
		}
	}
	return slices.Compact(said)
}
