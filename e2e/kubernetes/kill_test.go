//go:build linux

package kubernetes

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
)

const standinCluster = `
apiVersion: theseus.dev/v1alpha1
kind: Cluster
metadata: {name: si}
spec:
  system: standin
  version: VERSION
  components:
    standin: {replicas: 3, storage: 10Mi, image: "lab.test/standin:${version}"}
  upgrade: {soak: 1s, progressDeadline: 8m}
`

// TestKilled kills the operator at each of its writes to the API server, one after the other: while a cluster is made, while it is upgraded with a backup, and
// while it is upgraded to a version that says it is another one, and goes back. The first two times it dies after each write, then before each but the
// first. It is started again each time, and the end is the same.
func TestKilled(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	loadTheseus(t)
	for version, behaves := range map[string]string{"1.0.0": "", "1.1.0": "", "1.2.0": `"answerVersion": "1.1.9"`} {
		loadBehaving(t, "killed", version, behaves)
	}
	c.installCRDs()
	program := filepath.Join(t.TempDir(), "theseus-faults")
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", "faults", "-o", program, "./cmd/theseus")
	build.Dir, build.Env = root(t), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	c.apply(backupClaim)
	c.apply(standinCluster+`  backup: {url: "file:///backups", claim: backups}
  options: {control: /control.json}
`, "VERSION", "1.0.0", "lab.test/standin", "lab.test/killed")
	k := &killer{c: c, program: program, dir: t.TempDir()}
	created := k.until("runs 1.0.0", "*.done*", settledAt("1.0.0"))
	w, members := c.writes("si"), c.count("theseus.dev/cluster=si")
	c.upgradeTo("si", "1.1.0")
	after := k.until("runs 1.1.0", "*.done*", settledAt("1.1.0"))
	c.upgradeTo("si", "1.2.0")
	before := k.until("runs 1.1.0 again", "*.begin*", func(have *v1alpha1.Cluster) bool {
		return have.Status.FailedTarget == "1.2.0" && settledAt("1.1.0")(have)
	})
	t.Logf("the operator was killed %d times while the cluster was made, %d times after a write of an upgrade, %d times before one", created, after, before)
	if created < 5 || after < 15 || before < 10 {
		t.Error("that is fewer than there are writes")
	}
	w.check()
	went := 0 // to the bad version, and back
	for name, n := range members.pods() {
		switch n {
		case 2:
		case 4:
			went++
		default:
			t.Errorf("%s was %d pods, want one for each version that it ran", name, n)
		}
	}
	if n := members.awayAtOnce(); n != 1 {
		t.Errorf("%d members were away at once, want one", n)
	}
	if went != 1 {
		t.Errorf("%d members went to the bad version and back, want one", went)
	}
	taken, err := c.any.Resource(backups).Namespace(c.namespace).List(t.Context(), metav1.ListOptions{})
	must(t, err)
	if len(taken.Items) != 2 {
		t.Errorf("there are %d backups, want one before each upgrade", len(taken.Items))
	}
	if restarts := c.restarts(); restarts > 0 {
		t.Errorf("containers of members were restarted %d times", restarts)
	}
}

// restarts counts what nobody asked for.
func (c *cluster) restarts() (n int32) {
	c.t.Helper()
	for i := range 3 {
		p, err := c.pod(fmt.Sprintf("si-standin-%d", i))
		must(c.t, err)
		for _, st := range p.Status.ContainerStatuses {
			n += st.RestartCount
		}
	}
	return n
}

// killer runs operators that die.
type killer struct {
	c            *cluster
	program, dir string
}

// until starts operators that die at the first write that matches, until the Cluster is as wanted and one of them lives on. A pattern
// of what comes before a write spares the first write of each operator, or nothing would ever be written.
func (k *killer) until(what, pattern string, is func(*v1alpha1.Cluster) bool) (killed int) {
	t := k.c.t
	t.Helper()
	claims := 0
	for deadline := time.Now().Add(20 * time.Minute); time.Now().Before(deadline); {
		faults := filepath.Join(k.dir, fmt.Sprintf("%s-%d", strings.Trim(pattern, "*."), killed))
		if err := os.Mkdir(faults, 0o700); os.IsExist(err) {
			must(t, os.RemoveAll(faults))
			must(t, os.Mkdir(faults, 0o700))
		}
		if strings.Contains(pattern, "begin") {
			must(t, os.WriteFile(filepath.Join(faults, "spare"), []byte("1"), 0o600))
		}
		must(t, os.WriteFile(filepath.Join(faults, "kill"), []byte(points(pattern, claims)), 0o600))
		if !k.dies(faults, is) {
			return killed
		}
		at, err := os.ReadFile(filepath.Join(faults, "killed"))
		must(t, err)
		if strings.Contains(string(at), "configmaps") {
			claims++
		}
		killed++
	}
	have, err := k.c.get(t.Context(), "si")
	must(t, err)
	t.Fatalf("%s: not after %d operators; %+v", what, killed, have.Status.Attempt)
	return killed
}

// maxClaims is how often an operator dies that has claimed a run. To be cut off there is to have done the action with an unknown outcome, and an
// action is tried a few times only.
const maxClaims = 2

// points are where the next operator dies.
func points(pattern string, claims int) string {
	if claims < maxClaims {
		return "operator/*/" + pattern
	}
	var points []string
	for _, what := range []string{"*status", "*statefulsets*", "*eviction", "*daemonsets*", "*services*", "*backups*", "*jobs*"} {
		points = append(points, "operator/*/"+what+pattern[1:])
	}
	return strings.Join(points, "\n")
}

// dies runs one operator: true when it was killed, false when the Cluster is as wanted and it has nothing left to write.
func (k *killer) dies(faults string, is func(*v1alpha1.Cluster) bool) bool {
	t := k.c.t
	t.Helper()
	cmd := exec.CommandContext(t.Context(), k.program, "operator", "--namespace", k.c.namespace, "--image", theseusImage, "--metrics-bind-address", "0", "--health-probe-bind-address", "0")
	cmd.Env = append(os.Environ(), "THESEUS_FAULTS="+faults)
	must(t, cmd.Start())
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	defer func() { _ = cmd.Process.Kill(); <-ended }()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	good := 0
	for {
		select {
		case <-ended:
			if _, err := os.Stat(filepath.Join(faults, "killed")); err != nil {
				t.Fatalf("the operator ended by itself: %v", cmd.ProcessState)
			}
			return true
		case <-tick.C:
		}
		// It lives for some seconds after the end: then it has written what it had to.
		if have, err := k.c.get(t.Context(), "si"); err == nil && is(have) {
			good++
		} else {
			good = 0
		}
		if good > 30 {
			return false
		}
	}
}
