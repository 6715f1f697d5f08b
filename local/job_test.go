package local

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

func (w *world) raise(p *Platform, id int64) {
	w.Helper()
	i := v1alpha1.Intent{ID: id, Act: v1alpha1.ActRun, Component: "standin", Member: "kv-standin-0", Action: system.NamedActionPath("raise"), Version: "1.0.0"}
	if err := p.Do(w.Context(), w.scene(), i, nil); err != nil {
		w.Logf("run %d: %v", id, err) // the look says what became of it
	}
}

// TestJobKills kills the job at each of its durable writes. What was not claimed was not done and can be; what was claimed and has no
// result is unknown, and is not done again under its id.
func TestJobKills(t *testing.T) {
	tests := []struct {
		point string
		want  upgrade.OutcomePhase
		done  int // how often the action was done, with another try under the same id
	}{
		{"claim.begin 1", upgrade.NotBegun, 1},
		{"claim.rename 1", upgrade.NotBegun, 1},
		{"claim.done 1", upgrade.NotBegun, 1}, // complete, but not in its place yet
		{"claim.made 1", upgrade.OutcomeUnknown, 0},
		{"result.begin 1", upgrade.OutcomeUnknown, 1},
		{"result.rename 1", upgrade.OutcomeUnknown, 1},
		{"result.done 1", upgrade.Succeeded, 1},
	}
	for _, test := range tests {
		t.Run(test.point, func(t *testing.T) {
			w := newWorld(t, 1)
			p := w.platform()
			w.start(p, "kv-standin-0")
			armed := w.arm(test.point)
			w.raise(p, 5)
			outcome := func() upgrade.Outcome { return w.look(p).Runs[5] }
			w.await("the job was killed", func() bool { _, err := os.Stat(armed); return err != nil && outcome().Phase != upgrade.Underway })
			if got := outcome(); got.Phase != test.want {
				t.Errorf("the outcome is %s (%s), want %s", got.Phase, got.Message, test.want)
			}
			w.raise(p, 5)
			w.await("it is at rest", func() bool { o := outcome().Phase; return o != upgrade.Underway && o != upgrade.NotBegun })
			if n := w.done("raise"); n != test.done {
				t.Errorf("the action was done %d times, want %d", n, test.done)
			}
		})
	}
}

// TestJobHangs kills the process of an action that was sent and not answered.
func TestJobHangs(t *testing.T) {
	w := newWorld(t, 1)
	w.misbehave(`{"hangActions": ["raise"]}`)
	p := w.platform()
	w.start(p, "kv-standin-0")
	w.raise(p, 1)
	if o := w.look(p).Runs[1]; o.Phase != upgrade.Underway {
		t.Fatalf("it is %s, want under way", o.Phase)
	}
	w.await("the member has it", func() bool { return w.done("raise") == 1 })
	owner := process{}
	if there, err := readJSON(w.state.path(runsFolder, "1", ownerFile), &owner); !there || err != nil {
		t.Fatal(there, err)
	}
	if err := owner.signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.await("nobody knows", func() bool { return w.look(p).Runs[1].Phase == upgrade.OutcomeUnknown })
	w.raise(p, 1)
	if n := w.done("raise"); n != 1 {
		t.Errorf("the action was done %d times, want 1", n)
	}
}

// TestClaim lets many begin the same job at once.
func TestClaim(t *testing.T) {
	w := newWorld(t, 1)
	p := w.platform()
	w.start(p, "kv-standin-0")
	w.look(p)
	var drivers sync.WaitGroup
	for range 6 {
		other := w.platform()
		other.State = w.again(t)
		w.look(other)
		drivers.Go(func() { w.raise(other, 9) })
	}
	drivers.Wait()
	w.await("it has succeeded", func() bool { return w.look(p).Runs[9].Phase == upgrade.Succeeded })
	if n := w.done("raise"); n != 1 {
		t.Errorf("the action was done %d times, want 1", n)
	}
}

// TestRunsForgotten keeps a bounded number of runs, and those that a step speaks of.
func TestRunsForgotten(t *testing.T) {
	w := newWorld(t, 1)
	jobs := w.state.Jobs(runsFolder, nil)
	for id := range 3 * keptRuns {
		dir := filepath.Join(jobs.Dir, strconv.Itoa(id))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		conclude(t, dir, process{PID: 1}, process{PID: 1})
	}
	a := &v1alpha1.Attempt{Steps: []v1alpha1.StepStatus{{Runs: []v1alpha1.RunRef{{ID: 3}}}}}
	w.state.forgetRuns(jobs, 3*keptRuns, a)
	runs, err := w.state.runs()
	if err != nil {
		t.Fatal(err)
	}
	if len(runs) != keptRuns || runs[3].Phase != upgrade.Succeeded || runs[2].Phase != upgrade.NotBegun || runs[3*keptRuns-1].Phase != upgrade.Succeeded {
		t.Errorf("%d runs are kept: 2 is %s, 3 is %s; want %d, without 2 and with 3", len(runs), runs[2].Phase, runs[3].Phase, keptRuns)
	}
}

// conclude writes what a job leaves that one process claimed and one has ended.
func conclude(t *testing.T, dir string, owner, by process) {
	t.Helper()
	none := (Fault)(nil)
	if err := errors.Join(none.writeJSON("claim", filepath.Join(dir, ownerFile), owner), none.writeJSON("result", filepath.Join(dir, resultFile), result{By: by, Outcome: "succeeded"})); err != nil {
		t.Fatal(err)
	}
}

// TestResultOfAnother: a job that outlived its cluster writes how it ended where a job of the next one has the same id.
func TestResultOfAnother(t *testing.T) {
	jobs := Jobs{Dir: t.TempDir()}
	dir := filepath.Join(jobs.Dir, "7")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	mine, err := identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	conclude(t, dir, mine, process{PID: 1})
	if o := jobs.Outcome("7"); o.Phase != upgrade.Underway {
		t.Errorf("somebody else's result: got %s, want %s", o.Phase, upgrade.Underway)
	}
	conclude(t, dir, mine, mine)
	if o := jobs.Outcome("7"); o.Phase != upgrade.Succeeded {
		t.Errorf("its own result: got %s, want %s", o.Phase, upgrade.Succeeded)
	}
}

// TestBadJobs have ids that would leave their folder.
func TestBadJobs(t *testing.T) {
	jobs := Jobs{Dir: t.TempDir()}
	for _, id := range []string{"", ".", "..", "../x", "a/b", ".hidden"} {
		if err := jobs.Begin(t.Context(), id, nil, nil); err == nil {
			t.Errorf("id %q: got no error", id)
		}
	}
}

// TestNumbers keeps answers as they were through a file: expressions tell 3 from 3.0.
func TestNumbers(t *testing.T) {
	answers := map[string]any{
		"whole": int64(3), "float": 3.0, "small": 1e-9, "large": 1e300, "unsigned": uint64(1<<64 - 1), "negative": int64(-1 << 62),
		"text": "3.0", "yes": true, "nothing": nil, "list": []any{1.0, int64(1), map[string]any{"deep": 2.0}},
	}
	file := filepath.Join(t.TempDir(), "input.json")
	kept, _ := keepNumbers(answers).(map[string]any)
	in := errand{Member: "a", All: []*system.Member{{Name: "a", Answers: kept}}}
	if err := (Fault)(nil).writeJSON("input", file, in); err != nil {
		t.Fatal(err)
	}
	out := errand{}
	if _, err := readJSON(file, &out); err != nil {
		t.Fatal(err)
	}
	target, err := out.target(&State{})
	if err != nil {
		t.Fatal(err)
	}
	if got := map[string]any(target.Scope.M.Answers); !reflect.DeepEqual(got, answers) {
		t.Errorf("got %#v\nwant %#v", got, answers)
	}
}
