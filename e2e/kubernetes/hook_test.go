//go:build linux

package kubernetes

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/e2e/kubernetes/lab"
)

const hookedSystem = `
apiVersion: theseus.dev/v1alpha1
kind: System
metadata: {name: hooked}
versions: {listed: [1.0.0, 1.1.0], program: standin, image: "lab.test/standin:${version}"}
edges:
- from: 1.0.x
  to: 1.1.x
  before: [{name: announce, run: [standin, backup, "--from=${m.host}:${m.port.client}"], job: {image: "lab.test/announcer:${version}"}, timeout: 5m}]
components:
- name: standin
  replicas: 2
  ports: {client: 7000}
  start: [standin, "--name=${m.name}", "--version=${version}", "--listen=${m.bind}:${m.port.client}", "--data=${m.data}", "--peers=${all.map(x, x.name + '=' + x.host + ':' + string(x.port.client)).join(',')}"]
  ask: {status: {get: ":client/status"}}
  ready: m.status.json.ready
  version: m.status.json.version
  before: [{name: save, run: [standin, backup, "--from=${m.host}:${m.port.client}"], job: {}, timeout: 5m}]
  after: [{name: complain, run: [/testpod, fail, "3"], job: {image: "lab.test/testpod:1"}, timeout: 5m, retries: 0, onFailure: Warn}]
  soak: 1s
`

const hookedCluster = `
apiVersion: theseus.dev/v1alpha1
kind: Cluster
metadata: {name: kv}
spec:
  system: hooked
  version: 1.0.0
  components: {standin: {storage: 10Mi}}
  upgrade: {progressDeadline: 8m}
`

// TestHooksAsJobs has hooks done by Jobs: in an image that cannot be pulled at first, which the wait says, while the operator is killed; in the members' own
// image; and one that fails. Each is done once, by whichever operator.
func TestHooksAsJobs(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	loadTheseus(t)
	loadStandin(t, "1.0.0")
	loadStandin(t, "1.1.0")
	c.installCRDs()
	first := c.startOperator()
	c.applyAdmitted(hookedSystem) // the webhook of another test may come or go just now
	c.apply(hookedCluster)
	c.await("kv", "runs 1.0.0", settledAt("1.0.0"))
	c.upgradeTo("kv", "1.1.0")
	c.await("kv", "waits for the image of its hook", func(have *v1alpha1.Cluster) bool {
		a := have.Status.Attempt
		return a.WaitingFor != nil && a.WaitingFor.Rule == "run/before/announce" && strings.Contains(a.WaitingFor.Message, "Err")
	})
	first.kill()
	c.startOperator()
	loadImage(t, lab.Image{Name: "lab.test/announcer:1.1.0", Files: map[string]string{"/usr/local/bin/standin": filepath.Join(root(t), "bin", "servers", "standin")}})
	c.await("kv", "runs 1.1.0", settledAt("1.1.0"))
	c.eventually("a warning says which hook failed, and how", func(ctx context.Context) error {
		events, err := c.EventsV1().Events(c.namespace).List(ctx, metav1.ListOptions{})
		for _, e := range events.Items {
			if e.Reason == "HookFailed" && strings.Contains(e.Note, "complain") && strings.Contains(e.Note, "exit code 3") {
				return nil
			}
		}
		return fmt.Errorf("it does not: %w", err)
	})
	c.wantHookJobs("announce", 1, "save", 2, "complain", 2)
}

// wantHookJobs wants that many Jobs of each hook, and of each Job one pod.
func (c *cluster) wantHookJobs(want ...any) {
	c.t.Helper()
	jobs, err := c.BatchV1().Jobs(c.namespace).List(c.t.Context(), metav1.ListOptions{LabelSelector: "theseus.dev/run-of=kv"})
	must(c.t, err)
	for i := 0; i < len(want); i += 2 {
		n := 0
		for _, job := range jobs.Items {
			if strings.Contains(orderIn(&job.Spec.Template), "."+want[i].(string)+`"`) {
				n++
			}
		}
		if n != want[i+1] {
			c.t.Errorf("hook %s was %d Jobs, want %d", want[i], n, want[i+1])
		}
	}
	pods, err := c.CoreV1().Pods(c.namespace).List(c.t.Context(), metav1.ListOptions{LabelSelector: "theseus.dev/run-of=kv"})
	must(c.t, err)
	if len(pods.Items) != len(jobs.Items) {
		c.t.Errorf("%d Jobs had %d pods, want one each", len(jobs.Items), len(pods.Items))
	}
}

func orderIn(pod *corev1.PodTemplateSpec) string {
	for _, v := range pod.Spec.Containers[0].Env {
		if v.Name == "THESEUS_ORDER" {
			return v.Value
		}
	}
	return ""
}
