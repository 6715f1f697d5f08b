package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"theseus.dev/api/v1alpha1"
)

// trouble is a fault and its documented end: docs/faults.md has a row for each.
type trouble struct {
	name  string
	setup setup
	edit  func(system string) string // of the System's file
	// run upgrades from 2.0.0 to 2.1.0 and checks how that ends, and what a person then does.
	run func(c *cluster)
}

// The versions of every trouble.
const (
	oldVersion = "2.0.0"
	newVersion = "2.1.0"
)

// bad says how the new version behaves.
func bad(knobs string) setup {
	return setup{control: `{"versions": {"2.1.0": {` + knobs + `}}}`, deadline: "8s"}
}

func replace(old, new string) func(string) string {
	return func(text string) string {
		if !strings.Contains(text, old) {
			panic("the System has no " + old)
		}
		return strings.ReplaceAll(text, old, new)
	}
}

// goesBack is the end of what is the new version's fault.
func goesBack(reason string) func(*cluster) {
	return func(c *cluster) {
		c.Helper()
		c.must(1, "upgrade", c.name, "--to", newVersion)
		c.ended(v1alpha1.PhaseRolledBack, oldVersion, reason)
	}
}

// pausesThenBack is the same where onFailure is Pause: a person decides.
func pausesThenBack(reason string) func(*cluster) {
	return func(c *cluster) {
		c.Helper()
		c.must(1, "upgrade", c.name, "--to", newVersion)
		c.rests(v1alpha1.PhasePaused, reason)
		c.control("")
		c.must(0, "rollback", c.name)
		c.ended(v1alpha1.PhaseRolledBack, oldVersion, "")
	}
}

// pausesThenGoesOn is the end of what is nobody's fault who is being upgraded: once it is repaired, the attempt goes on.
func pausesThenGoesOn(reason string, repair func(*cluster)) func(*cluster) {
	return func(c *cluster) {
		c.Helper()
		c.must(1, "upgrade", c.name, "--to", newVersion)
		c.rests(v1alpha1.PhasePaused, reason)
		repair(c)
		c.must(0, "resume", c.name)
		c.ended(v1alpha1.PhaseSucceeded, newVersion, "")
	}
}

func behave(c *cluster) { c.control("") }

// succeeds does something once an event has come, and the upgrade goes on all the same.
func succeeds(event string, member int, do func(*cluster)) func(*cluster) {
	return func(c *cluster) {
		c.Helper()
		r := c.start(theseus, "upgrade", c.name, "--to", newVersion)
		c.awaitEvent(event, "member "+c.member(member))
		do(c)
		c.finish(r, 0)
		c.ended(v1alpha1.PhaseSucceeded, newVersion, "")
	}
}

func (c *cluster) finish(r *running, code int) result {
	c.Helper()
	res := c.wait(r)
	if res.code != code {
		c.Fatalf("want exit code %d, got %s\n%s", code, res, c.story())
	}
	return res
}

// ended checks the end of the attempt, and the failure behind it.
func (c *cluster) ended(phase v1alpha1.AttemptPhase, at, reason string) {
	c.Helper()
	a := c.attempt()
	if a.Phase != phase || c.object().Status.CurrentVersion != at {
		c.Fatalf("the attempt is %s at %s, want %s at %s\n%s", a.Phase, c.object().Status.CurrentVersion, phase, at, c.story())
	}
	c.failedBy(reason)
	c.allAt(at)
}

// rests checks that the attempt waits for a person, and why.
func (c *cluster) rests(phase v1alpha1.AttemptPhase, reason string) {
	c.Helper()
	if a := c.attempt(); a.Phase != phase {
		c.Fatalf("the attempt is %s, want %s\n%s", a.Phase, phase, c.story())
	}
	c.failedBy(reason)
}

func (c *cluster) failedBy(reason string) {
	c.Helper()
	if f := c.attempt().Failure; reason != "" && (f == nil || f.Reason != reason) {
		c.Fatalf("the failure is %+v, want %s\n%s", f, reason, c.story())
	}
}

// untouched checks that no member was disrupted.
func (c *cluster) untouched() {
	c.Helper()
	if c.attempt().Disrupted {
		c.Errorf("a member was disrupted\n%s", c.story())
	}
	c.allAt(oldVersion)
}

// done checks how often actions were done.
func (c *cluster) done(want map[string]int) {
	c.Helper()
	got := c.actions()
	for name, n := range want {
		if got[name] != n {
			c.Errorf("action %s was done %d times, want %d\n%s", name, got[name], n, c.story())
		}
	}
}

// unknownOutcome runs into an action that never answers. What the person does then is up to the test.
func unknownOutcome(person func(c *cluster, r result)) func(*cluster) {
	return func(c *cluster) {
		c.Helper()
		r := c.must(3, "upgrade", c.name, "--to", newVersion)
		c.rests(v1alpha1.PhaseStopped, "OutcomeUnknown")
		c.untouched()
		c.control("")
		person(c, r)
		c.ended(v1alpha1.PhaseSucceeded, newVersion, "")
	}
}

var troubles = []trouble{
	{name: "exits at once", setup: bad(`"exitAtStart": 7`), run: goesBack("CrashLoop")},
	{name: "exits at once, pause", setup: setup{control: bad(`"exitAtStart": 7`).control, upgrade: "onFailure: Pause"}, run: pausesThenBack("CrashLoop")},
	{name: "never ready", setup: bad(`"neverReady": true`), run: goesBack("ProgressDeadlineExceeded")},
	{name: "never ready, pause", setup: setup{control: bad(`"neverReady": true`).control, deadline: "8s", upgrade: "onFailure: Pause"},
		run: pausesThenBack("ProgressDeadlineExceeded")},
	{name: "crashes in its soak", setup: bad(`"crashAfterReady": "100ms"`), run: goesBack("CrashLoop")},
	{name: "crashes behind its soak", setup: setup{control: bad(`"crashAfterReady": "500ms"`).control}, run: goesBack("CrashLoop")}, // often enough before the last member is replaced
	{name: "never settles", setup: bad(`"neverSettled": true`), run: goesBack("ProgressDeadlineExceeded")},
	{name: "wrong version", setup: bad(`"answerVersion": "2.0.9"`), run: goesBack("WrongVersion")},
	{name: "new version does not answer", setup: bad(`"unknown": true`), run: goesBack("ProgressDeadlineExceeded")},
	{name: "program missing", run: func(c *cluster) {
		c.program(newVersion, c.path("no-such"))
		before := c.object()
		c.must(2, "upgrade", c.name, "--to", newVersion)
		if after := c.object(); after.Spec.Version != oldVersion || after.Status.Serial != before.Status.Serial {
			c.Errorf("something was changed: %+v", after.Spec)
		}
		c.untouched()
	}},
	{name: "program goes in mid-roll", run: func(c *cluster) {
		c.program(newVersion, c.path("new", "standin"))
		if err := os.CopyFS(c.path("new"), os.DirFS(bin)); err != nil {
			c.Fatal(err)
		}
		r := c.start(theseus, "upgrade", c.name, "--to", newVersion)
		c.awaitEvent("MemberReplaced", "member "+c.member(2))
		if err := os.Remove(c.path("new", "standin")); err != nil {
			c.Fatal(err)
		}
		c.finish(r, 1)
		c.ended(v1alpha1.PhaseRolledBack, oldVersion, "MemberBroken")
	}},
	{name: "new member killed", run: succeeds("MemberReplaced", 2, func(c *cluster) { _, m := c.processes(2); c.signal(m, syscall.SIGKILL) })},
	{name: "old member killed", run: succeeds("MemberReplaced", 2, func(c *cluster) { _, m := c.processes(0); c.signal(m, syscall.SIGKILL) })},
	{name: "member in hand killed", run: succeeds("Start", 1, func(c *cluster) { c.killStarted(1) })},
	{name: "shim of a new member killed", run: succeeds("MemberReplaced", 2, func(c *cluster) { s, _ := c.processes(2); c.signal(s, syscall.SIGKILL) })},
	{name: "shim of an old member killed", run: succeeds("MemberReplaced", 2, func(c *cluster) { s, _ := c.processes(0); c.signal(s, syscall.SIGKILL) })},
	{name: "leader moves to a new member", run: succeeds("MemberReplaced", 2, func(c *cluster) { c.leadBy(2) })},
	{name: "leader moves to an old member", run: succeeds("MemberReplaced", 2, func(c *cluster) { c.leadBy(1) })},
	{name: "old member hangs", setup: setup{deadline: "8s"}, run: func(c *cluster) {
		r := c.start(theseus, "upgrade", c.name, "--to", newVersion)
		c.awaitEvent("MemberReplaced", "member "+c.member(2))
		_, m := c.processes(0)
		c.signal(m, syscall.SIGSTOP)
		c.finish(r, 1)
		c.rests(v1alpha1.PhasePaused, "ProgressDeadlineExceeded")
		c.signal(m, syscall.SIGCONT)
		c.must(0, "resume", c.name)
		c.ended(v1alpha1.PhaseSucceeded, newVersion, "")
	}},
	{name: "new member hangs", setup: setup{deadline: "8s"}, run: func(c *cluster) {
		r := c.start(theseus, "upgrade", c.name, "--to", newVersion)
		c.awaitEvent("Start", "member "+c.member(2))
		_, m := c.startedProcess(2)
		c.signal(m, syscall.SIGSTOP)
		c.finish(r, 1)
		c.ended(v1alpha1.PhaseRolledBack, oldVersion, "ProgressDeadlineExceeded")
	}},
	{name: "nobody answers", setup: setup{deadline: "8s"}, run: func(c *cluster) {
		r := c.start(theseus, "upgrade", c.name, "--to", newVersion)
		c.awaitEvent("MemberReplaced", "member "+c.member(2))
		c.control(`{"unknown": true}`)
		c.finish(r, 1)
		c.rests(v1alpha1.PhasePaused, "ProgressDeadlineExceeded")
		c.control("")
		c.must(0, "resume", c.name)
		c.ended(v1alpha1.PhaseSucceeded, newVersion, "")
	}},
	{name: "wrong rule, repaired", setup: setup{deadline: "60s"}, edit: replace("x.status.json.ready)", "x.status.json.version == 'x')"), run: func(c *cluster) {
		r := c.start(theseus, "upgrade", c.name, "--to", newVersion)
		c.await("the wrong rule", func() bool { w := c.attempt().WaitingFor; return w != nil && w.Rule == "verify/all ready" })
		c.system(nil)
		c.must(0, "adopt-system", c.name)
		c.finish(r, 0)
		c.ended(v1alpha1.PhaseSucceeded, newVersion, "")
		c.done(map[string]int{"leave": 3, "join": 3, "announce": 1}) // no member is touched for it
	}},
	{name: "wrong rule", setup: setup{deadline: "8s"}, edit: replace("x.status.json.ready)", "x.status.json.version == 'x')"), run: goesBack("ProgressDeadlineExceeded")},
	{name: "backup fails", run: func(c *cluster) {
		if err := os.Remove(c.path("backups")); err != nil {
			c.Fatal(err)
		}
		c.write("backups", "no folder")
		pausesThenGoesOn("BackupFailed", func(c *cluster) {
			c.untouched()
			if err := os.Remove(c.path("backups")); err != nil {
				c.Fatal(err)
			}
			c.make("backups")
		})(c)
	}},
	{name: "check of the backup fails", edit: replace("check: [standin, check", "check: [standin, no-such-tool"), run: func(c *cluster) {
		c.must(1, "upgrade", c.name, "--to", newVersion)
		c.rests(v1alpha1.PhasePaused, "BackupFailed")
		c.untouched()
		c.must(0, "abort", c.name)
		c.ended(v1alpha1.PhaseAborted, oldVersion, "")
	}},
	{name: "hook fails", setup: setup{control: `{"failActions": ["announce"]}`}, run: pausesThenGoesOn("ActionFailed", func(c *cluster) { c.untouched(); behave(c) })},
	{name: "hook of a member fails", setup: setup{control: `{"failActions": ["join"]}`}, run: pausesThenGoesOn("ActionFailed", behave)},
	{name: "outcome unknown, it happened", setup: setup{control: `{"hangActions": ["announce"]}`}, run: unknownOutcome(func(c *cluster, r result) {
		c.must(3, "override", c.name, c.unknownRule(r))
		c.must(0, "resume", c.name)
		c.done(map[string]int{"announce": 1})
	})},
	{name: "outcome unknown, do it again", setup: setup{control: `{"hangActions": ["announce"]}`}, run: unknownOutcome(func(c *cluster, _ result) {
		c.must(0, "resume", c.name)
		c.done(map[string]int{"announce": 2}) // as the person said
	})},
	{name: "outcome unknown, back", setup: setup{control: `{"hangActions": ["join"]}`}, run: func(c *cluster) {
		c.must(3, "upgrade", c.name, "--to", newVersion)
		c.rests(v1alpha1.PhaseStopped, "OutcomeUnknown")
		c.control("")
		c.must(0, "rollback", c.name)
		c.ended(v1alpha1.PhaseRolledBack, oldVersion, "")
	}},
	{name: "outcome unknown, repeat", setup: setup{control: `{"hangActions": ["announce"]}`}, edit: replace("announce\", timeout: 1s", "announce\", timeout: 1s, onUnknown: Repeat"), run: func(c *cluster) {
		r := c.start(theseus, "upgrade", c.name, "--to", newVersion)
		c.await("the first call", func() bool { return c.actions()["announce"] > 0 })
		c.control("")
		c.finish(r, 0)
		c.ended(v1alpha1.PhaseSucceeded, newVersion, "")
	}},
	{name: "handover refused", setup: setup{control: `{"refuseHandover": true}`, deadline: "20s"}, run: pausesThenGoesOn("ActionFailed", behave)},
	{name: "handover without effect", setup: setup{control: `{"ignoreHandover": true}`, deadline: "8s"}, run: pausesThenGoesOn("ProgressDeadlineExceeded", behave)},
}

// system writes the System's file of the test, as it is or edited.
func (c *cluster) system(edit func(string) string) {
	c.Helper()
	text, err := os.ReadFile("testdata/careful.yaml")
	if err != nil {
		c.Fatal(err)
	}
	if edit == nil {
		edit = func(s string) string { return s }
	}
	c.write("careful.yaml", edit(string(text)))
}

// program sets where the program of a version is.
func (c *cluster) program(version, path string) {
	c.Helper()
	text, err := os.ReadFile(c.path("cluster.yaml"))
	if err != nil {
		c.Fatal(err)
	}
	c.write("cluster.yaml", fmt.Sprintf("%s  programs: {%q: {path: %s}}\n", text, version, path))
	c.must(0, "up", c.path("cluster.yaml"))
}

// startedProcess waits until the member that the driver starts has a process.
func (c *cluster) startedProcess(i int) (shim, member int) {
	c.Helper()
	c.await("a process of "+c.member(i), func() bool {
		shim, member = c.processes(i)
		return member > 0 && syscall.Kill(member, 0) == nil
	})
	return shim, member
}

func (c *cluster) killStarted(i int) {
	c.Helper()
	_, m := c.startedProcess(i)
	c.signal(m, syscall.SIGKILL)
}

// TestFaults runs into every trouble and checks its documented end, with clients writing all the time.
func TestFaults(t *testing.T) {
	each(t, troubles, func(tr trouble) string { return tr.name }, func(t *testing.T, tr trouble) {
		s := tr.setup
		s.version, s.system = oldVersion, "./careful.yaml"
		control := s.control
		s.control = ""
		c := newCluster(t, s)
		c.system(tr.edit)
		c.up()
		c.leadBy(0)
		w := c.writes()
		c.control(control)
		tr.run(c)
		w.check()
		c.alone()
	})
}

// TestFaultsDocumented checks that the page has a row for each trouble, and none for others.
func TestFaultsDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/faults.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) > 2 && strings.HasPrefix(strings.TrimSpace(cells[1]), "*") {
			rows = append(rows, strings.Trim(strings.TrimSpace(cells[1]), "*"))
		}
	}
	for _, tr := range slices.Concat(troubles, diskTroubles) {
		if !slices.Contains(rows, tr.name) {
			t.Errorf("docs/faults.md has no row *%s*", tr.name)
		}
	}
}
