package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"theseus.dev/api/v1alpha1"
)

// journey is an upgrade that processes are killed in.
type journey struct {
	name     string
	from, to string
	control  string
	code     int // of the exit, where nothing is killed
	phase    v1alpha1.AttemptPhase
	at       string // the version at the end
	system   string // in testdata; default: careful.yaml
}

// The new version of the rollback is bad on the member that goes last, so that two others have to go back too.
var journeys = []journey{
	{"Upgrade", "2.0.0", "2.1.0", "", 0, v1alpha1.PhaseSucceeded, "2.1.0", ""},
	{"Rollback", "2.0.0", "2.1.0", `{"members": {"NAME-standin-0@2.1.0": {"crashAfterReady": "1ms"}}}`, 1, v1alpha1.PhaseRolledBack, "2.0.0", ""},
	{"TwoHops", "1.0.0", "1.2.0", "", 0, v1alpha1.PhaseSucceeded, "1.2.0", ""},
}

// point is one at which a process can be killed: see cmd/theseus/faults_on.go.
type point struct {
	kind, of, name string
	n              int
	about          string
}

func (p point) String() string { return fmt.Sprintf("%s/%s/%s#%d", p.kind, p.of, p.name, p.n) }

var pointLine = regexp.MustCompile(`(?m)^(\w+)/([^/\n]+)/([\w.]+)#(\d+)\t(.*)$`)

// points that processes have passed so far. The cluster's name, which differs from test to test, is NAME in them.
func (c *cluster) points() []point {
	c.Helper()
	text, err := os.ReadFile(c.path("faults", "points"))
	if err != nil {
		c.Fatal(err)
	}
	var all []point
	for _, m := range pointLine.FindAllStringSubmatch(strings.ReplaceAll(string(text), c.name, "NAME"), -1) {
		p := point{kind: m[1], of: m[2], name: m[3], about: m[5]}
		fmt.Sscan(m[4], &p.n)
		all = append(all, p)
	}
	return all
}

// killAt has the process killed that comes to a point.
func (c *cluster) killAt(p string) {
	c.Helper()
	c.write("faults/kill", strings.ReplaceAll(p, "NAME", c.name))
}

// killed says whether it has happened.
func (c *cluster) killed() bool {
	_, err := os.Stat(c.path("faults", "killed"))
	return err == nil
}

// travel brings a cluster of a journey to its beginning.
func (j journey) travel(t *testing.T) (*cluster, *writer) {
	t.Helper()
	s := setup{version: j.from, control: j.control}
	if j.system != "" {
		var err error
		if s.system, err = filepath.Abs(filepath.Join("testdata", j.system)); err != nil {
			t.Fatal(err)
		}
	}
	c := newCluster(t, s)
	c.up()
	c.leadBy(0)
	return c, c.writes()
}

// goOn does what a person does after a kill: the same command again, and where an outcome is unknown, to look and to
// say what was seen. happened is what is seen.
func (j journey) goOn(c *cluster, r result, happened bool) result {
	c.Helper()
	for range 5 {
		switch {
		case c.object().Spec.Version != j.to:
			r = c.wait(c.start(faulty, "upgrade", c.name, "--to", j.to)) // killed before the wish was kept
		case r.code == -1:
			r = c.wait(c.start(faulty, "upgrade", c.name))
		case r.code == 3 && happened:
			rule := c.unknownRule(r)
			if o := c.wait(c.start(faulty, "override", c.name, rule, "--for", "1m")); o.code != 3 && o.code != 0 {
				c.Fatalf("theseus override: %s", o)
			}
			r = c.wait(c.start(faulty, "resume", c.name))
		case r.code == 3:
			r = c.wait(c.start(faulty, "resume", c.name))
		default:
			return r
		}
	}
	c.Fatalf("no end after five commands: %s\n%s", r, c.story())
	return r
}

var overrideRule = regexp.MustCompile(`override '([^']+)'`)

// unknownRule is the rule that the message names.
func (c *cluster) unknownRule(r result) string {
	c.Helper()
	m := overrideRule.FindStringSubmatch(r.err)
	if m == nil {
		c.Fatalf("exit code 3 without a word on how to go on: %s", r)
	}
	return m[1]
}

// arrived checks the end of a journey: phase, version, data, processes.
func (j journey) arrived(c *cluster, w *writer) {
	c.Helper()
	if a := c.attempt(); a.Phase != j.phase || c.object().Status.CurrentVersion != j.at {
		c.Fatalf("attempt %d ended %s at %s, want %s at %s\n%s", a.ID, a.Phase, c.object().Status.CurrentVersion, j.phase, j.at, c.story())
	}
	c.allAt(j.at)
	w.check()
	c.alone()
}

// baseline is a journey on which nobody is killed: its points, and how often each action is done.
func (j journey) baseline(t *testing.T) (points []point, actions map[string]int) {
	t.Helper()
	c, w := j.travel(t)
	before := len(c.points())
	r := c.wait(c.start(faulty, "upgrade", c.name, "--to", j.to))
	if r.code != j.code {
		t.Fatalf("want exit code %d, got %s\n%s", j.code, r, c.story())
	}
	j.arrived(c, w)
	return c.points()[before:], c.actions()
}

// journaled says whether a point is one of the driver's journal writes. How many there are is a matter of timing, and TestKillEach kills at each.
func (p point) journaled() bool { return p.kind == "driver" && strings.HasPrefix(p.name, "journal.") }

// sample leaves out what others stand for: the shims of all members but one, of the jobs what comes before they are claimed, but for one job,
// the points in the middle of a write, and two of three of what is left.
func sample(all []point, j journey) (some []point) {
	jobs := 0
	for _, p := range all {
		claiming := strings.HasPrefix(p.name, "claim.") && p.name != "claim.made"
		keep := true
		switch p.kind {
		case "driver":
			keep = p.n <= 3 && j.phase == v1alpha1.PhaseSucceeded
		case "shim":
			keep = strings.HasSuffix(p.of, "-0") && (strings.HasSuffix(p.name, ".done") || j.phase == v1alpha1.PhaseSucceeded)
		case "job":
			jobs++
			keep = jobs <= 7 || !claiming && (j.phase == v1alpha1.PhaseSucceeded || strings.HasSuffix(p.about, ".handover"))
		}
		if keep && !strings.HasSuffix(p.name, ".rename") { // to who comes next it is as before the write
			some = append(some, p)
		}
	}
	var few []point
	for i := 0; i < len(some); i += 3 {
		few = append(few, some[i])
	}
	return few
}

// TestKillOnce kills one process once, at a point of an upgrade or of a rollback: the driver, a shim, the job of an action
// or that of a backup. Long, it is every point of every journey but the journal's; else a sample of two.
func TestKillOnce(t *testing.T) {
	for _, j := range journeys {
		if !long && j.name == "TwoHops" {
			continue // the same writes, twice
		}
		t.Run(j.name, func(t *testing.T) {
			points, actions := j.baseline(t)
			points = slices.DeleteFunc(points, point.journaled)
			all := len(points)
			if !long {
				points = sample(points, j)
			}
			t.Logf("%d of %d points", len(points), all)
			missed := make(chan string, len(points))
			each(t, points, point.String, func(t *testing.T, p point) {
				if !j.killOnce(t, p, actions) {
					missed <- p.String()
				}
			})
			close(missed)
			// Timing decides how often some things are written, so the last points may not come. Many would mean that nothing is tested.
			if len(missed) > len(points)/10 {
				t.Errorf("%d of %d points did not come", len(missed), len(points))
			}
			for p := range missed {
				t.Logf("did not come: %s", p)
			}
		})
	}
}

// killOnce says whether it came to the kill.
func (j journey) killOnce(t *testing.T, p point, want map[string]int) bool {
	c, w := j.travel(t)
	c.killAt(p.String())
	r := c.wait(c.start(faulty, "upgrade", c.name, "--to", j.to))
	c.checkKill(p, r)
	r = j.goOn(c, r, strings.HasPrefix(p.name, "result"))
	if r.code != j.code {
		t.Fatalf("want exit code %d, got %s\n%s", j.code, r, c.story())
	}
	j.arrived(c, w)
	c.compareActions(p, want)
	return c.killed()
}

// checkKill checks that it was the process of this point that died.
func (c *cluster) checkKill(p point, r result) {
	c.Helper()
	if driver := p.kind == "driver" && c.killed(); driver != (r.code == -1) {
		c.Fatalf("killed at %s: %v, and the command ended with %s", p, c.killed(), r)
	}
}

// compareActions checks that nothing was done twice. A member whose shim was killed was replaced once more: its hooks may be too.
// What may be repeated where the outcome is unknown (bring) may be.
func (c *cluster) compareActions(p point, want map[string]int) {
	c.Helper()
	got := c.actions()
	more := map[string]int{}
	switch p.kind {
	case "shim":
		more["leave"], more["join"] = 1, 1
	case "job":
		more["prepare"] = 1
	}
	for name := range maps.Keys(want) {
		if got[name] < want[name] || got[name] > want[name]+more[name] {
			c.Errorf("action %s was done %d times, want %d\n%s", name, got[name], want[name], c.story())
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			c.Errorf("action %s was done %d times, want none", name, got[name])
		}
	}
}

// TestKillEach kills the driver at each journal write of one journey, one after the other: it gets one write further each time. Killed
// before a write is durable, the next command makes that write, so the kill after it is meant for the one that follows.
func TestKillEach(t *testing.T) {
	type trial struct {
		journey
		name string
		step int
	}
	var trials []trial
	for _, j := range journeys {
		if !long && j.name == "TwoHops" {
			continue // the same writes, twice
		}
		trials = append(trials, trial{j, "journal.done", 1}, trial{j, "journal.begin", 2}, trial{j, "journal.rename", 2})
	}
	each(t, trials, func(tr trial) string { return tr.journey.name + "/" + tr.name }, func(t *testing.T, tr trial) {
		c, w := tr.travel(t)
		kills := 0
		var r result
		for r.code = -1; r.code == -1; kills++ {
			if kills > 300 {
				t.Fatalf("no end after %d kills\n%s", kills, c.story())
			}
			c.killAt(fmt.Sprintf("driver/NAME/%s#%d", tr.name, c.passed(tr.name)+tr.step))
			if c.object().Spec.Version != tr.to {
				r = c.wait(c.start(faulty, "upgrade", c.name, "--to", tr.to))
			} else {
				r = c.wait(c.start(faulty, "upgrade", c.name))
			}
		}
		if r.code != tr.code {
			t.Fatalf("want exit code %d, got %s\n%s", tr.code, r, c.story())
		}
		tr.arrived(c, w)
		if kills < 20 {
			t.Errorf("killed %d times only", kills)
		}
		t.Logf("killed %d times", kills-1)
	})
}

// passed is how often drivers came to a point.
func (c *cluster) passed(name string) (n int) {
	c.Helper()
	for _, p := range c.points() {
		if p.kind == "driver" && p.name == name {
			n = max(n, p.n)
		}
	}
	return n
}
