package operator

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
)

// MemberPod is the pod of a member, and which of its containers the member is.
type MemberPod struct {
	*corev1.Pod
	Member, Component, Container string
}

// MemberPods are the pods of the members of a Cluster, one for each member that has any. Those that it made are found by their labels, those of a
// StatefulSet that it adopted by that StatefulSet: nothing is written on them.
func MemberPods(ctx context.Context, live client.Reader, c *v1alpha1.Cluster) ([]MemberPod, error) {
	labeled := &corev1.PodList{}
	if err := live.List(ctx, labeled, client.InNamespace(c.Namespace), OfCluster(c.Name)); err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	var all []MemberPod
	for i := range labeled.Items {
		pod := &labeled.Items[i]
		if member, component := MemberOf(pod); member != "" {
			all = append(all, MemberPod{pod, member, component, component})
		}
	}
	for _, component := range slices.Sorted(maps.Keys(c.Spec.Components)) {
		for _, set := range Adopted(c, component) {
			pods, err := adoptedPods(ctx, live, types.NamespacedName{Namespace: c.Namespace, Name: set}, component, c.Spec.Components[component].Adopt)
			if err != nil {
				return nil, err
			}
			all = append(all, pods...)
		}
	}
	return liveliest(all), nil
}

// Adopted are the StatefulSets in which the members of an adopted component are: one, and two while an upgrade moves them.
func Adopted(c *v1alpha1.Cluster, component string) []string {
	spec := c.Spec.DeepCopy()
	spec.TakeMoved(&c.Status)
	own, m := spec.Components[component].Adopt, c.Status.Moving(component)
	switch {
	case own == nil:
		return nil
	case m != nil:
		return []string{m.From, m.To}
	}
	return []string{own.Workload()}
}

// adoptedPods are the pods of a StatefulSet; none where it is not there.
func adoptedPods(ctx context.Context, live client.Reader, name types.NamespacedName, component string, own *v1alpha1.Adopt) ([]MemberPod, error) {
	set := &appsv1.StatefulSet{}
	err := live.Get(ctx, name, set)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read StatefulSet %s: %w", name.Name, err)
	}
	list, err := podsLike(ctx, live, set)
	if err != nil {
		return nil, err
	}
	var pods []MemberPod
	for i := range list {
		if _, ok := memberOf(set, &list[i]); ok {
			pods = append(pods, MemberPod{&list[i], list[i].Name, component, ContainerOf(own, component, set.Spec.Template.Spec.Containers)})
		}
	}
	return pods, nil
}

// podsLike are those with the labels of a StatefulSet's selector, whoever made them.
func podsLike(ctx context.Context, live client.Reader, set *appsv1.StatefulSet) ([]corev1.Pod, error) {
	selector, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
	if err != nil {
		return nil, err
	}
	list := &corev1.PodList{}
	if err := live.List(ctx, list, client.InNamespace(set.Namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return nil, fmt.Errorf("list pods of StatefulSet %s: %w", set.Name, err)
	}
	return list.Items, nil
}

// memberOf says which member of a StatefulSet a pod is, if that made it.
func memberOf(set *appsv1.StatefulSet, pod *corev1.Pod) (ordinal int, ok bool) {
	if by := metav1.GetControllerOf(pod); by == nil || by.UID != set.UID {
		return 0, false
	}
	return ordinalOf(set.Name, pod.Name)
}

// liveliest keeps of several pods of one member the one that is it now: a Deployment leaves what failed beside what it made in its place.
func liveliest(pods []MemberPod) []MemberPod {
	now := map[string]MemberPod{}
	for _, p := range pods {
		if other, ok := now[p.Member]; !ok || livelier(p.Pod, other.Pod) {
			now[p.Member] = p
		}
	}
	return slices.SortedFunc(maps.Values(now), func(a, b MemberPod) int { return cmp.Compare(a.Member, b.Member) })
}

func livelier(a, b *corev1.Pod) bool {
	if leaves(a) != leaves(b) {
		return leaves(b)
	}
	return a.CreationTimestamp.After(b.CreationTimestamp.Time)
}

// leaves says that a pod has ended, or is about to.
func leaves(p *corev1.Pod) bool {
	return p.DeletionTimestamp != nil || p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded
}
