package main

import (
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// A member is shown with where it is reached and what it says of itself; one that does not answer, with where it is reached.
func TestJudgedMembers(t *testing.T) {
	sys, err := known("standin")
	if err != nil {
		t.Fatal(err)
	}
	status := map[string]any{"status": map[string]any{"json": map[string]any{"version": "1.1.0", "role": "leader"}}}
	in := upgrade.Input{Cluster: &v1alpha1.Cluster{}, Look: upgrade.Look{Members: []upgrade.Member{
		{View: system.Member{Name: "si-1", Component: "standin", Ordinal: 1, Host: "127.0.0.2"}, State: upgrade.ProcessAbsent},
		{View: system.Member{Name: "si-0", Component: "standin", Host: "127.0.0.1", Port: map[string]int64{"client": 7000}, Answers: status}, State: upgrade.ProcessRunning},
	}}}
	want := []shownMember{
		{Name: "si-0", Component: "standin", Address: "127.0.0.1", Ports: map[string]int64{"client": 7000}, Version: "1.1.0", Role: "leader", Process: "running"},
		{Name: "si-1", Component: "standin", Address: "127.0.0.2", Process: "absent"},
	}
	got := judged(&in, sys)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if stopped(got) || !stopped(got[1:]) || stopped(nil) {
		t.Errorf("stopped: all %t, the absent one %t, none %t", stopped(got), stopped(got[1:]), stopped(nil))
	}
}

// On Kubernetes the pods say where members are reached, and the status what they said when the operator asked.
func TestMembersOfPods(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "si-standin-0", Labels: map[string]string{"theseus.dev/cluster": "si", "theseus.dev/component": "standin"}},
		Spec: corev1.PodSpec{Hostname: "si-standin-0", Subdomain: "si-standin", Containers: []corev1.Container{
			{Name: "sidecar", Ports: []corev1.ContainerPort{{Name: "metrics", ContainerPort: 9}}},
			{Name: "standin", Ports: []corev1.ContainerPort{{Name: "client", ContainerPort: 7000}}}}}}
	c := applied(t, running("1.0.0"))
	c.Status.Members.Said = []v1alpha1.MemberSaid{{Name: "si-standin-0", Version: "1.0.0", Role: "leader"}}
	w := newTown(t, interceptor.Funcs{}, c, pod)
	k := w.opened(t, "si")
	members, err := k.refresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	k.printMembers(members)
	if want := "si-standin-0   1.0.0     leader   si-standin-0.si-standin.prod.svc   client=7000\n"; !strings.HasSuffix(w.out.String(), want) {
		t.Errorf("got %q, want %q", w.out.String(), want)
	}
	if err := k.tellEndpoints(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := "what the operator last heard; it asks while an attempt runs or something changes\nstandin, port client: si-standin-0.si-standin.prod.svc:7000\n"; !strings.HasSuffix(w.err.String(), want) {
		t.Errorf("got %q, want %q", w.err.String(), want)
	}
}
