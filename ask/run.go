package ask

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// How long the end of a program may take: killWait after its group was killed, pipeWait for a process outside of the group that holds its output.
const (
	killWait = 2 * time.Second
	pipeWait = time.Second
)

// runCall starts a program without a shell, in a process group of its own that is gone when the call ends.
type runCall struct {
	path   string
	args   []string
	env    []string
	dir    string
	stdout io.Writer
	exec   Exec // nil: here
	read   reading
}

// Filled are the words of a run and its variables, with their templates filled in.
func (a *Asker) Filled(c *v1alpha1.Call, sc *system.Scope) (words []string, env map[string]string, err error) {
	words = make([]string, len(c.Run))
	for i, template := range c.Run {
		if words[i], err = a.system.Expand(template, sc); err != nil {
			return nil, nil, fmt.Errorf("run[%d]: %w", i, err)
		}
	}
	if env, err = a.expandAll(c.Env, sc); err != nil {
		return nil, nil, fmt.Errorf("env: %w", err)
	}
	return words, env, nil
}

func (a *Asker) newRunCall(c *v1alpha1.Call, t Target, r reading) (*runCall, error) {
	args, env, err := a.Filled(c, t.Scope)
	if err != nil {
		return nil, err
	}
	if t.Exec != nil {
		return &runCall{args: withEnv(args, env), stdout: t.Stdout, exec: t.Exec, read: r}, nil
	}
	path, err := a.Program(args[0])
	if err != nil {
		return nil, fmt.Errorf("run: %w", err)
	}
	return &runCall{path: path, args: args, env: environment(env), dir: t.Dir, stdout: t.Stdout, read: r}, nil
}

// environment is small, so that a program does the same whoever starts Theseus, in a language that expressions can read.
func environment(given map[string]string) []string {
	env := []string{"LC_ALL=C"}
	for _, name := range []string{"PATH", "HOME", "TMPDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	for k, v := range given {
		env = append(env, k+"="+v)
	}
	return env
}

func (c *runCall) String() string { return "run " + filepath.Base(c.args[0]) }
func (c *runCall) close()         {}

func (c *runCall) once(ctx context.Context) (*answer, error) {
	if err := ctx.Err(); err != nil {
		return nil, unsent{err}
	}
	if c.exec != nil {
		return c.onceThere(ctx)
	}
	stdout := c.capture()
	stderr := &capture{keep: maxKept}
	cmd := &exec.Cmd{
		Path: c.path, Args: c.args, Env: c.env, Dir: c.dir,
		Stdout: stdout, Stderr: stderr,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
		WaitDelay:   pipeWait,
	}
	if err := cmd.Start(); err != nil {
		return nil, unsent{err}
	}
	waited := waitGroup(ctx, cmd)
	if err := stdout.close(); err != nil { // it is why the program ended, however it did
		return c.refused(err)
	}
	if waited != nil {
		return nil, waited
	}
	return c.answer(cmd.ProcessState.ExitCode(), stdout.bytes(), stderr.bytes())
}

// refused is the answer of a program whose output could not be taken. An action of which the output is lost has failed.
func (c *runCall) refused(err error) (*answer, error) {
	if !c.read.action {
		return nil, err
	}
	return &answer{fault: "output: " + err.Error()}, nil
}

// capture says where stdout goes: a question's must be whole, an action's is streamed or its end kept.
func (c *runCall) capture() *capture {
	switch {
	case !c.read.action:
		return &capture{keep: maxReply, strict: true}
	case c.stdout != nil:
		return &capture{stream: c.stdout}
	}
	return &capture{keep: maxKept}
}

func (c *runCall) answer(exit int, stdout, stderr []byte) (*answer, error) {
	a := &answer{values: map[string]any{"exit": int64(exit), "stderr": valid(stderr)}}
	if c.read.action {
		a.values["status"] = int64(exit) // an action's expression reads the status of every sort of reply
	}
	if exit != 0 {
		a.fault = fmt.Sprintf("exit code %d%s", exit, excerpt(a.values["stderr"]))
	}
	if c.read.as == v1alpha1.FormatPrometheus {
		if exit != 0 {
			return nil, errors.New(a.fault)
		}
		values, err := c.read.metricsOf(bytes.NewReader(stdout))
		return &answer{values: values}, err
	}
	return a, c.read.into(a.values, bytes.NewReader(stdout), exit == 0)
}

// waitGroup waits for the end of a program, kills its group when ctx ends, and whatever it left behind in any case. An exit
// code is no error; everything else that keeps the outcome or the output from being known is.
func waitGroup(ctx context.Context, cmd *exec.Cmd) error {
	g := &group{pid: cmd.Process.Pid}
	ended := make(chan error, 1)
	go func() { ended <- g.reap(cmd) }()
	select {
	case err := <-ended:
		return exitError(err)
	case <-ctx.Done():
	}
	g.kill()
	select {
	case err := <-ended:
		return exitError(err)
	case <-time.After(killWait):
		return fmt.Errorf("killed, but not ended after %s: %w", killWait, ctx.Err())
	}
}

func exitError(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if s, ok := exit.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return fmt.Errorf("killed by %s", unix.SignalName(s.Signal()))
	}
	return nil
}

// group is the process group of a program that we started.
type group struct {
	mu   sync.Mutex
	pid  int
	gone bool // reaped: the number may belong to someone else
}

func (g *group) kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.gone {
		_ = syscall.Kill(-g.pid, syscall.SIGKILL) // nobody left is as good
	}
}

// reap waits for the leader, kills those that it left, and only then lets go of its number.
func (g *group) reap(cmd *exec.Cmd) error {
	awaitExit(g.pid)
	g.kill()
	g.mu.Lock()
	g.gone = true
	g.mu.Unlock()
	return cmd.Wait()
}

// awaitExit returns when the process has ended, and leaves it as a zombie that still holds its number.
func awaitExit(pid int) {
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}

// capture takes what a program writes, until it is closed.
type capture struct {
	stream io.Writer // gets everything, and nothing is kept
	keep   int       // bytes kept, of the end
	strict bool      // more than keep is an error

	mu     sync.Mutex
	buf    []byte
	err    error
	closed bool
}

var errClosed = errors.New("the call is over")

// Write fails for good after the first error: the program is then ended by a broken pipe.
func (c *capture) Write(p []byte) (int, error) {
	if c.stream != nil {
		return c.forward(p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.strict && len(c.buf)+len(p) > c.keep {
		c.err = tooLarge(c.keep)
	}
	if c.err != nil || c.closed {
		return 0, cmp.Or(c.err, errClosed)
	}
	c.buf = append(c.buf, p...)
	if over := len(c.buf) - c.keep; over > c.keep { // move seldom
		c.buf = append(c.buf[:0], c.buf[over:]...)
	}
	return len(p), nil
}

// forward writes without the lock, so that a writer that hangs cannot keep close from returning.
func (c *capture) forward(p []byte) (int, error) {
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return 0, errClosed
	}
	n, err := c.stream.Write(p)
	if err != nil {
		c.mu.Lock()
		c.err = err
		c.mu.Unlock()
	}
	return n, err
}

// close ends the taking in and returns the error that ended it before.
func (c *capture) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return c.err
}

// bytes returns what is kept.
func (c *capture) bytes() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.buf[max(0, len(c.buf)-c.keep):])
}
