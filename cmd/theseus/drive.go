package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os/user"
	"slices"
	"time"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/local"
	"theseus.dev/runner"
)

// driveTo has a change made and the cluster driven until nothing is left to do without a person. What was asked by the change is answered by then. It
// is a *local.BusyError where another command drives, and the change was not made.
func (k *opened) driveTo(ctx context.Context, want wanted, change func() error) error {
	var before found
	var show *progress
	begun := false
	begin := func() error {
		if err := k.reload(ctx); err != nil {
			return err
		}
		before, show = k.last(), newProgress(k.app, &k.cluster.Status)
		if change != nil {
			if err := change(); err != nil {
				return err
			}
		}
		begun = true
		return nil
	}
	last, refusal, err := k.at.drive(ctx, begin, func(p runner.Pass) { show.pass(p) })
	if show != nil {
		show.close()
	}
	switch {
	case err != nil && !begun:
		return k.notBegun(err)
	case err != nil:
		return k.interrupted(err)
	}
	k.cluster = last
	if err := k.refusal(k.asked); err != nil {
		return err
	}
	return k.ended(want, before, refusal)
}

// notBegun is an error before anything was changed, or one that says itself what was.
func (k *opened) notBegun(err error) error {
	if errors.Is(err, context.Canceled) && !is[*exitError](err) {
		return &exitError{code: exitWaiting, err: fmt.Errorf("%s: interrupted before anything was changed", k.name)}
	}
	return err
}

// last is the attempt that a command finds before it does anything.
func (k *opened) last() found {
	at := k.cluster.Status.Attempt
	return found{serial: k.cluster.Status.Serial, ended: at == nil || at.Phase.Ended()}
}

// found is what was known of attempts when a command began.
type found struct {
	serial int64
	ended  bool
}

// drove says whether the attempt that there is now went on, or began, since.
func (f found) drove(at *v1alpha1.Attempt) bool {
	return at != nil && (at.ID > f.serial || !f.ended)
}

// newRequest is a request with an id and who asks.
func newRequest(kind v1alpha1.RequestKind) v1alpha1.Request {
	r := v1alpha1.Request{Kind: kind, ID: time.Now().UTC().Format("20060102T150405") + "-" + rand.Text()[:6]}
	if u, err := user.Current(); err == nil {
		r.By = u.Username
	}
	return r
}

var errAnswered = errors.New("the request was answered")

// request asks something of a cluster. If another command drives it, that one answers and goes on; else this one drives.
// What would be refused is never asked, so that nothing changes.
func (a *app) request(ctx context.Context, name string, r v1alpha1.Request) error {
	k, err := a.open(ctx, name)
	if err != nil {
		return err
	}
	if err := k.wouldAccept(ctx, r); err != nil {
		return err
	}
	ask := func() error {
		if k.answer(r.ID) != nil {
			return errAnswered
		}
		return k.at.ask(ctx, r) // once: the id is the same
	}
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	k.asked = r.ID
	for {
		err := k.driveTo(ctx, wantOf(r.Kind), ask)
		if errors.Is(err, errAnswered) { // by another driver, which has ended since
			return k.told(k.answer(r.ID))
		}
		if !is[*local.BusyError](err) {
			return err
		}
		if err := ask(); err != nil && !errors.Is(err, errAnswered) {
			return err
		}
		if err := k.reload(ctx); err != nil {
			return err
		}
		if answer := k.answer(r.ID); answer != nil {
			return k.told(answer)
		}
		select {
		case <-ctx.Done():
			return &exitError{code: exitWaiting, err: errors.New("interrupted before the answer; the request stays and is answered by whoever drives"), next: "see: " + a.command("status", name)}
		case <-t.C: // the one that drove may have ended: then this one does
		}
	}
}

// wouldAccept asks the core what it would answer now. Where members cannot be asked, only whoever drives can say.
func (k *opened) wouldAccept(ctx context.Context, r v1alpha1.Request) error {
	in, err := k.input(ctx, nil)
	if errors.Is(err, errOutside) {
		return nil
	}
	if err != nil {
		return err
	}
	in.Requests = []v1alpha1.Request{r}
	status := k.decide.Decide(in).Status
	return k.refusalIn(status.Requests, r.ID)
}

func (k *opened) refusal(id string) error { return k.refusalIn(k.cluster.Status.Requests, id) }

func (k *opened) refusalIn(answers []v1alpha1.RequestAnswer, id string) error {
	i := slices.IndexFunc(answers, func(r v1alpha1.RequestAnswer) bool { return r.ID == id })
	if i < 0 || answers[i].Accepted {
		return nil
	}
	return inputNext("see: "+k.command("status", k.name), "%s of %s: %s", verb(answers[i].Kind), k.name, answers[i].Message)
}

// answer finds the answer to a request in the journal.
func (k *opened) answer(id string) *v1alpha1.RequestAnswer {
	list := k.cluster.Status.Requests
	i := slices.IndexFunc(list, func(r v1alpha1.RequestAnswer) bool { return r.ID == id })
	if i < 0 {
		return nil
	}
	return &list[i]
}

// told prints the answer that another command's driver gave.
func (k *opened) told(answer *v1alpha1.RequestAnswer) error {
	if err := k.refusal(answer.ID); err != nil {
		return err
	}
	if k.json {
		k.printJSON(answer)
	} else {
		k.printf("%s\n", answer.Message)
	}
	if who := k.at.driver(); who != "" {
		k.talkf("%s drives %s; to watch: %s", who, k.name, k.command("status", k.name, "--watch"))
	}
	return nil
}

// retryFor asks that what failed is tried again.
func retryFor(reason string) v1alpha1.Request {
	r := newRequest(v1alpha1.RequestRetry)
	r.Reason = reason
	return r
}

// accept gives the cluster another spec and drives to it. If another command drives, that one takes the edit up.
func (k *opened) accept(ctx context.Context, p *proposal, retry bool, why string) error {
	// The edit goes first: one that is refused must leave no request behind, and one that was taken alone does not try again what failed.
	change := func() error {
		if err := k.at.edit(ctx, p); err != nil || !retry {
			return err
		}
		return k.notAsked(k.at.ask(ctx, retryFor(why)), p)
	}
	err := k.driveTo(ctx, wantEnd, change)
	var other *local.BusyError
	if !errors.As(err, &other) || retry || equalSpecs(&k.cluster.Spec, p.spec) {
		return err
	}
	if err := k.at.edit(ctx, p); err != nil {
		return err
	}
	if err := k.reload(ctx); err != nil {
		return err
	}
	if k.json {
		k.printJSON(k.cluster)
	}
	return &exitError{code: exitWaiting, err: fmt.Errorf("%s: accepted; process %d, which drives it, takes it up", k.name, other.PID), next: "to watch: " + k.command("status", k.name, "--watch")}
}

// notAsked is a request to try again that did not come through, after an edit that did.
func (k *opened) notAsked(err error, p *proposal) error {
	if err == nil || equalSpecs(&p.cluster.Spec, p.spec) {
		return err
	}
	return &exitError{code: exitWaiting, err: fmt.Errorf("%s: spec.version is %s now, and is not tried again before somebody asks: %w", k.name, p.spec.Version, err),
		next: "to ask again: " + k.command("retry", k.name)}
}
