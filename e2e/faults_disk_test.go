package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"theseus.dev/api/v1alpha1"
)

// diskTroubles are about the file system of one member's data, which is one of its own. They run in a mount namespace that ends with
// the test, so that nothing stays mounted.
var diskTroubles = []trouble{
	{name: "data folder full before", run: func(c *cluster) {
		full := c.fill(2)
		pausesThenGoesOn("NotPrepared", func(c *cluster) { c.untouched(); full.empty(); c.startAnew(2) })(c)
	}},
	{name: "data folder full in mid-roll", setup: setup{upgrade: "pauseAfter: 1"}, run: func(c *cluster) {
		c.must(4, "upgrade", c.name, "--to", newVersion)
		full := c.fill(1)
		c.await(c.member(1)+" to see that its disk is full", func() bool { return !c.do(1, "try") })
		c.must(1, "resume", c.name)
		c.rests(v1alpha1.PhasePaused, "ActionFailed")
		full.empty()
		c.startAnew(1)
		c.must(0, "resume", c.name)
		c.ended(v1alpha1.PhaseSucceeded, newVersion, "")
	}},
	{name: "data folder read-only before", run: func(c *cluster) {
		c.readOnly(2)
		pausesThenGoesOn("NotPrepared", func(c *cluster) { c.untouched(); c.writable(2) })(c)
	}},
	{name: "data folder read-only in mid-roll", run: func(c *cluster) {
		r := c.start(theseus, "upgrade", c.name, "--to", newVersion)
		c.awaitEvent("MemberReplaced", "member "+c.member(2))
		c.readOnly(1)
		c.finish(r, 1)
		c.rests(v1alpha1.PhasePaused, "CrashLoop") // the old version cannot start there either: going back has failed too
		c.writable(1)
		c.must(1, "resume", c.name)
		c.ended(v1alpha1.PhaseRolledBack, oldVersion, "")
	}},
}

// TestDiskFaults runs itself again in a mount namespace of its own.
func TestDiskFaults(t *testing.T) {
	if os.Getenv("E2E_INSIDE") != "" {
		testDiskFaults(t)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("unshare", "--mount", "true").Run(); err != nil {
		t.Skipf("this user may not make a mount namespace: %v", err)
	}
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", self, "-test.run=^TestDiskFaults$", "-test.v")
	cmd.Env = append(os.Environ(), "E2E_INSIDE=1", "E2E_BIN="+bin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func testDiskFaults(t *testing.T) {
	each(t, diskTroubles, func(tr trouble) string { return tr.name }, func(t *testing.T, tr trouble) {
		tr.setup.version = oldVersion
		c := newCluster(t, tr.setup)
		c.up()
		c.ownDisks()
		c.leadBy(0)
		w := c.writes()
		tr.run(c)
		w.check()
		c.alone()
	})
}

func (c *cluster) data(i int) string {
	return c.path("home", c.name, "members", c.member(i), "data")
}

const diskSize = "size=80m" // a little more than preflight wants

// ownDisks gives each member a file system of its own, with the data that it has.
func (c *cluster) ownDisks() {
	c.Helper()
	c.must(0, "down", c.name)
	for i := range 3 {
		aside := c.path("aside", c.member(i))
		err := errors.Join(os.CopyFS(aside, os.DirFS(c.data(i))), os.RemoveAll(c.data(i)), os.Mkdir(c.data(i), 0o700),
			syscall.Mount("tmpfs", c.data(i), "tmpfs", 0, diskSize), os.CopyFS(c.data(i), os.DirFS(aside)))
		if err != nil {
			c.Fatalf("give %s a disk: %v", c.member(i), err)
		}
		c.Cleanup(func() { _ = syscall.Unmount(c.data(i), syscall.MNT_DETACH) })
	}
	c.Cleanup(func() { c.theseus("down", c.name) }) // before the disks go
	c.must(0, "up", c.path("cluster.yaml"))
}

// startAnew is for a member that once could not write: the stand-in accepts nothing from then on.
func (c *cluster) startAnew(i int) {
	c.Helper()
	_, m := c.processes(i)
	c.signal(m, syscall.SIGKILL)
	c.allAt(oldVersion, i)
}

// filling takes all the room of a disk.
type filling struct {
	c    *cluster
	path string
}

func (c *cluster) fill(i int) filling {
	c.Helper()
	f := filling{c, filepath.Join(c.data(i), "filling")}
	file, err := os.Create(f.path)
	if err != nil {
		c.Fatal(err)
	}
	defer file.Close()
	for size := 1 << 20; size > 0; {
		if _, err := file.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			c.Fatal(err)
		}
	}
	return f
}

func (f filling) empty() {
	if err := os.Remove(f.path); err != nil {
		f.c.Fatal(err)
	}
}

// readOnly lies a read-only view over the folder: what is open can be written, and nothing can be opened for it.
func (c *cluster) readOnly(i int) {
	c.Helper()
	if err := errors.Join(syscall.Mount(c.data(i), c.data(i), "", syscall.MS_BIND, ""),
		syscall.Mount("", c.data(i), "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, "")); err != nil {
		c.Fatal(err)
	}
}

func (c *cluster) writable(i int) {
	c.Helper()
	if err := syscall.Unmount(c.data(i), syscall.MNT_DETACH); err != nil {
		c.Fatal(err)
	}
}
