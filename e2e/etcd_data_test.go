package e2e

import (
	"strings"
	"testing"
)

// TestEtcdRestore makes a new cluster from a backup, beside the one that it was taken of, which goes on.
func TestEtcdRestore(t *testing.T) {
	t.Parallel()
	s := etcdSetup{version: etcd36}
	c := newEtcd(t, s)
	c.up()
	c.keeps("before", 50)
	c.must(0, "backup", c.name)
	c.keeps("after", 5)
	names := c.backups("Complete")
	if len(names) != 1 {
		t.Fatalf("complete backups: %q, want one", names)
	}
	if r := c.must(2, "restore", c.path("cluster.yaml"), "--from", names[0]); !strings.Contains(r.err, "exists") {
		t.Errorf("restored over a cluster that exists: %s", r)
	}

	again := *c
	inner := *c.cluster
	again.cluster = &inner
	again.name = c.name + "r"
	c.write("again.yaml", c.file(again.name, etcdSetup{version: etcd37}))
	t.Cleanup(func() { c.theseus("down", again.name) })
	c.must(0, "restore", c.path("again.yaml"), "--from", names[0])
	again.runs(etcd37, "3.7.0")
	again.keeps("new", 5)
	for i := range 3 {
		again.has(i, "before", 50)
		again.has(i, "after", 0)
		c.has(i, "before", 50)
		c.has(i, "after", 5)
		c.has(i, "new", 0)
	}
	c.runs(etcd36, "3.6.0")
	if r := c.must(2, "restore", c.path("again.yaml"), "--from", names[0]); !strings.Contains(r.err, "exists") {
		t.Errorf("restored over a cluster that exists: %s", r)
	}
	c.must(0, "down", again.name)
}
