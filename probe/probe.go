// Package probe measures what the clients of a system notice while it is
// upgraded, and turns that into a verdict.
//
// It is an open-loop client: requests are due at a constant rate whatever the
// system does, and latency counts from the time at which a request was due, so
// that a stall is seen by every request that it hit. A ledger of acknowledged
// writes is read back at the end. New makes a Probe from a Driver, Run measures
// until Stop, Mark and Step tell it what the upgrade is doing, Judge compares
// the Result with a Profile, and Verdict.Write leaves verdict.json and
// report.html. docs/probe.md says what every figure means.
//
// The package imports nothing of ours; drivers are in the packages below it.
package probe

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Mix says how requests are spread over the classes: Put of every sum are puts,
// and so on. The order is fixed, so that every class has a constant rate too.
type Mix struct{ Put, Get, ReadYourWrite int }

// Options are the settings of a run. A zero field takes the default named.
type Options struct {
	Rate       float64       // requests a second; 100
	Duration   time.Duration // stop by itself after this; 0 is only by Stop
	Deadline   time.Duration // of one request, from the time at which it is due; 5 s
	TryTimeout time.Duration // of one try of a repeatable request; 1 s
	LookEvery  time.Duration // between two looks at the replicas; 1 s

	// Mix of the classes; 5 puts, 3 gets, 2 read-your-writes.
	Mix Mix

	// MaxInFlight bounds the requests in flight; Rate × Deadline + 100. A
	// request that finds no place is a hole, and a run with holes proves nothing.
	MaxInFlight int

	Keys       int           // keys to begin with; 256
	Keepsakes  int           // keys written once before the baseline; 64
	ValueSize  int           // bytes of a value; 64
	MaxRetired int           // keys that may be given up after unknown outcomes; 500,000
	ReadLimit  time.Duration // for reading back one key; 60 s
	Prefix     string        // of every key; "theseus-probe/<random>/"
}

func (o Options) withDefaults() Options {
	setDefault(&o.Rate, 100)
	setDefault(&o.Deadline, 5*time.Second)
	setDefault(&o.TryTimeout, time.Second)
	setDefault(&o.LookEvery, time.Second)
	setDefault(&o.Mix, Mix{Put: 5, Get: 3, ReadYourWrite: 2})
	setDefault(&o.MaxInFlight, int(o.Rate*o.Deadline.Seconds())+100)
	setDefault(&o.Keys, 256)
	setDefault(&o.Keepsakes, 64)
	setDefault(&o.ValueSize, 64)
	setDefault(&o.MaxRetired, 500_000)
	setDefault(&o.ReadLimit, time.Minute)
	setDefault(&o.Prefix, "theseus-probe/"+randomName()+"/")
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func randomName() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func (o Options) check() error {
	switch {
	case o.Rate < 0 || o.Rate > 100_000:
		return fmt.Errorf("rate %g: want more than 0 and at most 100000 requests a second", o.Rate)
	case o.Mix.Put < 0 || o.Mix.Get < 0 || o.Mix.ReadYourWrite < 0:
		return fmt.Errorf("mix %+v: want no negative share", o.Mix)
	case o.TryTimeout > o.Deadline:
		return fmt.Errorf("try timeout %s: want at most the deadline %s", o.TryTimeout, o.Deadline)
	}
	return nil
}

// Probe is one run. Its methods may be called from any goroutine.
type Probe struct {
	driver Driver
	opts   Options
	ledger *ledger
	order  []Class // one round of the mix

	stop     chan struct{}
	stopOnce sync.Once
	running  chan struct{} // closed when sending begins
	rec      *recorder     // set before running is closed
	looks    *looks
	inFlight chan struct{}
	requests sync.WaitGroup
}

// New prepares a run; nothing is sent before Run.
func New(d Driver, o Options) (*Probe, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("probe options: %w", err)
	}
	if len(d.Endpoints()) == 0 {
		return nil, errors.New("probe: the driver has no endpoints")
	}
	return &Probe{
		driver:   d,
		opts:     o,
		ledger:   newLedger(o.Prefix, o.ValueSize, o.MaxRetired),
		order:    spread(o.Mix),
		stop:     make(chan struct{}),
		running:  make(chan struct{}),
		inFlight: make(chan struct{}, o.MaxInFlight),
	}, nil
}

// spread interleaves the classes of a mix as evenly as they allow.
func spread(m Mix) []Class {
	shares := [classes]int{m.Put, m.Get, m.ReadYourWrite}
	total := m.Put + m.Get + m.ReadYourWrite
	var credit [classes]int
	order := make([]Class, 0, total)
	for range total {
		best := Put
		for c := range shares {
			credit[c] += shares[c]
			if credit[c] > credit[best] {
				best = Class(c)
			}
		}
		credit[best] -= total
		order = append(order, best)
	}
	return order
}

// Run measures until Stop is called or Options.Duration has passed, waits for
// the requests in flight, reads the ledger back and returns what was found.
// When ctx ends first, the run is given up: there is no result and the error
// is that of ctx. Run may be called once.
//
// An error before the first request means that the keepsakes could not be
// written: the system did not serve to begin with.
func (p *Probe) Run(ctx context.Context) (*Result, error) {
	if err := p.writeKeepsakes(ctx); err != nil {
		return nil, fmt.Errorf("write keepsakes: %w", err)
	}
	p.ledger.fill(p.opts.Keys)
	start := time.Now()
	p.rec = newRecorder(start, p.driver.Endpoints(), p.opts.Deadline+p.opts.TryTimeout)
	p.looks = newLooks(p.driver, p.rec, p.opts.LookEvery)
	close(p.running)

	looking, stopLooking := context.WithCancel(ctx)
	var looker sync.WaitGroup
	looker.Go(func() { p.looks.run(looking) })
	end := p.send(ctx, start)
	p.requests.Wait()
	stopLooking()
	looker.Wait()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("measure: %w", context.Cause(ctx))
	}
	return p.finish(ctx, start, end)
}

func (p *Probe) finish(ctx context.Context, start, end time.Time) (*Result, error) {
	read, err := p.readBack(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the ledger back: %w", err)
	}
	res := &Result{
		Run:        p.opts.Prefix,
		Start:      start,
		End:        end,
		Endpoints:  p.driver.Endpoints(),
		Rate:       p.opts.Rate,
		Deadline:   Millis(p.opts.Deadline),
		TryTimeout: Millis(p.opts.TryTimeout),
		Ledger:     read,
	}
	p.rec.fill(res, p.driver.Repeatable)
	res.Replicas = p.looks.result(res.Timeline)
	if c, ok := p.driver.(Cleaner); ok && read.sound() {
		if err := c.Clean(ctx, p.opts.Prefix); err != nil {
			res.Events = append(res.Events, Event{At: time.Now(), Kind: "note", Text: fmt.Sprintf("remove the keys of this run: %v", err)})
		}
	}
	return res, nil
}

// Stop ends the sending. Run then returns the result.
func (p *Probe) Stop() { p.stopOnce.Do(func() { close(p.stop) }) }

// Mark begins a window. The label says which of several, such as
// "3.5.35 → 3.6.16". Before Run sends, marks and steps are ignored.
func (p *Probe) Mark(w Window, label string) {
	if p.sending() {
		p.rec.mark(w, label, time.Now())
	}
}

// Step puts a line on the timeline, such as "replace kv-etcd-0".
func (p *Probe) Step(text string) {
	if p.sending() {
		p.rec.note(Event{At: time.Now(), Kind: "step", Text: text})
	}
}

// Running is closed when the first request is about to be sent.
func (p *Probe) Running() <-chan struct{} { return p.running }

func (p *Probe) sending() bool {
	select {
	case <-p.running:
		return true
	default:
		return false
	}
}

// Progress is a run so far, for a display.
type Progress struct {
	Elapsed  time.Duration
	Window   Window
	Counts          // over all windows
	Holes    int64  // requests not sent
	InFlight int    // now
	Gap      Millis // longest time without any success, all windows
	P99      Millis // of the last full second
}

// Progress may be asked at any time, also before Run.
func (p *Probe) Progress() Progress {
	if !p.sending() {
		return Progress{Window: Baseline}
	}
	return p.rec.progress(time.Now())
}

func (r *recorder) progress(now time.Time) Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	pr := Progress{Elapsed: now.Sub(r.start), Window: r.windowAt(now).kind, Holes: r.holes, InFlight: r.inFlight}
	for _, w := range r.windows {
		for _, c := range w.count {
			pr.Counts.add(c)
		}
	}
	for _, g := range r.all.worst {
		pr.Gap = max(pr.Gap, g.Length)
	}
	pr.Gap = max(pr.Gap, Millis(now.Sub(r.all.last)))
	if n := len(r.seconds.open); n > 1 {
		pr.P99 = micros(r.seconds.open[n-2].hist.ValueAtQuantile(99))
	}
	return pr
}
