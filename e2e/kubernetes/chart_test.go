//go:build linux

package kubernetes

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/systems"
)

// helm runs the helm that "make bin/helm" built.
func (c *cluster) helm(args ...string) {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), filepath.Join(root(c.t), "bin", "helm"), args...)
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+c.t.TempDir(), "HELM_CONFIG_HOME="+c.t.TempDir(), "HELM_DATA_HOME="+c.t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("helm %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// installChart installs the chart for the namespace of the test, and returns it with the flags that it was installed with.
func (c *cluster) installChart() (chart string, flags []string) {
	c.t.Helper()
	chart = filepath.Join(root(c.t), "charts", "theseus")
	flags = []string{"--namespace", c.namespace, "--set", "image.repository=lab.test/theseus,image.tag=1,watchNamespaces={" + c.namespace + "}", "--wait", "--timeout", "2m"}
	c.installCRDs()
	c.helm(append([]string{"install", "theseus", chart, "--skip-crds"}, flags...)...)
	c.t.Cleanup(func() { // what lies outside of the namespace
		_ = exec.Command(filepath.Join(root(c.t), "bin", "helm"), "uninstall", "theseus", "--namespace", c.namespace).Run()
	})
	// A pod that is ready is not yet one that every node's service leads to.
	c.eventually("the webhook answers", func(ctx context.Context) error {
		some := &unstructured.Unstructured{Object: map[string]any{"apiVersion": v1alpha1.GroupVersion.String(), "kind": v1alpha1.KindCluster,
			"metadata": map[string]any{"name": "some"}, "spec": map[string]any{"system": "nowhere", "version": "1"}}}
		_, err := c.any.Resource(clusters).Namespace(c.namespace).Create(ctx, some, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil || !strings.Contains(err.Error(), "nowhere") {
			return fmt.Errorf("it does not refuse what it should: %w", err)
		}
		return nil
	})
	return chart, flags
}

// TestChart installs the chart as a user does, with the rights that it gives and the webhook: wrong edits are refused with a message, right ones are
// followed, and a new Theseus restarts no member.
func TestChart(t *testing.T) {
	c := newCluster(t)
	loadTheseus(t)
	for _, version := range []string{"1.0.0", "1.1.0"} {
		loadStandin(t, version)
	}
	chart, flags := c.installChart()

	c.apply(standinCluster, "VERSION", "1.0.0")
	c.await("si", "runs 1.0.0", settledAt("1.0.0"))
	for _, wrong := range []struct{ what, want string }{
		{`{"spec": {"version": "9.9.9"}}`, "is not listed"},
		{`{"spec": {"version": "0.9.0"}}`, "spec.version"},
		{`{"spec": {"system": "etcd"}}`, "cannot change"},
		{`{"spec": {"version": "1.1.0", "options": {"control": "/x"}}}`, "together with spec.version"},
		{`{"spec": {"components": {"standin": {"replicas": 5}}}}`, "cannot change yet"},
	} {
		if err := c.patchText("si", wrong.what); err == nil || !strings.Contains(err.Error(), wrong.want) {
			t.Errorf("%s: got %v, want a refusal that says %q", wrong.what, err, wrong.want)
		}
	}
	c.upgradeTo("si", "1.1.0")
	if si := c.await("si", "runs 1.1.0", settledAt("1.1.0")); si.Status.Attempt.Phase != v1alpha1.PhaseSucceeded {
		t.Errorf("the attempt %s", si.Status.Attempt.Phase)
	}
	if err := c.patchText("si", `{"spec": {"version": "1.0.0"}}`); err == nil || !strings.Contains(err.Error(), "downgrade") {
		t.Errorf("a downgrade: got %v, want a refusal that says so", err)
	}

	before := c.podUIDs()
	c.shipsAnother()
	c.helm(append([]string{"upgrade", "theseus", chart, "--skip-crds", "--set", "podAnnotations.newer=yes"}, flags...)...)
	c.patchAnnotation("si", "theseus.dev/requests", `{"id": "p", "kind": "Pause"}`)
	si := c.await("si", "has its answer", func(si *v1alpha1.Cluster) bool { return len(si.Status.Requests) > 0 })
	if a := si.Status.Requests[0]; a.Accepted || !strings.Contains(a.Message, "no attempt") {
		t.Errorf("a pause without an attempt was answered with %+v", a)
	}
	if after := c.podUIDs(); before != after {
		t.Errorf("a new Theseus replaced members: before %s, after %s", before, after)
	}
}

// shipsAnother lets the System of the stand-in be another one, of which another pod template follows, as one that a new release ships: an object hides the shipped one.
func (c *cluster) shipsAnother() {
	c.t.Helper()
	text, err := systems.Load("standin")
	must(c.t, err)
	c.apply(string(text), "grace: 10s", "grace: 12s")
}

// podUIDs are the members' pods.
func (c *cluster) podUIDs() string {
	c.t.Helper()
	pods, err := c.CoreV1().Pods(c.namespace).List(c.t.Context(), metav1.ListOptions{LabelSelector: "theseus.dev/cluster"})
	must(c.t, err)
	var uids []string
	for _, p := range pods.Items {
		uids = append(uids, p.Name+" "+string(p.UID))
	}
	return strings.Join(uids, ", ")
}
