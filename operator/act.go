package operator

import (
	"context"
	"errors"
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
	"theseus.dev/upgrade"
)

// Do is part of runner.Platform.
func (p *Platform) Do(ctx context.Context, s runner.Scene, i v1alpha1.Intent, pinned *v1alpha1.Pinned) error {
	switch i.Act {
	case v1alpha1.ActConfigure, v1alpha1.ActPrepare, v1alpha1.ActStart:
		if err := beyond(s.Cluster.Status.Attempt, i); err != nil {
			return err
		}
		b, err := p.blueprintOf(ctx, s, i, pinned)
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

// beyond refuses what the operator cannot keep yet: Kubernetes makes a pod of the new version as soon as one is gone.
func beyond(a *v1alpha1.Attempt, i v1alpha1.Intent) error {
	if i.Act != v1alpha1.ActConfigure {
		return nil
	}
	if i.OnlyOn != "" || i.NeverOn != "" {
		return fmt.Errorf("configure %s: the operator cannot do a hop yet that makes volumes anew; abort, or roll back; nothing was changed", i.Component)
	}
	if a == nil || a.Base == nil {
		return nil
	}
	for _, st := range a.Steps {
		if st.Name == i.Step && st.Kind == upgrade.KindRecreate {
			return fmt.Errorf("configure %s: the operator cannot do a hop yet that stops all members at once; abort, or roll back; nothing was changed", i.Component)
		}
	}
	return nil
}

// make does the acts that bring something of a revision about.
func (p *Platform) make(ctx context.Context, b *blueprint, i v1alpha1.Intent) error {
	switch i.Act {
	case v1alpha1.ActPrepare:
		return p.prepare(ctx, b, i)
	case v1alpha1.ActConfigure:
		configure := p.configure
		if b.adopted != nil {
			configure = p.configureAdopted
		}
		if err := configure(ctx, b); err != nil {
			return err
		}
		return p.forgetPulls(ctx, b.component.Name(), "")
	}
	// A start is what the workload's controller does by itself: it makes the pod that is missing.
	if b.adopted != nil {
		return nil
	}
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
	return p.evict(ctx, pod)
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
	case apierrors.IsTooManyRequests(err):
		why := p.refusers(ctx, pod)
		if p.blocked == nil {
			p.blocked = map[string]string{}
		}
		p.blocked[string(pod.UID)] = why
		err = errors.New(why)
	}
	return fmt.Errorf("stop %s: %w", pod.Name, err)
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
