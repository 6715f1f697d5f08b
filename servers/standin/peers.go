package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"
)

// peers asks the other members. Everything is asked of all at once.
type peers struct {
	addrs  map[string]string // name to address
	client *http.Client
}

// The limits of one question to one peer.
const (
	stateTimeout = 300 * time.Millisecond
	dataTimeout  = 2 * time.Second
)

func newPeers(addrs map[string]string) peers {
	// Connections are kept: a quorum write must not cost a new one each time.
	transport := &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute}
	return peers{addrs: addrs, client: &http.Client{Transport: transport}}
}

// answer is what one peer said.
type answer[T any] struct {
	name  string
	value T
	err   error
}

// askAll sends one question to every peer; the channel gets an answer from each.
func askAll[T any](ctx context.Context, p peers, limit time.Duration, path string, question any) <-chan answer[T] {
	answers := make(chan answer[T], len(p.addrs))
	for name, addr := range p.addrs {
		go func() {
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			value, err := ask[T](ctx, p.client, "http://"+addr+path, question)
			answers <- answer[T]{name, value, err}
		}()
	}
	return answers
}

// ask posts the question as JSON and reads the answer as JSON.
func ask[T any](ctx context.Context, client *http.Client, url string, question any) (T, error) {
	var value T
	body, err := json.Marshal(question)
	if err != nil {
		return value, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return value, err
	}
	response, err := client.Do(request)
	if err != nil {
		return value, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return value, fmt.Errorf("%s: %s", url, response.Status)
	}
	return value, json.NewDecoder(response.Body).Decode(&value)
}

// gather waits for need good answers, or until so many cannot come any more.
// The questions that are still under way go on: their context is the caller's.
func gather[T any](answers <-chan answer[T], asked, need int) ([]T, error) {
	values, failed := []T{}, []error{}
	for len(values) < need {
		if asked-len(failed) < need {
			return nil, fmt.Errorf("%d of %d peers answer, %d needed: %w", len(values), asked, need, errors.Join(failed...))
		}
		a := <-answers
		if a.err != nil {
			failed = append(failed, a.err)
			continue
		}
		values = append(values, a.value)
	}
	return values, nil
}

// states asks every peer how it is, and waits for all.
func (p peers) states(ctx context.Context) (map[string]peerState, map[string]error) {
	states, errs := map[string]peerState{}, map[string]error{}
	answers := askAll[peerState](ctx, p, stateTimeout, "/peer/state", nil)
	for range p.addrs {
		a := <-answers
		if a.err != nil {
			errs[a.name] = a.err
			continue
		}
		states[a.name] = a.value
	}
	return states, errs
}

// dumps asks every peer for all its entries, and waits for each that will
// answer. The error names those that did not; what the others said stands.
func (p peers) dumps(ctx context.Context) ([]dump, error) {
	dumps, failed := []dump{}, []error{}
	answers := askAll[dump](ctx, p, dataTimeout, "/peer/dump", nil)
	for range p.addrs {
		a := <-answers
		if a.err != nil {
			failed = append(failed, a.err)
			continue
		}
		dumps = append(dumps, a.value)
	}
	return dumps, errors.Join(failed...)
}

// newestOf returns the entries that need peers have for the key; one that has
// none answers with the zero entry.
func (p peers) newestOf(ctx context.Context, key string, need int) ([]entry, error) {
	return gather(askAll[entry](ctx, p, dataTimeout, "/peer/get", key), len(p.addrs), need)
}

// storeOn returns when need peers have the entry on disk. The rest get it too,
// if they can: so the context must outlive the request of the client.
func (p peers) storeOn(ctx context.Context, e entry, need int) error {
	_, err := gather(askAll[bool](ctx, p, dataTimeout, "/peer/put", e), len(p.addrs), need)
	return err
}

// tellLeader spreads a leadership to whoever can be reached.
func (p peers) tellLeader(ctx context.Context, l leadership) {
	answers := askAll[bool](ctx, p, stateTimeout, "/peer/leader", l)
	for range p.addrs {
		<-answers
	}
}

func isTimeout(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || os.IsTimeout(err)
}
