//go:build linux

package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The tests of this file break the cluster for all, so none of them is parallel.

func TestAPIServerComesBack(t *testing.T) {
	if theLab == nil {
		t.Skip("only the API server of a lab is ours to stop")
	}
	c := newCluster(t)
	must(t, theLab.Stop(t.Context(), "kube-apiserver"))
	if _, err := c.Discovery().ServerVersion(); err == nil {
		t.Error("a stopped API server answers")
	}
	must(t, theLab.Run(t.Context(), "kube-apiserver"))
	c.eventually("the API server", func(ctx context.Context) error {
		return c.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

// What TestMain asks for at the end would find what is there now.
func TestLeftoversAreSeen(t *testing.T) {
	if theLab == nil {
		t.Skip("there is no lab")
	}
	c := newCluster(t)
	c.create("single.yaml")
	c.podReady("single")
	found := strings.Join(theLab.Leftovers(), "\n")
	for _, part := range []string{"kube-apiserver", "containerd-shim", "/testpod", "/sys/fs/cgroup/", theLab.Dir} {
		if !strings.Contains(found, part) {
			t.Errorf("no %s among\n%s", part, found)
		}
	}
}

func TestNodeIsCutOffAndHealed(t *testing.T) {
	if theLab == nil || theLab.Nodes < 3 {
		t.Skip("needs a lab of 3 nodes: THESEUS_NODES=3, or lab up --nodes 3")
	}
	c := newCluster(t)
	must(t, theLab.Partition(t.Context(), "node3"))
	t.Cleanup(func() { must(t, theLab.Heal(context.Background(), "node3")) }) // twice does no harm
	c.nodeBecomes("node3", false)
	must(t, theLab.Heal(t.Context(), "node3"))
	c.nodeBecomes("node3", true)
}

func (c *cluster) nodeBecomes(name string, ready bool) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("%s with ready=%v", name, ready), func(ctx context.Context) error {
		n, err := c.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, condition := range n.Status.Conditions {
			if condition.Type == corev1.NodeReady && (condition.Status == corev1.ConditionTrue) == ready {
				return nil
			}
		}
		return errors.New("it is not")
	})
}
