// Package runner is the one impure loop: observe, decide, record the intent, act.
// It goes one pass at a time, so that it may be killed at any instant: what was
// decided is in the journal before it is done, and the next run begins with a
// look.
//
// The ports are what it needs of a place where members are. Package local and
// the operator implement them; runner/runnertest has the suite that each must pass.
package runner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// ErrConflict is returned by a Journal when somebody else wrote since it was loaded. Whoever gets it must begin with
// a fresh load: another driver is at work.
var ErrConflict = errors.New("the journal was written by somebody else")

// Journal keeps a Cluster: the spec that was accepted and the status, which is the journal.
type Journal interface {
	// Load returns the Cluster and a mark of what was read.
	Load(ctx context.Context) (*v1alpha1.Cluster, string, error)
	// Save makes the status durable if nothing was written since the mark, and returns a new mark. ErrConflict means that
	// nothing was written; any other error means that it is not known.
	Save(ctx context.Context, status *v1alpha1.ClusterStatus, mark string) (string, error)
}

// Inbox holds what people asked. A request stays until its answer is in the status.
type Inbox interface {
	Requests(ctx context.Context) ([]v1alpha1.Request, error)
	// Answered lets the inbox drop requests whose answers are durable.
	Answered(ctx context.Context, answers []v1alpha1.RequestAnswer) error
}

// Library holds Systems.
type Library interface {
	// Known is the System as it is known now under a name. An UnusableError says that there is none, or that it is wrong; with any other error it is asked
	// for again.
	Known(ctx context.Context, name string) (*system.System, error)
	// Pinned is the System with this hash. Every System that a status refers to was kept before.
	Pinned(ctx context.Context, hash string) (*system.System, error)
	// Keep makes a System durable under its hash.
	Keep(ctx context.Context, s *system.System) error
}

// UnusableError is a System that a person has to bring or to mend. What runs needs it no more: it stays on what was kept.
type UnusableError struct {
	Name string
	Err  error
}

func (e *UnusableError) Error() string {
	return fmt.Sprintf("System %s cannot be used: %v", e.Name, e.Err)
}

func (e *UnusableError) Unwrap() error { return e.Err }

// Scene is what a platform needs to know to look and to act.
type Scene struct {
	Cluster *v1alpha1.Cluster
	// System whose questions are asked and whose actions are done.
	System *system.System
	// Systems by hash, those that the status refers to.
	Systems map[string]*system.System
}

// Platform is where members are.
type Platform interface {
	// Look observes everything, as fresh as it can, and asks every member its questions. What it cannot see is unknown
	// in the look; an error means that it saw nothing at all.
	Look(ctx context.Context, s Scene) (upgrade.Look, error)
	// Do begins an act and does not wait for its end: later looks show it. The same intent again does nothing twice: a stop is for
	// one incarnation, a start for an absent member, a run for its id.
	// pinned is what the intent's revision was made from, for those that have one.
	Do(ctx context.Context, s Scene, intent v1alpha1.Intent, pinned *v1alpha1.Pinned) error
}

// Runner drives one cluster. Make one with its fields set, then call Step or Run. It is not safe for concurrent use.
type Runner struct {
	Journal  Journal
	Inbox    Inbox
	Library  Library
	Platform Platform
	Decider  *upgrade.Decider
	// Watch is called after each pass, if set. It must not keep the pass.
	Watch func(Pass)
	// Every is the longest time between two passes that wait. Default 100ms.
	Every time.Duration

	cluster *v1alpha1.Cluster
	mark    string
	last    time.Time // of the last pass, zero in the first
	said    string    // by the platform, when it refused the last act
	waits   wait
	systems map[string]*system.System
}

// Pass is what one pass came to.
type Pass struct {
	upgrade.Decision
	Cluster *v1alpha1.Cluster // with the status that was decided
	Look    *upgrade.Look
	// ActError is what the platform said when the act was begun. The outcome is what the next look shows.
	ActError error
}

// Run makes passes until there is nothing left to do without a person, and returns the last one.
func (r *Runner) Run(ctx context.Context) (Pass, error) {
	for {
		p, err := r.Step(ctx)
		if err != nil {
			return p, err
		}
		if p.Rest && p.Act == nil {
			return p, nil
		}
		if p.Again || p.Act != nil && p.Write && p.ActError == nil {
			continue
		}
		if err := pause(ctx, r.next(&p)); err != nil {
			return p, err
		}
	}
}

// wait is what the passes are waiting for, and since when.
type wait struct {
	object, rule string
	since        time.Time
}

// shortest is the pause at the beginning of a wait.
const shortest = 10 * time.Millisecond

// next is how long to wait after a pass. It is short at first, because most of what was begun a moment ago ends soon, and grows with the
// wait. A wait for a time ends with it.
func (r *Runner) next(p *Pass) time.Duration {
	longest := r.Every
	if longest == 0 {
		longest = 100 * time.Millisecond
	}
	now := wait{since: time.Now()}
	if a := p.Status.Attempt; a != nil && a.WaitingFor != nil {
		now.object, now.rule = a.WaitingFor.Object, a.WaitingFor.Rule
	}
	if now.object != r.waits.object || now.rule != r.waits.rule || p.Act != nil {
		r.waits = now
	}
	pause := min(max(time.Since(r.waits.since)/16, shortest), longest)
	if p.Due > 0 {
		pause = min(pause, p.Due)
	}
	return pause
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// Step makes one pass: load if needed, look, decide, store, act.
func (r *Runner) Step(ctx context.Context) (Pass, error) {
	if err := ctx.Err(); err != nil {
		return Pass{}, context.Cause(ctx)
	}
	if err := r.load(ctx); err != nil {
		return Pass{}, err
	}
	in, err := r.observe(ctx)
	if err != nil {
		return Pass{}, err
	}
	dec := r.Decider.Decide(in)
	p := Pass{Decision: dec, Look: &in.Look}
	if err := r.store(ctx, &dec); err != nil {
		return p, err
	}
	r.cluster.Status = dec.Status
	p.Cluster = r.cluster
	late := r.answered(ctx, &dec)
	r.said = ""
	if dec.Act != nil {
		if p.ActError = r.act(ctx, *dec.Act); p.ActError != nil {
			r.said = p.ActError.Error()
		}
	}
	if r.Watch != nil {
		r.Watch(p)
	}
	return p, late
}

// load reads the cluster in the first pass and after each store that failed. Between them the spec is read again, because people edit it.
func (r *Runner) load(ctx context.Context) error {
	c, mark, err := r.Journal.Load(ctx)
	if err != nil {
		return fmt.Errorf("load the journal: %w", err)
	}
	if r.cluster != nil && mark == r.mark {
		c.Status = r.cluster.Status // ahead of the journal by the clock only
	} else {
		r.last = time.Time{}
	}
	r.cluster, r.mark = c, mark
	return nil
}

func (r *Runner) observe(ctx context.Context) (upgrade.Input, error) {
	in := upgrade.Input{Cluster: r.cluster, Said: r.said}
	if err := r.gatherSystems(ctx, &in); err != nil {
		return in, err
	}
	if r.Inbox != nil {
		reqs, err := r.Inbox.Requests(ctx)
		if err != nil {
			return in, fmt.Errorf("read the inbox: %w", err)
		}
		in.Requests = reqs
	}
	if in.System != nil { // else nothing runs, and nobody knows what would
		look, err := r.Platform.Look(ctx, r.scene(in.System))
		if err != nil {
			return in, fmt.Errorf("look at the members: %w", err)
		}
		in.Look = look
	}
	now := time.Now()
	if !r.last.IsZero() {
		in.Tick = now.Sub(r.last) // monotonic
	}
	in.Now, r.last = now, now
	return in, nil
}

// gatherSystems finds the System known now and those that the status refers to.
func (r *Runner) gatherSystems(ctx context.Context, in *upgrade.Input) error {
	if r.systems == nil {
		r.systems = map[string]*system.System{}
	}
	known, err := r.Library.Known(ctx, r.cluster.Spec.System)
	switch {
	case errors.As(err, new(*UnusableError)):
		in.Unusable = err
	case err != nil:
		return err
	case r.systems[known.Hash()] == nil:
		if err := r.Library.Keep(ctx, known); err != nil {
			return fmt.Errorf("keep System %s: %w", known.Name(), err)
		}
		r.systems[known.Hash()] = known
	}
	for _, hash := range References(&r.cluster.Status) {
		if r.systems[hash] != nil {
			continue
		}
		s, err := r.Library.Pinned(ctx, hash)
		if err != nil {
			return fmt.Errorf("find the System %s that the members were rolled with: %w", hash, err)
		}
		r.systems[hash] = s
	}
	in.Systems = r.systems
	if in.System = known; known == nil {
		in.System = r.scene(nil).System
	}
	return nil
}

// References are the hashes of Systems that a status speaks of.
func References(st *v1alpha1.ClusterStatus) []string {
	var out []string
	if st.Applied != nil {
		out = append(out, st.Applied.System.Hash)
	}
	if a := st.Attempt; a != nil && !a.Phase.Ended() {
		out = append(out, a.Target.System.Hash)
		if a.Base != nil {
			out = append(out, a.Base.System.Hash)
		}
	}
	return out
}

// scene has the System of the attempt, of what is applied, or the one known now, in that order.
func (r *Runner) scene(known *system.System) Scene {
	s := Scene{Cluster: r.cluster, System: known, Systems: r.systems}
	st := &r.cluster.Status
	switch {
	case st.Attempt != nil && !st.Attempt.Phase.Ended():
		s.System = r.systems[st.Attempt.Target.System.Hash]
	case st.Applied != nil:
		s.System = r.systems[st.Applied.System.Hash]
	}
	return s
}

func (r *Runner) store(ctx context.Context, dec *upgrade.Decision) error {
	if !dec.Write {
		return nil
	}
	mark, err := r.Journal.Save(ctx, &dec.Status, r.mark)
	if err != nil {
		r.cluster = nil // whatever is there now counts
		return fmt.Errorf("store the journal: %w", err)
	}
	r.mark = mark
	return nil
}

// answered lets the inbox drop what was answered. Where that fails the answers are written all the same, and are passed over until the inbox knows.
func (r *Runner) answered(ctx context.Context, dec *upgrade.Decision) error {
	if !dec.Write || r.Inbox == nil || len(dec.Status.Requests) == 0 {
		return nil
	}
	if err := r.Inbox.Answered(ctx, dec.Status.Requests); err != nil {
		return fmt.Errorf("take answered requests out of the inbox: %w", err)
	}
	return nil
}

func (r *Runner) act(ctx context.Context, i v1alpha1.Intent) error {
	return r.Platform.Do(ctx, r.scene(nil), i, upgrade.PinnedOf(&r.cluster.Status, r.systems, i))
}
