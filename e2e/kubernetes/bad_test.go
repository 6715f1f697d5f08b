//go:build linux

package kubernetes

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/e2e/kubernetes/lab"
)

// behaving are three stand-ins whose versions behave as a file in their image says.
const behaving = `
apiVersion: theseus.dev/v1alpha1
kind: Cluster
metadata: {name: NAME}
spec:
  system: standin
  version: 1.0.0
  components:
    standin: {replicas: 3, storage: 10Mi, image: "lab.test/NAME:${version}", pod: {spec: {nodeSelector: {NODE}}}}
  options: {control: /control.json}
  upgrade: {soak: 3s, progressDeadline: DEADLINE, onFailure: FAILURE}
`

// TestBadVersions upgrades to versions that are bad in every way that the field knows, all at once. Each Cluster goes back by itself, or pauses and
// goes back when a person sets the version back; each says why, with the pod's own reason, and none loses a write.
func TestBadVersions(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	loadTheseus(t)
	c.installCRDs()
	c.startOperator()
	for _, bad := range []struct{ name, failure, deadline, behaves, want string }{
		{"pull", "Rollback", "1m", "", "program of standin 1.1.0"}, // pauses before a member is touched: going back would not mend a registry
		{"crash", "Rollback", "8m", `"exitAtStart": 7`, "exit code 7"},
		{"unready", "Rollback", "90s", `"neverReady": true`, "ready"},
		{"wrong", "Rollback", "8m", `"answerVersion": "1.0.9"`, "1.0.9"},
		{"late", "Rollback", "8m", `"crashAfterReady": "1500ms"`, "exit code 3"},
		{"person", "Pause", "8m", `"exitAtStart": 7`, "exit code 7"},
	} {
		loadBehaving(t, bad.name, "1.0.0", "")
		if bad.behaves != "" {
			loadBehaving(t, bad.name, "1.1.0", bad.behaves)
		}
		c.apply(behaving, "NAME", bad.name, "FAILURE", bad.failure, "DEADLINE", "8m", "NODE", "")
		t.Run(bad.name, func(t *testing.T) {
			t.Parallel()
			c := c.in(t)
			c.await(bad.name, "runs 1.0.0", settledAt("1.0.0"))
			w := c.writes(bad.name)
			c.edit(bad.name, `{"spec": {"upgrade": {"progressDeadline": "`+bad.deadline+`"}}}`) // not of the first start, in which all begin at once
			c.upgradeTo(bad.name, "1.1.0")
			if bad.failure == "Pause" || bad.behaves == "" {
				c.awaitPhase(bad.name, v1alpha1.PhasePaused, bad.want)
				c.tellsOf(bad.name, kstatus.FailedStatus)
				c.edit(bad.name, `{"spec": {"version": "1.0.0"}}`)
			}
			if bad.behaves == "" {
				c.await(bad.name, "gives up", func(have *v1alpha1.Cluster) bool { return have.Status.Attempt.Phase.Ended() })
			} else {
				c.awaitPhase(bad.name, v1alpha1.PhaseRolledBack, bad.want)
			}
			c.await(bad.name, "runs 1.0.0 again", settledAt("1.0.0"))
			if bad.failure == "Pause" || bad.behaves == "" {
				c.tellsOf(bad.name, kstatus.CurrentStatus)
			} else {
				c.tellsOf(bad.name, kstatus.FailedStatus) // it still asks for what failed
			}
			w.check()
		})
	}
}

// TestFirstStart corrects the spec of clusters that cannot come up: an image that is not there, an option with which no member lives, and a node that there is
// not. What is waited for in vain is not waited for long; what comes then has time.
func TestFirstStart(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	loadTheseus(t)
	c.installCRDs()
	c.startOperator()
	for _, bad := range []struct{ name, deadline, behaves, image, node, want, correction string }{
		{"image", "45s", "", "missing", "", "program of standin 1.0.0", `"components": {"standin": {"image": "lab.test/image:${version}"}}`},
		{"option", "8m", `"exitAtStart": 7`, "option", "", "exit code 7", `"options": {"control": null}`},
		{"node", "45s", "", "node", "disk: fast", "there is no node on which it may run (nodeSelector disk=fast)", `"components": {"standin": {"pod": null}}`},
	} {
		loadBehaving(t, bad.name, "1.0.0", bad.behaves)
		c.apply(strings.ReplaceAll(behaving, "lab.test/NAME:", "lab.test/"+bad.image+":"), "NAME", bad.name, "FAILURE", "Rollback", "DEADLINE", bad.deadline, "NODE", bad.node)
		t.Run(bad.name, func(t *testing.T) {
			t.Parallel()
			c := c.in(t)
			c.awaitPhase(bad.name, v1alpha1.PhasePaused, bad.want)
			c.edit(bad.name, `{"spec": {"upgrade": {"progressDeadline": "8m"}, `+bad.correction+`}}`)
			have := c.await(bad.name, "runs 1.0.0", settledAt("1.0.0"))
			if list := have.Status.Attempts; len(list) != 2 || list[0].Outcome != v1alpha1.PhaseSuperseded {
				t.Errorf("want the second of two attempts, got %+v", list)
			}
			c.writes(bad.name).check()
		})
	}
}

// in is the same for a test within the test.
func (c *cluster) in(t *testing.T) *cluster {
	within := *c
	within.t = t
	return &within
}

// loadBehaving gives the nodes an image of the stand-in with a control file of its own.
func loadBehaving(t *testing.T, name, version, behaves string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "control.json")
	must(t, os.WriteFile(file, []byte("{"+behaves+"}"), 0o644))
	loadImage(t, lab.Image{Name: fmt.Sprintf("lab.test/%s:%s", name, version), Entrypoint: []string{"/usr/local/bin/standin"},
		Files: map[string]string{"/usr/local/bin/standin": filepath.Join(root(t), "bin", "servers", "standin"), "/control.json": file}})
}

// awaitPhase waits until the attempt is in a phase, and wants its failure to say something.
func (c *cluster) awaitPhase(name string, phase v1alpha1.AttemptPhase, why string) {
	c.t.Helper()
	at := c.await(name, "is "+string(phase), func(have *v1alpha1.Cluster) bool {
		return have.Status.Attempt != nil && have.Status.Attempt.Phase == phase
	}).Status.Attempt
	if at.Failure == nil || !strings.Contains(at.Failure.Object+": "+at.Failure.Reason+": "+at.Failure.Message, why) {
		c.t.Errorf("%s: failed with %+v, want %q in it", name, at.Failure, why)
	}
}
