package probe

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ledger knows what every key must hold.
//
// The model. A key is lent to one request at a time, so its writes follow one
// another and carry increasing sequence numbers: memory is bounded by the
// number of requests in flight and not by the number of writes. A write whose
// outcome is unknown may still take effect at any later time and would then
// overwrite what came after it; so a key with an unknown try is retired: it is
// never written again, only read back at the end. Memory therefore also grows
// by one key for each request that met an unknown outcome, up to maxRetired.
//
// What a key tells at the end. floor is the highest sequence number that was
// acknowledged to us or seen by a read, so the key must hold at least that.
// Where the system counts the writes of a key (Value.Applied), the count must
// lie between the acknowledged writes and these plus the unknown tries: fewer
// means that an acknowledged write was lost even though a later one covers it,
// more means that a write was applied twice.
type ledger struct {
	prefix     string
	pad        string
	maxRetired int

	mu        sync.Mutex
	next      int64
	free      []*slot // lent in turn, so that writes spread over the keys
	live      []*slot // free and lent ones: what reads choose from
	retired   []*slot
	keepsakes []*slot // written once before the baseline, never touched again
}

// slot is one key.
type slot struct {
	id      int64
	index   int   // in ledger.live; -1 once retired
	sent    int64 // highest sequence number handed out
	floor   int64 // highest sequence number acknowledged or seen
	acked   int64 // writes acknowledged
	unknown int64 // tries whose outcome is unknown
	pending int64 // sequence number of the write that nobody acknowledged, or 0
	stale   int64 // reads that saw less than the floor
	keep    bool  // a keepsake
}

func newLedger(prefix string, valueSize, maxRetired int) *ledger {
	return &ledger{prefix: prefix, pad: strings.Repeat(".", valueSize), maxRetired: maxRetired}
}

// fill makes n keys to begin with.
func (l *ledger) fill(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range n {
		l.free = append(l.free, l.add())
	}
}

func (l *ledger) add() *slot {
	s := &slot{id: l.next, index: len(l.live)}
	l.next++
	l.live = append(l.live, s)
	return s
}

// addKeepsake makes a key that only the caller writes, once.
func (l *ledger) addKeepsake() *slot {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &slot{id: l.next, index: -1, sent: 1, keep: true}
	l.next++
	l.keepsakes = append(l.keepsakes, s)
	return s
}

// lend hands out a key with the next sequence number, or nil when the ledger
// is full of retired keys.
func (l *ledger) lend() (*slot, int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.retired) >= l.maxRetired {
		return nil, 0
	}
	if len(l.free) == 0 {
		l.free = append(l.free, l.add())
	}
	s := l.free[0]
	l.free = l.free[1:]
	s.sent++
	return s, s.sent
}

// settle takes a key back after a write: whether it was acknowledged, and how
// many of its tries have an unknown outcome.
func (l *ledger) settle(s *slot, seq int64, acked bool, unknown int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.unknown += int64(unknown)
	if acked {
		s.acked++
		s.floor = max(s.floor, seq)
	} else if unknown > 0 {
		s.pending = seq
	}
	switch {
	case s.keep:
	case unknown > 0:
		l.retire(s)
	default:
		l.free = append(l.free, s)
	}
}

func (l *ledger) retire(s *slot) {
	last := l.live[len(l.live)-1]
	l.live[s.index], last.index = last, s.index
	l.live = l.live[:len(l.live)-1]
	s.index = -1
	l.retired = append(l.retired, s)
}

// choose picks a key to read and says what a read that starts now must see.
func (l *ledger) choose() (*slot, int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.live) == 0 {
		l.free = append(l.free, l.add())
	}
	s := l.live[rand.IntN(len(l.live))]
	return s, s.floor
}

// sight is what a read turned out to be.
type sight int

const (
	fresh sight = iota
	stale       // older than a write acknowledged, or a value seen, before the read began
	wrong       // not a value that was ever written there
)

// saw judges the answer of a read that had to see at least floor.
func (l *ledger) saw(s *slot, floor int64, v Value) sight {
	seq, ok := l.parse(s, v)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !ok || seq > s.sent:
		return wrong
	case seq < floor:
		s.stale++
		return stale
	}
	s.floor = max(s.floor, seq)
	return fresh
}

func (l *ledger) key(s *slot) string { return l.prefix + strconv.FormatInt(s.id, 10) }

func (l *ledger) value(s *slot, seq int64) string {
	v := l.key(s) + ":" + strconv.FormatInt(seq, 10) + ":"
	if len(v) < len(l.pad) {
		v += l.pad[len(v):]
	}
	return v
}

// parse returns the sequence number in a value, 0 for a key never written.
func (l *ledger) parse(s *slot, v Value) (int64, bool) {
	if !v.Exists {
		return 0, true
	}
	rest, ok := strings.CutPrefix(v.Data, l.key(s)+":")
	if !ok {
		return 0, false
	}
	digits, _, ok := strings.Cut(rest, ":")
	seq, err := strconv.ParseInt(digits, 10, 64)
	return seq, ok && err == nil && v.Data == l.value(s, seq)
}

// LedgerResult is what reading everything back showed.
type LedgerResult struct {
	Keys       int64 `json:"keys"`       // keys read back or tried
	Unread     int64 `json:"unread"`     // keys that could not be read back
	Acked      int64 `json:"acked"`      // writes acknowledged
	Lost       int64 `json:"lost"`       // of these, missing or covered by something older
	Duplicated int64 `json:"duplicated"` // applied more often than they were sent
	Counted    bool  `json:"counted"`    // the system counts writes, so that duplicates can be seen
	Repeated   int64 `json:"repeated"`   // tries with an unknown outcome that were applied beside the acknowledged one
	Wrong      int64 `json:"wrong"`      // keys that hold what was never written there

	Unknown         int64 `json:"unknown"`         // writes that nobody acknowledged and that may have happened
	UnknownFound    int64 `json:"unknownFound"`    // of these, found
	UnknownNotFound int64 `json:"unknownNotFound"` // of these, not found: they did not happen

	Stale       int64 `json:"stale"`       // stale reads of keys that lost nothing
	StaleOfLost int64 `json:"staleOfLost"` // stale reads explained by a lost write of the same key

	Keepsakes     int64 `json:"keepsakes"`     // keys written once before the baseline
	KeepsakesGone int64 `json:"keepsakesGone"` // of these, missing or changed

	Found []string `json:"found,omitempty"` // the first things found wrong, in words
}

func (r *LedgerResult) sound() bool {
	return r.Unread+r.Lost+r.Duplicated+r.Wrong+r.Stale+r.StaleOfLost+r.KeepsakesGone == 0
}

const maxFound = 20

func (r *LedgerResult) find(format string, args ...any) {
	if len(r.Found) < maxFound {
		r.Found = append(r.Found, fmt.Sprintf(format, args...))
	}
}

// account compares one key with what was read back.
func (l *ledger) account(r *LedgerResult, s *slot, v Value) {
	seq, ok := l.parse(s, v)
	if !ok || seq > s.sent {
		r.Wrong++
		r.find("key %s holds %.80q, which was never written there", l.key(s), v.Data)
		return
	}
	lost := l.lost(s, seq, v)
	if lost > 0 {
		r.Lost += lost
		r.StaleOfLost += s.stale
		r.find("key %s holds write %d; write %d was acknowledged or seen, %d acknowledged writes are missing", l.key(s), seq, s.floor, lost)
	} else {
		r.Stale += s.stale
	}
	l.settlePending(r, s, seq)
	if v.Applied > 0 {
		r.Counted = true
		l.countApplied(r, s, seq, v.Applied)
	}
}

func (l *ledger) lost(s *slot, seq int64, v Value) int64 {
	var lost int64
	if seq < s.floor {
		lost = 1
	}
	if counted := v.Applied > 0; counted {
		lost = max(lost, s.acked-v.Applied)
	}
	return lost
}

func (l *ledger) settlePending(r *LedgerResult, s *slot, seq int64) {
	if s.pending == 0 {
		return
	}
	r.Unknown++
	if seq >= s.pending {
		r.UnknownFound++
	} else {
		r.UnknownNotFound++
	}
}

func (l *ledger) countApplied(r *LedgerResult, s *slot, seq, applied int64) {
	if more := applied - s.acked - s.unknown; more > 0 {
		r.Duplicated += more
		r.find("key %s was written %d times; only %d writes were acknowledged and %d are unknown", l.key(s), applied, s.acked, s.unknown)
	}
	expected := s.acked
	if s.pending > 0 && seq >= s.pending {
		expected++
	}
	r.Repeated += max(0, min(applied, s.acked+s.unknown)-expected)
}

// readBack reads every key once more. get is one repeated read; it returns an
// error only when the key could not be read at all.
func (l *ledger) readBack(ctx context.Context, workers int, get func(context.Context, string) (Value, error)) (LedgerResult, error) {
	var r LedgerResult
	var mu sync.Mutex
	var wg sync.WaitGroup
	work := make(chan *slot)
	for range workers {
		wg.Go(func() {
			for s := range work {
				v, err := get(ctx, l.key(s))
				mu.Lock()
				l.enter(&r, s, v, err)
				mu.Unlock()
			}
		})
	}
	for _, s := range l.all() {
		work <- s
	}
	close(work)
	wg.Wait()
	return r, ctx.Err()
}

func (l *ledger) all() []*slot {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := append([]*slot(nil), l.keepsakes...)
	return append(append(all, l.retired...), l.live...)
}

func (l *ledger) enter(r *LedgerResult, s *slot, v Value, err error) {
	r.Keys++
	r.Acked += s.acked
	if s.keep {
		r.Keepsakes++
	}
	if err != nil {
		r.Unread++
		r.find("key %s could not be read back: %v", l.key(s), err)
		return
	}
	before := r.Lost + r.Wrong + r.Duplicated
	l.account(r, s, v)
	if s.keep && r.Lost+r.Wrong+r.Duplicated > before {
		r.KeepsakesGone++
	}
}

// errUnread is returned when a key could not be read back in time.
var errUnread = errors.New("no endpoint answered in time")

// readKey reads one key for the read-back: it asks the endpoints in turn until
// one answers or the limit has passed.
func readKey(ctx context.Context, d Driver, first int, key string, try, limit time.Duration) (Value, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errUnread)
	defer cancel()
	n := len(d.Endpoints())
	for i := 0; ; i++ {
		tryCtx, cancelTry := context.WithTimeout(ctx, try)
		v, err := d.Get(tryCtx, (first+i)%n, key)
		cancelTry()
		if err == nil {
			return v, nil
		}
		if !pause(ctx, backoff(i, n)) {
			return Value{}, fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}
