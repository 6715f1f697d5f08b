package operator

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"theseus.dev/api/v1alpha1"
)

// holding is why a Cluster that never had members must not start. The zero value is no reason.
type holding struct {
	why string
	// failed says that it does not go on without a person.
	failed bool
}

// held says why a Cluster that never had members must not start: a Restore is to fill its volumes, or one left them half filled. One that failed holds
// it too, until it is deleted or another one succeeds: an empty cluster is not what was asked for.
func (r *Reconciler) held(ctx context.Context, c *v1alpha1.Cluster) (holding, error) {
	if c.Status.Loading != nil {
		return holding{}, nil // the Restore waits for it to start
	}
	restores := &v1alpha1.RestoreList{}
	if err := r.Live.List(ctx, restores, client.InNamespace(c.Namespace)); err != nil {
		return holding{}, err
	}
	if x := awaited(restores.Items, c.Name); x != nil {
		return heldBy(x), nil
	}
	claims, err := claimsOf(ctx, r.Live, client.ObjectKeyFromObject(c))
	if err != nil {
		return holding{}, err
	}
	for i := range claims {
		if HalfFilled(&claims[i]) {
			return holding{fmt.Sprintf("volume %s was left by a Restore that did not end; make another one, or delete the volume", claims[i].Name), true}, nil
		}
	}
	return holding{}, nil
}

func heldBy(x *v1alpha1.Restore) holding {
	if failed := meta.FindStatusCondition(x.Status.Conditions, v1alpha1.ConditionFailed); failed != nil && failed.Status == metav1.ConditionTrue {
		return holding{bounded(fmt.Sprintf("Restore %s, which was to fill its volumes, failed; make another one, or delete it, and the volumes that it left, to start without data; it failed because %s", x.Name, failed.Message)), true}
	}
	return holding{why: fmt.Sprintf("Restore %s is to fill its volumes; to start it without, delete that one", x.Name)}
}

// awaited is the Restore that a Cluster has to wait for: one that has not ended, or else one that failed, and after its end none succeeded.
func awaited(list []v1alpha1.Restore, cluster string) *v1alpha1.Restore {
	var failed *v1alpha1.Restore
	for i := range list {
		x := &list[i]
		switch {
		case x.Spec.Cluster != cluster:
		case !ended(x.Status.Conditions):
			return x
		case !slices.ContainsFunc(list, func(y v1alpha1.Restore) bool {
			return y.Spec.Cluster == cluster && meta.IsStatusConditionTrue(y.Status.Conditions, v1alpha1.ConditionFinished) && !y.Status.Finished.Before(x.Status.Finished)
		}):
			failed = x
		}
	}
	return failed
}

// concernsRestore says that a Restore may have to do with a Cluster: it has no members yet, or is written into.
func concernsRestore(c *v1alpha1.Cluster) bool { return fresh(c) || c.Status.Loading != nil }

// hold writes down why a Cluster does not start, or that nothing holds it any more, and how a Restore into its members ended. The write is conditional on
// what was read.
func (r *Reconciler) hold(ctx context.Context, key types.NamespacedName) (held bool, err error) {
	c := &v1alpha1.Cluster{}
	if err := r.Live.Get(ctx, key, c); err != nil || !concernsRestore(c) {
		return false, client.IgnoreNotFound(err)
	}
	if c.Status.Loading != nil {
		return false, r.noteLoaded(ctx, c)
	}
	h, err := r.held(ctx, c)
	if err != nil {
		return false, err
	}
	if setHeld(c, h) {
		err = r.API.Status().Update(ctx, c)
	}
	return h.why != "", err
}

// noteLoaded writes down how the Restore into the members of a Cluster ended. One that is gone before it wrote anything leaves a Cluster like any other.
func (r *Reconciler) noteLoaded(ctx context.Context, c *v1alpha1.Cluster) error {
	l, x := c.Status.Loading, &v1alpha1.Restore{}
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: c.Namespace, Name: l.Restore}, x)
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	gone := err != nil || x.UID != l.UID
	failed := meta.FindStatusCondition(x.Status.Conditions, v1alpha1.ConditionFailed)
	switch {
	case gone && l.Begun == nil, !gone && meta.IsStatusConditionTrue(x.Status.Conditions, v1alpha1.ConditionFinished):
		c.Status.Loading = nil
		setHeld(c, holding{}) // with the note goes what let it be driven all the same
	case l.Failed != "":
		return nil
	case gone:
		l.Failed = fmt.Sprintf("Restore %s is gone before it said how it went, and the data of Cluster %s may not be complete: delete it with its volumes, and make it and a Restore anew", l.Restore, c.Name)
	case failed != nil && failed.Status == metav1.ConditionTrue:
		l.Failed = bounded(fmt.Sprintf("Restore %s failed: %s", l.Restore, failed.Message))
	default:
		return nil
	}
	return r.API.Status().Update(ctx, c)
}

// setHeld writes into a status why its Cluster does not start, with what the core says of one that it drives, and says whether that is another than before.
func setHeld(c *v1alpha1.Cluster, h holding) (changed bool) {
	st := &c.Status
	set := func(kind string, is bool, reason string) {
		status := metav1.ConditionFalse
		if is {
			status = metav1.ConditionTrue
		}
		one := meta.SetStatusCondition(&st.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: h.why, ObservedGeneration: c.Generation})
		changed = changed || one
	}
	reason := v1alpha1.ConditionRestoring
	switch {
	case h.why != "":
		set(v1alpha1.ConditionRestoring, true, reason)
	case !meta.RemoveStatusCondition(&st.Conditions, v1alpha1.ConditionRestoring):
		return false
	default:
		changed, reason = true, v1alpha1.ReasonRunning // its first members are started now
	}
	if h.failed {
		reason = v1alpha1.ReasonFailed
	}
	set(v1alpha1.ConditionReconciling, !h.failed, reason)
	set(v1alpha1.ConditionStalled, h.failed, reason)
	changed = changed || st.ObservedGeneration != c.Generation
	st.ObservedGeneration = c.Generation
	return changed
}

// heldError is that of a pass over a Cluster that a Restore has claimed just now.
type heldError struct{ message string }

func (e *heldError) Error() string { return e.message }

// refuseHeld keeps a driver from beginning with a Cluster that is held.
func refuseHeld(c *v1alpha1.Cluster) error {
	if held := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionRestoring); held != nil && held.Status == metav1.ConditionTrue && c.Status.Loading == nil {
		return &heldError{held.Message}
	}
	return nil
}

func clusterOfRestore(_ context.Context, o client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: o.(*v1alpha1.Restore).Spec.Cluster}}}
}
