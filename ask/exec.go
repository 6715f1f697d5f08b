package ask

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
)

// Exec runs a program where a member is, as in a container, and waits for its end. It returns its exit code; an error where that is not known, or
// *NotStarted. A program may go on there when ctx ends here.
type Exec func(ctx context.Context, args []string, stdout, stderr io.Writer) (exit int, err error)

// NotStarted is the error of an Exec whose program surely did not start.
type NotStarted struct{ Err error }

func (n *NotStarted) Error() string { return n.Err.Error() }
func (n *NotStarted) Unwrap() error { return n.Err }

// withEnv gives a program its environment by another program that every usual image has: there is no other way into a container.
func withEnv(args []string, env map[string]string) []string {
	if len(env) == 0 {
		return args
	}
	all := []string{"env"}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		all = append(all, name+"="+env[name])
	}
	return append(all, args...)
}

func (c *runCall) onceThere(ctx context.Context) (*answer, error) {
	stdout, stderr := c.capture(), &capture{keep: maxKept}
	exit, err := c.exec(ctx, c.args, stdout, stderr)
	if lost := stdout.close(); lost != nil {
		return c.refused(lost)
	}
	switch {
	case errors.As(err, new(*NotStarted)):
		return nil, unsent{err}
	case err != nil:
		return nil, err
	}
	return c.answer(exit, stdout.bytes(), stderr.bytes())
}
