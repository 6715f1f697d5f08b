package main

import (
	"context"
	"errors"
	"fmt"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
)

// wanted is which end of an attempt counts as done for a command.
type wanted int

const (
	outcomeUpgrade wanted = iota // the attempt succeeded
	outcomeBack                  // it went back, as asked
	outcomePause                 // it rests, as asked
)

// outcome names the exit code of where an attempt came to, and the next thing to try.
func (k *opened) outcome(want wanted, p runner.Pass) error {
	name := k.name
	at := p.Status.Attempt
	if p.Refusal != nil && !wentBack(&p.Status) {
		return inputError(p.Refusal)
	}
	switch {
	case at == nil:
		return nil
	case at.Phase == v1alpha1.PhaseSucceeded:
		return nil
	case at.Phase.Ended():
		if want == outcomeBack {
			return nil
		}
		return k.failed(at, fmt.Sprintf("%s: attempt %d ended %s at %s", name, at.ID, at.Phase, p.Status.CurrentVersion),
			fmt.Sprintf("see: theseus history %s --events; to try again: theseus upgrade %s --to %s", name, name, at.To))
	case at.Phase == v1alpha1.PhaseStopped:
		return &exitError{code: exitUnknown, err: fmt.Errorf("%s: %s", name, at.Rest), next: fmt.Sprintf("look at it, then: theseus resume %s, or theseus rollback %s", name, name)}
	case at.Phase == v1alpha1.PhasePaused && want == outcomePause:
		return nil
	case at.Phase == v1alpha1.PhasePaused && at.Failure != nil:
		return k.failed(at, fmt.Sprintf("%s: paused in step %s", name, at.Failure.Step),
			fmt.Sprintf("when the cause is gone: theseus resume %s; to go back: theseus rollback %s", name, name))
	case at.Phase == v1alpha1.PhasePaused:
		return &exitError{code: exitWaiting, err: fmt.Errorf("%s: %s", name, at.Rest), next: "to go on: theseus resume " + name}
	case at.WaitingFor != nil:
		return &exitError{code: exitWaiting, err: fmt.Errorf("%s: waits for a person: %s: %s", name, at.WaitingFor.Object, at.WaitingFor.Message),
			next: fmt.Sprintf("to let it go on: theseus %s %s", at.WaitingFor.Override, name)}
	}
	return nil
}

// wentBack says that the last attempt at what the spec still wants did not succeed. That it is not tried again by itself is
// then no mistake of the user's: the attempt's end is what there is to tell.
func wentBack(st *v1alpha1.ClusterStatus) bool {
	at := st.Attempt
	return at != nil && at.Phase.Ended() && at.Phase != v1alpha1.PhaseSucceeded && (st.FailedTarget != "" || st.FailedRevision != "")
}

// failed is a failure with its cause and, of a member, its own last log lines.
func (k *opened) failed(at *v1alpha1.Attempt, what, next string) error {
	if at.Failure != nil {
		what += ": " + at.Failure.Object + ": " + at.Failure.Message
	}
	return &exitError{code: exitFailed, err: errors.New(what), next: next}
}

// interrupted says where a command that was cut short leaves things.
func (k *opened) interrupted(err error) error {
	if !errors.Is(err, context.Canceled) {
		return err
	}
	return &exitError{code: exitWaiting, err: fmt.Errorf("%s: interrupted; the members go on serving, and nothing is lost", k.name),
		next: fmt.Sprintf("to continue: theseus upgrade %s; to see where it stands: theseus status %s", k.name, k.name)}
}
