//go:build linux

package kubernetes

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/probe"
)

const etcdCluster = `
apiVersion: theseus.dev/v1alpha1
kind: Cluster
metadata: {name: kv}
spec:
  system: etcd
  version: VERSION
  components:
    etcd: {replicas: 3, storage: 100Mi, image: "lab.test/etcd:v${version}"}
  backup: {url: "file:///backups", claim: backups}
  upgrade: {progressDeadline: 8m, backupTTL: 2160h}
`

const backupClaim = `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: backups}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 100Mi}}}
`

// TestEtcd changes spec.version of a real etcd under load, over two hops, and then to a release that dies after it was ready: it is taken back.
func TestEtcd(t *testing.T) {
	if !long { // else gaps are judged
		t.Parallel()
	}
	c := newCluster(t)
	versions := etcdVersions(t)
	loadTheseus(t)
	for _, version := range []string{versions["3.5"], versions["3.6"], versions["3.7"], broken} {
		loadEtcd(t, version)
	}
	c.installCRDs()
	c.startOperator()
	c.apply(backupClaim)
	c.apply(etcdCluster, "VERSION", versions["3.5"])
	c.await("kv", "runs 3.5", settledAt(versions["3.5"]))
	m := c.measure()
	m.wait(10 * time.Second)

	begun := time.Now()
	m.probe.Mark(probe.Upgrade, "to 3.7")
	c.upgradeTo("kv", versions["3.7"])
	kv := c.await("kv", "runs 3.7", settledAt(versions["3.7"]))
	t.Logf("upgraded over two hops in %.1f s", time.Since(begun).Seconds())
	c.arrived(kv, 2)

	c.upgradeTo("kv", broken)
	kv = c.await("kv", "is back at 3.7", func(kv *v1alpha1.Cluster) bool {
		return kv.Status.FailedTarget == broken && settledAt(versions["3.7"])(kv)
	})
	if a := kv.Status.Attempt; a.Phase != v1alpha1.PhaseRolledBack || a.Failure == nil || !strings.Contains(a.Failure.Message, "broken on purpose") {
		t.Errorf("the attempt %s because of %+v, want it rolled back with the member's own last words", a.Phase, a.Failure)
	}
	m.probe.Mark(probe.Settle, "after")
	m.wait(10 * time.Second)
	m.judge(kv)
}

// arrived wants the attempt to have succeeded with so many hops, and a backup with its proof for each of them.
func (c *cluster) arrived(kv *v1alpha1.Cluster, hops int) {
	c.t.Helper()
	if a := kv.Status.Attempt; a.Phase != v1alpha1.PhaseSucceeded || len(a.Hops) != hops {
		c.t.Errorf("the attempt %s with %d hops, want it to have succeeded with %d", a.Phase, len(a.Hops), hops)
	}
	c.backupsCameFirst(kv)
	list, err := c.any.Resource(backups).Namespace(c.namespace).List(c.t.Context(), metav1.ListOptions{})
	must(c.t, err)
	if len(list.Items) != len(kv.Status.Attempt.Hops) {
		c.t.Errorf("there are %d backups, want one for each of %d hops", len(list.Items), len(kv.Status.Attempt.Hops))
	}
	for _, item := range list.Items {
		b := v1alpha1.Backup{}
		must(c.t, runtime.DefaultUnstructuredConverter.FromUnstructured(item.Object, &b))
		if st := b.Status; st.Bytes == 0 || len(st.SHA256) != 64 || !meta.IsStatusConditionTrue(st.Conditions, v1alpha1.ConditionFinished) {
			c.t.Errorf("backup %s has no proof: %+v", b.Name, st)
		}
		if !reflect.DeepEqual(b.Spec.TTL, kv.Spec.Upgrade.BackupTTL) {
			c.t.Errorf("backup %s is kept for %v, want %v", b.Name, b.Spec.TTL, kv.Spec.Upgrade.BackupTTL)
		}
	}
}

// backupsCameFirst wants the backup of each hop of the last attempt to be complete before its first member goes.
func (c *cluster) backupsCameFirst(kv *v1alpha1.Cluster) {
	c.t.Helper()
	backed, gone := false, 0
	for _, e := range kv.Status.Events {
		if e.Attempt != kv.Status.Attempt.ID {
			continue
		}
		switch e.Reason {
		case "HopStarted":
			backed = false
		case "BackedUp":
			backed = true
		case "Stop":
			if gone++; !backed {
				c.t.Errorf("%s went before there was a backup", e.Object)
			}
		}
	}
	if gone == 0 {
		c.t.Errorf("the journal tells of no member that went: %+v", kv.Status.Events)
	}
}

// TestPlatform runs the conformance suite of the runner's platform: the test is package operator's, and is run in the lab's network.
func TestPlatform(t *testing.T) {
	c := newCluster(t)
	loadTheseus(t)
	loadStandin(t, "1")
	c.installCRDs()
	test := filepath.Join(t.TempDir(), "operator.test")
	for _, args := range [][]string{{"go", "test", "-c", "-o", test, "./operator"}, {test, "-test.run", "^TestPlatform$", "-test.v", "-test.timeout", "10m"}} {
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		cmd.Dir = root(t)
		cmd.Env = append(os.Environ(), "THESEUS_KUBERNETES=1", "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		t.Logf("%s", out)
	}
}
