//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/e2e/kubernetes/lab"
)

const (
	theseusImage = "lab.test/theseus:1"
	oldVersion   = "1.0.0"
	newVersion   = "1.1.0"
)

var clusters = v1alpha1.GroupVersion.WithResource("clusters")

// kube is the lab's Kubernetes, with the kinds and the images that are measured.
type kube struct {
	kubernetes.Interface
	any    dynamic.Interface
	config *rest.Config
	lab    *lab.Lab
	root   string // of the tree
	load   string // of the machine, before
}

func newKube(ctx context.Context, l *lab.Lab) (*kube, error) {
	root, err := lab.Root()
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", l.Kubeconfig())
	if err != nil {
		return nil, err
	}
	config.QPS = -1 // no limit
	k := &kube{config: config, lab: l, root: root, load: load()}
	if k.Interface, err = kubernetes.NewForConfig(config); err != nil {
		return nil, err
	}
	if k.any, err = dynamic.NewForConfig(config); err != nil {
		return nil, err
	}
	if err := k.loadImages(ctx); err != nil {
		return nil, err
	}
	return k, k.installCRDs(ctx)
}

func (k *kube) loadImages(ctx context.Context) error {
	standin := map[string]string{"/usr/local/bin/standin": filepath.Join(k.root, "bin", "servers", "standin")}
	for _, i := range []lab.Image{
		{Name: theseusImage, Files: map[string]string{"/theseus": filepath.Join(k.root, "bin", "theseus")}, Entrypoint: []string{"/theseus"}, User: "65532:65532"},
		{Name: "lab.test/standin:" + oldVersion, Files: standin, Entrypoint: []string{"/usr/local/bin/standin"}},
		{Name: "lab.test/standin:" + newVersion, Files: standin, Entrypoint: []string{"/usr/local/bin/standin"}},
	} {
		i.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin"}
		if err := k.lab.LoadImage(ctx, i); err != nil {
			return fmt.Errorf("load %s: %w; run: make build servers", i.Name, err)
		}
	}
	return nil
}

// installCRDs makes the kinds known, as they are in the tree.
func (k *kube) installCRDs(ctx context.Context) error {
	files, err := filepath.Glob(filepath.Join(k.root, "config", "crd", "*.yaml"))
	if err != nil {
		return err
	}
	crds := k.any.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(text, &object.Object); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if _, err := crds.Apply(ctx, object.GetName(), object, metav1.ApplyOptions{FieldManager: "bench", Force: true}); err != nil {
			return err
		}
	}
	return await(ctx, "the kinds are served", func() error {
		_, err := k.any.Resource(clusters).List(ctx, metav1.ListOptions{})
		return err
	})
}

// patience is how long anything may take to happen.
const patience = 20 * time.Minute

// await tries until there is no error.
func await(ctx context.Context, what string, try func() error) error {
	return awaitEvery(ctx, 20*time.Millisecond, what, try)
}

// awaitEvery is await for what takes a while to find out.
func awaitEvery(ctx context.Context, pause time.Duration, what string, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: not after %s; last: %w", what, patience, err)
		}
	}
}

func (k *kube) makeNamespace(ctx context.Context, name string) error {
	_, err := k.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	return err
}

func (k *kube) makeCluster(ctx context.Context, namespace, text string) error {
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &object.Object); err != nil {
		return err
	}
	_, err := k.any.Resource(clusters).Namespace(namespace).Create(ctx, object, metav1.CreateOptions{})
	return err
}

func (k *kube) upgrade(ctx context.Context, namespace, name string) error {
	change := []byte(`{"spec": {"version": "` + newVersion + `"}}`)
	_, err := k.any.Resource(clusters).Namespace(namespace).Patch(ctx, name, types.MergePatchType, change, metav1.PatchOptions{})
	return err
}

func (k *kube) cluster(ctx context.Context, namespace, name string) (*v1alpha1.Cluster, error) {
	object, err := k.any.Resource(clusters).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return clusterOf(object)
}

func clusterOf(object *unstructured.Unstructured) (*v1alpha1.Cluster, error) {
	c := &v1alpha1.Cluster{}
	return c, runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, c)
}

// runs says why a Cluster is not yet settled at a version, and nil when it is.
func runs(c *v1alpha1.Cluster, version string) error {
	st := &c.Status
	if st.Attempt != nil && st.Attempt.Phase.Ended() && st.CurrentVersion == version && st.ReadyReplicas == st.Replicas && st.Replicas > 0 {
		return nil
	}
	why := "no attempt yet"
	if a := st.Attempt; a != nil {
		why = fmt.Sprintf("attempt %d is %s", a.ID, a.Phase)
		if a.WaitingFor != nil {
			why += ", waits for " + a.WaitingFor.Object + ": " + a.WaitingFor.Message
		}
	}
	return fmt.Errorf("%s/%s runs %q, %d of %d ready; %s", c.Namespace, c.Name, st.CurrentVersion, st.ReadyReplicas, st.Replicas, why)
}
