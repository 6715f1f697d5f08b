package ask

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

const defaultActionTimeout = 30 * time.Second

// Reply is what came back of an action.
type Reply struct {
	// Times is how many calls worked.
	Times int
	// Values of the last reply: status (HTTP, gRPC health, or the exit code, which is also exit) or ok (TCP); text, the last 64 KiB; stderr of
	// a program, the same; json where the whole text is JSON. Nil when there was no reply.
	Values map[string]any
}

// Failed says that an action is known not to have worked: nothing was sent, or the reply says no. It may be
// tried again. Of an action with several times some may have worked: see Reply.Times.
type Failed struct{ Err error }

func (f *Failed) Error() string { return f.Err.Error() }
func (f *Failed) Unwrap() error { return f.Err }

// Unknown says that an action was sent and that nobody knows whether it happened: the time was up, the connection broke, the
// program was killed. Do not count it as failed and do not try it again unless its onUnknown says Repeat: ask the
// members, or stop for a person.
type Unknown struct{ Err error }

func (u *Unknown) Error() string { return u.Err.Error() + " (it is not known whether it happened)" }
func (u *Unknown) Unwrap() error { return u.Err }

// Do does an action to one member, as many times as it says. The error is nil, *Failed or *Unknown; the first
// call that does not work ends the action.
func (a *Asker) Do(ctx context.Context, action *v1alpha1.Action, t Target) (Reply, error) {
	limit := defaultActionTimeout
	if action.Timeout != nil && action.Timeout.Duration > 0 {
		limit = action.Timeout.Duration
	}
	return a.do(ctx, limit, action, t)
}

// Run starts a program once and waits for its end, with templates in args and env: for backup, check and restore. The error is as of Do.
// A program that has not ended after limit is killed with all that it started.
func (a *Asker) Run(ctx context.Context, limit time.Duration, args []string, env map[string]string, t Target) (Reply, error) {
	return a.do(ctx, limit, &v1alpha1.Action{Call: v1alpha1.Call{Run: args, Env: env}}, t)
}

func (a *Asker) do(ctx context.Context, limit time.Duration, action *v1alpha1.Action, t Target) (Reply, error) {
	doing, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c, err := a.prepare(&action.Call, t, reading{action: true})
	if err != nil {
		return Reply{}, &Failed{err}
	}
	defer c.close()
	l := &loop{left: max(1, int(action.Times))}
	l.run(max(1, int(action.Parallel)), func() (map[string]any, error) {
		answer, err := c.once(doing)
		if err != nil {
			return nil, outcome(c, inTime(ctx, doing, limit, err), errors.As(err, new(unsent)))
		}
		return answer.values, a.judge(c, action, answer, t.Scope)
	})
	return l.reply, l.err
}

func outcome(c call, err error, known bool) error {
	err = fmt.Errorf("%s: %w", c, err)
	if known {
		return &Failed{err}
	}
	return &Unknown{err}
}

// judge says whether a call that was replied to worked: by the action's expression, else by what is usual. An expression that cannot be decided
// is unknown, except of a reply that is a usual failure.
func (a *Asker) judge(c call, action *v1alpha1.Action, got *answer, sc *system.Scope) error {
	if action.Expect == "" {
		if got.fault == "" {
			return nil
		}
		return outcome(c, errors.New(got.fault), true)
	}
	with := *sc
	with.Reply = got.values
	yes, why := a.system.Expect(action, &with)
	switch {
	case yes == system.Yes:
		return nil
	case yes == system.Unknown && got.fault == "":
		return outcome(c, fmt.Errorf("expect: %s", why), false)
	case got.fault != "":
		return outcome(c, errors.New(got.fault), true)
	}
	return outcome(c, fmt.Errorf("expect: %s", why), true)
}

// loop makes calls until all are made or one did not work.
type loop struct {
	mu    sync.Mutex
	left  int
	reply Reply
	err   error
}

func (l *loop) run(parallel int, call func() (map[string]any, error)) {
	var workers sync.WaitGroup
	for range min(parallel, l.left, 64) {
		workers.Go(func() {
			for l.next() {
				l.done(call())
			}
		})
	}
	workers.Wait()
}

func (l *loop) next() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left == 0 || l.err != nil {
		return false
	}
	l.left--
	return true
}

// done takes one outcome in. Calls that were under way when one failed are still waited for; an unknown one
// among them makes the whole unknown.
func (l *loop) done(values map[string]any, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.reply.Times++
		if l.err == nil {
			l.reply.Values = values
		}
		return
	}
	if l.err == nil || errors.As(err, new(*Unknown)) && !errors.As(l.err, new(*Unknown)) {
		l.err, l.reply.Values = err, values
	}
}

// signalCall sends a signal to the member's process.
type signalCall struct {
	name   string
	signal syscall.Signal
	send   func(syscall.Signal) error
}

func newSignalCall(name string, t Target) (*signalCall, error) {
	s := unix.SignalNum(name)
	if s == 0 {
		return nil, fmt.Errorf("signal %q: there is no such signal; want a name like SIGHUP", name)
	}
	if t.Signal == nil {
		return nil, fmt.Errorf("signal %s: member %s has no process here", name, t.Scope.M.Name)
	}
	return &signalCall{name, s, t.Signal}, nil
}

func (c *signalCall) String() string { return "signal " + c.name }
func (c *signalCall) close()         {}

func (c *signalCall) once(context.Context) (*answer, error) {
	if err := c.send(c.signal); err != nil {
		return nil, unsent{err}
	}
	return &answer{values: map[string]any{}}, nil
}
