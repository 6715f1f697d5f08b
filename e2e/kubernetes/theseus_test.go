//go:build linux

package kubernetes

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/e2e/kubernetes/lab"
)

const theseusImage = "lab.test/theseus:1"

// program is the built binary, as "make build" leaves it.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(root(t), "bin", "theseus")
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v; run: make build servers", err)
	}
	return path
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := lab.Root()
	must(t, err)
	return dir
}

// loadImage gives the nodes an image, once.
func loadImage(t *testing.T, i lab.Image) {
	t.Helper()
	if theLab == nil {
		t.Logf("image %s is to be on the nodes already", i.Name)
		return
	}
	if i.Env == nil {
		i.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin"}
	}
	must(t, theLab.LoadImage(t.Context(), i))
}

// loadTheseus gives the nodes the image of the operator.
func loadTheseus(t *testing.T) {
	t.Helper()
	loadImage(t, lab.Image{Name: theseusImage, Files: map[string]string{"/theseus": program(t)}, Entrypoint: []string{"/theseus"}, User: "65532:65532"})
}

// etcdVersions are the servers that "make servers" built, by minor.
func etcdVersions(t *testing.T) map[string]string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(root(t), "bin", "servers", "etcd-3.*"))
	must(t, err)
	versions := map[string]string{}
	for _, path := range found {
		v := strings.TrimPrefix(filepath.Base(path), "etcd-")
		if v != broken {
			versions[v[:strings.LastIndex(v, ".")]] = v
		}
	}
	return versions
}

// broken is the release of etcd that is broken on purpose.
const broken = "3.7.4"

// loadEtcd gives the nodes the image of a version, laid out as the real one is.
func loadEtcd(t *testing.T, version string) {
	t.Helper()
	files := map[string]string{}
	for _, tool := range []string{"etcd", "etcdctl", "etcdutl"} {
		file, err := filepath.EvalSymlinks(filepath.Join(root(t), "bin", "servers", tool+"-"+version))
		must(t, err)
		files["/usr/local/bin/"+tool] = file
	}
	loadImage(t, lab.Image{Name: "lab.test/etcd:v" + version, Files: files, Entrypoint: []string{"/usr/local/bin/etcd"}})
}

// loadStandin gives the nodes an image of the stand-in, which plays every version.
func loadStandin(t *testing.T, tag string) {
	t.Helper()
	loadImage(t, lab.Image{Name: "lab.test/standin:" + tag, Files: map[string]string{"/usr/local/bin/standin": filepath.Join(root(t), "bin", "servers", "standin")},
		Entrypoint: []string{"/usr/local/bin/standin"}})
}

var crds = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// installCRDs makes the kinds known, as they are in the tree.
func (c *cluster) installCRDs() {
	c.t.Helper()
	files, err := filepath.Glob(filepath.Join(root(c.t), "config", "crd", "*.yaml"))
	must(c.t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(c.t, err)
		object := &unstructured.Unstructured{}
		must(c.t, yaml.Unmarshal(text, &object.Object))
		_, err = c.any.Resource(crds).Apply(c.t.Context(), object.GetName(), object, metav1.ApplyOptions{FieldManager: "e2e", Force: true})
		must(c.t, err)
		c.eventually(object.GetName()+" is established", func(ctx context.Context) error {
			have, err := c.any.Resource(crds).Get(ctx, object.GetName(), metav1.GetOptions{})
			if err != nil {
				return err
			}
			conditions, _, _ := unstructured.NestedSlice(have.Object, "status", "conditions")
			for _, c := range conditions {
				if c, ok := c.(map[string]any); ok && c["type"] == "Established" && c["status"] == "True" {
					return nil
				}
			}
			return fmt.Errorf("conditions are %v", conditions)
		})
	}
}

// operator runs Theseus as a process in the lab's network, for this test's namespace.
type operator struct {
	t   *testing.T
	cmd *exec.Cmd
	log *bytes.Buffer
}

func (c *cluster) startOperator(flags ...string) *operator {
	c.t.Helper()
	o := &operator{t: c.t, log: &bytes.Buffer{}}
	args := slices.Concat([]string{"operator", "--namespace", c.namespace, "--image", theseusImage, "--metrics-bind-address", "0", "--health-probe-bind-address", "0"}, flags)
	o.cmd = exec.Command(program(c.t), args...)
	o.cmd.Stderr, o.cmd.Env = o.log, append(os.Environ(), c.environment...)
	o.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(c.t, o.cmd.Start())
	c.t.Cleanup(o.kill)
	return o
}

func (o *operator) kill() {
	if o.cmd.ProcessState == nil {
		_ = o.cmd.Process.Kill()
		_ = o.cmd.Wait()
		if o.t.Failed() {
			o.t.Logf("the operator's log:\n%s", o.log)
		}
	}
}

// apply creates one object of a text, in which each old is replaced by the new that follows it.
func (c *cluster) apply(text string, replace ...string) {
	c.t.Helper()
	_, err := c.createObject(strings.NewReplacer(replace...).Replace(text))
	must(c.t, err)
}

var clusters = v1alpha1.GroupVersion.WithResource("clusters")

// get reads a Cluster.
func (c *cluster) get(ctx context.Context, name string) (*v1alpha1.Cluster, error) {
	object, err := c.any.Resource(clusters).Namespace(c.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	out := &v1alpha1.Cluster{}
	return out, runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, out)
}

// patch merges into a Cluster, as kubectl patch does.
func (c *cluster) patch(name, text string) error {
	_, err := c.any.Resource(clusters).Namespace(c.namespace).Patch(c.t.Context(), name, types.MergePatchType, []byte(text), metav1.PatchOptions{})
	return err
}

func (c *cluster) patchAnnotation(name, key, value string) {
	c.t.Helper()
	c.edit(name, fmt.Sprintf(`{"metadata": {"annotations": {%q: %q}}}`, key, value))
}

func (c *cluster) upgradeTo(name, version string) {
	c.t.Helper()
	c.edit(name, fmt.Sprintf(`{"spec": {"version": %q}}`, version))
}

// await waits until a Cluster is as wanted, as long as its status goes on changing.
func (c *cluster) await(name, what string, is func(*v1alpha1.Cluster) bool) *v1alpha1.Cluster {
	c.t.Helper()
	last, since := "", time.Now()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		have, err := c.get(c.t.Context(), name)
		if err == nil && is(have) {
			return have
		}
		text := fmt.Sprint(err)
		if err == nil {
			status, _ := yaml.Marshal(have.Status)
			text = string(status)
			if a := have.Status.Attempt; a != nil && have.Status.ObservedGeneration == have.Generation && (a.Phase == v1alpha1.PhasePaused || a.Phase == v1alpha1.PhaseStopped) {
				c.t.Fatalf("%s: %s: not yet, and the attempt rests: %s; the status is\n%s", name, what, a.Rest, text)
			}
		}
		if text != last {
			last, since = text, time.Now()
		}
		if time.Since(since) > patience {
			c.t.Fatalf("%s: %s: not yet, and nothing has changed for %s; the status is\n%s", name, what, patience, last)
		}
		select {
		case <-tick.C:
		case <-c.t.Context().Done():
			c.t.Fatalf("%s: %s: the test ended", name, what)
		}
	}
}

// settledAt says that no attempt runs and all members are ready at a version.
func settledAt(version string) func(*v1alpha1.Cluster) bool {
	return func(c *v1alpha1.Cluster) bool {
		st := &c.Status
		return st.Attempt != nil && st.Attempt.Phase.Ended() && st.CurrentVersion == version && st.ReadyReplicas == st.Replicas && st.Replicas > 0
	}
}
