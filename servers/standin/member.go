package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"slices"
	"sync"
	"time"
)

// member is this process's part in the group.
type member struct {
	opts    options
	control *control
	store   *store
	peers   peers
	started time.Time

	mu         sync.Mutex
	complete   bool      // caught up since the start
	readyAt    time.Time // zero while not ready
	leadership leadership
	silent     map[string]time.Time // peers that time out, since when
	lastSeq    uint64               // highest that this process gave to a write
	puts, gets int                  // acknowledged, since the start
}

// leadership is who leads. The higher term counts, and of equal terms the
// lower name, so that members that talk to each other end with the same one.
type leadership struct {
	Term   uint64 `json:"term"`
	Leader string `json:"leader"`
}

func (l leadership) over(o leadership) bool {
	return l.Term > o.Term || l.Term == o.Term && l.Leader < o.Leader
}

// peerState is what a member tells the others about itself.
type peerState struct {
	Ready      bool       `json:"ready"`
	Leadership leadership `json:"leadership"`
}

// status is the answer of GET /status.
type status struct {
	Name    string         `json:"name"`
	Version string         `json:"version"`
	Ready   bool           `json:"ready"`
	Role    string         `json:"role"`   // leader or follower
	Leader  string         `json:"leader"` // empty if there is none
	Term    uint64         `json:"term"`   // rises with every change of the leader
	Settled bool           `json:"settled"`
	Left    int            `json:"left"`    // milliseconds until settled; 0 when settled
	Started int64          `json:"started"` // Unix seconds
	Entries int            `json:"entries"` // keys in this member's folder
	Actions map[string]int `json:"actions"` // name of the action: how often it was called
}

func openMember(opts options, ctl *control) (*member, error) {
	store, err := openStore(opts.data)
	if err != nil {
		return nil, err
	}
	return &member{
		opts: opts, control: ctl, store: store, peers: newPeers(opts.peers), started: time.Now(),
		silent: map[string]time.Time{},
	}, nil
}

// size is the number of members of the group.
func (m *member) size() int { return len(m.opts.peers) + 1 }

// majority is how many members, this one included, a read or write needs.
func (m *member) majority() int { return m.size()/2 + 1 }

// catchUp copies what the others have until this folder has all that was
// acknowledged. While it runs, new writes already arrive here.
//
// A folder that was complete before needs a majority with itself in it. A new
// one cannot be counted, as it may have lost what it acknowledged: it needs so
// many others that every majority, less this member, has one among them; or
// all others, as when a group starts for the first time.
func (m *member) catchUp(ctx context.Context) {
	need := m.majority() - 1
	if !m.store.isJoined() {
		need = m.size() - m.size()/2
	}
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, 500*time.Millisecond) {
		if err := m.copyFrom(ctx, need); err == nil {
			break
		} else if wait > 300*time.Millisecond {
			log.Printf("catch up: %v", err)
		}
		if !sleep(ctx, wait) {
			return
		}
	}
	m.mu.Lock()
	m.complete = true
	m.mu.Unlock()
}

// copyFrom takes over what the peers hold, if all answer, or need of those
// that are complete.
func (m *member) copyFrom(ctx context.Context, need int) error {
	dumps, err := m.peers.dumps(ctx)
	if complete := countJoined(dumps); complete < need && len(dumps) < m.size()-1 {
		return fmt.Errorf("%d peers are complete, %d needed: %w", complete, need, err)
	}
	for _, e := range newest(dumps) {
		if old, ok := m.store.get(e.Key); ok && !e.newerThan(old) {
			continue
		}
		if err := m.store.put(record{Entry: &e}); err != nil {
			return err
		}
	}
	if m.store.isJoined() {
		return nil
	}
	return m.store.put(record{Joined: true})
}

// dump is everything that one member has.
type dump struct {
	Joined  bool    `json:"joined"` // see record
	Entries []entry `json:"entries"`
}

func countJoined(dumps []dump) int {
	n := 0
	for _, d := range dumps {
		if d.Joined {
			n++
		}
	}
	return n
}

// newest keeps of every key the entry that counts.
func newest(dumps []dump) map[string]entry {
	best := map[string]entry{}
	for _, dump := range dumps {
		for _, e := range dump.Entries {
			if old, ok := best[e.Key]; !ok || e.newerThan(old) {
				best[e.Key] = e
			}
		}
	}
	return best
}

// ready tells whether this member takes requests of clients, and since when.
func (m *member) ready() (time.Time, bool) {
	k := m.control.knobs()
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.complete || k.NeverReady || time.Since(m.started) < time.Duration(k.ReadyAfter) {
		m.readyAt = time.Time{}
		return m.readyAt, false
	}
	if m.readyAt.IsZero() {
		m.readyAt = time.Now()
	}
	return m.readyAt, true
}

// crashOnTime ends the process when the knob crashAfterReady says so. It looks
// ten times a second, since the file may change at any time: one stat a look.
func (m *member) crashOnTime() {
	for range time.Tick(100 * time.Millisecond) {
		since, ready := m.ready()
		after := time.Duration(m.control.knobs().CrashAfterReady)
		if ready && after > 0 && time.Since(since) >= after {
			log.Printf("panic: crash %s after ready, as the control file says", after)
			os.Exit(exitCrashed)
		}
	}
}

func (m *member) peerState() peerState {
	_, ready := m.ready()
	m.mu.Lock()
	defer m.mu.Unlock()
	return peerState{Ready: ready, Leadership: m.leadership}
}

// adopt takes over a leadership that this member had not heard of.
func (m *member) adopt(l leadership) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l.over(m.leadership) {
		m.leadership = l
	}
}

// look asks the others who leads and who is ready. If the leader is gone, the
// ready member with the lowest name follows it, provided that a majority is
// ready: else nobody leads.
func (m *member) look(ctx context.Context) (leadership, []string) {
	own := m.peerState()
	states, errs := m.peers.states(ctx)
	best := own.Leadership
	ready := []string{}
	if own.Ready {
		ready = append(ready, m.opts.name)
	}
	for name, s := range states {
		if s.Leadership.over(best) {
			best = s.Leadership
		}
		if s.Ready {
			ready = append(ready, name)
		}
	}
	slices.Sort(ready)
	doubtful := m.doubtful(errs)
	switch {
	case len(ready) < m.majority():
		return leadership{Term: best.Term}, ready
	case slices.Contains(ready, best.Leader):
	case !doubtful[best.Leader]:
		best = leadership{Term: best.Term + 1, Leader: ready[0]}
	}
	m.adopt(best)
	return best, ready
}

// patience is how long a peer may be silent before it counts as gone. One that
// refuses connections is gone at once; one that is only late, because the
// machine is busy, must not lose the leadership for it.
const patience = 2 * time.Second

// doubtful are the peers that did not answer in time and are not yet given up.
func (m *member) doubtful(errs map[string]error) map[string]bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	doubtful := map[string]bool{}
	for name := range m.opts.peers {
		if !isTimeout(errs[name]) {
			delete(m.silent, name)
			continue
		}
		if m.silent[name].IsZero() {
			m.silent[name] = time.Now()
		}
		doubtful[name] = time.Since(m.silent[name]) < patience
	}
	return doubtful
}

// status puts together what is so, and lets the knobs lie about it.
func (m *member) status(ctx context.Context) status {
	k := m.control.knobs()
	lead, _ := m.look(ctx)
	since, ready := m.ready()
	s := status{
		Name: m.opts.name, Version: m.opts.version, Ready: ready, Role: "follower", Leader: lead.Leader, Term: lead.Term,
		Started: m.started.Unix(), Entries: m.store.count(), Actions: m.store.actionCounts(),
	}
	if lead.Leader == m.opts.name {
		s.Role = "leader"
	}
	s.Left = left(k, since, ready)
	s.Settled = ready && s.Left == 0
	if k.AnswerVersion != "" {
		s.Version = k.AnswerVersion
	}
	if k.Role != "" {
		s.Role = k.Role
	}
	if k.Leader != "" {
		s.Leader = k.Leader
	}
	return s
}

// left is how much settling remains, in milliseconds; all of it while the
// member is not ready. Unsettled for ever is a figure that does not fall.
func left(k knobs, since time.Time, ready bool) int {
	if k.NeverSettled {
		return 1000
	}
	rest := time.Duration(k.SettledAfter)
	if ready {
		rest -= time.Since(since)
	}
	return int(max(0, rest).Round(time.Millisecond) / time.Millisecond)
}

// sleep returns false if the context ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
