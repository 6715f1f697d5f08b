package operator

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Some of what keeps a pod from running is in no status. One that is not made at all has none: a quota, the Pod Security Standard of the namespace or a
// webhook refused it. One whose volume cannot be attached or mounted, a secret that is not there among them, is only "ContainerCreating". Of a Deployment a
// condition says it; of all else the events of controllers and kubelets do, and nothing besides.

const (
	// silentFor is how long something says nothing before its events are read: controllers and kubelets do their work within a moment.
	silentFor = 5 * time.Second
	// silentEvery is how often they are read.
	silentEvery = 10 * time.Second
	// lately is longer than any time that controllers wait before they try again.
	lately = 20 * time.Minute
)

// lastEvent is the newest event of an object that tells of trouble. Empty: there was none lately, or the operator may not read events.
func lastEvent(ctx context.Context, live client.Reader, namespace string, of types.UID, more client.MatchingFields, now time.Time) string {
	fields := client.MatchingFields{"involvedObject.uid": string(of), "type": corev1.EventTypeWarning}
	maps.Copy(fields, more)
	list := &corev1.EventList{}
	if live.List(ctx, list, client.InNamespace(namespace), fields) != nil {
		return ""
	}
	var last *corev1.Event
	for i := range list.Items {
		if e := &list.Items[i]; last == nil || happened(e).After(happened(last)) {
			last = e
		}
	}
	if last == nil || now.Sub(happened(last)) > lately {
		return ""
	}
	return fmt.Sprintf("%s (%s)", last.Message, happened(last).UTC().Format(time.RFC3339))
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

// unmade is why the controller of an object could not make a pod lately.
func unmade(ctx context.Context, live client.Reader, namespace string, owner types.UID, now time.Time) string {
	why := lastEvent(ctx, live, namespace, owner, client.MatchingFields{"reason": "FailedCreate"}, now)
	if why == "" {
		return ""
	}
	return "no pod is made: " + why
}

// stuck is why a pod that says nothing itself does not run.
func stuck(ctx context.Context, live client.Reader, pod *corev1.Pod, now time.Time) string {
	return lastEvent(ctx, live, pod.Namespace, pod.UID, nil, now)
}

// silence is something that ought to be there soon and does not say why it is not.
type silence struct {
	since, asked time.Time
	why          string
}

// silent asks why something is silent, as soon as that lasts. What was not silent in the look before begins anew.
func (p *Platform) silent(what string, why func(now time.Time) string) string {
	now := time.Now()
	s := p.silences[what]
	if s.since.IsZero() {
		s.since = now
	}
	if now.Sub(s.since) > silentFor && now.Sub(s.asked) > silentEvery {
		s.asked, s.why = now, why(now)
	}
	if p.silentNow == nil {
		p.silentNow = map[string]silence{}
	}
	p.silentNow[what] = s
	return s.why
}

// absent says why a member has no pod, which a StatefulSet should make.
func (p *Platform) absent(ctx context.Context, member string, owner types.UID) string {
	return p.silent(member, func(now time.Time) string { return unmade(ctx, p.Live, p.Key.Namespace, owner, now) })
}

// waits is what a pod waits for that has not run yet.
func (p *Platform) waits(ctx context.Context, pod *corev1.Pod) string {
	if why := pending(pod); why != "" {
		return why
	}
	return p.silent(string(pod.UID), func(now time.Time) string { return stuck(ctx, p.Live, pod, now) })
}

// unready is why services lead nobody to a pod that runs, as its kubelet says: a probe, or a readiness gate of somebody else. A node that does not answer is
// another matter: whether its pods serve is not known.
func (p *Platform) unready(ctx context.Context, pod *corev1.Pod) string {
	c := conditionOf(pod, corev1.PodReady)
	if c == nil || c.Status == corev1.ConditionTrue || nodeLost(c) {
		return ""
	}
	why := p.silent(string(pod.UID), func(now time.Time) string { return stuck(ctx, p.Live, pod, now) })
	return joined("no service leads to it", cmp.Or(why, c.Message))
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
func jobHindrance(ctx context.Context, live client.Reader, job *batchv1.Job) (string, error) {
	pods := &corev1.PodList{}
	if err := live.List(ctx, pods, client.InNamespace(job.Namespace), client.MatchingLabels{batchv1.JobNameLabel: job.Name}); err != nil {
		return "", err
	}
	now := time.Now()
	for i := range pods.Items {
		if pod := &pods.Items[i]; pod.Status.Phase == corev1.PodPending {
			why, _ := Hindrance(pod)
			return cmp.Or(why, stuck(ctx, live, pod, now)), nil
		}
	}
	if len(pods.Items) > 0 {
		return "", nil
	}
	return unmade(ctx, live, job.Namespace, job.UID, now), nil
}
