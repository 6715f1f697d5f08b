// Package probetest has what tests of the probe and of its drivers share: a
// system in memory, ways to sabotage any driver, and the suite that every
// driver must pass.
package probetest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"theseus.dev/probe"
)

// Memory is a linearizable key-value system of several replicas in memory. It
// counts the writes of a key. Use it in a synctest bubble: it takes its time
// by the clock.
type Memory struct {
	latency time.Duration

	mu      sync.Mutex
	members []member
	keys    map[string]*entry
	cleaned []string
}

type member struct {
	down    bool
	frozen  bool
	version string
}

type entry struct {
	value   string
	applied int64
}

// NewMemory makes a system in which each replica runs the version and each
// operation takes 1 ms.
func NewMemory(replicas int, version string) *Memory {
	m := &Memory{latency: time.Millisecond, keys: map[string]*entry{}}
	for range replicas {
		m.members = append(m.members, member{version: version})
	}
	return m
}

// Stop takes a replica down: it refuses everything.
func (m *Memory) Stop(endpoint int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.members[endpoint].down = true
}

// Start brings a replica up with a version.
func (m *Memory) Start(endpoint int, version string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.members[endpoint] = member{version: version}
}

// Freeze makes a replica do what it is told without ever answering, and
// returns how to undo that.
func (m *Memory) Freeze(endpoint int) (thaw func()) {
	set := func(frozen bool) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.members[endpoint].frozen = frozen
	}
	set(true)
	return func() { set(false) }
}

// Cleaned returns the prefixes that were removed.
func (m *Memory) Cleaned() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cleaned
}

// Endpoints implements probe.Driver.
func (m *Memory) Endpoints() []string {
	names := make([]string, len(m.members))
	for i := range names {
		names[i] = fmt.Sprintf("memory-%d", i)
	}
	return names
}

// Repeatable implements probe.Driver.
func (m *Memory) Repeatable(probe.Class) bool { return true }

// Put implements probe.Driver.
func (m *Memory) Put(ctx context.Context, endpoint int, key, value string) error {
	return m.serve(ctx, endpoint, func() {
		e := m.keys[key]
		if e == nil {
			e = &entry{}
			m.keys[key] = e
		}
		e.value = value
		e.applied++
	})
}

// Get implements probe.Driver.
func (m *Memory) Get(ctx context.Context, endpoint int, key string) (v probe.Value, err error) {
	err = m.serve(ctx, endpoint, func() {
		if e := m.keys[key]; e != nil {
			v = probe.Value{Data: e.value, Exists: true, Applied: e.applied}
		}
	})
	return v, err
}

// Look implements probe.Driver.
func (m *Memory) Look(ctx context.Context, endpoint int) (who probe.Member, err error) {
	err = m.serve(ctx, endpoint, func() {
		who = probe.Member{Ready: true, Version: m.members[endpoint].version}
	})
	return who, err
}

// Clean implements probe.Cleaner.
func (m *Memory) Clean(_ context.Context, prefix string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cleaned = append(m.cleaned, prefix)
	for key := range m.keys {
		if strings.HasPrefix(key, prefix) {
			delete(m.keys, key)
		}
	}
	return nil
}

// Close implements probe.Driver.
func (m *Memory) Close() error { return nil }

// serve does the work after the latency, all at once, unless the replica is
// down or the client has gone by then.
func (m *Memory) serve(ctx context.Context, endpoint int, work func()) error {
	if err := wait(ctx, m.latency); err != nil {
		return fmt.Errorf("%w: %w", probe.ErrNotApplied, err)
	}
	if silent, err := m.atOnce(endpoint, work); err != nil || !silent {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func (m *Memory) atOnce(endpoint int, work func()) (silent bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.members[endpoint].down {
		return false, fmt.Errorf("refused: %w", probe.ErrNotApplied)
	}
	work()
	return m.members[endpoint].frozen, nil
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
