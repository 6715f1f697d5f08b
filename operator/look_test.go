package operator

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// TestMembersInOrder: a Backup that waits says what keeps the first member, and each change of that is a write that wakes it at once.
func TestMembersInOrder(t *testing.T) {
	sys, api := standin(t), fakeAPI(t)
	pods := &corev1.PodList{Items: []corev1.Pod{*podOf(2, "r", hold{}), *podOf(0, "r", hold{}), *podOf(1, "r", hold{})}}
	for range 20 {
		p, look := &Platform{API: api, Live: api, Key: key, rooms: map[string]room{}}, upgrade.Look{Configured: map[string]string{}, Changed: map[string]upgrade.Change{}}
		fatal(t, p.component(t.Context(), scene(sys, 0, v1alpha1.PhaseSucceeded), sys.Components()[0], pods, &look, map[string]string{}))
		var order []int
		for _, m := range look.Members {
			order = append(order, m.View.Ordinal)
		}
		if !slices.Equal(order, []int{0, 1, 2}) {
			t.Fatalf("the members are in the order %v", order)
		}
	}
}

// TestMembersOfADeployment: a pod that its node evicted, or that ended with it, stays as an object and is replaced. The one that is there for it is the member.
func TestMembersOfADeployment(t *testing.T) {
	sys, err := shipped("pravega")
	fatal(t, err)
	c := sys.Component("controller")
	pod := func(name string, phase corev1.PodPhase, member string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: name, UID: types.UID(name), Labels: selectorOf("kv", "controller"),
			Annotations: map[string]string{memberAnnotation: member}}, Status: corev1.PodStatus{Phase: phase}}
	}
	evicted, stays, comes := pod("a", corev1.PodFailed, "kv-controller-0"), pod("b", corev1.PodRunning, "kv-controller-1"), pod("c", corev1.PodRunning, "")
	next := pod("d", corev1.PodRunning, "") // before one of both has gone
	api := fakeAPI(t, evicted, stays, comes, next)
	pods := &corev1.PodList{}
	fatal(t, api.List(t.Context(), pods, client.InNamespace(key.Namespace)))
	members, coming, err := (&Platform{API: api, Live: api, Key: key}).membersOf(t.Context(), c, pods.Items, 2)
	fatal(t, err)
	var names []string
	for i := range 2 {
		if members[i] != nil {
			names = append(names, members[i].Name)
		}
	}
	if !slices.Equal(names, []string{"c", "b"}) {
		t.Errorf("the members are pods %v, want c, which came for a, and b", names)
	}
	if len(coming) != 1 || coming[0].Name != "d" {
		t.Errorf("to come are %v, want d", coming)
	}
}

// TestDial goes to members where the last look showed them, whatever DNS says, and to other services by their names.
func TestDial(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	fatal(t, err)
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Addr().String())
	fatal(t, err)
	absent := hostOf("kv-standin-1", "kv", "standin", key.Namespace)
	api, sys := fakeAPI(t), standin(t)
	p := &Platform{API: api, Live: api, Key: key}
	_, err = p.Look(t.Context(), runner.Scene{Cluster: kv(), System: sys, Systems: map[string]*system.System{sys.Hash(): sys}})
	fatal(t, err)
	p.hosts["member.of.kv.svc"] = "127.0.0.1"
	for host, want := range map[string]string{"member.of.kv.svc": "", "localhost": "", absent: absent + " has no address yet"} {
		c, err := p.dial(t.Context(), "tcp", net.JoinHostPort(host, port))
		if err == nil {
			err = c.Close()
		}
		if fmt.Sprint(err) != want && (want != "" || err != nil) {
			t.Errorf("%s: got %v, want %q", host, err, want)
		}
	}
}

// TestLastWordsStay: a kubelet that has lost the log of the last run does not take away what is known of the one before.
func TestLastWordsStay(t *testing.T) {
	log := "no such flag"
	kubelet := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, log) }))
	t.Cleanup(kubelet.Close)
	pods, err := kubernetes.NewForConfig(&rest.Config{Host: kubelet.URL})
	fatal(t, err)
	p, pod := &Platform{Pods: pods}, podOf(0, "r", hold{})
	if got := p.lastWords(t.Context(), pod, "main", 1); got != log {
		t.Fatalf("it says %q", got)
	}
	log = "unable to retrieve container logs for containerd://1"
	if got := p.lastWords(t.Context(), pod, "main", 2); got != "no such flag" {
		t.Errorf("after the second end it says %q", got)
	}
	log = "out of memory"
	if got := p.lastWords(t.Context(), pod, "main", 2); got != log {
		t.Errorf("when the log is there it says %q", got)
	}
}
