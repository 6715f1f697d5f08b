package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"theseus.dev/probe"
)

const (
	// tellEvery is how soon a probe hears of something again, whether there is something to tell or not.
	tellEvery = time.Second
	// oneRequest bounds a request, so that a connection that hangs is given up and another one made.
	oneRequest = 15 * time.Second
)

// Conductor is who tells a probe elsewhere what the upgrade does. Start one, wait for Sending, Mark and Step in any number, then Stop.
// Its methods may be called from any goroutine.
type Conductor struct {
	client *http.Client
	url    string

	sending, ended chan struct{}
	wake           chan struct{} // there is something to tell
	mu             sync.Mutex
	notes          []note // all that were said
	heard          int    // of them
	stopping       bool
	result         *probe.Result
	err            error
}

// Conduct begins to ask a probe at url ("http://host:port", whatever client makes of that) until it has ended, Stop has its result, or ctx
// ends. It goes on while requests fail, for as long as patience: then it has ended too, with the last error.
func Conduct(ctx context.Context, client *http.Client, url string, patience time.Duration) *Conductor {
	c := &Conductor{client: client, url: url, sending: make(chan struct{}), ended: make(chan struct{}), wake: make(chan struct{}, 1)}
	go func() {
		defer close(c.ended)
		c.result, c.err = c.run(ctx, patience)
	}()
	return c
}

// Sending is closed when the probe is measuring.
func (c *Conductor) Sending() <-chan struct{} { return c.sending }

// Ended is closed when there is a result, or never will be.
func (c *Conductor) Ended() <-chan struct{} { return c.ended }

// Mark begins a window.
func (c *Conductor) Mark(w probe.Window, label string) { c.say(note{Window: w, Text: label}) }

// Step puts a line on the timeline.
func (c *Conductor) Step(text string) { c.say(note{Text: text}) }

func (c *Conductor) say(n note) {
	c.mu.Lock()
	c.notes = append(c.notes, n)
	c.mu.Unlock()
	c.hurry()
}

func (c *Conductor) hurry() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Stop ends the measurement and waits for its result: the ledger is read back first.
func (c *Conductor) Stop() (*probe.Result, error) {
	c.mu.Lock()
	c.stopping = true
	c.mu.Unlock()
	c.hurry()
	<-c.ended
	return c.result, c.err
}

func (c *Conductor) run(ctx context.Context, patience time.Duration) (*probe.Result, error) {
	t := time.NewTicker(tellEvery)
	defer t.Stop()
	for well := time.Now(); ; {
		st, err := c.once(ctx)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil && time.Since(well) > patience:
			return nil, fmt.Errorf("the probe does not answer: %w", err)
		case err == nil:
			well = time.Now()
			c.note(st)
		}
		switch {
		case err == nil && st.Error != "":
			return nil, errors.New(st.Error)
		case err == nil && st.Ended:
			st.Result.Tens = st.Tens
			return st.Result, nil
		}
		select {
		case <-t.C:
		case <-c.wake:
		case <-ctx.Done():
		}
	}
}

// note keeps what the probe said of itself.
func (c *Conductor) note(st *state) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = st.Heard
	if st.Sending && !isClosed(c.sending) {
		close(c.sending)
	}
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// once tells what was not heard yet; when all is, and the end is wanted, it asks for that.
func (c *Conductor) once(ctx context.Context) (*state, error) {
	c.mu.Lock()
	t := told{First: c.heard, Notes: c.notes[min(c.heard, len(c.notes)):]}
	stopping := c.stopping
	c.mu.Unlock()
	if stopping && len(t.Notes) == 0 {
		return c.post(ctx, "/stop", nil)
	}
	return c.post(ctx, "/tell", t)
}

func (c *Conductor) post(ctx context.Context, path string, body any) (*state, error) {
	ctx, cancel := context.WithTimeout(ctx, oneRequest)
	defer cancel()
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	r, err := c.client.Do(q)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(r.Body, 1000))
		return nil, fmt.Errorf("%s: %s", r.Status, strings.TrimSpace(string(said)))
	}
	st := &state{}
	if err := json.NewDecoder(r.Body).Decode(st); err != nil {
		return nil, fmt.Errorf("read its answer: %w", err)
	}
	if st.Ended && st.Error == "" && st.Result == nil {
		return nil, errors.New("its answer has neither a result nor an error")
	}
	return st, nil
}
