package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"theseus.dev/probe"
)

// answerWithin bounds how long a request to stop waits for the result. The conductor asks again.
const answerWithin = 5 * time.Second

// ErrAbandoned says that nobody asked for the length of the lease: the probe has ended, and there is no verdict.
var ErrAbandoned = errors.New("nobody asked for the result of the probe")

// Serve runs the probe and answers on l, until ctx ends or the lease runs out. The result can be taken as often as one likes until then.
// It returns the error of ctx, ErrAbandoned, or that of the listener.
func Serve(ctx context.Context, l net.Listener, p *probe.Probe, lease time.Duration) error {
	s := newServer(p, lease)
	web := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(l) }()
	defer web.Close()
	return s.run(ctx, failed)
}

// server is a probe that runs, with what was heard of it.
type server struct {
	*http.ServeMux
	probe *probe.Probe
	lease time.Duration
	asked chan struct{} // somebody did
	ended chan struct{} // closed when result and err are there

	mu     sync.Mutex
	heard  int
	result *probe.Result
	err    error
}

func newServer(p *probe.Probe, lease time.Duration) *server {
	s := &server{ServeMux: http.NewServeMux(), probe: p, lease: lease, asked: make(chan struct{}, 1), ended: make(chan struct{})}
	s.HandleFunc("POST /tell", s.tell)
	s.HandleFunc("POST /stop", s.stop)
	return s
}

func (s *server) run(ctx context.Context, failed <-chan error) error {
	running, give := context.WithCancel(ctx)
	defer give()
	go func() {
		defer close(s.ended)
		s.result, s.err = s.probe.Run(running)
	}()
	left := time.NewTimer(s.lease)
	defer left.Stop()
	for {
		select {
		case <-s.asked:
			left.Reset(s.lease)
		case <-left.C:
			s.probe.Stop()
			<-s.ended // so that its keys are removed
			return fmt.Errorf("%w for %s", ErrAbandoned, s.lease)
		case err := <-failed:
			return fmt.Errorf("serve: %w", err)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// tell hears each note once, in the order of their numbers.
func (s *server) tell(w http.ResponseWriter, r *http.Request) {
	var t told
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&t); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.hear(t)
	s.answer(w)
}

func (s *server) hear(t told) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, n := range t.Notes {
		if t.First+i != s.heard {
			continue // heard before, or after one that is missing
		}
		s.heard++
		if n.Window != "" {
			s.probe.Mark(n.Window, n.Text)
		} else {
			s.probe.Step(n.Text)
		}
	}
}

// stop ends the sending. The ledger is read back then, which takes its time: the answer may be that there is no result yet.
func (s *server) stop(w http.ResponseWriter, r *http.Request) {
	s.probe.Stop()
	t := time.NewTimer(answerWithin)
	defer t.Stop()
	select {
	case <-s.ended:
	case <-t.C:
	case <-r.Context().Done():
	}
	s.answer(w)
}

func (s *server) answer(w http.ResponseWriter) {
	select {
	case s.asked <- struct{}{}:
	default:
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s.state()) // who did not get it asks again
}

func (s *server) state() state {
	s.mu.Lock()
	st := state{Heard: s.heard}
	s.mu.Unlock()
	select {
	case <-s.probe.Running():
		st.Sending = true
	default:
	}
	select {
	case <-s.ended:
	default:
		return st
	}
	st.Ended = true
	if s.err != nil {
		st.Error = s.err.Error()
		return st
	}
	st.Result, st.Tens = s.result, s.result.Tens
	return st
}
