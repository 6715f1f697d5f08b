package operator

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/runner/runnertest"
	"theseus.dev/system"
)

// TestPlatform runs the suite of runner.Platform on a real Kubernetes. e2e/kubernetes starts one, gives its nodes the image of the stand-in, makes the
// kinds known, and runs this test in its network.
func TestPlatform(t *testing.T) {
	if os.Getenv("THESEUS_KUBERNETES") == "" {
		t.Skip("it is run by e2e/kubernetes, which starts a real Kubernetes")
	}
	config, err := ctrl.GetConfig()
	fatal(t, err)
	config.QPS = -1
	scheme, err := Scheme()
	fatal(t, err)
	api, err := client.New(config, client.Options{Scheme: scheme})
	fatal(t, err)
	pods, err := kubernetes.NewForConfig(config)
	fatal(t, err)
	sys := withMissing(t)
	runnertest.Platform(t, func(t *testing.T) runnertest.World {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "platform-"}}
		fatal(t, api.Create(t.Context(), namespace))
		t.Cleanup(func() { fatal(t, api.Delete(context.Background(), namespace)) })
		c := kv()
		c.Namespace, c.UID = namespace.Name, ""
		own := c.Spec.Components["standin"]
		own.Storage = "10Mi"
		c.Spec.Components["standin"] = own
		fatal(t, api.Create(t.Context(), c))
		runs := &Runs{}
		return runnertest.World{
			Cluster: c, System: sys,
			Driver: func(t *testing.T) runner.Platform {
				p := &Platform{API: api, Live: api, Pods: pods, Config: config, Key: client.ObjectKeyFromObject(c), Image: "lab.test/theseus:1", Identity: "test", Runs: runs}
				t.Cleanup(p.Close)
				return p
			},
			Crash: func(t *testing.T, member string) { signal(t, namespace.Name, member, syscall.SIGKILL) },
			Mute: func(t *testing.T, member string, on bool) {
				if on {
					signal(t, namespace.Name, member, syscall.SIGSTOP)
				} else {
					signal(t, namespace.Name, member, syscall.SIGCONT)
				}
			},
			Counts: system.NamedActionPath("raise"), Fails: system.NamedActionPath("missing"),
			Done: func(t *testing.T) int { return raised(t, api, namespace.Name) },
		}
	})
}

// withMissing is the stand-in with an action that is always refused.
func withMissing(t *testing.T) *system.System {
	t.Helper()
	source := standin(t).Source().DeepCopy()
	source.Actions["missing"] = v1alpha1.Action{Call: v1alpha1.Call{Post: ":client/no-such-path"}}
	s, err := system.Compile(source)
	fatal(t, err)
	return s
}

// raised counts how often the members did the action raise.
func raised(t *testing.T, api client.Client, namespace string) int {
	t.Helper()
	pods := &corev1.PodList{}
	fatal(t, api.List(t.Context(), pods, client.InNamespace(namespace), client.HasLabels{componentLabel}))
	n := 0
	for _, p := range pods.Items {
		reply, err := http.Get("http://" + net.JoinHostPort(p.Status.PodIP, "7000") + "/status")
		fatal(t, err)
		status := struct {
			Actions map[string]int `json:"actions"`
		}{}
		fatal(t, json.NewDecoder(reply.Body).Decode(&status))
		reply.Body.Close()
		n += status.Actions["raise"]
	}
	return n
}

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// signal sends a signal to the process of a member: the nodes are on this machine, and each member is started with its DNS name.
func signal(t *testing.T, namespace, member string, s syscall.Signal) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	fatal(t, err)
	for _, e := range entries {
		line, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err != nil || !strings.HasPrefix(string(line), "standin\x00--name="+member+"\x00") || !strings.Contains(string(line), "."+namespace+".svc:") {
			continue
		}
		pid, err := strconv.Atoi(e.Name())
		fatal(t, err)
		fatal(t, syscall.Kill(pid, s))
		return
	}
	t.Fatalf("no process of %s", member)
}
