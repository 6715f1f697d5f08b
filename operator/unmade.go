package operator

import (
	"cmp"
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A pod that is not made at all has no status that could say why: a quota, the Pod Security Standard of the namespace or a webhook refuses it. Of a
// Deployment a condition says so; of StatefulSets, DaemonSets and Jobs nothing but the events of their controllers does.

const (
	// unmadeAfter is how long a member is absent before it is asked why: a controller makes a pod within a moment.
	unmadeAfter = 5 * time.Second
	// unmadeEvery is how often it is asked.
	unmadeEvery = 10 * time.Second
	// unmadeLately is older than any time that controllers wait before they try again.
	unmadeLately = 20 * time.Minute
)

// unmade is why the controller of an object could not make a pod lately. Empty: it does not say, or the operator may not read events.
func unmade(ctx context.Context, live client.Reader, namespace string, owner types.UID, now time.Time) string {
	list := &corev1.EventList{}
	if live.List(ctx, list, client.InNamespace(namespace), client.MatchingFields{"involvedObject.uid": string(owner), "reason": "FailedCreate"}) != nil {
		return ""
	}
	var last *corev1.Event
	for i := range list.Items {
		if e := &list.Items[i]; last == nil || happened(e).After(happened(last)) {
			last = e
		}
	}
	if last == nil || now.Sub(happened(last)) > unmadeLately {
		return ""
	}
	return fmt.Sprintf("no pod is made: %s (%s)", last.Message, happened(last).UTC().Format(time.RFC3339))
}

// happened is when an event came last.
func happened(e *corev1.Event) time.Time {
	if e.Series != nil {
		return e.Series.LastObservedTime.Time
	}
	if !e.LastTimestamp.IsZero() {
		return e.LastTimestamp.Time
	}
	return cmp.Or(e.EventTime.Time, e.CreationTimestamp.Time)
}

// absence is a member without a pod, and what is known of why.
type absence struct {
	since, asked time.Time
	why          string
}

// absent says of a member without a pod why that is, as soon as it lasts.
func (p *Platform) absent(ctx context.Context, member string, owner types.UID) string {
	now := time.Now()
	a := p.absences[member]
	if a.since.IsZero() {
		a.since = now
	}
	if owner != "" && now.Sub(a.since) > unmadeAfter && now.Sub(a.asked) > unmadeEvery {
		a.asked, a.why = now, unmade(ctx, p.Live, p.Key.Namespace, owner, now)
	}
	p.missing[member] = a
	return a.why
}

// replicaFailure is why the ReplicaSets of a Deployment cannot make pods.
func replicaFailure(d *appsv1.Deployment) string {
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
			return "no pod is made: " + c.Message
		}
	}
	return ""
}

// jobHindrance is what keeps the pod of a Job that has not ended from running; empty where that is nothing but time.
func (r *Reconciler) jobHindrance(ctx context.Context, job *batchv1.Job) (string, error) {
	pods := &corev1.PodList{}
	if err := r.Live.List(ctx, pods, client.InNamespace(job.Namespace), client.MatchingLabels{batchv1.JobNameLabel: job.Name}); err != nil {
		return "", err
	}
	for i := range pods.Items {
		if pod := &pods.Items[i]; pod.Status.Phase == corev1.PodPending {
			why, _ := Hindrance(pod)
			return why, nil
		}
	}
	if len(pods.Items) > 0 {
		return "", nil
	}
	return unmade(ctx, r.Live, job.Namespace, job.UID, time.Now()), nil
}
