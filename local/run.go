package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/ask"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// JobCommand is the first argument of a process that is to do one action; its main calls JobMain with the others.
const JobCommand = "__job"

// errand is the input of a job that does an action: everything that it was decided on. Secrets are in it by reference only.
type errand struct {
	Action      string                          `json:"action"`
	System      string                          `json:"system"` // hash
	Cluster     string                          `json:"cluster"`
	Version     string                          `json:"version,omitempty"`
	From        string                          `json:"from,omitempty"`
	Options     map[string]string               `json:"options,omitempty"`
	Member      string                          `json:"member"`
	To          string                          `json:"to,omitempty"`
	All         []*system.Member                `json:"all"`
	Credentials map[string]v1alpha1.Credentials `json:"credentials,omitempty"`
	Programs    []string                        `json:"programs,omitempty"`
}

func (p *Platform) run(ctx context.Context, s runner.Scene, i v1alpha1.Intent) error {
	jobs := p.State.Jobs(runsFolder, p.Self)
	id := strconv.FormatInt(i.ID, 10)
	if jobs.Outcome(id).Phase != upgrade.NotBegun {
		return nil
	}
	if s.System == nil {
		return errRevision(i)
	}
	if p.seen == nil {
		if _, err := p.Look(ctx, s); err != nil {
			return err
		}
	}
	if err := p.State.Keep(ctx, s.System); err != nil {
		return err
	}
	p.State.forgetRuns(jobs, i.ID, s.Cluster.Status.Attempt)
	e := errand{Action: i.Action, System: s.System.Hash(), Cluster: p.State.name, Version: i.Version, From: i.From,
		Options: s.System.Options(&s.Cluster.Spec), Member: i.Member, To: i.To, All: p.seenOf(i.Component),
		Credentials: s.Cluster.Spec.Credentials, Programs: p.finder().folders}
	return jobs.Begin(ctx, id, []string{JobCommand}, e)
}

// seenOf are the members of a component as the last look showed them, by ordinal, with their answers made ready for a file.
func (p *Platform) seenOf(component string) []*system.Member {
	var all []*system.Member
	for _, m := range p.seen {
		if m.Component != component {
			continue
		}
		kept := *m
		kept.Answers, _ = keepNumbers(map[string]any(m.Answers)).(map[string]any)
		all = append(all, &kept)
	}
	slices.SortFunc(all, func(a, b *system.Member) int { return a.Ordinal - b.Ordinal })
	return all
}

// runs are the outcomes of all runs.
func (st *State) runs() (map[int64]upgrade.Outcome, error) {
	all, err := st.Jobs(runsFolder, nil).Outcomes()
	if err != nil {
		return nil, err
	}
	runs := make(map[int64]upgrade.Outcome, len(all))
	for id, o := range all {
		if n, err := strconv.ParseInt(id, 10, 64); err == nil {
			runs[n] = o
		}
	}
	return runs, nil
}

// keptRuns is how many ids back runs are kept; those that a step refers to are kept in any case.
const keptRuns = 64

// forgetRuns removes runs that nobody will ask about again: ids only grow.
func (st *State) forgetRuns(jobs Jobs, now int64, a *v1alpha1.Attempt) {
	all, err := st.runs()
	if err != nil || len(all) < keptRuns {
		return
	}
	refers := map[int64]bool{}
	if a != nil {
		for _, step := range a.Steps {
			for _, r := range step.Runs {
				refers[r.ID] = true
			}
		}
	}
	for id, o := range all {
		if id <= now-keptRuns && !refers[id] && o.Phase != upgrade.Underway {
			jobs.remove(strconv.FormatInt(id, 10))
		}
	}
}

// JobMain is the main function of a process that does one action, and returns its exit code.
func JobMain(args []string) int { return Worker{}.RunAction(args) }

// RunAction is as JobMain.
func (w Worker) RunAction(args []string) int {
	return w.Work(args, func(ctx context.Context, j *Job) upgrade.Outcome {
		// DIR is HOME/NAME/runs.
		dir := filepath.Dir(filepath.Clean(args[0]))
		st := &State{home: Home(filepath.Dir(dir)), name: filepath.Base(dir), dir: dir}
		return st.act(ctx, j)
	})
}

// act does the action. Whatever keeps it from being sent is a failure, not an unknown outcome.
func (st *State) act(ctx context.Context, j *Job) upgrade.Outcome {
	failed := func(err error) upgrade.Outcome { return upgrade.Outcome{Phase: upgrade.Failed, Message: err.Error()} }
	e := errand{}
	if err := j.Input(&e); err != nil {
		return failed(err)
	}
	sys, err := st.Pinned(ctx, e.System)
	if err != nil {
		return failed(err)
	}
	action, err := sys.Action(e.Action)
	if err != nil {
		return failed(err)
	}
	target, err := e.target(st)
	if err != nil {
		return failed(err)
	}
	asker := ask.New(sys)
	defer asker.Close()
	asker.Credentials, asker.Program = e.Credentials, finder{folders: e.Programs}.find
	_, err = asker.Do(ctx, action, target)
	switch {
	case err == nil:
		return upgrade.Outcome{Phase: upgrade.Succeeded}
	case errors.As(err, new(*ask.Failed)):
		return failed(err)
	}
	return upgrade.Outcome{Phase: upgrade.OutcomeUnknown, Message: err.Error()}
}

func (e *errand) target(st *State) (ask.Target, error) {
	sc := &system.Scope{Cluster: e.Cluster, Version: e.Version, From: e.From, Options: e.Options, All: e.All}
	for _, m := range e.All {
		m.Answers, _ = numbers(map[string]any(m.Answers)).(map[string]any)
		if m.Name == e.Member {
			sc.M = m
		}
		if m.Name == e.To && e.To != "" {
			sc.To = m
		}
	}
	if sc.M == nil {
		return ask.Target{}, fmt.Errorf("member %s was not seen", e.Member)
	}
	if e.To != "" && sc.To == nil {
		return ask.Target{}, fmt.Errorf("member %s was not seen", e.To)
	}
	k := st.keeper(e.Member)
	return ask.Target{Scope: sc, Dir: k.dir, Signal: k.signal}, nil
}

// UnmarshalJSON keeps numbers as they are written, because expressions tell 3 from 3.0.
func (e *errand) UnmarshalJSON(data []byte) error {
	type plain errand
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return d.Decode((*plain)(e))
}

// keepNumbers makes floating point numbers look like it when they are written. numbers is the way back.
func keepNumbers(v any) any {
	switch v := v.(type) {
	case float64:
		text := strconv.FormatFloat(v, 'g', -1, 64)
		if !strings.ContainsAny(text, ".eE") {
			text += ".0"
		}
		return json.Number(text)
	case map[string]any:
		return each(v, keepNumbers)
	case []any:
		kept := make([]any, len(v))
		for i := range v {
			kept[i] = keepNumbers(v[i])
		}
		return kept
	}
	return v
}

func each(v map[string]any, f func(any) any) map[string]any {
	out := make(map[string]any, len(v))
	for k := range v {
		out[k] = f(v[k])
	}
	return out
}

func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		return number(string(v))
	case map[string]any:
		return each(v, numbers)
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
		return v
	}
	return v
}

func number(text string) any {
	if !strings.ContainsAny(text, ".eE") {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n
		}
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			return n
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return text
	}
	return f
}
