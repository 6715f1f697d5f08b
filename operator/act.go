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
	case v1alpha1.ActConfigure, v1alpha1.ActPrepare, v1alpha1.ActStart:
		b, err := p.blueprintOf(s, i, pinned)
		if err != nil {
			return err
		}
		return p.make(ctx, b, i)
	case v1alpha1.ActStop:
		return p.stop(ctx, s, i)
	case v1alpha1.ActRun:
		return p.run(ctx, s, i)
	case v1alpha1.ActBackup:
		return p.beginBackup(ctx, s, i)
	}
	return fmt.Errorf("do %s: there is no such act in Kubernetes", i.Act)
}

// make does the acts that bring something of a revision about.
func (p *Platform) make(ctx context.Context, b *blueprint, i v1alpha1.Intent) error {
	switch i.Act {
	case v1alpha1.ActPrepare:
		return p.prepare(ctx, b, i)
	case v1alpha1.ActConfigure:
		if err := p.configure(ctx, b); err != nil {
			return err
		}
		return p.forgetPulls(ctx, b.component.Name(), "")
	}
	// A start is what the workload's controller does by itself: it makes the pod that is missing.
	return p.exists(ctx, b)
}

// exists makes the workload where there is none: somebody deleted it.
func (p *Platform) exists(ctx context.Context, b *blueprint) error {
	t, err := b.template()
	if err != nil {
		return err
	}
	want, err := b.workload(t)
	if err != nil {
		return err
	}
	err = p.Live.Get(ctx, client.ObjectKeyFromObject(want), want)
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
	uid := types.UID(i.Incarnation)
	err := p.Pods.PolicyV1().Evictions(p.Key.Namespace).Evict(ctx, &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Namespace: p.Key.Namespace, Name: i.Member},
		DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}},
	})
	switch {
	case err == nil:
		delete(p.blocked, i.Incarnation)
		return nil
	case apierrors.IsNotFound(err), apierrors.IsConflict(err): // gone, or another one
		return nil
	case apierrors.IsTooManyRequests(err):
		return p.refused(ctx, i)
	}
	return fmt.Errorf("stop %s: %w", i.Member, err)
}

// refused keeps why an eviction was refused. Budgets are asked before the UID is compared, so the pod may be another one by now.
func (p *Platform) refused(ctx context.Context, i v1alpha1.Intent) error {
	pod := &corev1.Pod{}
	err := p.Live.Get(ctx, types.NamespacedName{Namespace: p.Key.Namespace, Name: i.Member}, pod)
	if apierrors.IsNotFound(err) || err == nil && string(pod.UID) != i.Incarnation {
		return nil
	}
	why := p.refusers(ctx, pod)
	if p.blocked == nil {
		p.blocked = map[string]string{}
	}
	p.blocked[i.Incarnation] = why
	return fmt.Errorf("stop %s: %s", i.Member, why)
}

// refusers names the budgets that keep a pod from being evicted.
func (p *Platform) refusers(ctx context.Context, pod *corev1.Pod) string {
	list := &policyv1.PodDisruptionBudgetList{}
	if p.Live.List(ctx, list, client.InNamespace(p.Key.Namespace)) != nil {
		return "its eviction is refused by a PodDisruptionBudget"
	}
	var names []string
	for _, b := range list.Items {
		selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if err == nil && selector.Matches(labels.Set(pod.Labels)) && b.Status.DisruptionsAllowed == 0 {
			names = append(names, fmt.Sprintf("%s (%d of %d healthy pods, %d wanted)", b.Name, b.Status.CurrentHealthy, b.Status.ExpectedPods, b.Status.DesiredHealthy))
		}
	}
	return "its eviction is refused by PodDisruptionBudget " + strings.Join(names, ", ")
}
