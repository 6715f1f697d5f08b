package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/probe"
)

func memberPod(name, member string, phase corev1.PodPhase) corev1.Pod {
	return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: name, Annotations: map[string]string{"theseus.dev/member": member},
		Labels: map[string]string{"theseus.dev/cluster": "si", "theseus.dev/component": "standin"}}, Status: corev1.PodStatus{Phase: phase}}
}

// TestReach: members are called by their names, at the ports that their pods name.
func TestReach(t *testing.T) {
	named, claimed := memberPod("p0", "si-standin-0", corev1.PodRunning), memberPod("p1", "si-standin-1", corev1.PodRunning)
	named.Spec.Hostname, named.Spec.Subdomain = "si-standin-0", "si-standin"
	claimed.Status.PodIP = "10.1.2.3"
	named.Spec.Containers = []corev1.Container{{Name: "standin", Ports: []corev1.ContainerPort{{Name: "client", ContainerPort: 4321}}}}
	claimed.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data-1"}}}}
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "data-1", UID: "u1"}}
	w := newTown(t, interceptor.Funcs{}, applied(t, running("1.0.0")), &claimed, &named, claim)
	k := w.opened(t, "si")
	r, err := k.at.reach(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	number := k.system.Components()[0].API().Ports["client"]
	if len(r.endpoints) != 2 || !strings.HasPrefix(r.endpoints[0], "http://10.1.2.3:") || r.endpoints[1] != "http://si-standin-0.si-standin.prod.svc:4321" || number == 0 {
		t.Errorf("the endpoints are %q", r.endpoints)
	}
	got, err := r.resources(t.Context())
	if err != nil || len(got) != 2 || got[1] != (resource{name: "si-standin-1", data: "data-1 u1"}) {
		t.Errorf("got %+v, %v; want the second member's volume", got, err)
	}
}

// TestReachTLS: the probe shows what the operator shows, from the same secret.
func TestReachTLS(t *testing.T) {
	pod := memberPod("p", "si-standin-0", corev1.PodRunning)
	pod.Status.PodIP = "10.1.2.3"
	reached := func(files v1alpha1.TLSFiles) (*reach, error) {
		c := applied(t, running("1.0.0"))
		c.Spec.Components = map[string]v1alpha1.ComponentSpec{"standin": {TLS: map[string]v1alpha1.TLSFiles{"client": files}}}
		k := newTown(t, interceptor.Funcs{}, c, &pod).opened(t, "si")
		return k.at.reach(t.Context(), k)
	}
	if _, err := reached(v1alpha1.TLSFiles{CA: "/etc/si/ca.crt"}); codeOf(err) != exitInput || !strings.Contains(err.Error(), "tls.client.secret") {
		t.Errorf("without a secret: %v, want what is missing", err)
	}
	r, err := reached(v1alpha1.TLSFiles{CA: "/etc/si/ca.crt", Cert: "/etc/si/tls.crt", Key: "/etc/si/tls.key", ServerName: "si.example.com", Secret: "si-tls"})
	if err != nil {
		t.Fatal(err)
	}
	want := "--system standin --endpoints https://10.1.2.3:7000 --cacert /tls/ca.crt --cert /tls/tls.crt --key /tls/tls.key --server-name si.example.com"
	if got := strings.Join(r.flags(), " "); got != want {
		t.Errorf("the probe is told %q,\nwant %q", got, want)
	}
	job := probeJob(client.ObjectKey{Namespace: "prod", Name: "si"}, "theseus:1", "si-tls", probeFlags{probed: r.probed, pace: probe.Options{Rate: 20, Deadline: time.Minute, TryTimeout: 5 * time.Second}})
	pods := job.Spec.Template.Spec
	if got := strings.Join(pods.Containers[0].Args, " "); !strings.Contains(got, want+" --rate 20 --deadline 1m0s --try-timeout 5s") {
		t.Errorf("the pod is told %q", got)
	}
	if v := pods.Volumes; len(v) != 1 || v[0].Secret == nil || v[0].Secret.SecretName != "si-tls" || pods.Containers[0].VolumeMounts[0].MountPath != "/tls" {
		t.Errorf("the pod has the volumes %+v", v)
	}
}

// TestProbeImage: the probe has the image of the operator, or the one that was asked for; where neither is known nothing is made.
func TestProbeImage(t *testing.T) {
	operatorPod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "theseus", Name: "o", Labels: map[string]string{"app.kubernetes.io/name": "theseus"}},
		Spec:   corev1.PodSpec{Containers: []corev1.Container{{Name: "proxy", Image: "other"}, {Name: "theseus", Image: "registry.example.com/theseus:1", Args: []string{"operator"}}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning}}
	// Before it by name: one that ended, and one of somebody else under the same label.
	old := operatorPod.DeepCopy()
	old.Name, old.Status.Phase, old.Spec.Containers[1].Image = "a", corev1.PodFailed, "registry.example.com/theseus:0"
	stranger := operatorPod.DeepCopy()
	stranger.Namespace, stranger.Spec.Containers[1].Image, stranger.Spec.Containers[1].Args = "else", "registry.example.com/stranger", nil
	forbidden := interceptor.Funcs{List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", nil)
	}}
	for _, tt := range []struct {
		what, asked, want string
		funcs             interceptor.Funcs
	}{
		{what: "seen", want: "registry.example.com/theseus:1"},
		{what: "asked", asked: "mine:2", want: "mine:2"},
		{what: "forbidden", funcs: forbidden},
	} {
		w := newTown(t, tt.funcs, operatorPod.DeepCopy(), old.DeepCopy(), stranger.DeepCopy())
		got, err := w.object("si").ownImage(t.Context(), tt.asked)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s: got %q, %v; want %q", tt.what, got, err, tt.want)
		}
		if err != nil && codeOf(err) != exitInput {
			t.Errorf("%s: exit code %d, want %d", tt.what, codeOf(err), exitInput)
		}
	}
}

// TestProbeThatCannotStart: the pod's own reason is told, and no Job is left.
func TestProbeThatCannotStart(t *testing.T) {
	w := newTown(t, interceptor.Funcs{Create: func(ctx context.Context, api client.WithWatch, o client.Object, options ...client.CreateOption) error {
		err := api.Create(ctx, o, options...)
		ended := corev1.ContainerStateTerminated{ExitCode: 2, Message: "unknown flag: --control"}
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "probe-x", Labels: map[string]string{batchv1.JobNameLabel: o.GetName()}},
			Status: corev1.PodStatus{Phase: corev1.PodFailed, ContainerStatuses: []corev1.ContainerStatus{{Name: "probe", State: corev1.ContainerState{Terminated: &ended}}}}}
		if err == nil {
			err = api.Create(ctx, pod)
		}
		return err
	}})
	_, err := w.object("si").measure(t.Context(), "", probeFlags{probed: probed{system: "etcd", endpoints: []string{"http://a:1"}}, pace: probe.Options{Rate: 10}, image: "old:1"})
	if codeOf(err) != exitFailed || !strings.Contains(err.Error(), "exit code 2: unknown flag: --control") {
		t.Errorf("got %v, want the end of the pod", err)
	}
	jobs := &batchv1.JobList{}
	if err := w.api.List(t.Context(), jobs); err != nil || len(jobs.Items) > 0 {
		t.Errorf("%d Jobs are left, %v", len(jobs.Items), err)
	}
}

// TestFactsInTime: an API server that is away for a moment does not lose what was measured, and what stays wrong ends it.
func TestFactsInTime(t *testing.T) {
	for _, tt := range []struct {
		what  string
		err   error
		fails int
		good  bool
	}{
		{"away for a moment", apierrors.NewServiceUnavailable("busy"), 2, true},
		{"away for good", apierrors.NewServiceUnavailable("busy"), 1 << 30, false},
		{"no right", apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", errors.New("no")), 1, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			failed := 0
			w := newTown(t, interceptor.Funcs{}, applied(t, running("1.0.0")))
			k := w.opened(t, "si")
			r := &reach{resources: func(context.Context) ([]resource, error) {
				if failed++; failed <= tt.fails {
					return nil, tt.err
				}
				return nil, nil
			}}
			if _, err := k.factsInTime(t.Context(), r, nil); (err == nil) != tt.good {
				t.Errorf("%s: got %v after %d failures", tt.what, err, failed)
			}
		})
	}
}
