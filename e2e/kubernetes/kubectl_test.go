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

	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"theseus.dev/api/v1alpha1"
)

// kubectl is the real one, in this test's namespace.
func (c *cluster) kubectl(in string, args ...string) (string, error) {
	c.t.Helper()
	if theLab == nil {
		c.t.Skip("the kubectl of the lab is of its version")
	}
	cmd := exec.CommandContext(c.t.Context(), theLab.Node, append([]string{"kubectl", "--namespace", c.namespace}, args...)...)
	cmd.Stdin = strings.NewReader(in)
	cmd.Env = append(os.Environ(), c.environment...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

func (c *cluster) mustKubectl(in string, args ...string) string {
	c.t.Helper()
	out, err := c.kubectl(in, args...)
	must(c.t, err)
	return out
}

// TestKubectl upgrades by all that people type: apply, patch, edit, and helm with a chart of a Cluster. What waits for the end, kubectl wait and what
// Argo CD and Flux read, is told the truth at each time.
func TestKubectl(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	loadTheseus(t)
	for _, version := range []string{"1.0.0", "1.0.1", "1.1.0", "1.2.0"} {
		loadStandin(t, version)
	}
	c.installCRDs()
	c.startOperator()
	manifest := func(version string) string { return strings.ReplaceAll(standinCluster, "VERSION", version) }
	c.mustKubectl(manifest("1.0.0"), "apply", "-f", "-")
	c.arrives("si", "1.0.0")

	c.mustKubectl(manifest("1.0.1"), "apply", "-f", "-")
	c.arrives("si", "1.0.1")

	c.mustKubectl("", "patch", "cluster.theseus.dev", "si", "--type=merge", "-p", `{"spec": {"version": "1.1.0"}}`)
	c.arrives("si", "1.1.0")
	c.leaderLast("si")

	c.environment = []string{"KUBE_EDITOR=sed -i s/1.1.0/1.2.0/"}
	c.mustKubectl("", "edit", "cluster.theseus.dev", "si")
	c.arrives("si", "1.2.0")

	table := strings.Split(c.mustKubectl("", "get", "cluster.theseus.dev", "si"), "\n")
	if strings.Join(strings.Fields(table[0]), " ") != "NAME VERSION DESIRED VERSION DESIRED MEMBERS READY MEMBERS AGE" || !strings.HasPrefix(strings.Join(strings.Fields(table[1]), " "), "si 1.2.0 1.2.0 3 3 ") {
		t.Errorf("kubectl get prints\n%s", strings.Join(table, "\n"))
	}
	for _, short := range []string{"thc", "thb", "thr", "thsys"} {
		c.mustKubectl("", "get", short)
	}
	for _, explained := range []struct{ path, want string }{{"cluster.spec.version", "upgrade"}, {"cluster.spec.upgrade.onFailure", "Rollback"}} {
		if out := c.mustKubectl("", "explain", "--api-version=theseus.dev/v1alpha1", explained.path); !strings.Contains(out, explained.want) {
			t.Errorf("kubectl explain %s says nothing of %s:\n%s", explained.path, explained.want, out)
		}
	}
	c.hears("si", "AttemptStarted", "MemberReplaced", "AttemptSucceeded")
	if events := c.mustKubectl("", "events", "--for", "cluster.theseus.dev/si"); !strings.Contains(events, "AttemptSucceeded") {
		t.Errorf("kubectl events shows none that succeeded:\n%s", events)
	}
	c.helmCluster(strings.ReplaceAll(standinCluster, "{name: si}", "{name: hi}"))
}

// leaderLast wants the member with the role leader to have given it away, and to have gone last.
func (c *cluster) leaderLast(name string) {
	c.t.Helper()
	have, err := c.get(c.t.Context(), name)
	must(c.t, err)
	acts := eventsOf(have, "Run", "Stop")
	last := acts[len(acts)-1]
	if len(acts) != 4 || acts[2] != strings.Replace(last, "Stop", "Run", 1) {
		c.t.Errorf("done was %q, want two to go, and the third to hand its role over and go", acts)
	}
}

// helmCluster installs a Cluster by a chart of its own, and upgrades it by --set.
func (c *cluster) helmCluster(manifest string) {
	c.t.Helper()
	chart := filepath.Join(c.t.TempDir(), "hi")
	must(c.t, os.MkdirAll(filepath.Join(chart, "templates"), 0o700))
	for file, text := range map[string]string{
		"Chart.yaml": "{apiVersion: v2, name: hi, version: 1.0.0}", "values.yaml": "version: 1.0.0",
		"templates/cluster.yaml": strings.ReplaceAll(strings.ReplaceAll(manifest, "${version}", "{{ `${version}` }}"), "VERSION", "{{ .Values.version }}"),
	} {
		must(c.t, os.WriteFile(filepath.Join(chart, file), []byte(text), 0o600))
	}
	c.helm("install", "hi", chart, "--namespace", c.namespace)
	c.arrives("hi", "1.0.0")
	c.helm("upgrade", "hi", chart, "--namespace", c.namespace, "--set", "version=1.0.1")
	c.arrives("hi", "1.0.1")
}

// tellsOf wants kstatus to say something of a Cluster at last, and all of its conditions to be of its generation then.
func (c *cluster) tellsOf(name string, want kstatus.Status) {
	c.t.Helper()
	c.eventually("kstatus says "+string(want)+" of "+name, func(ctx context.Context) error {
		object, err := c.any.Resource(clusters).Namespace(c.namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		result, err := kstatus.Compute(object)
		must(c.t, err)
		if result.Status != want {
			return fmt.Errorf("it says %s: %s", result.Status, result.Message)
		}
		have := v1alpha1.Cluster{}
		must(c.t, runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &have))
		for _, k := range have.Status.Conditions {
			if k.ObservedGeneration != have.Generation {
				c.t.Errorf("condition %s of %s is of generation %d, and the Cluster of %d", k.Type, name, k.ObservedGeneration, have.Generation)
			}
		}
		return nil
	})
}

// arrives waits as people and tools do, from the moment of the edit on, and wants the version to be there then.
func (c *cluster) arrives(name, version string) {
	c.t.Helper()
	seen := map[kstatus.Status]bool{}
	c.await(name, "is current", func(*v1alpha1.Cluster) bool {
		object, err := c.any.Resource(clusters).Namespace(c.namespace).Get(context.WithoutCancel(c.t.Context()), name, metav1.GetOptions{})
		must(c.t, err)
		result, err := kstatus.Compute(object)
		must(c.t, err)
		seen[result.Status] = true
		if result.Status == kstatus.CurrentStatus {
			if got, _, _ := unstructured.NestedString(object.Object, "status", "currentVersion"); got != version {
				text, _ := yaml.Marshal(object.Object["status"])
				c.t.Fatalf("kstatus says Current, and it runs %v, not %s:\n%s", got, version, text)
			}
			return true
		}
		return false
	})
	if seen[kstatus.FailedStatus] {
		c.t.Errorf("on the way to %s kstatus said Failed", version)
	}
	c.mustKubectl("", "wait", "cluster.theseus.dev/"+name, "--for=condition=Reconciling=False", "--timeout=6m")
	c.mustKubectl("", "wait", "cluster.theseus.dev/"+name, "--for=condition=Ready", "--timeout=6m")
}
