package probe_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"theseus.dev/probe"
	"theseus.dev/probe/probetest"
)

// odd changes some methods of a driver.
type odd struct {
	probe.Driver
	put        func(ctx context.Context, endpoint int, key, value string) error
	repeatable bool
}

func (o odd) Repeatable(probe.Class) bool { return o.repeatable }

func (o odd) Put(ctx context.Context, endpoint int, key, value string) error {
	if o.put == nil {
		return o.Driver.Put(ctx, endpoint, key, value)
	}
	return o.put(ctx, endpoint, key, value)
}

func run(t *testing.T, d probe.Driver, o probe.Options) *probe.Result {
	t.Helper()
	p, err := probe.New(d, o)
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Run(t.Context())
	if err != nil {
		t.Fatalf("run: %v", err)
	}
	return r
}

func TestOpenLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := probetest.Spoil(probetest.NewMemory(1, "1.0"))
		go func() {
			time.Sleep(2 * time.Second)
			s.Set(probetest.Lies{StallUntil: time.Now().Add(800 * time.Millisecond)})
		}()
		r := run(t, s, probe.Options{Rate: 100, Duration: 10 * time.Second, Mix: probe.Mix{Get: 1}})
		c := r.Class(probe.Baseline, probe.Get)
		if c.Requests != 1000 {
			t.Errorf("%d requests in 10 s at 100 a second, want 1000 whatever the system does", c.Requests)
		}
		// 80 of 1000 requests were due in the stall and waited for what was left
		// of it: evenly spread, 90 % of all took 1 ms and 1 % more than 700 ms.
		if c.Latency.P90 > probe.Millis(2*time.Millisecond) || c.Latency.P99 < probe.Millis(650*time.Millisecond) || c.Latency.Max < probe.Millis(780*time.Millisecond) {
			t.Errorf("latency %+v, want p90 1 ms, p99 about 700 ms, slowest about 800 ms", c.Latency)
		}
	})
}

func TestSaturationIsAHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := probetest.Spoil(probetest.NewMemory(1, "1.0"))
		go func() {
			time.Sleep(2 * time.Second)
			s.Set(probetest.Lies{StallUntil: time.Now().Add(time.Second)})
		}()
		r := run(t, s, probe.Options{Rate: 100, Duration: 5 * time.Second, MaxInFlight: 20})
		k := r.Keeping
		if k.MaxInFlight > 20 || k.Holes < 70 {
			t.Errorf("%+v, want at most 20 in flight and about 80 holes", k)
		}
		if total := r.Totals[probe.Baseline].Requests + k.Holes; total != 500 {
			t.Errorf("requests and holes are %d, want the 500 that were due", total)
		}
	})
}

func TestClientsThatNeverRepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := probetest.Spoil(probetest.NewMemory(3, "1.0"))
		s.Set(probetest.Lies{FailEvery: 10})
		r := run(t, odd{Driver: s}, probe.Options{Rate: 100, Duration: 10 * time.Second, Keepsakes: 1, Mix: probe.Mix{Put: 1}})
		c := r.Class(probe.Baseline, probe.Put)
		if c.Failed < 90 || c.Failed != c.FailedFirst || c.Judged() != c.FailedFirst {
			t.Errorf("failed %d, first %d, judged %d; want about 100, all the same", c.Failed, c.FailedFirst, c.Judged())
		}
	})
}

// A write that was given up may still happen, long after. The key that it
// writes must not be in use any more.
func TestLateWriteIsNotALoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := probetest.NewMemory(1, "1.0")
		var late sync.WaitGroup
		var mu sync.Mutex
		puts := 0
		delayed := func(ctx context.Context, endpoint int, key, value string) error {
			mu.Lock()
			puts++
			delay := puts > 100 && puts%10 == 0
			mu.Unlock()
			if !delay {
				return m.Put(ctx, endpoint, key, value)
			}
			late.Go(func() {
				time.Sleep(3 * time.Second)
				_ = m.Put(context.Background(), endpoint, key, value)
			})
			<-ctx.Done()
			return ctx.Err()
		}
		r := run(t, odd{Driver: m, put: delayed, repeatable: true}, probe.Options{Rate: 100, Duration: 10 * time.Second, Keys: 10, Keepsakes: 1})
		late.Wait()
		l := r.Ledger
		if l.Lost != 0 || l.Duplicated != 0 || l.Stale != 0 || l.Wrong != 0 {
			t.Errorf("ledger %+v, want nothing lost, duplicated, stale or wrong", l)
		}
		if l.Repeated == 0 {
			t.Error("no late write was counted as repeated, want some")
		}
	})
}

func TestTimeoutsAreSettled(t *testing.T) {
	for _, tt := range []struct {
		name  string
		apply bool
	}{{"they had happened", true}, {"they had not", false}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := probetest.NewMemory(1, "1.0")
				silent := func(ctx context.Context, endpoint int, key, value string) error {
					if strings.Contains(value, ":1:") { // the keepsakes, and the first write of each key
						return m.Put(ctx, endpoint, key, value)
					}
					if tt.apply {
						_ = m.Put(ctx, endpoint, key, value)
					}
					<-ctx.Done()
					return ctx.Err()
				}
				r := run(t, odd{Driver: m, put: silent}, probe.Options{Rate: 20, Duration: 2 * time.Second, Keys: 10, Mix: probe.Mix{Put: 1}})
				l := r.Ledger
				found, notFound := l.Unknown, int64(0)
				if !tt.apply {
					found, notFound = 0, l.Unknown
				}
				if l.Unknown == 0 || l.UnknownFound != found || l.UnknownNotFound != notFound || l.Lost != 0 {
					t.Errorf("ledger %+v; want some unknown, %d found, %d not, none lost", l, found, notFound)
				}
			})
		})
	}
}

func TestDeadSystem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := probetest.NewMemory(2, "1.0")
		m.Stop(0)
		m.Stop(1)
		p, err := probe.New(m, probe.Options{ReadLimit: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Run(t.Context()); !errors.Is(err, probe.ErrNotApplied) || !strings.Contains(err.Error(), "keepsakes") {
			t.Errorf("%v, want that the keepsakes were refused", err)
		}
	})
}

// A system that dies and stays dead ends the run: unread is not lost.
func TestSystemDiesForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := probetest.NewMemory(1, "1.0")
		go func() {
			time.Sleep(5 * time.Second)
			m.Stop(0)
		}()
		r := run(t, m, probe.Options{Rate: 50, Duration: 10 * time.Second})
		if l := r.Ledger; l.Unread != l.Keys || l.Lost != 0 {
			t.Errorf("%d of %d unread, %d lost; want all and none", l.Unread, l.Keys, l.Lost)
		}
		if len(m.Cleaned()) != 0 {
			t.Error("the keys of a run that proves nothing were removed")
		}
		if gap := r.Gap("all", probe.Baseline); gap.Length < probe.Millis(4900*time.Millisecond) {
			t.Errorf("gap %s, want the 5 s to the end", gap.Length)
		}
	})
}

func TestGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		p, err := probe.New(probetest.NewMemory(1, "1.0"), probe.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := p.Run(ctx); r != nil || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, %v; want no result and the error of the context", r, err)
		}
	})
}

func TestWindowsAndProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := probetest.NewMemory(3, "1.0")
		p, err := probe.New(m, probe.Options{Rate: 100})
		if err != nil {
			t.Fatal(err)
		}
		p.Mark(probe.Upgrade, "too early")
		go func() {
			<-p.Running()
			for i, w := range []probe.Window{probe.Upgrade, probe.Settle, probe.Upgrade, probe.Settle} {
				time.Sleep(time.Duration(i+1) * time.Second)
				p.Mark(w, "")
			}
			synctest.Wait()
			if pr := p.Progress(); pr.Window != probe.Settle || pr.Requests < 990 || pr.Failed != 0 {
				t.Errorf("progress %+v, want about 1000 requests, settle", pr)
			}
			time.Sleep(time.Second)
			p.Stop()
			p.Stop()
		}()
		r, err := p.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []int64{100, 200, 300, 400, 100} { // the requests due in 1, 2, 3, 4 and 1 s
			if got := r.Windows[i].Requests; got < want-2 || got > want+2 {
				t.Errorf("window %d (%s): %d requests, want about %d", i, r.Windows[i].Window, got, want)
			}
		}
		if got := r.Lasted(probe.Upgrade); got != 6*time.Second {
			t.Errorf("upgrade windows lasted %s together, want 6 s", got)
		}
		if len(m.Cleaned()) != 1 {
			t.Error("the keys of a sound run were not removed")
		}
	})
}

func TestNewRefuses(t *testing.T) {
	m := probetest.NewMemory(1, "1.0")
	for _, tt := range []struct {
		name string
		d    probe.Driver
		o    probe.Options
		want string
	}{
		{"no endpoints", probetest.NewMemory(0, ""), probe.Options{}, "no endpoints"},
		{"negative rate", m, probe.Options{Rate: -1}, "rate -1"},
		{"absurd rate", m, probe.Options{Rate: 1e6}, "rate 1e+06"},
		{"negative share", m, probe.Options{Mix: probe.Mix{Put: -1}}, "mix"},
		{"tries longer than the deadline", m, probe.Options{Deadline: time.Second, TryTimeout: 2 * time.Second}, "try timeout 2s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := probe.New(tt.d, tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want an error with %q", err, tt.want)
			}
		})
	}
}
