package probetest

import (
	"context"
	"errors"
	"sync"
	"time"

	"theseus.dev/probe"
)

// Sabotage is a driver that spoils what passes through it. It is honest until
// Set is called.
type Sabotage struct {
	probe.Driver

	mu   sync.Mutex
	lies Lies
	puts int
	gets int
	ops  int
	old  map[string]probe.Value // the value of each key before the last write through this driver
	now  map[string]probe.Value
}

// Lies say what to spoil; the zero value spoils nothing.
type Lies struct {
	DropEvery      int       // acknowledge each n-th put without doing it
	DuplicateEvery int       // do each n-th put twice
	StaleEvery     int       // answer each n-th get of a rewritten key with what it held before
	FailEvery      int       // refuse each n-th operation, put or get, after doing nothing
	FailUnknown    bool      // those failures do not say whether they had an effect; they have
	StallUntil     time.Time // hold every operation until then
}

// Spoil wraps a driver.
func Spoil(d probe.Driver) *Sabotage {
	return &Sabotage{Driver: d, old: map[string]probe.Value{}, now: map[string]probe.Value{}}
}

// Set changes the lies from now on.
func (s *Sabotage) Set(l Lies) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lies = l
}

var errSpoiled = errors.New("spoiled")

// Put implements probe.Driver.
func (s *Sabotage) Put(ctx context.Context, endpoint int, key, value string) error {
	lies, fail, err := s.enter(ctx)
	if err != nil {
		return err
	}
	if fail && !lies.FailUnknown {
		return errors.Join(errSpoiled, probe.ErrNotApplied)
	}
	n := s.count(&s.puts)
	if nth(n, lies.DropEvery) {
		return nil
	}
	if nth(n, lies.DuplicateEvery) {
		if err := s.Driver.Put(ctx, endpoint, key, value); err != nil {
			return err
		}
	}
	if err := s.Driver.Put(ctx, endpoint, key, value); err != nil {
		return err
	}
	s.remember(key, value)
	if fail {
		return errSpoiled
	}
	return nil
}

// Get implements probe.Driver.
func (s *Sabotage) Get(ctx context.Context, endpoint int, key string) (probe.Value, error) {
	lies, fail, err := s.enter(ctx)
	if err != nil {
		return probe.Value{}, err
	}
	if fail {
		return probe.Value{}, errors.Join(errSpoiled, probe.ErrNotApplied)
	}
	v, err := s.Driver.Get(ctx, endpoint, key)
	if before, rewritten := s.before(key); err == nil && rewritten && nth(s.count(&s.gets), lies.StaleEvery) {
		before.Applied = v.Applied // only the data is old, so that nothing else gives it away
		return before, nil
	}
	return v, err
}

// enter counts an operation, holds it while everything is stalled, and says
// whether it is to fail.
func (s *Sabotage) enter(ctx context.Context) (Lies, bool, error) {
	n := s.count(&s.ops)
	s.mu.Lock()
	lies := s.lies
	s.mu.Unlock()
	if err := wait(ctx, time.Until(lies.StallUntil)); err != nil {
		return lies, false, err
	}
	return lies, nth(n, lies.FailEvery), nil
}

func (s *Sabotage) count(of *int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	*of++
	return *of
}

func nth(n, every int) bool { return every > 0 && n%every == 0 }

func (s *Sabotage) remember(key, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if was, ok := s.now[key]; ok && was.Data != value {
		s.old[key] = was
	}
	s.now[key] = probe.Value{Data: value, Exists: true}
}

func (s *Sabotage) before(key string) (probe.Value, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.old[key]
	return v, ok
}
