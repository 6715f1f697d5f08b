package operator

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"theseus.dev/upgrade"
)

func toldOf(owner types.UID, reason, message string, at time.Time) *corev1.Event {
	kind := corev1.EventTypeWarning
	if strings.HasPrefix(reason, "Successful") {
		kind = corev1.EventTypeNormal
	}
	return &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: strings.ReplaceAll(message, " ", "-")}, InvolvedObject: corev1.ObjectReference{UID: owner},
		Type: kind, Reason: reason, Message: message, LastTimestamp: metav1.NewTime(at)}
}

// withEvents is an API server that selects events by their fields, as the real one does.
func withEvents(t *testing.T, objects ...client.Object) client.WithWatch {
	t.Helper()
	scheme, err := Scheme()
	fatal(t, err)
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithIndex(&corev1.Event{}, "involvedObject.uid", func(o client.Object) []string { return []string{string(o.(*corev1.Event).InvolvedObject.UID)} }).
		WithIndex(&corev1.Event{}, "type", func(o client.Object) []string { return []string{o.(*corev1.Event).Type} }).
		WithIndex(&corev1.Event{}, "reason", func(o client.Object) []string { return []string{o.(*corev1.Event).Reason} }).Build()
}

func TestUnmade(t *testing.T) {
	now := time.Now()
	api := withEvents(t,
		toldOf("set", "FailedCreate", "exceeded quota", now.Add(-time.Minute)),
		toldOf("set", "FailedCreate", "older", now.Add(-2*time.Minute)),
		toldOf("set", "SuccessfulCreate", "made", now),
		toldOf("other", "FailedCreate", "somebody else", now),
		toldOf("past", "FailedCreate", "long ago", now.Add(-time.Hour)))
	for owner, want := range map[types.UID]string{"set": "no pod is made: exceeded quota (" + now.Add(-time.Minute).UTC().Format(time.RFC3339) + ")", "past": "", "none": ""} {
		if got := unmade(t.Context(), api, key.Namespace, owner, now); got != want {
			t.Errorf("%s: got %q, want %q", owner, got, want)
		}
	}
	if got := unmade(t.Context(), fakeAPI(t), key.Namespace, "set", now); got != "" { // it knows no events by their fields
		t.Errorf("where events cannot be read: got %q", got)
	}
}

// A member without a pod says why as soon as that lasts; one whose pod is only being made says nothing.
func TestAbsentMemberSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := standin(t)
		set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: "kv-standin", UID: "set"}}
		api := withEvents(t, kv(), set, podOf(0, "old", hold{}), podOf(2, "old", hold{}), toldOf("set", "FailedCreate", "exceeded quota", time.Now()))
		p := &Platform{API: api, Live: api, Key: key}
		s := scene(sys, -1, "")
		said := func() (out []string) {
			for _, m := range lookAt(t, p, s).Members {
				if m.State == upgrade.ProcessAbsent {
					out = append(out, m.View.Name+": "+m.Message)
				}
			}
			return out
		}
		if got := said(); len(got) != 1 || got[0] != "kv-standin-1: " {
			t.Errorf("at first: got %q, want that member 1 is absent", got)
		}
		time.Sleep(silentFor + time.Second)
		if got := said(); len(got) != 1 || !strings.Contains(got[0], "kv-standin-1: no pod is made: exceeded quota") {
			t.Errorf("later: got %q, want the reason", got)
		}
		back := podOf(1, "new", hold{})
		fatal(t, api.Create(t.Context(), back))
		if got := said(); len(got) != 0 {
			t.Errorf("with its pod: got %q", got)
		}
		fatal(t, api.Delete(t.Context(), back))
		if got := said(); len(got) != 1 || got[0] != "kv-standin-1: " {
			t.Errorf("absent anew: got %q, want no reason yet", got)
		}
	})
}

// A member whose volume cannot be mounted says so, as its events do.
func TestStuckMemberSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pod := podOf(0, "old", hold{})
		api := withEvents(t, kv(), pod, toldOf(pod.UID, "FailedAttachVolume", "Multi-Attach error", time.Now()))
		p := &Platform{API: api, Live: api, Key: key}
		said := func() string { return lookAt(t, p, scene(standin(t), -1, "")).Members[0].Message }
		if got := said(); got != "" {
			t.Errorf("at first: got %q", got)
		}
		time.Sleep(silentFor + time.Second)
		if got := said(); !strings.HasPrefix(got, "Multi-Attach error") {
			t.Errorf("later: got %q", got)
		}
	})
}

// A member that runs and to which no service leads is not ready, and says why. Of one whose node is lost nobody knows.
func TestUnreadyMemberSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pod := podOf(0, "old", hold{})
		pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{Name: "standin", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}},
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "ContainersNotReady", Message: "containers with unready status: [standin]"}}}
		lost := pod.DeepCopy()
		lost.Status.Conditions[0].Reason, lost.Name, lost.UID = "", memberName("kv", "standin", 1), "lost"
		api := withEvents(t, kv(), pod, lost, toldOf(pod.UID, "Unhealthy", "Readiness probe failed: 503", time.Now()))
		p := &Platform{API: api, Live: api, Key: key}
		said := func() string {
			members := lookAt(t, p, scene(standin(t), -1, "")).Members
			if members[1].Unready != "" {
				t.Errorf("of a lost node: %q", members[1].Unready)
			}
			return members[0].Unready
		}
		if got := said(); got != "no service leads to it: containers with unready status: [standin]" {
			t.Errorf("at first: got %q", got)
		}
		time.Sleep(silentFor + time.Second)
		if got := said(); !strings.HasPrefix(got, "no service leads to it: Readiness probe failed: 503") {
			t.Errorf("later: got %q", got)
		}
		pod.Status.Conditions[0].Status = corev1.ConditionTrue
		fatal(t, api.Status().Update(t.Context(), pod))
		if got := said(); got != "" {
			t.Errorf("when it is ready: got %q", got)
		}
	})
}

// TestPending: a pod says itself why it does not run yet.
func TestPending(t *testing.T) {
	waits := func(reason, message string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
	}
	ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 3, Reason: "Error"}}
	for want, status := range map[string]corev1.PodStatus{
		"": {ContainerStatuses: []corev1.ContainerStatus{{State: waits("ContainerCreating", "")}}},
		"Unschedulable: 0/3 nodes are available": {Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable",
			Message: "0/3 nodes are available"}}},
		"ImagePullBackOff: back-off pulling image": {ContainerStatuses: []corev1.ContainerStatus{{State: waits("ImagePullBackOff", "back-off pulling image")}}},
		"init container copy: CrashLoopBackOff: exit code 3": {
			InitContainerStatuses: []corev1.ContainerStatus{{Name: "copy", State: waits("CrashLoopBackOff", "back-off 10s restarting"), LastTerminationState: ended}},
			ContainerStatuses:     []corev1.ContainerStatus{{State: waits("PodInitializing", "")}}},
		`RunContainerError: exit code 128 (StartError): exec: "kv": not found`: {ContainerStatuses: []corev1.ContainerStatus{{State: waits("RunContainerError", "failed to start"),
			LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 128, Reason: "StartError", Message: `exec: "kv": not found`}}}}},
		"init container copy: exit code 3": {InitContainerStatuses: []corev1.ContainerStatus{{Name: "copy", State: ended}}},
	} {
		if got := pending(&corev1.Pod{Status: status}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestSaid: the kubelet's own words about a log are not what a member wrote.
func TestSaid(t *testing.T) {
	for log, want := range map[string]string{
		"panic: no\nexit status 2\n":                                  "panic: no\nexit status 2",
		"unable to retrieve container logs for containerd://0123abcd": "",
		"a\nunable to retrieve container logs for x":                  "a\nunable to retrieve container logs for x",
	} {
		if got := said(strings.NewReader(log)); got != want {
			t.Errorf("%q: got %q, want %q", log, got, want)
		}
	}
}

// TestLeaving: a pod that cannot leave says what its node does, and who sent it away.
func TestLeaving(t *testing.T) {
	lost := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionFalse}
	sent := corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "DeletionByTaintManager", Message: "Taint manager: deleting due to NoExecute taint"}
	for want, conditions := range map[string][]corev1.PodCondition{
		"": {{Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "ContainersNotReady"}},
		"node n7 does not answer: DeletionByTaintManager: Taint manager: deleting due to NoExecute taint": {sent, lost},
	} {
		pod := &corev1.Pod{Spec: corev1.PodSpec{NodeName: "n7"}, Status: corev1.PodStatus{Conditions: conditions}}
		if got := leaving(pod); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestReplicaFailure(t *testing.T) {
	d := &appsv1.Deployment{Status: appsv1.DeploymentStatus{Conditions: []appsv1.DeploymentCondition{
		{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, Message: "going on"},
		{Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Message: "exceeded quota"}}}}
	if got := replicaFailure(d); got != "no pod is made: exceeded quota" {
		t.Errorf("got %q", got)
	}
	d.Status.Conditions[1].Status = corev1.ConditionFalse
	if got := replicaFailure(d); got != "" {
		t.Errorf("when it is over: got %q", got)
	}
}

// What keeps the pod of a Job from running is said, and nothing where it runs.
func TestJobHindrance(t *testing.T) {
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: "j", UID: "job"}}
	pod := func(phase corev1.PodPhase, conditions ...corev1.PodCondition) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: "p", UID: "pod", Labels: map[string]string{batchv1.JobNameLabel: "j"}},
			Status: corev1.PodStatus{Phase: phase, Conditions: conditions}}
	}
	unschedulable := corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "no node has the volume"}
	for _, test := range []struct {
		name    string
		objects []client.Object
		want    string
	}{
		{"a quota", []client.Object{toldOf("job", "FailedCreate", "exceeded quota", time.Now())}, "no pod is made: exceeded quota"},
		{"no node", []client.Object{pod(corev1.PodPending, unschedulable)}, "Unschedulable: no node has the volume"},
		{"no secret", []client.Object{pod(corev1.PodPending), toldOf("pod", "FailedMount", "secret s3 not found", time.Now())}, "secret s3 not found"},
		{"it runs", []client.Object{pod(corev1.PodRunning), toldOf("pod", "FailedMount", "at first", time.Now())}, ""},
		{"it is being made", nil, ""},
	} {
		api := withEvents(t, test.objects...)
		got, err := jobHindrance(t.Context(), api, job)
		if err != nil || !strings.HasPrefix(got, test.want) || test.want == "" && got != "" {
			t.Errorf("%s: got %q, %v; want %q", test.name, got, err, test.want)
		}
	}
}
