package e2e

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"
)

// writeKinds are patterns of points: before and after each kind of durable write, in each sort of process. What an upgrade of etcd
// has not is not among them.
func writeKinds() (kinds []string) {
	for _, write := range []string{"driver/*/cluster", "driver/*/journal", "driver/*/configured", "driver/*/input", "driver/*/order",
		"shim/*/state", "job/*/result", "backup/*/result"} {
		for _, at := range []string{"begin", "rename", "done"} {
			kinds = append(kinds, write+"."+at+"#*")
		}
	}
	return append(kinds, "job/*/claim.begin#*", "job/*/claim.made#*", "backup/*/claim.begin#*", "backup/*/claim.made#*")
}

// TestKillEtcd kills driver, shims and jobs at each kind of durable write of one upgrade of a real etcd, over two hops and with
// clients at work: one kill after the other, each at the first write of its kind that comes.
func TestKillEtcd(t *testing.T) {
	t.Parallel()
	c := newEtcd(t, etcdSetup{version: etcd35, upgrade: "soak: 1s, progressDeadline: 2m"})
	c.up()
	c.runs(etcd35, "3.5.0")
	w := c.clients()
	left := writeKinds()
	r := result{code: -1}
	for commands := 0; r.code != 0; commands++ {
		if commands > 2*len(writeKinds()) {
			t.Fatalf("no end after %d commands: %s\n%s", commands, r, c.story())
		}
		r, left = c.killedAtKinds(c.next(r, etcd37), left)
	}
	c.runs(etcd37, "3.7.0")
	w.check()
	c.alone()
	if len(left) > 0 {
		t.Errorf("these did not come: %s", left)
	}
}

// next is the command that a person gives after what the last one came to.
func (c *cluster) next(last result, to string) *running {
	c.Helper()
	switch {
	case c.object().Spec.Version != to:
		return c.start(faulty, "upgrade", c.name, "--to", to)
	case last.code == 3 || last.code == 1:
		return c.start(faulty, "resume", c.name)
	}
	return c.start(faulty, "upgrade", c.name)
}

// killedAtKinds has processes killed at the patterns that are left, until the command ends, and says which are left then.
func (c *cluster) killedAtKinds(r *running, left []string) (result, []string) {
	c.Helper()
	ended := make(chan result, 1)
	go func() { ended <- c.wait(r) }()
	c.write("faults/kill", strings.Join(left, "\n"))
	for {
		var res *result
		select {
		case r := <-ended:
			res = &r
		case <-time.After(10 * time.Millisecond):
		}
		if point, err := os.ReadFile(c.path("faults", "killed")); err == nil && len(point) > 0 {
			left = slices.DeleteFunc(left, func(pattern string) bool { is, _ := path.Match(pattern, string(point)); return is })
			_ = os.Remove(c.path("faults", "killed"))
			c.write("faults/kill", strings.Join(left, "\n"))
		}
		if res != nil {
			return *res, left
		}
	}
}

// TestKillEtcdEach kills the driver at each journal write of an upgrade of a real etcd and of its way back, one after the
// other. Long only.
func TestKillEtcdEach(t *testing.T) {
	if !long {
		t.Skip("takes minutes; THESEUS_LONG=1 runs it")
	}
	for _, j := range []struct {
		name, to, at, cluster string
		code                  int
	}{
		{"Upgrade", etcd36, etcd36, "3.6.0", 0},
		{"Rollback", etcdBroken, etcd37, "3.7.0", 1},
	} {
		for write, step := range map[string]int{"journal.begin": 2, "journal.rename": 2, "journal.done": 1} {
			t.Run(j.name+"/"+write, func(t *testing.T) {
				from := etcd35
				if j.code != 0 {
					from = etcd37
				}
				c := newEtcd(t, etcdSetup{version: from, upgrade: "soak: 6s, progressDeadline: 2m"})
				c.up()
				w := c.clients()
				r := result{code: -1}
				kills := 0
				for ; r.code == -1; kills++ {
					if kills > 300 {
						t.Fatalf("no end after %d kills\n%s", kills, c.story())
					}
					c.killAt(fmt.Sprintf("driver/NAME/%s#%d", write, c.passed(write)+step))
					r = c.wait(c.next(r, j.to))
				}
				if r.code != j.code {
					t.Fatalf("want exit code %d, got %s\n%s", j.code, r, c.story())
				}
				c.runs(j.at, j.cluster)
				w.check()
				c.alone()
				t.Logf("killed %d times", kills-1)
			})
		}
	}
}
