package probe

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// send launches each request when it is due and returns when sending ended.
func (p *Probe) send(ctx context.Context, start time.Time) time.Time {
	interval := float64(time.Second) / p.opts.Rate
	timer := time.NewTimer(0)
	defer timer.Stop()
	var turn [classes]int // of the endpoints, for each class on its own
	for i := 0; ; i++ {
		due := start.Add(time.Duration(float64(i) * interval))
		if p.opts.Duration > 0 && due.Sub(start) >= p.opts.Duration {
			return start.Add(p.opts.Duration)
		}
		if !p.waitUntil(ctx, timer, due) {
			return time.Now()
		}
		class := p.order[i%len(p.order)]
		p.launch(ctx, request{class: class, due: due, endpoint: turn[class] % len(p.rec.byMember)})
		turn[class]++
	}
}

// waitUntil reports false when the run is to end. A time already past does not wait.
func (p *Probe) waitUntil(ctx context.Context, timer *time.Timer, due time.Time) bool {
	timer.Reset(time.Until(due))
	select {
	case <-p.stop:
		return false
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// request is one operation with a deadline.
type request struct {
	class    Class
	due      time.Time
	endpoint int // of the first try
}

func (p *Probe) launch(ctx context.Context, r request) {
	select {
	case p.inFlight <- struct{}{}:
	default:
		p.rec.hole(r.due, "saturated: too many requests in flight")
		return
	}
	p.rec.begin(r.due, time.Since(r.due))
	p.requests.Go(func() {
		defer func() { <-p.inFlight }()
		ctx, cancel := context.WithDeadline(ctx, r.due.Add(p.opts.Deadline))
		defer cancel()
		p.rec.end(p.do(ctx, r))
	})
}

func (p *Probe) do(ctx context.Context, r request) sample {
	s := sample{class: r.class, intended: r.due}
	switch r.class {
	case Put:
		p.put(ctx, r, &s)
	case Get:
		key, floor := p.ledger.choose()
		p.get(ctx, r, key, floor, &s)
	case ReadYourWrite:
		p.readYourWrite(ctx, r, &s)
	}
	s.done = time.Now()
	return s
}

// put makes one write and returns the key that holds it, with the sequence
// number that a read must now see.
func (p *Probe) put(ctx context.Context, r request, s *sample) (*slot, int64) {
	key, seq := p.ledger.lend()
	if key == nil {
		s.unsent = true
		p.rec.hole(r.due, "the ledger is full: too many writes have an unknown outcome")
		return nil, 0
	}
	name, value := p.ledger.key(key), p.ledger.value(key, seq)
	t := p.try(ctx, r, func(ctx context.Context, endpoint int) error {
		return p.driver.Put(ctx, endpoint, name, value)
	})
	p.ledger.settle(key, seq, t.err == nil, t.unknown)
	t.into(s)
	return key, seq
}

func (p *Probe) get(ctx context.Context, r request, key *slot, floor int64, s *sample) {
	name := p.ledger.key(key)
	var v Value
	t := p.try(ctx, r, func(ctx context.Context, endpoint int) (err error) {
		v, err = p.driver.Get(ctx, endpoint, name)
		return err
	})
	t.into(s)
	if t.err == nil {
		s.sight = p.ledger.saw(key, floor, v)
	}
}

// readYourWrite reads through the endpoint after the one that took the write.
func (p *Probe) readYourWrite(ctx context.Context, r request, s *sample) {
	key, seq := p.put(ctx, r, s)
	if !s.ok {
		return
	}
	wrote, firstOK := p.rec.versionOf(s.endpoint), s.firstOK
	r.endpoint = (s.endpoint + 1) % len(p.rec.byMember)
	p.get(ctx, r, key, seq, s)
	s.firstOK = s.firstOK && firstOK
	if s.ok && s.sight == fresh {
		p.looks.across(wrote, p.rec.versionOf(s.endpoint))
	}
}

// tried is what the tries of one operation came to.
type tried struct {
	endpoint int   // of the last try
	err      error // of the last try, nil for success
	firstOK  bool
	unknown  int // tries that may have been applied although they failed
}

func (t tried) into(s *sample) {
	s.endpoint, s.ok, s.firstOK, s.err = t.endpoint, t.err == nil, t.firstOK, t.err
}

// try repeats an operation until it succeeds or its deadline has passed, each
// time through the next endpoint. An operation that is not repeatable has one
// try with all the time there is.
func (p *Probe) try(ctx context.Context, r request, op func(context.Context, int) error) tried {
	t := tried{endpoint: r.endpoint}
	repeatable, timeout := p.driver.Repeatable(r.class), p.opts.TryTimeout
	if !repeatable {
		timeout = p.opts.Deadline
	}
	for i := 0; ; i++ {
		t.endpoint = (r.endpoint + i) % len(p.rec.byMember)
		t.err = p.once(ctx, timeout, t.endpoint, op)
		if t.err == nil {
			t.firstOK = i == 0
			return t
		}
		if !errors.Is(t.err, ErrNotApplied) {
			t.unknown++
		}
		if !repeatable || !pause(ctx, backoff(i, len(p.rec.byMember))) {
			return t
		}
	}
}

func (p *Probe) once(ctx context.Context, timeout time.Duration, endpoint int, op func(context.Context, int) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := op(ctx, endpoint)
	if err == nil {
		return nil
	}
	p.rec.tryFailed(err)
	p.rec.serve(endpoint, "") // perhaps restarting: the next look says what it runs
	return fmt.Errorf("%s: %w", p.driver.Endpoints()[endpoint], err)
}

// backoff is the pause after failed try i: none until every endpoint had its
// turn, then 10 ms doubling up to 160 ms, so that a system that refuses at once
// is not asked thousands of times a second.
func backoff(i, endpoints int) time.Duration {
	round := (i+1)/endpoints - 1
	if (i+1)%endpoints != 0 {
		return 0
	}
	return 10 * time.Millisecond << min(round, 4)
}

// pause waits and reports whether there is time left.
func pause(ctx context.Context, d time.Duration) bool {
	if d == 0 {
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// writeKeepsakes writes the keys that must survive everything untouched.
func (p *Probe) writeKeepsakes(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.opts.ReadLimit)
	defer cancel()
	for i := range p.opts.Keepsakes {
		if err := p.writeKeepsake(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

func (p *Probe) writeKeepsake(ctx context.Context, i int) error {
	s, n := p.ledger.addKeepsake(), len(p.driver.Endpoints())
	unknown := 0
	for try := 0; ; try++ {
		tryCtx, cancel := context.WithTimeout(ctx, p.opts.TryTimeout)
		err := p.driver.Put(tryCtx, (i+try)%n, p.ledger.key(s), p.ledger.value(s, 1))
		cancel()
		if err == nil {
			p.ledger.settle(s, 1, true, unknown)
			return nil
		}
		if !errors.Is(err, ErrNotApplied) {
			unknown++
		}
		if !pause(ctx, backoff(try, n)) {
			return err
		}
	}
}

// readBack reads the whole ledger with a few workers through all endpoints.
// Once a key could not be read within its limit, the others get one round of
// tries each: the system is gone and the run has to end.
func (p *Probe) readBack(ctx context.Context) (LedgerResult, error) {
	var turn atomic.Int64
	var gone atomic.Bool
	return p.ledger.readBack(ctx, 16, func(ctx context.Context, key string) (Value, error) {
		limit := p.opts.ReadLimit
		if gone.Load() {
			limit = p.opts.TryTimeout
		}
		v, err := readKey(ctx, p.driver, int(turn.Add(1)), key, p.opts.TryTimeout, limit)
		if err != nil {
			gone.Store(true)
		}
		return v, err
	})
}

// acrossCounts counts read-your-write requests by the versions they crossed.
type acrossCounts struct {
	mu     sync.Mutex
	counts map[[2]string]int64
}

func (a *acrossCounts) add(wrote, read string) {
	if wrote == "" || read == "" || wrote == read {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.counts[[2]string{wrote, read}]++
}
