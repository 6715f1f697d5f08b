package main

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// hall is where tunnels begin in a test: each goes to a server that says which pod it is.
type hall struct {
	*tunnels
	t    *testing.T
	made []string        // pods to which tunnels were made
	ends []chan struct{} // close one, and the tunnel is over
}

func newHall(t *testing.T, pods ...corev1.Pod) *hall {
	h := &hall{t: t}
	h.tunnels = &tunnels{life: t.Context(), doors: map[string]*door{}, open: h.tunnel,
		pods: func(context.Context) ([]corev1.Pod, error) { return pods, nil }}
	return h
}

func (h *hall) tunnel(_, _ context.Context, pod string, _ int) (*tunnel, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	h.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, pod)
			c.Close()
		}
	}()
	end := make(chan struct{})
	h.made, h.ends = append(h.made, pod), append(h.ends, end)
	return &tunnel{address: l.Addr().String(), ended: end}, nil
}

// who answers at an address.
func (h *hall) who(address string) string {
	h.t.Helper()
	c, err := h.dial(h.t.Context(), address)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	said, err := io.ReadAll(c)
	if err != nil {
		h.t.Fatal(err)
	}
	return string(said)
}

func memberPod(name, member string, phase corev1.PodPhase) corev1.Pod {
	return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: name, Annotations: map[string]string{"theseus.dev/member": member},
		Labels: map[string]string{"theseus.dev/cluster": "si", "theseus.dev/component": "standin"}}, Status: corev1.PodStatus{Phase: phase}}
}

// TestTunnels: one tunnel serves until it has ended, and leads to the pod that is the member then.
func TestTunnels(t *testing.T) {
	old := memberPod("old", "a", corev1.PodRunning)
	h := newHall(t, memberPod("waits", "a", corev1.PodPending), old, memberPod("b", "b", corev1.PodRunning))
	for _, address := range []string{"a:1", "a:1", "b:1"} {
		h.who(address)
	}
	if got := strings.Join(h.made, " "); got != "old b" || h.who("a:1") != "old" {
		t.Errorf("tunnels went to %s, want one for each member, to old and to b", got)
	}
	h.pods = func(context.Context) ([]corev1.Pod, error) {
		return []corev1.Pod{memberPod("new", "a", corev1.PodRunning)}, nil
	}
	close(h.ends[0])
	if got := h.who("a:1"); got != "new" {
		t.Errorf("after the tunnel ended %s answers, want the new pod", got)
	}
	if got := h.who("c:1"); got != "member c has no pod that runs" {
		t.Errorf("a member without a pod: got %q", got)
	}
	h.open = func(_, _ context.Context, _ string, _ int) (*tunnel, error) { return nil, errors.New("no way") }
	close(h.ends[2])
	if got := h.who("a:1"); got != "tunnel to port 1 of pod new: no way" {
		t.Errorf("a tunnel that cannot be made: got %q", got)
	}
}

// TestReach: members are called by their names, at the ports that their pods name.
func TestReach(t *testing.T) {
	named, claimed := memberPod("p0", "si-standin-0", corev1.PodRunning), memberPod("p1", "si-standin-1", corev1.PodRunning)
	named.Spec.Containers = []corev1.Container{{Name: "standin", Ports: []corev1.ContainerPort{{Name: "client", ContainerPort: 4321}}}}
	claimed.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data-1"}}}}
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "data-1", UID: "u1"}}
	w := newTown(t, interceptor.Funcs{}, applied(t, running("1.0.0")), &claimed, &named, claim)
	k := w.opened(t, "si")
	r, err := k.at.reach(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	number := k.system.Components()[0].API().Ports["client"]
	if len(r.endpoints) != 2 || r.endpoints[0] != "http://si-standin-0:4321" || !strings.HasPrefix(r.endpoints[1], "http://si-standin-1:") || number == 0 {
		t.Errorf("the endpoints are %q", r.endpoints)
	}
	if r.dial == nil || r.note == "" {
		t.Error("the members are reached without tunnels, or the verdict does not say so")
	}
	got, err := r.resources(t.Context())
	if err != nil || len(got) != 2 || got[1] != (resource{name: "si-standin-1", data: "data-1 u1"}) {
		t.Errorf("got %+v, %v; want the second member's volume", got, err)
	}
}
