package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"theseus.dev/upgrade"
)

// Jobs are pieces of work that outlive the driver, each with an id under which it is done at most once: whoever claims the id
// first does it. A claim without a result whose process has ended is an unknown outcome.
//
//	DIR/ID.json         the input
//	DIR/ID/owner.json   the process that claimed it
//	DIR/ID/progress     for people
//	DIR/ID/result.json  how it ended
type Jobs struct {
	Dir   string
	Fault Fault
	// Self is as in Platform.
	Self []string
}

// Jobs of this cluster in a folder of their own. Whoever runs jobs of another sort than local's, such as backups, chooses the name.
func (st *State) Jobs(folder string, self []string) Jobs {
	return Jobs{Dir: st.path(folder), Fault: st.Fault, Self: self}
}

const (
	ownerFile    = "owner.json"
	progressFile = "progress"
	resultFile   = "result.json"
)

// result is how a job ended. By is who did it: one that outlived its cluster must not speak for a job of the same id of the cluster that came
// after it.
type result struct {
	By      process `json:"by"`
	Outcome string  `json:"outcome"` // succeeded, failed, unknown
	Message string  `json:"message,omitempty"`
}

func checkID(id string) error {
	if id == "" || filepath.Base(id) != id || strings.HasPrefix(id, ".") {
		return fmt.Errorf("job %q: this cannot be an id", id)
	}
	return nil
}

// Begin starts a job that was never begun, and returns when it is claimed. The process gets command behind Self, then the folder and the id; its main calls Work with these two.
func (j Jobs) Begin(ctx context.Context, id string, command []string, input any) error {
	if err := checkID(id); err != nil {
		return err
	}
	if j.Outcome(id).Phase != upgrade.NotBegun {
		return nil
	}
	if err := os.MkdirAll(j.Dir, 0o700); err != nil {
		return err
	}
	if err := j.Fault.writeJSON("input", filepath.Join(j.Dir, id+".json"), input); err != nil {
		return err
	}
	if err := spawn(ctx, slices.Concat(self(j.Self), command, []string{j.Dir, id}), filepath.Join(j.Dir, id+".err")); err != nil {
		return fmt.Errorf("begin job %s: %w", id, err)
	}
	return nil
}

// Outcome of a job.
func (j Jobs) Outcome(id string) upgrade.Outcome {
	dir := filepath.Join(j.Dir, id)
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return upgrade.Outcome{}
	}
	owner := process{}
	if there, err := readJSON(filepath.Join(dir, ownerFile), &owner); !there || err != nil {
		return upgrade.Outcome{Phase: upgrade.OutcomeUnknown, Message: "nobody knows who began it"}
	}
	if o, done := ended(dir, owner); done {
		return o
	}
	if owner.alive() {
		progress, _ := os.ReadFile(filepath.Join(dir, progressFile)) // none yet
		return upgrade.Outcome{Phase: upgrade.Underway, Message: string(progress)}
	}
	if o, done := ended(dir, owner); done { // between the two looks
		return o
	}
	return upgrade.Outcome{Phase: upgrade.OutcomeUnknown, Message: fmt.Sprintf("process %d that did it was killed before it said how it ended", owner.PID)}
}

func ended(dir string, owner process) (upgrade.Outcome, bool) {
	r := result{}
	there, err := readJSON(filepath.Join(dir, resultFile), &r)
	switch {
	case !there:
		return upgrade.Outcome{}, false
	case err != nil:
		return upgrade.Outcome{Phase: upgrade.OutcomeUnknown, Message: err.Error()}, true
	case r.By != owner:
		return upgrade.Outcome{}, false
	}
	if phase, ended := upgrade.Ended(r.Outcome); ended {
		return upgrade.Outcome{Phase: phase, Message: r.Message}, true
	}
	return upgrade.Outcome{Phase: upgrade.OutcomeUnknown, Message: r.Message}, true
}

// Outcomes of all jobs that were claimed, by id.
func (j Jobs) Outcomes() (map[string]upgrade.Outcome, error) {
	entries, err := os.ReadDir(j.Dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	all := map[string]upgrade.Outcome{}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			all[e.Name()] = j.Outcome(e.Name())
		}
	}
	return all, nil
}

// remove forgets a job that has ended.
func (j Jobs) remove(id string) {
	dir := filepath.Join(j.Dir, id)
	_ = os.Remove(dir + ".json")
	_ = os.Remove(dir + ".err")
	_ = os.RemoveAll(dir)
}

// Job is a job that this process has claimed.
type Job struct {
	ID string
	// Dir is the job's own folder; it may leave files there.
	Dir   string
	owner process
	input []byte
}

// Input decodes what Begin was given.
func (j *Job) Input(into any) error { return json.Unmarshal(j.input, into) }

// Progress says for people how far it has come. It is not durable.
func (j *Job) Progress(text string) {
	path := filepath.Join(j.Dir, progressFile)
	if os.WriteFile(path+".new", []byte(text), 0o600) == nil {
		_ = os.Rename(path+".new", path)
	}
}

// Work is the main function of a job's process and returns its exit code. The arguments are the last two that Begin gave it. It does nothing if
// somebody else claimed the id. The context ends with SIGTERM.
func Work(args []string, do func(context.Context, *Job) upgrade.Outcome) int {
	return Worker{}.Work(args, do)
}

// Worker does a job. Fault, if set, is called around each durable write.
type Worker struct{ Fault Fault }

// Work is as the function of that name.
func (w Worker) Work(args []string, do func(context.Context, *Job) upgrade.Outcome) int {
	ignoreTerminal()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	greet := newGreeter()
	job, err := w.claim(args)
	if errors.Is(err, errClaimed) {
		greet.say(nil)
		return 0
	}
	greet.say(err)
	if err != nil {
		return 1
	}
	o := do(ctx, job)
	if err := w.Fault.writeJSON("result", filepath.Join(job.Dir, resultFile), result{job.owner, o.Phase.String(), o.Message}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

var errClaimed = errors.New("somebody else claimed it")

// claim makes this process the one that does the job. The folder appears with its owner in it, and only one process can
// give it its name.
func (w Worker) claim(args []string) (*Job, error) {
	if len(args) != 2 {
		return nil, fmt.Errorf("job: want a folder and an id, got %d arguments", len(args))
	}
	dir, id := args[0], args[1]
	if err := checkID(id); err != nil {
		return nil, err
	}
	input, err := os.ReadFile(filepath.Join(dir, id+".json"))
	if err != nil {
		return nil, err
	}
	self, err := identify(os.Getpid())
	if err != nil {
		return nil, err
	}
	draft := filepath.Join(dir, fmt.Sprintf(".%s-%d", id, os.Getpid()))
	if err := os.MkdirAll(draft, 0o700); err != nil {
		return nil, err
	}
	defer os.RemoveAll(draft)
	if err := w.Fault.writeJSON("claim", filepath.Join(draft, ownerFile), self); err != nil {
		return nil, err
	}
	final := filepath.Join(dir, id)
	// A folder is not renamed over one that has something in it.
	if err := os.Rename(draft, final); errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
		return nil, errClaimed
	} else if err != nil {
		return nil, err
	}
	w.Fault.at("claim.made")
	return &Job{ID: id, Dir: final, owner: self, input: input}, syncFolder(dir)
}
