package ask

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// outcomeOf names what an action's error says.
func outcomeOf(err error) string {
	switch {
	case err == nil:
		return "worked"
	case errors.As(err, new(*Failed)):
		return "failed"
	case errors.As(err, new(*Unknown)):
		return "unknown"
	}
	return fmt.Sprintf("neither failed nor unknown: %v", err)
}

func TestHTTPOutcomes(t *testing.T) {
	expect := func(a system.Answer) words {
		return words{expect: func(map[string]any) (system.Answer, string) { return a, "reply.json.ok is missing" }}
	}
	status := func(n int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(n)
			io.WriteString(w, "first line\nnot leader\n")
		}
	}
	breakOff := func(head string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			io.WriteString(conn, head)
			conn.Close()
		}
	}
	tests := []struct {
		name   string
		server http.HandlerFunc
		words  words
		expect string
		want   string
		err    string
	}{
		{name: "200", server: status(200), want: "worked"},
		{name: "204", server: status(204), want: "worked"},
		{name: "307", server: status(307), want: "failed", err: "HTTP status 307: not leader"},
		{name: "404", server: status(404), want: "failed", err: "HTTP status 404: not leader"},
		{name: "503", server: status(503), want: "failed", err: "HTTP status 503"},
		{name: "closed without a reply", server: breakOff(""), want: "unknown", err: "EOF"},
		{name: "closed within a good reply", server: breakOff("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), want: "unknown", err: "unexpected EOF"},
		{name: "closed within a refusal", server: breakOff("HTTP/1.1 404 No\r\nContent-Length: 9\r\n\r\nabc"), want: "failed", err: "HTTP status 404"},
		{name: "no HTTP", server: breakOff("-ERR\r\n\r\n"), want: "unknown", err: "malformed HTTP response"},
		{name: "expected", server: status(409), words: expect(system.Yes), expect: "e", want: "worked"},
		{name: "not expected", server: status(200), words: expect(system.No), expect: "e", want: "failed", err: "expect: reply.json.ok is missing"},
		{name: "expectation undecided", server: status(200), words: expect(system.Unknown), expect: "e", want: "unknown", err: "expect: reply.json.ok is missing"},
		{name: "expectation undecided of a refusal", server: status(404), words: expect(system.Unknown), expect: "e", want: "failed", err: "HTTP status 404"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			action := &v1alpha1.Action{Call: v1alpha1.Call{Post: ":client/x", Body: "{}"}, Expect: test.expect}
			_, err := asker(t, test.words).Do(t.Context(), action, to(serve(t, test.server)))
			if outcomeOf(err) != test.want {
				t.Fatalf("got %v, want %s", err, test.want)
			}
			if err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("got %v, want %q in it", err, test.err)
			}
		})
	}
}

func TestReplyOfAnAction(t *testing.T) {
	long := strings.Repeat("a", maxKept) + strings.Repeat("b", maxKept)
	tests := map[string]map[string]any{
		`{"ok":true}`:                   {"status": int64(200), "text": `{"ok":true}`, "json": map[string]any{"ok": true}},
		"prose":                         {"status": int64(200), "text": "prose"},
		long:                            {"status": int64(200), "text": strings.Repeat("b", maxKept)},
		strings.Repeat("c", maxReply+1): {"status": int64(200), "text": strings.Repeat("c", maxKept)},
	}
	for body, want := range tests {
		m := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) })
		scope := &system.Scope{M: m}
		var seen map[string]any
		w := words{expect: func(reply map[string]any) (system.Answer, string) { seen = reply; return system.Yes, "" }}
		action := &v1alpha1.Action{Call: v1alpha1.Call{Post: ":client/x"}, Expect: "e"}
		got, err := asker(t, w).Do(t.Context(), action, Target{Scope: scope})
		if err != nil || got.Times != 1 || !reflect.DeepEqual(got.Values, want) || !reflect.DeepEqual(seen, want) {
			t.Errorf("body of %d bytes: got %.200v, %v, want %.200v", len(body), got, err, want)
		}
		if scope.Reply != nil {
			t.Error("the caller's scope was changed")
		}
	}
}

func TestManyTimes(t *testing.T) {
	var requests atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	var connections atomic.Int64
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	action := &v1alpha1.Action{Call: v1alpha1.Call{Post: ":client/x", Body: "{}"}, Times: 5000, Parallel: 16}
	got, err := asker(t, words{}).Do(t.Context(), action, to(at(t, server.URL)))
	if err != nil || got.Times != 5000 || requests.Load() != 5000 {
		t.Errorf("got %d times, %v, and %d requests, want 5000", got.Times, err, requests.Load())
	}
	if n := connections.Load(); n > 32 { // the transport may dial one while another becomes free
		t.Errorf("opened %d connections, want about 16", n)
	}
}

func TestTheFirstFailureEndsManyTimes(t *testing.T) {
	var requests atomic.Int64
	m := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1) == 10 {
			w.WriteHeader(500)
		}
	})
	action := &v1alpha1.Action{Call: v1alpha1.Call{Post: ":client/x"}, Times: 1000}
	got, err := asker(t, words{}).Do(t.Context(), action, to(m))
	if outcomeOf(err) != "failed" || got.Times != 9 || requests.Load() != 10 {
		t.Errorf("got %d times, %v after %d requests, want 9 and a failure after 10", got.Times, err, requests.Load())
	}
}

func TestAnUnknownCallMakesTheWholeUnknown(t *testing.T) {
	l := &loop{left: 3}
	errs := make(chan error, 3)
	errs <- &Failed{errors.New("a")}
	errs <- &Unknown{errors.New("b")}
	errs <- &Failed{errors.New("c")}
	for len(errs) > 0 {
		l.done(nil, <-errs)
	}
	if outcomeOf(l.err) != "unknown" {
		t.Errorf("got %v, want unknown", l.err)
	}
}

func TestActionTimeouts(t *testing.T) {
	member := &system.Member{Name: "kv-0", Host: "h", Port: map[string]int64{"client": 1}}
	post := v1alpha1.Call{Post: ":client/silent"}
	t.Run("sent", func(t *testing.T) {
		inPipes(t, func(t *testing.T, a *Asker, _ *pipes) {
			begin := time.Now()
			_, err := a.Do(t.Context(), &v1alpha1.Action{Call: post}, to(member))
			if outcomeOf(err) != "unknown" || !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 30*time.Second {
				t.Errorf("got %v after %s, want unknown after the default of 30s", err, time.Since(begin))
			}
		})
	})
	t.Run("not connected", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := New(words{})
			a.Dial = newPipes().Dial // nobody accepts
			_, err := a.Do(t.Context(), &v1alpha1.Action{Call: post, Timeout: within(time.Second)}, to(member))
			if outcomeOf(err) != "failed" || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want failed: nothing was sent", err)
			}
		})
	})
	t.Run("caller gave up", func(t *testing.T) {
		inPipes(t, func(t *testing.T, a *Asker, _ *pipes) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			_, err := a.Do(ctx, &v1alpha1.Action{Call: post}, to(member))
			if outcomeOf(err) != "unknown" || !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want unknown because of the caller", err)
			}
		})
	})
}

func TestSignal(t *testing.T) {
	m := &system.Member{Name: "kv-0"}
	var sent []syscall.Signal
	target := to(m)
	target.Signal = func(s syscall.Signal) error { sent = append(sent, s); return nil }
	hup := &v1alpha1.Action{Call: v1alpha1.Call{Signal: "SIGHUP"}}
	a := asker(t, words{})
	if _, err := a.Do(t.Context(), hup, target); err != nil || !reflect.DeepEqual(sent, []syscall.Signal{syscall.SIGHUP}) {
		t.Errorf("got %v, %v, want SIGHUP sent", sent, err)
	}
	target.Signal = func(syscall.Signal) error { return errors.New("another process has its number") }
	none := to(m)
	wrong := &v1alpha1.Action{Call: v1alpha1.Call{Signal: "HUP"}}
	for want, try := range map[string]func() (Reply, error){
		"signal SIGHUP: another process has its number":      func() (Reply, error) { return a.Do(t.Context(), hup, target) },
		"signal SIGHUP: member kv-0 has no process here":     func() (Reply, error) { return a.Do(t.Context(), hup, none) },
		`signal "HUP": there is no such signal; want a name`: func() (Reply, error) { return a.Do(t.Context(), wrong, target) },
	} {
		if _, err := try(); outcomeOf(err) != "failed" || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want failed with %q", err, want)
		}
	}
}

// TestAConnectionThatItsServerIsJustClosing: a question is asked again on another one, an action never uses one that a question left.
func TestAConnectionThatItsServerIsJustClosing(t *testing.T) {
	m := listen(t, func(c net.Conn) {
		for r, first := bufio.NewReader(c), true; ; first = false {
			if _, err := http.ReadRequest(r); err != nil || !first {
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
		}
	})
	a := asker(t, words{})
	call := v1alpha1.Call{Post: ":client/"}
	for range 3 {
		if _, err := a.Question(t.Context(), "q", &v1alpha1.Question{Call: call}, to(m)); err != nil {
			t.Errorf("question: %v", err)
		}
	}
	if _, err := a.Do(t.Context(), &v1alpha1.Action{Call: call}, to(m)); err != nil {
		t.Errorf("action: %v", err)
	}
}
