package remote

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"theseus.dev/probe"
	"theseus.dev/probe/probetest"
)

// way is between the two ends: it loses every third request, and every third answer of those that were done.
type way struct {
	to    http.Handler
	tries int
	down  atomic.Bool
}

func (w *way) RoundTrip(q *http.Request) (*http.Response, error) {
	w.tries++
	if w.down.Load() || w.tries%3 == 1 {
		return nil, errors.New("the way is closed")
	}
	answer := httptest.NewRecorder()
	w.to.ServeHTTP(answer, q)
	if w.tries%3 == 2 {
		return nil, errors.New("the answer is lost")
	}
	return answer.Result(), nil
}

// serving is a server of a probe of two members, without a listener.
func serving(t *testing.T, d probe.Driver, lease time.Duration) (*server, chan error) {
	t.Helper()
	p, err := probe.New(d, probe.Options{Rate: 100})
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(p, lease)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { ended <- s.run(ctx, nil) }()
	t.Cleanup(cancel)
	return s, ended
}

// TestConduct: whatever becomes of single requests, each note is heard once and in order, and the result arrives as it was.
func TestConduct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := serving(t, probetest.NewMemory(2, "1.0"), time.Minute)
		c := Conduct(t.Context(), &http.Client{Transport: &way{to: s}}, "http://probe", time.Minute)
		<-c.Sending()
		time.Sleep(12 * time.Second)
		c.Mark(probe.Upgrade, "1.0 → 1.1")
		c.Step("replace m-0")
		time.Sleep(15 * time.Second)
		c.Step("replace m-1")
		c.Mark(probe.Settle, "after")
		time.Sleep(20 * time.Second)
		got, err := c.Stop()
		if err != nil {
			t.Fatal(err)
		}
		var windows, steps []string
		for _, w := range got.Windows {
			windows = append(windows, string(w.Window)+" "+w.Label)
		}
		for _, e := range got.Events {
			if e.Kind == "step" {
				steps = append(steps, e.Text)
			}
		}
		if want := []string{"baseline ", "upgrade 1.0 → 1.1", "settle after"}; !reflect.DeepEqual(windows, want) {
			t.Errorf("windows %q, want %q", windows, want)
		}
		if want := []string{"replace m-0", "replace m-1"}; !reflect.DeepEqual(steps, want) {
			t.Errorf("steps %q, want %q", steps, want)
		}
		sameAs(t, got, s.result)
	})
}

// sameAs compares what arrived with what was measured, judged in the same way too.
func sameAs(t *testing.T, got, want *probe.Result) {
	t.Helper()
	if len(want.Tens) == 0 || !reflect.DeepEqual(text(t, got.Tens), text(t, want.Tens)) {
		t.Errorf("slices of ten seconds %v, want %v", got.Tens, want.Tens)
	}
	if text(t, got) != text(t, want) {
		t.Errorf("got  %s\nwant %s", text(t, got), text(t, want))
	}
	full, err := probe.ProfileNamed("full")
	if err != nil {
		t.Fatal(err)
	}
	if g, w := text(t, probe.Judge(got, full, probe.Facts{}).Levels), text(t, probe.Judge(want, full, probe.Facts{}).Levels); g != w {
		t.Errorf("judged %s\nwant %s", g, w)
	}
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestAbandoned: a probe whose conductor is gone ends, and leaves none of its keys.
func TestAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := probetest.NewMemory(1, "1.0")
		s, ended := serving(t, memory, time.Minute)
		ctx, leave := context.WithCancel(t.Context())
		c := Conduct(ctx, &http.Client{Transport: &way{to: s}}, "http://probe", time.Minute)
		<-c.Sending()
		time.Sleep(5 * time.Minute)
		select {
		case err := <-ended:
			t.Fatalf("it ended while it was asked: %v", err)
		default:
		}
		leave()
		if _, err := c.Stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("the conductor ended with %v", err)
		}
		left := time.Now()
		if err := <-ended; !errors.Is(err, ErrAbandoned) {
			t.Errorf("it ended with %v, want %v", err, ErrAbandoned)
		}
		if d := time.Since(left); d > time.Minute+time.Second {
			t.Errorf("it ended %s after it was left, want a minute", d)
		}
	})
}

// TestNoAnswer: a conductor waits for as long as its patience, and says what was wrong then.
func TestNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := serving(t, probetest.NewMemory(1, "1.0"), 10*time.Minute)
		w := &way{to: s}
		c := Conduct(t.Context(), &http.Client{Transport: w}, "http://probe", time.Minute)
		<-c.Sending()
		w.down.Store(true)
		time.Sleep(30 * time.Second)
		w.down.Store(false)
		time.Sleep(30 * time.Second)
		if isClosed(c.Ended()) {
			t.Fatal("it gave up after half a minute without an answer")
		}
		w.down.Store(true)
		if _, err := c.Stop(); err == nil || !strings.Contains(err.Error(), "the way is closed") {
			t.Errorf("it ended with %v, want what was wrong with the way", err)
		}
	})
}

// TestNotServing: a system that does not serve to begin with is said, and there is no result.
func TestNotServing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := probetest.Spoil(probetest.NewMemory(1, "1.0"))
		d.Set(probetest.Lies{FailEvery: 1})
		s, _ := serving(t, d, time.Hour)
		c := Conduct(t.Context(), &http.Client{Transport: &way{to: s}}, "http://probe", time.Minute)
		<-c.Ended()
		if _, err := c.Stop(); err == nil || !strings.Contains(err.Error(), "keepsakes") {
			t.Errorf("it ended with %v, want that no keepsakes could be written", err)
		}
	})
}

// TestServe answers on a real listener, until it is told to end.
func TestServe(t *testing.T) {
	p, err := probe.New(probetest.NewMemory(1, "1.0"), probe.Options{Rate: 10})
	if err != nil {
		t.Fatal(err)
	}
	l := httptest.NewUnstartedServer(nil).Listener
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, l, p, time.Minute) }()
	c := Conduct(t.Context(), http.DefaultClient, "http://"+l.Addr().String(), time.Minute)
	<-c.Sending()
	if r, err := c.Stop(); err != nil || r.Ledger.Keepsakes == 0 {
		t.Errorf("got %+v, %v", r, err)
	}
	end()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}
