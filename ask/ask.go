// Package ask puts one question or does one action to one member: by HTTP, gRPC
// health, TCP, a program or a signal. Everything is bounded in time and size, and
// answers are plain values that expressions read.
//
// It keeps the two halves of "no" apart. A question without an answer is an error
// and never a value, so that an expression that needs it is unknown. An action
// that is known not to have worked is *Failed, one of which nobody knows is *Unknown.
//
// Secrets and keys are read from files when they are needed; they are in no error.
package ask

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// Bounds of questions. A reply beyond its bound is no answer.
const (
	defaultQuestionTimeout = 2 * time.Second
	maxQuestionTimeout     = 30 * time.Second
	maxReply               = 1 << 20
	maxMetrics             = 8 << 20
)

// Asker asks and acts. Set its fields before the first use; after that it is safe
// for concurrent use. Connections of questions are kept for the next look, at most
// four for each address and 30 seconds; those of an action last as long as the action.
type Asker struct {
	// Credentials by the name that calls refer to.
	Credentials map[string]v1alpha1.Credentials
	// Dial opens every connection. Default: a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// ReadFile reads the files that credentials and TLS name. Default: os.ReadFile, and what is TLS only when a file has changed.
	ReadFile func(name string) ([]byte, error)
	// Program finds the program that a run names. Default: exec.LookPath.
	Program func(name string) (path string, err error)

	system Expander
	slots  chan struct{} // questions of All at once
	runs   chan struct{} // of these, programs

	mu         sync.Mutex
	identities map[tlsFiles]*identity
}

// Expander is what Asker needs of a compiled System.
type Expander interface {
	// Expand fills a template in; an unknown value in it is an error.
	Expand(template string, sc *system.Scope) (string, error)
	// MetricsOf lists the metrics that expressions read of a component's question; nil means all.
	MetricsOf(component, question string) []string
	// Expect says whether an action that has an expression worked, by it and sc.Reply, and why not.
	Expect(a *v1alpha1.Action, sc *system.Scope) (system.Answer, string)
}

// Target is the member that is spoken to, and what a call to it may use.
type Target struct {
	// Scope that templates see; Scope.M is the member. It is read and never changed.
	Scope *system.Scope
	// Dir is the working directory of a program.
	Dir string
	// Stdout gets what a program of an action writes to its standard output, as it comes; a write error ends the
	// program and the action has failed. Without it the end of the output is kept as text.
	Stdout io.Writer
	// Exec runs the programs of calls where the member is. Nil: they run here.
	Exec Exec
	// Signal sends a signal to the member's process, after seeing that it is still the same process. Nil: this
	// member has no process here.
	Signal func(syscall.Signal) error
}

// Look is what one member answered. Each question is in exactly one of the two maps.
type Look struct {
	Answers system.Answers
	// Missing says why there is no answer.
	Missing map[string]error
}

// Why says for people why questions have no answer, in the order of their names. A member that is down fails all of them alike: those with the same cause
// share a line, with the words of the first.
func (l Look) Why() string {
	var lines []string
	words, questions := map[string]error{}, map[string][]string{}
	for _, question := range slices.Sorted(maps.Keys(l.Missing)) {
		err := l.Missing[question]
		cause := root(err)
		if words[cause] == nil {
			words[cause], lines = err, append(lines, cause)
		}
		questions[cause] = append(questions[cause], question)
	}
	for i, cause := range lines {
		lines[i] = fmt.Sprintf("no answer to %s: %v", strings.Join(questions[cause], ", "), words[cause])
	}
	return strings.Join(lines, "\n")
}

// root is the innermost error's text.
func root(err error) string {
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return err.Error()
}

// New returns an Asker for members of one System.
func New(s Expander) *Asker {
	return &Asker{
		Dial:       (&net.Dialer{}).DialContext,
		Program:    exec.LookPath,
		system:     s,
		slots:      make(chan struct{}, 256),
		runs:       make(chan struct{}, 16),
		identities: make(map[tlsFiles]*identity),
	}
}

// Close closes the connections that are kept. The Asker can be used further.
func (a *Asker) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range a.identities {
		id.transport.CloseIdleConnections()
	}
}

// Question asks one question, called name in the member's component. The answer is, by format and way:
//
//   - JSON: a map of status (HTTP), exit and stderr (run) or ok (TCP), text, and json. HTTP errors may have no json.
//   - Text: the same without json.
//   - Prometheus: a map of metric name to float64, summed over label sets, of those that expressions read. One that is not finite is absent.
//   - gRPC health: a map of status, such as SERVING.
//
// Numbers are int64 where they are whole (uint64 beyond), else float64. An HTTP
// status other than 2xx is an answer, except of metrics. No answer is an error,
// which errors.Is context.DeadlineExceeded when the time was up.
func (a *Asker) Question(ctx context.Context, name string, q *v1alpha1.Question, t Target) (any, error) {
	if q.Signal != "" {
		return nil, fmt.Errorf("signal %s: a question cannot send a signal; make it an action", q.Signal)
	}
	limit := questionTimeout(q)
	asking, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c, err := a.prepare(&q.Call, t, a.reading(name, q, t))
	if err != nil {
		return nil, err
	}
	defer c.close()
	answer, err := c.once(asking)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c, inTime(ctx, asking, limit, err))
	}
	return answer.values, nil
}

// All asks every target every question at once and returns the looks by member
// name. It ends when the longest timeout of a question is over, whoever is silent.
func (a *Asker) All(ctx context.Context, questions map[string]v1alpha1.Question, targets []Target) map[string]Look {
	ctx, cancel := context.WithTimeout(ctx, longest(questions))
	defer cancel()
	looks := make(map[string]Look, len(targets))
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, t := range targets {
		look := Look{Answers: system.Answers{}, Missing: map[string]error{}}
		looks[t.Scope.M.Name] = look
		for name, q := range questions {
			all.Go(func() {
				v, err := a.inTurn(ctx, name, &q, t)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					look.Missing[name] = err
					return
				}
				look.Answers[name] = v
			})
		}
	}
	all.Wait()
	return looks
}

// inTurn asks when there is a free slot, so that a big cluster does not open all its sockets and programs at once.
func (a *Asker) inTurn(ctx context.Context, name string, q *v1alpha1.Question, t Target) (any, error) {
	slots := a.slots
	if len(q.Run) > 0 {
		slots = a.runs
	}
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return nil, fmt.Errorf("not asked, other questions took the time: %w", ctx.Err())
	}
	return a.Question(ctx, name, q, t)
}

func questionTimeout(q *v1alpha1.Question) time.Duration {
	if q.Timeout == nil || q.Timeout.Duration <= 0 {
		return defaultQuestionTimeout
	}
	return min(q.Timeout.Duration, maxQuestionTimeout)
}

func longest(questions map[string]v1alpha1.Question) time.Duration {
	var d time.Duration
	for _, q := range questions {
		d = max(d, questionTimeout(&q))
	}
	return d
}

// reading says how the answer to q becomes values.
func (a *Asker) reading(name string, q *v1alpha1.Question, t Target) reading {
	r := reading{as: q.As}
	if r.as == "" {
		r.as = v1alpha1.FormatText
		if q.Get != "" || q.Post != "" || q.Put != "" {
			r.as = v1alpha1.FormatJSON
		}
	}
	if r.as == v1alpha1.FormatPrometheus {
		r.metrics = a.system.MetricsOf(t.Scope.M.Component, name)
	}
	return r
}

// call is one way to speak to a member, prepared: templates filled in, files read.
type call interface {
	// String names the call in errors; no secrets and no arguments.
	String() string
	// once makes the call. An error that is unsent is known not to have reached the member.
	// It may be called many times at once.
	once(context.Context) (*answer, error)
	close()
}

// answer is what came back.
type answer struct {
	values map[string]any
	// fault says why the call did not work, when no expression says what working means.
	fault string
}

// unsent wraps an error that came before anything could reach the member.
type unsent struct{ error }

func (u unsent) Unwrap() error { return u.error }

func (a *Asker) prepare(c *v1alpha1.Call, t Target, r reading) (call, error) {
	if t.Scope == nil || t.Scope.M == nil {
		return nil, errors.New("there is no member to speak to")
	}
	switch {
	case c.Get != "":
		return a.newHTTPCall(http.MethodGet, c.Get, c, t, r)
	case c.Post != "":
		return a.newHTTPCall(http.MethodPost, c.Post, c, t, r)
	case c.Put != "":
		return a.newHTTPCall(http.MethodPut, c.Put, c, t, r)
	case c.GRPCHealth != nil:
		return a.newHealthCall(c.GRPCHealth, t)
	case c.TCP != nil:
		return a.newTCPCall(c.TCP, t, r)
	case len(c.Run) > 0:
		return a.newRunCall(c, t, r)
	case c.Signal != "":
		return newSignalCall(c.Signal, t)
	}
	return nil, errors.New("nothing to do: give one of get, post, put, grpcHealth, tcp, run and signal")
}

// expandAll fills every value of a map of templates in.
func (a *Asker) expandAll(templates map[string]string, sc *system.Scope) (map[string]string, error) {
	filled := make(map[string]string, len(templates))
	for k, template := range templates {
		v, err := a.system.Expand(template, sc)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k, err)
		}
		filled[k] = v
	}
	return filled, nil
}

// late is the error when the time of a call was up.
type late time.Duration

func (l late) Error() string     { return "no answer within " + time.Duration(l).String() }
func (l late) Is(err error) bool { return err == context.DeadlineExceeded }

// inTime replaces the many ways in which a library says that the time was up by one. An
// error that came while the caller gave up keeps the caller's reason.
func inTime(caller, ours context.Context, limit time.Duration, err error) error {
	switch {
	case caller.Err() != nil:
		return caller.Err()
	case ours.Err() != nil:
		return late(limit)
	}
	return err
}
