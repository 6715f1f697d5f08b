package operator

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
)

// Do is part of runner.Platform.
func (p *Platform) Do(ctx context.Context, s runner.Scene, i v1alpha1.Intent, pinned *v1alpha1.Pinned) error {
	switch i.Act {
	case v1alpha1.ActGrow, v1alpha1.ActShrink:
		return p.scale(ctx, s, i)
	case v1alpha1.ActRemove:
		return p.remove(ctx, s, i)
	case v1alpha1.ActConfigure, v1alpha1.ActPrepare, v1alpha1.ActStart:
		b, err := p.blueprintOf(ctx, s, i, pinned)
		if err != nil {
			return err
		}
		if err := checkVolumes(s, b); err != nil {
			return err
		}
		return p.make(ctx, b, i, renews(s, i.Component))
	case v1alpha1.ActStop:
		return p.stop(ctx, s, i)
	case v1alpha1.ActRenew:
		return p.renew(ctx, s, i)
	case v1alpha1.ActRun:
		return p.run(ctx, s, i)
	case v1alpha1.ActBackup:
		return p.beginBackup(ctx, s, i)
	}
	return fmt.Errorf("do %s: there is no such act in Kubernetes", i.Act)
}

// make does the acts that bring something of a revision about.
func (p *Platform) make(ctx context.Context, b *blueprint, i v1alpha1.Intent, renews bool) error {
	switch i.Act {
	case v1alpha1.ActPrepare:
		return p.prepare(ctx, b, i)
	case v1alpha1.ActConfigure:
		if i.Workload != "" {
			return p.makeMoved(ctx, b)
		}
		configure := p.configure
		if b.adopted != nil {
			configure = p.configureAdopted
		}
		if err := configure(ctx, b); err != nil {
			return err
		}
		return p.forgetPulls(ctx, b.component.Name(), "")
	}
	if b.adopted != nil {
		return nil // it makes the pod that is missing, and where it is missing itself nobody knows what it was
	}
	return p.start(ctx, b, i, renews)
}

// start leaves it to the workload's controller to make the pod that is missing. One that is held and was made from another template never starts: it
// goes, and the next one is made from this one.
func (p *Platform) start(ctx context.Context, b *blueprint, i v1alpha1.Intent, renews bool) error {
	if err := p.exists(ctx, b, renews); err != nil || !b.keeps() {
		return err
	}
	pod := &corev1.Pod{}
	err := p.Live.Get(ctx, types.NamespacedName{Namespace: p.Key.Namespace, Name: i.Member}, pod)
	if err != nil || !held(pod) || pod.Annotations[revisionAnnotation] == i.Revision {
		return client.IgnoreNotFound(err)
	}
	err = p.API.Delete(ctx, pod, client.Preconditions{UID: &pod.UID, ResourceVersion: &pod.ResourceVersion})
	if apierrors.IsConflict(err) {
		return nil // it may have been let go, and run: the next look shows it
	}
	return client.IgnoreNotFound(err)
}

// exists makes the workload where there is none: somebody deleted it. Where volumes are made anew only a configure says on which ones its pods may start.
func (p *Platform) exists(ctx context.Context, b *blueprint, renews bool) error {
	t, err := b.template()
	if err != nil {
		return err
	}
	want, err := b.workload(t)
	if err != nil {
		return err
	}
	err = p.Live.Get(ctx, client.ObjectKeyFromObject(want), want)
	if apierrors.IsNotFound(err) && renews {
		return nil
	}
	if apierrors.IsNotFound(err) {
		return p.configure(ctx, b)
	}
	return err
}

// stop evicts the pod with this UID, so that PodDisruptionBudgets are asked. A refusal is kept for the next look, which names what refuses.
func (p *Platform) stop(ctx context.Context, s runner.Scene, i v1alpha1.Intent) error {
	if i.Incarnation == "" {
		return nil // meant for nobody
	}
	if c := s.System.Component(i.Component); c != nil && !stateful(c) {
		return nil // Kubernetes replaces the pods of a Deployment by itself, in its own order
	}
	if p.asker != nil {
		p.asker.Close() // a member may wait for its clients to go, and would wait for us
	}
	pod := &corev1.Pod{}
	err := p.Live.Get(ctx, types.NamespacedName{Namespace: p.Key.Namespace, Name: i.Member}, pod)
	// An eviction for a pod that is not there any more would use up the budget all the same: it is asked before the UID is compared, and
	// remembers the pod for two minutes.
	if apierrors.IsNotFound(err) || err == nil && (string(pod.UID) != i.Incarnation || pod.DeletionTimestamp != nil) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("stop %s: %w", i.Member, err)
	}
	if together(s) || firstStart(s) {
		return p.takeDown(ctx, pod)
	}
	return p.evict(ctx, pod)
}

// takeDown deletes the pod with this UID. Our own budget, which lets one member go at a time, is not asked where all of them go; what somebody
// else set up must allow for all that are left.
func (p *Platform) takeDown(ctx context.Context, pod *corev1.Pod) error {
	pods := &corev1.PodList{}
	if err := p.Live.List(ctx, pods, client.InNamespace(pod.Namespace), client.MatchingLabels(selectorOf(p.Key.Name, pod.Labels[componentLabel]))); err != nil {
		return fmt.Errorf("stop %s: %w", pod.Name, err)
	}
	left := int32(0)
	for i := range pods.Items {
		if !held(&pods.Items[i]) && pods.Items[i].DeletionTimestamp == nil {
			left++
		}
	}
	ours := workloadName(p.Key.Name, pod.Labels[componentLabel])
	names, err := p.budgets(ctx, pod, func(b *policyv1.PodDisruptionBudget) bool {
		return b.Name != ours && b.Status.DisruptionsAllowed < left
	})
	if err != nil {
		return fmt.Errorf("stop %s: %w", pod.Name, err) // what nobody knows permits nothing
	}
	if len(names) > 0 {
		return p.refused(pod, fmt.Sprintf("all %d members go at once, and PodDisruptionBudget %s does not allow that", left, strings.Join(names, ", ")))
	}
	delete(p.blocked, string(pod.UID))
	if err := p.API.Delete(ctx, pod, client.Preconditions{UID: &pod.UID}); client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
		return fmt.Errorf("stop %s: %w", pod.Name, err)
	}
	return nil
}

func (p *Platform) evict(ctx context.Context, pod *corev1.Pod) error {
	err := p.Pods.PolicyV1().Evictions(pod.Namespace).Evict(ctx, &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name},
		DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &pod.UID}},
	})
	switch {
	case err == nil, apierrors.IsNotFound(err), apierrors.IsConflict(err): // asked, gone, or another one
		delete(p.blocked, string(pod.UID))
		return nil
	case apierrors.IsTooManyRequests(err) || apierrors.IsInternalError(err): // the latter where several budgets select it
		return p.refused(pod, p.refusal(ctx, pod, err))
	}
	return fmt.Errorf("stop %s: %w", pod.Name, err)
}

// refusal names the budgets that keep a pod from being evicted.
func (p *Platform) refusal(ctx context.Context, pod *corev1.Pod, err error) string {
	var used []string
	all, unknown := p.budgets(ctx, pod, func(b *policyv1.PodDisruptionBudget) bool {
		if b.Status.DisruptionsAllowed == 0 {
			used = append(used, budgetText(b))
		}
		return true
	})
	switch {
	case unknown != nil: // the refusal itself says enough
	case len(all) > 1:
		return "its eviction is refused: Kubernetes evicts no pod that more than one PodDisruptionBudget selects, and these do: " + strings.Join(all, ", ")
	case len(used) > 0:
		return "its eviction is refused by PodDisruptionBudget " + strings.Join(used, ", ")
	}
	return "its eviction is refused: " + err.Error()
}

// refused keeps for the next look why a pod may not go.
func (p *Platform) refused(pod *corev1.Pod, why string) error {
	if p.blocked == nil {
		p.blocked = map[string]string{}
	}
	p.blocked[string(pod.UID)] = why
	return fmt.Errorf("stop %s: %s", pod.Name, why)
}

// budgets names those that cover a pod and are such.
func (p *Platform) budgets(ctx context.Context, pod *corev1.Pod, such func(*policyv1.PodDisruptionBudget) bool) (names []string, err error) {
	list := &policyv1.PodDisruptionBudgetList{}
	if err := p.Live.List(ctx, list, client.InNamespace(p.Key.Namespace)); err != nil {
		return nil, fmt.Errorf("list PodDisruptionBudgets: %w", err)
	}
	for i := range list.Items {
		b := &list.Items[i]
		selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if err == nil && selector.Matches(labels.Set(pod.Labels)) && such(b) {
			names = append(names, budgetText(b))
		}
	}
	return names, nil
}

func budgetText(b *policyv1.PodDisruptionBudget) string {
	return fmt.Sprintf("%s (%d of %d healthy pods, %d wanted)", b.Name, b.Status.CurrentHealthy, b.Status.ExpectedPods, b.Status.DesiredHealthy)
}
