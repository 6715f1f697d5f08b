//go:build linux

package kubernetes

import (
	"path/filepath"
	"slices"
	"testing"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/e2e/kubernetes/lab"
)

const adoptedDepot = `
apiVersion: theseus.dev/v1alpha1
kind: Cluster
metadata: {name: dv}
spec:
  system: standin
  version: 1.0.0
  components:
    standin: {image: "lab.test/depot:${version}", adopt: {statefulSet: depot, mode: Version, allow: [SwitchToOnDelete, TakeImage]}}
  upgrade: {progressDeadline: 8m, soak: 1s}
`

// TestCommandAdopted does by commands what can be done with members that somebody else made: in one cluster Theseus changes their version, in the other
// one their owner does. What both are left with is what their owner had.
func TestCommandAdopted(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	loadTheseus(t)
	for _, version := range []string{"1.0.0", "1.0.1"} {
		loadStandin(t, version)
		loadDepot(t, version)
	}
	c.installCRDs()
	c.create("standin.yaml")
	c.create("standin.yaml", "shop", "depot", "lab.test/standin", "lab.test/depot", "        command: [standin]\n", "", "        - --version=1.0.0\n", "")
	c.startOperator()
	p := &person{c: c, dir: t.TempDir()}

	p.takesOver("dv", "depot", adoptedDepot)
	p.exits(0, "plan", "dv", "--to", "1.0.1").prints("upgrade dv from 1.0.0 to 1.0.1", "roll standin, one member after the other")
	p.pausedAndResumed("dv", "depot-2", "1.0.1")
	p.letsGo("dv", "depot")

	p.takesOver("kv", "shop", adoptedShop)
	for _, command := range []string{"plan", "upgrade"} {
		p.exits(2, command, "kv", "--to", "1.0.1").says("the template of StatefulSet shop says 1.0.0", "kubectl set image statefulset/shop", "theseus status kv --watch --namespace "+c.namespace)
	}
	c.setVersion("1.0.1", "1.0.1")
	c.await("kv", "takes the template up", func(kv *v1alpha1.Cluster) bool { return kv.Status.TargetVersion == "1.0.1" })
	p.pausedAndResumed("kv", "shop-2", "1.0.1")
	p.exits(2, "restart", "kv").says("StatefulSet shop is somebody else.s to change")
	p.letsGo("kv", "shop")
}

// loadDepot gives the nodes an image of the stand-in that says itself which version it is.
func loadDepot(t *testing.T, version string) {
	t.Helper()
	program := "/usr/local/bin/standin-" + version
	loadImage(t, lab.Image{Name: "lab.test/depot:" + version, Files: map[string]string{program: filepath.Join(root(t), "bin", "servers", "standin")}, Entrypoint: []string{program}})
}

// takesOver adopts a StatefulSet that runs 1.0.0.
func (p *person) takesOver(name, set, file string) {
	p.c.t.Helper()
	before := p.c.podsOf(set)
	p.write(name+".yaml", file)
	p.exits(0, "up", name+".yaml").prints(name + " runs 1.0.0, 3 of 3 members ready")
	p.exits(0, "status").prints(name + ` +1\.0\.0 +1\.0\.0 +3 +3`)
	p.exits(0, "status", name).prints("members +3 of 3 ready", set+"-0")
	p.exits(0, "plan", name).prints("nothing to do")
	if now := p.c.podsOf(set); !slices.Equal(now, before) {
		p.c.t.Errorf("the pods are %v, and were %v: adopting replaced some", now, before)
	}
}

// letsGo looks at what was done, and deletes the Cluster: the StatefulSet and its pods go on.
func (p *person) letsGo(name, set string) {
	t := p.c.t
	t.Helper()
	p.exits(0, "status").prints(name + ` +1\.0\.1 +1\.0\.1 +3 +3`)
	p.exits(0, "history", name, "--events").prints("upgrade +1.0.0 +1.0.1 +succeeded", "pause .*lunch")
	p.exits(0, "logs", name, "--lines", "2").prints("── "+set+"-1", "version 1.0.1 serves on")
	p.exits(2, "logs", name, set+"-7").says("has no member")
	p.exits(2, "down", name, "--delete-data", "--yes").says("not its to delete")
	p.exits(2, "down", name).says("but those of StatefulSet "+set+", which it adopted", "not confirmed; nothing was changed")
	before := p.c.podsOf(set)
	p.exits(0, "down", name, "--yes").prints(name + " is deleted; adopted, and left with members and volumes: StatefulSet " + set)
	if now := p.c.podsOf(set); !slices.Equal(now, before) {
		t.Errorf("the pods are %v, and were %v: deleting the Cluster took some", now, before)
	}
	p.exits(2, "status", name).says(`there is no cluster "` + name + `"`)
}
