package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/upgrade"
)

// wanted is which end of an attempt counts as done for a command.
type wanted int

const (
	wantEnd   wanted = iota // the attempt succeeded
	wantBack                // it went back, as asked
	wantPause               // it rests, as asked
)

func wantOf(k v1alpha1.RequestKind) wanted {
	switch k {
	case v1alpha1.RequestRollback, v1alpha1.RequestAbort:
		return wantBack
	case v1alpha1.RequestPause:
		return wantPause
	}
	return wantEnd
}

// ended prints the result of a command that drove, and says what it came to.
func (k *opened) ended(want wanted, before found, refused error) error {
	var err error
	if at := k.cluster.Status.Attempt; before.drove(at) {
		err = k.outcome(want, at)
	} else if refused != nil {
		return k.refused(refused)
	}
	switch {
	case k.json:
		k.printJSON(k.cluster)
	case err == nil:
		k.printf("%s %s\n", k.name, inShort(&k.cluster.Status))
	}
	return err
}

// inShort says what runs: "runs 3.6.16, 3 of 3 members ready".
func inShort(st *v1alpha1.ClusterStatus) string {
	text := fmt.Sprintf("runs %s, %d of %d members ready", st.CurrentVersion, st.ReadyReplicas, st.Replicas)
	if st.ReadyReplicas == 0 {
		text = fmt.Sprintf("does not run: none of %d members is ready", st.Replicas)
	}
	if at := st.Attempt; at != nil && at.Phase == v1alpha1.PhasePaused {
		text += "; " + at.Rest
	}
	return text
}

// refused is a spec that the core will not follow. That what failed is not tried again by itself is no mistake of the
// user's: a script must not take a rollback for a typing mistake, whenever it comes to see it.
func (k *opened) refused(err error) error {
	st := &k.cluster.Status
	why := "; to see why: " + k.command("history", k.name, "--events")
	switch {
	case st.FailedTarget != "" && (st.FailedTarget == k.cluster.Spec.Version || k.foreign() != nil):
		return &exitError{code: exitFailed, err: err, next: "to try again: " + k.command("upgrade", k.name, "--to", st.FailedTarget) + why}
	case st.FailedRevision != "":
		return &exitError{code: exitFailed, err: err, next: "to try again: " + k.command("retry", k.name) + why}
	}
	return inputError(err)
}

// outcome is where an attempt came to, with the exit code and the next thing to try; nil where that is what was wanted.
func (k *opened) outcome(want wanted, at *v1alpha1.Attempt) error {
	name := k.name
	switch {
	case at.Phase == v1alpha1.PhaseSucceeded,
		at.Phase.Ended() && want == wantBack,
		at.Phase == v1alpha1.PhasePaused && want == wantPause:
		return nil
	case at.Phase == v1alpha1.PhaseStopped:
		return &exitError{code: exitUnknown, err: fmt.Errorf("%s: %s", name, at.Rest), next: k.advice(at)}
	case at.Failure != nil && (at.Phase.Ended() || at.Phase == v1alpha1.PhasePaused):
		return &exitError{code: exitFailed, err: fmt.Errorf("%s: %s: %s: %s", name, came(at), at.Failure.Object, at.Failure.Message), next: k.advice(at)}
	case at.Phase.Ended():
		return &exitError{code: exitFailed, err: fmt.Errorf("%s: %s", name, came(at)), next: k.advice(at)}
	case at.Phase == v1alpha1.PhasePaused:
		return &exitError{code: exitWaiting, err: fmt.Errorf("%s: %s", name, at.Rest), next: k.advice(at)}
	case at.WaitingFor != nil:
		return &exitError{code: exitWaiting, err: fmt.Errorf("%s: waits for a person: %s: %s", name, at.WaitingFor.Object, at.WaitingFor.Message), next: k.advice(at)}
	}
	return nil
}

// came says how far an attempt that did not succeed came.
func came(at *v1alpha1.Attempt) string {
	what := describe(at)
	switch at.Phase {
	case v1alpha1.PhaseRolledBack:
		return what + " was rolled back; the members run " + baseVersion(at)
	case v1alpha1.PhaseAborted:
		return what + " was given up before anything was disrupted"
	case v1alpha1.PhaseSuperseded:
		if at.Kind == v1alpha1.AttemptCreate {
			return what + " gave way to another spec before any member was ready"
		}
		return what + " gave way to another target before anything was disrupted"
	}
	return what + " is paused"
}

func baseVersion(at *v1alpha1.Attempt) string {
	if at.Base != nil {
		return at.Base.Spec.Version
	}
	return at.From
}

// describe names an attempt: "the upgrade from 1.0.0 to 1.1.0".
func describe(at *v1alpha1.Attempt) string {
	switch at.Kind {
	case v1alpha1.AttemptUpgrade:
		return fmt.Sprintf("the upgrade from %s to %s", at.From, at.To)
	case v1alpha1.AttemptCreate:
		return "the first start at " + at.To
	case v1alpha1.AttemptStart:
		return "the start at " + at.To
	}
	return "the rolling restart at " + at.To
}

// doing is what an attempt is at: "in the upgrade from 1.0.0 to 1.1.0".
func doing(at *v1alpha1.Attempt) string {
	if goingBack(at) {
		return "while going back to " + baseVersion(at)
	}
	return "in " + describe(at)
}

// advice is the next thing to try for an attempt as it stands now; empty where there is nothing to do.
func (k *opened) advice(at *v1alpha1.Attempt) string {
	why, back, resume := k.command("history", k.name, "--events"), k.command("rollback", k.name), k.command("resume", k.name)
	switch {
	case at == nil || at.Phase == v1alpha1.PhaseSucceeded:
		return ""
	case at.Phase.Ended() && at.Kind == v1alpha1.AttemptUpgrade:
		return fmt.Sprintf("to see why: %s; to try again: %s", why, k.command("upgrade", k.name, "--to", at.To))
	case at.Phase.Ended():
		return fmt.Sprintf("to see why: %s; to try again: %s", why, k.command("retry", k.name))
	case at.Phase == v1alpha1.PhaseStopped:
		return fmt.Sprintf("look whether it happened, then do it again and go on: %s; or go back: %s", resume, back)
	case at.Phase == v1alpha1.PhasePaused && at.Failure != nil:
		return k.mend(at)
	case at.Phase == v1alpha1.PhasePaused:
		return fmt.Sprintf("to go on: %s; to go back: %s", resume, back)
	case at.WaitingFor != nil && at.WaitingFor.Deadline == nil && at.WaitingFor.Override != "":
		return fmt.Sprintf("to let it go on: %s; to go back: %s", k.command(asks(at.WaitingFor.Override, k.name)), back)
	case k.at.driver() == "":
		return "nobody drives it now; to go on: " + k.command("upgrade", k.name)
	}
	return ""
}

// mend is what to do about an attempt that failed and waits.
func (k *opened) mend(at *v1alpha1.Attempt) string {
	resume := "when the cause is gone: " + k.command("resume", k.name)
	switch {
	case at.Base != nil:
		return resume + "; to go back: " + k.command("rollback", k.name)
	case upgrade.Unused(at):
		return "correct its file, then: " + k.command("up", "FILE") + "; or " + resume
	}
	return resume
}

// asks puts the cluster's name into a request as the journal writes it: "override 'soak'" is asked by "override kv 'soak'".
func asks(request, name string) string {
	verb, rest, _ := strings.Cut(request, " ")
	return strings.TrimSpace(verb + " " + name + " " + rest)
}

// verb is a request as one types it.
func verb(kind v1alpha1.RequestKind) string {
	if kind == v1alpha1.RequestAdoptSystem {
		return "adopt-system"
	}
	return strings.ToLower(string(kind))
}

// interrupted says where a command that was cut short leaves things.
func (k *opened) interrupted(err error) error {
	if !errors.Is(err, context.Canceled) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // the one that was interrupted is over
	defer cancel()
	if err := k.reload(ctx); err != nil && k.at.driver() == "" {
		return err
	}
	if k.json {
		k.printJSON(k.cluster)
	}
	at, status := k.attempt(), k.command("status", k.name)
	if who := k.at.driver(); who != "" {
		return &exitError{code: exitWaiting, err: fmt.Errorf("%s: stopped watching; %s goes on by itself", k.name, who),
			next: fmt.Sprintf("to watch again: %s; to stop it for now: %s", k.command("status", k.name, "--watch"), k.command("pause", k.name))}
	}
	if at == nil {
		return &exitError{code: exitWaiting, err: fmt.Errorf("%s: interrupted", k.name), next: "see: " + status}
	}
	return &exitError{code: exitWaiting, err: fmt.Errorf("%s: interrupted %s; the members go on, and nothing is lost", k.name, doing(at)),
		next: fmt.Sprintf("to continue: %s; to see where it stands: %s", k.command("upgrade", k.name), status)}
}

func equalSpecs(a, b *v1alpha1.ClusterSpec) bool { return reflect.DeepEqual(a, b) }
