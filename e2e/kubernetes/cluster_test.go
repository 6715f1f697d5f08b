//go:build linux

package kubernetes

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/remotecommand"
	"sigs.k8s.io/yaml"
)

// cluster is how a test reaches Kubernetes, with a namespace of its own.
type cluster struct {
	t         *testing.T
	namespace string
	kubernetes.Interface
	config *rest.Config
	any    dynamic.Interface
	// environment of operators, besides this process's.
	environment []string
}

// newCluster makes the namespace; it is deleted after the test.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	must(t, err)
	config.QPS = -1 // no limit
	c := &cluster{t: t, config: config, Interface: kubernetes.NewForConfigOrDie(config), any: dynamic.NewForConfigOrDie(config)}
	ns, err := c.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: namespaceOf(t.Name())},
	}, metav1.CreateOptions{})
	must(t, err)
	c.namespace = ns.Name
	t.Cleanup(func() {
		must(t, c.CoreV1().Namespaces().Delete(context.Background(), ns.Name, metav1.DeleteOptions{}))
	})
	c.eventually("pods may be made", func(ctx context.Context) error { // a controller makes this, some time after the namespace
		_, err := c.CoreV1().ServiceAccounts(ns.Name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	return c
}

// namespaceOf is the beginning of a test's name, as far as a namespace may be called so.
func namespaceOf(test string) string {
	allowed := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(test))
	return allowed[:min(len(allowed), 50)] + "-"
}

// create creates everything in a file of testdata. Each old=new replaces a
// text of the file first.
func (c *cluster) create(file string, replace ...string) {
	c.t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", file))
	must(c.t, err)
	text := strings.NewReplacer(replace...).Replace(string(b))
	for doc := range strings.SplitSeq(text, "\n---\n") {
		_, err := c.createObject(doc)
		must(c.t, err)
	}
}

// createObject creates one object, in the test's namespace if its kind has
// namespaces; otherwise it is deleted after the test.
func (c *cluster) createObject(text string) (*unstructured.Unstructured, error) {
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &object.Object); err != nil {
		return nil, err
	}
	mapping, err := c.mapping(object.GroupVersionKind())
	if err != nil {
		return nil, err
	}
	resource := c.any.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		return resource.Namespace(c.namespace).Create(c.t.Context(), object, metav1.CreateOptions{})
	}
	c.t.Cleanup(func() { _ = resource.Delete(context.Background(), object.GetName(), metav1.DeleteOptions{}) })
	return resource.Create(c.t.Context(), object, metav1.CreateOptions{})
}

func (c *cluster) mapping(kind schema.GroupVersionKind) (*meta.RESTMapping, error) {
	groups, err := restmapper.GetAPIGroupResources(c.Discovery())
	if err != nil {
		return nil, err
	}
	return restmapper.NewDiscoveryRESTMapper(groups).RESTMapping(kind.GroupKind(), kind.Version)
}

// patience is for how long something may not change that is waited for. Nothing takes that long; a machine that has ten times as much to do as it can is slow.
const patience = 6 * time.Minute

// eventually tries until there is no error, and fails the test when patience is over.
func (c *cluster) eventually(what string, try func(ctx context.Context) error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var last error
	for ctx.Err() == nil {
		if err := try(ctx); err == nil {
			return
		} else if ctx.Err() == nil {
			last = err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	c.t.Fatalf("%s: not after %s; last: %v", what, patience, last)
}

func (c *cluster) pod(name string) (*corev1.Pod, error) {
	return c.CoreV1().Pods(c.namespace).Get(c.t.Context(), name, metav1.GetOptions{})
}

// podReady returns the pod once it is ready and not the one that had the uid.
func (c *cluster) podReady(name string, not ...*corev1.Pod) *corev1.Pod {
	c.t.Helper()
	var ready *corev1.Pod
	c.eventually("pod "+name, func(context.Context) error {
		p, err := c.pod(name)
		if err != nil {
			return err
		}
		for _, old := range not {
			if p.UID == old.UID {
				return fmt.Errorf("it is still the old one, %s", p.UID)
			}
		}
		ready = p
		return isReady(p)
	})
	return ready
}

func isReady(p *corev1.Pod) error {
	for _, condition := range p.Status.Conditions {
		if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return fmt.Errorf("phase %s, containers %+v", p.Status.Phase, p.Status.ContainerStatuses)
}

// exec runs testpod with a verb in a pod, and returns what it printed.
func (c *cluster) exec(pod string, verb ...string) (string, error) {
	request := c.CoreV1().RESTClient().Post().Namespace(c.namespace).Resource("pods").Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Command: append([]string{"/testpod"}, verb...), Stdout: true, Stderr: true}, scheme.ParameterCodec)
	executor, err := remotecommand.NewWebSocketExecutor(c.config, "GET", request.URL().String())
	if err != nil {
		return "", err
	}
	var out, errOut bytes.Buffer
	err = executor.StreamWithContext(c.t.Context(), remotecommand.StreamOptions{Stdout: &out, Stderr: &errOut})
	if err != nil {
		return out.String(), fmt.Errorf("%v in %s: %w: %s", verb, pod, err, errOut.String())
	}
	return out.String(), nil
}

// mustExec is exec where nothing may go wrong.
func (c *cluster) mustExec(pod string, verb ...string) string {
	c.t.Helper()
	out, err := c.exec(pod, verb...)
	must(c.t, err)
	return strings.TrimSpace(out)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
