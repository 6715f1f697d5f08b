package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"

	"theseus.dev/operator"
)

// quiet is the log of libraries: what they say is in the errors that they return.
func quiet() logr.Logger { return logr.Discard() }

// unreachable is an API server that cannot be reached: nothing was changed.
func unreachable(err error) error {
	return inputNext("look whether kubectl can: kubectl get clusters.theseus.dev", "reach the API server of Kubernetes: %w", err)
}

// passing says whether an error may be gone a moment later.
func passing(err error) bool {
	var e *exitError
	if errors.As(err, &e) {
		err = e.err
	}
	status := apierrors.APIStatus(nil)
	if errors.As(err, &status) {
		return apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsTooManyRequests(err) || apierrors.IsInternalError(err) || apierrors.IsServiceUnavailable(err)
	}
	return noAnswer(err)
}

// noAnswer says whether an error is one of the connection: before the answer, or in the midst of it.
func noAnswer(err error) bool {
	return errors.As(err, new(net.Error)) || errors.Is(err, io.ErrUnexpectedEOF)
}

// denied is how the API server begins a refusal of a webhook.
var denied = regexp.MustCompile(`^admission webhook "[^"]*" denied the request: `)

// problem is an error of the API server as people read it. Nothing was changed.
func (n *namespace) problem(err error) error {
	status := apierrors.APIStatus(nil)
	switch {
	case err == nil, errors.Is(err, context.Canceled), is[*exitError](err), is[*operator.NewerError](err), is[*noClusterError](err):
		return err
	case meta.IsNoMatchError(err):
		return inputNext("install it: helm install theseus charts/theseus --namespace theseus --create-namespace", "Theseus is not installed there (%s): %w", n.where, err)
	case apierrors.IsForbidden(err) && denied.MatchString(err.Error()), apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return inputError(&saidError{denied.ReplaceAllString(err.Error(), ""), err})
	case apierrors.IsForbidden(err):
		return inputNext("ask for that right, or use another --context or --namespace", "%w", &rightError{err})
	case errors.As(err, &status):
		return inputError(err)
	case noAnswer(err):
		return unreachable(err)
	}
	return err
}

// rightError is an act that the person may not do.
type rightError struct{ error }

func (e *rightError) Error() string { return "you may not do that: " + e.error.Error() }
func (e *rightError) Unwrap() error { return e.error }

// saidError is an error in better words.
type saidError struct {
	text  string
	cause error
}

func (e *saidError) Error() string { return e.text }
func (e *saidError) Unwrap() error { return e.cause }

// written is the outcome of a write. Where no answer came, nobody knows whether it was done.
func (n *namespace) written(err error) error {
	var dial *net.OpError
	lost := noAnswer(err) && (!errors.As(err, &dial) || dial.Op != "dial")
	if lost || apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err) || errors.Is(err, context.DeadlineExceeded) {
		return &exitError{code: exitUnknown, err: fmt.Errorf("no answer to the write, and nobody knows whether it was done: %w", err), next: "look: " + n.command("status")}
	}
	return n.problem(err)
}
