//go:build linux

package kubernetes

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"theseus.dev/api/v1alpha1"
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
  upgrade: {soak: 3s, progressDeadline: 3m}
`

const backupClaim = `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: backups}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 100Mi}}}
`

// TestEtcd changes spec.version of a real etcd, over two hops.
func TestEtcd(t *testing.T) {
	c := newCluster(t)
	versions := etcdVersions(t)
	loadTheseus(t)
	for _, minor := range []string{"3.5", "3.6", "3.7"} {
		loadEtcd(t, versions[minor])
	}
	c.installCRDs()
	c.startOperator()
	c.apply(backupClaim)
	c.apply(etcdCluster, "VERSION", versions["3.5"])
	c.await("kv", "runs 3.5", settledAt(versions["3.5"]))
	begun := time.Now()
	c.upgradeTo("kv", versions["3.7"])
	kv := c.await("kv", "runs 3.7", settledAt(versions["3.7"]))
	t.Logf("upgraded in %.1f s", time.Since(begun).Seconds())
	if kv.Status.Attempt.Phase != v1alpha1.PhaseSucceeded {
		t.Errorf("the attempt %s, want it to have succeeded", kv.Status.Attempt.Phase)
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
