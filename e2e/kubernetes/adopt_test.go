//go:build linux

package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/probe"
)

const adoptedEtcd = `
apiVersion: theseus.dev/v1alpha1
kind: Cluster
metadata: {name: kv}
spec:
  system: etcd
  version: VERSION
  components:
    etcd: {image: "lab.test/etcd:v${version}", adopt: {statefulSet: etcd, mode: Version}}
  backup: {url: "file:///backups", claim: backups}
  upgrade: {progressDeadline: 8m}
`

const adoptedShop = `
apiVersion: theseus.dev/v1alpha1
kind: Cluster
metadata: {name: kv}
spec:
  system: standin
  version: 1.0.0
  components:
    standin: {adopt: {statefulSet: shop, mode: Order, allow: [SwitchToOnDelete]}}
  upgrade: {progressDeadline: 4m, soak: 1s}
`

// TestAdopt takes over an etcd that was made by hand, as a person does who follows what the status says, and upgrades it under load, over two hops.
func TestAdopt(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	versions := etcdVersions(t)
	loadTheseus(t)
	for _, minor := range []string{"3.5", "3.6", "3.7"} {
		loadEtcd(t, versions[minor])
	}
	c.installCRDs()
	c.create("etcd.yaml", "VERSION", versions["3.5"])
	set, pods := c.statefulSet("etcd"), c.podsOf("etcd")
	c.startOperator()
	c.apply(backupClaim)
	c.apply(adoptedEtcd, "VERSION", versions["3.5"])

	c.await("kv", "asks for OnDelete", stalled("kubectl -n "+c.namespace+" patch statefulset etcd"))
	c.patchSet("etcd", `{"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}}`)
	c.await("kv", "runs 3.5", settledAt(versions["3.5"]))
	if now := c.podsOf("etcd"); !slices.Equal(now, pods) {
		t.Errorf("the pods are %v, and were %v: adopting replaced some", now, pods)
	}

	m := c.measureWorkload("etcd", "app=etcd")
	m.wait(6 * time.Second)
	m.probe.Mark(probe.Upgrade, "to 3.7")
	c.upgradeTo("kv", versions["3.7"])
	c.await("kv", "waits for the image", waitsFor("StatefulSet etcd", "TakeImage"))
	c.edit("kv", `{"spec": {"components": {"etcd": {"adopt": {"allow": ["TakeImage"]}}}}}`)
	kv := c.await("kv", "runs 3.7", settledAt(versions["3.7"]))
	c.arrived(kv, 2)
	m.probe.Mark(probe.Settle, "after")
	m.wait(6 * time.Second)
	m.judge(kv)

	members := c.podsOf("etcd")
	must(t, c.any.Resource(clusters).Namespace(c.namespace).Delete(t.Context(), "kv", metav1.DeleteOptions{}))
	c.eventually("the Cluster is gone", func(ctx context.Context) error {
		if _, err := c.get(ctx, "kv"); err == nil {
			return fmt.Errorf("it is there")
		}
		return nil
	})
	if now := c.statefulSet("etcd"); now.UID != set.UID || len(now.OwnerReferences) > 0 {
		t.Errorf("the StatefulSet is %s with owners %v, want %s without", now.UID, now.OwnerReferences, set.UID)
	}
	if now := c.podsOf("etcd"); !slices.Equal(now, members) {
		t.Errorf("the pods are %v, and were %v: deleting the Cluster took some", now, members)
	}
}

// TestAdoptOrder has somebody else change the template: Theseus orders the replacement, and leaves going back to them.
func TestAdoptOrder(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	loadTheseus(t)
	for _, tag := range []string{"1.0.0", "1.0.1", "1.1.0"} {
		loadStandin(t, tag)
	}
	c.installCRDs()
	c.create("standin.yaml")
	first := c.podsOf("shop")
	c.startOperator()
	c.apply(adoptedShop)
	c.await("kv", "is adopted", settledAt("1.0.0"))
	if now := c.podsOf("shop"); !slices.Equal(now, first) {
		t.Errorf("the pods are %v, and were %v: adopting replaced some", now, first)
	}

	release := c.handsOff("app: shop")
	c.setVersion("1.0.1", "1.0.1")
	c.await("kv", "waits for the budget by its name", waitsFor("", "its eviction is refused by PodDisruptionBudget hands-off (3 of 3 healthy pods, 3 wanted)"))
	release()
	kv := c.await("kv", "runs 1.0.1", settledAt("1.0.1"))
	if got := replaced(kv); len(got) != 3 || !kv.Status.Attempt.Disrupted {
		t.Errorf("replaced were %v, want all three, one after the other", got)
	}

	c.setImage("127.0.0.1:1/standin:1.1.0", "1.1.0") // nobody listens there
	c.await("kv", "pauses before a member goes", pausedWith("ImagePull"))
	c.setVersion("1.0.1", "1.0.1")
	c.ends(v1alpha1.PhaseAborted, "1.0.1")

	before := c.podsOf("shop")
	c.setVersion("1.1.0", "1.0.1") // a tag that is not what is in it
	c.await("kv", "pauses with what the member says", pausedWith("it says that it runs 1.0.1, not 1.1.0"))
	if now := c.podsOf("shop"); differing(before, now) != 1 {
		t.Errorf("the pods are %v, and were %v: want one replaced", now, before)
	}
	c.setVersion("1.0.1", "1.0.1")
	c.ends(v1alpha1.PhaseRolledBack, "1.0.1")
	if now := c.podsOf("shop"); differing(before, now) != 1 {
		t.Errorf("the pods are %v, and were %v: want none replaced that was as wanted", now, before)
	}
}

func (c *cluster) statefulSet(name string) *appsv1.StatefulSet {
	c.t.Helper()
	set, err := c.AppsV1().StatefulSets(c.namespace).Get(c.t.Context(), name, metav1.GetOptions{})
	must(c.t, err)
	return set
}

func (c *cluster) patchSet(name, text string) {
	c.t.Helper()
	_, err := c.AppsV1().StatefulSets(c.namespace).Patch(c.t.Context(), name, types.StrategicMergePatchType, []byte(text), metav1.PatchOptions{FieldManager: "helm"})
	must(c.t, err)
}

// setVersion changes the stand-in's template as a chart does.
func (c *cluster) setVersion(tag, version string) {
	c.t.Helper()
	c.setImage("lab.test/standin:"+tag, version)
}

func (c *cluster) setImage(image, version string) {
	c.t.Helper()
	args := []string{"--name=$(POD)", "--version=" + version, "--listen=0.0.0.0:7000", "--data=/data", "--peers=shop-0=shop-0.shop:7000,shop-1=shop-1.shop:7000,shop-2=shop-2.shop:7000"}
	text, err := json.Marshal(map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{"containers": []any{
		map[string]any{"name": "store", "image": image, "args": args}}}}}})
	must(c.t, err)
	c.patchSet("shop", string(text))
}

// podsOf waits until there are three pods of a StatefulSet, and returns their UIDs.
func (c *cluster) podsOf(set string) []string {
	c.t.Helper()
	var uids []string
	for i := range 3 {
		name := fmt.Sprintf("%s-%d", set, i)
		c.eventually("pod "+name, func(context.Context) error {
			p, err := c.pod(name)
			if err == nil && p.DeletionTimestamp != nil {
				err = fmt.Errorf("it is going")
			}
			if err == nil {
				uids = append(uids[:i], string(p.UID))
			}
			return err
		})
	}
	return uids
}

func differing(a, b []string) (n int) {
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

func stalled(with string) func(*v1alpha1.Cluster) bool {
	return func(kv *v1alpha1.Cluster) bool {
		s := meta.FindStatusCondition(kv.Status.Conditions, v1alpha1.ConditionStalled)
		return s != nil && s.Status == metav1.ConditionTrue && strings.Contains(s.Message, with)
	}
}

// waitsFor says that an attempt waits for an object, or for any where none is named, with some words.
func waitsFor(object, text string) func(*v1alpha1.Cluster) bool {
	return func(kv *v1alpha1.Cluster) bool {
		a := kv.Status.Attempt
		return a != nil && a.WaitingFor != nil && (object == "" || a.WaitingFor.Object == object) && strings.Contains(a.WaitingFor.Message, text)
	}
}

func pausedWith(text string) func(*v1alpha1.Cluster) bool {
	return func(kv *v1alpha1.Cluster) bool {
		a := kv.Status.Attempt
		return a != nil && a.Phase == v1alpha1.PhasePaused && a.Failure != nil && strings.Contains(a.Failure.Message, text)
	}
}

// ends waits until the attempt that rests has ended.
func (c *cluster) ends(phase v1alpha1.AttemptPhase, version string) {
	c.t.Helper()
	c.eventually("the attempt ends "+string(phase), func(ctx context.Context) error {
		kv, err := c.get(ctx, "kv")
		if err == nil && (kv.Status.Attempt.Phase != phase || !settledAt(version)(kv)) {
			err = fmt.Errorf("it is %s, at %s, %+v", kv.Status.Attempt.Phase, kv.Status.CurrentVersion, kv.Status.Attempt.WaitingFor)
		}
		return err
	})
}

// replaced are the members that the last attempt replaced, in order.
func replaced(kv *v1alpha1.Cluster) (members []string) {
	for _, e := range kv.Status.Events {
		if e.Attempt == kv.Status.Attempt.ID && e.Reason == "MemberReplaced" {
			members = append(members, e.Object)
		}
	}
	return members
}
