package ask

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// words is an Expander that knows the member's name and host, and wants the metrics it is told.
type words struct {
	metrics []string
	expect  func(reply map[string]any) (system.Answer, string)
}

func (w words) Expand(template string, sc *system.Scope) (string, error) {
	s := strings.NewReplacer("${m.name}", sc.M.Name, "${m.host}", sc.M.Host).Replace(template)
	if strings.Contains(s, "${") {
		return "", errors.New("a value is unknown")
	}
	return s, nil
}

func (w words) MetricsOf(component, question string) []string {
	if component != "kv" || question != "metrics" {
		return nil
	}
	return w.metrics
}

func (w words) Expect(_ *v1alpha1.Action, sc *system.Scope) (system.Answer, string) {
	return w.expect(sc.Reply)
}

// at is a member of component kv whose port "client" is where address says, a URL or host:port.
func at(t testing.TB, address string) *system.Member {
	t.Helper()
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		address = u.Host
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseInt(port, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return &system.Member{Name: "kv-0", Component: "kv", Host: host, Port: map[string]int64{"client": n}}
}

func to(m *system.Member) Target { return Target{Scope: &system.Scope{M: m}} }

func get(address string) *v1alpha1.Question {
	return &v1alpha1.Question{Call: v1alpha1.Call{Get: address}}
}

func within(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }

// serve starts an HTTP server that replies with body and returns its member.
func serve(t testing.TB, handler http.HandlerFunc) *system.Member {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return at(t, server.URL)
}

func asker(t testing.TB, w words) *Asker {
	t.Helper()
	a := New(w)
	t.Cleanup(a.Close)
	return a
}

func TestHTTPAnswers(t *testing.T) {
	tests := []struct {
		name   string
		as     v1alpha1.Format
		status int
		body   string
		want   any
		err    string
	}{
		{
			name: "json", status: 200, body: `{"health":"true","term":3,"id":18446744073709551615,"load":0.5}`,
			want: map[string]any{
				"status": int64(200), "text": `{"health":"true","term":3,"id":18446744073709551615,"load":0.5}`,
				"json": map[string]any{"health": "true", "term": int64(3), "id": uint64(18446744073709551615), "load": 0.5},
			},
		},
		{name: "an error status is an answer", status: 503, body: `[]`, want: map[string]any{"status": int64(503), "text": "[]", "json": []any{}}},
		{name: "an error status may come with prose", status: 503, body: "starting", want: map[string]any{"status": int64(503), "text": "starting"}},
		{name: "no content", status: 204, want: map[string]any{"status": int64(204), "text": ""}},
		{name: "a redirect is not followed", status: 307, body: `1`, want: map[string]any{"status": int64(307), "text": "1", "json": int64(1)}},
		{name: "garbage", status: 200, body: `{"health":`, err: "give the question as: Text"},
		{name: "two values", status: 200, body: `{} {}`, err: "more text after the value"},
		{name: "a number that is none", status: 200, body: `1e999`, err: "out of range"},
		{name: "text", as: v1alpha1.FormatText, status: 200, body: "a\xffb", want: map[string]any{"status": int64(200), "text": "a\uFFFDb"}},
		{
			name: "metrics", as: v1alpha1.FormatPrometheus, status: 200, body: "# TYPE up gauge\nup{a=\"1\"} 1\nother 7\nup{a=\"2\"} 2 1700000000000\n",
			want: map[string]any{"up": 3.0},
		},
		{name: "metrics of a server that is not well", as: v1alpha1.FormatPrometheus, status: 500, body: "up 1\n", err: "HTTP status 500"},
		{name: "metrics that end within a line", as: v1alpha1.FormatPrometheus, status: 200, body: "up 1\nup", err: "unexpected EOF"},
		{name: "too large", as: v1alpha1.FormatText, status: 200, body: strings.Repeat("x", maxReply+1), err: "larger than 1024 KiB"},
		{name: "just not too large", as: v1alpha1.FormatText, status: 200, body: strings.Repeat("x", maxReply), want: map[string]any{"status": int64(200), "text": strings.Repeat("x", maxReply)}},
		{name: "metrics too large", as: v1alpha1.FormatPrometheus, status: 200, body: strings.Repeat("x 1\n", maxMetrics/4) + "up 1\n", err: "larger than 8192 KiB"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/elsewhere" {
					t.Error("the redirect was followed")
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(test.status)
				io.WriteString(w, test.body)
			})
			q := get(":client/health?x=1")
			q.As = test.as
			q.Timeout = within(maxQuestionTimeout)
			got, err := asker(t, words{metrics: []string{"up"}}).Question(t.Context(), "metrics", q, to(m))
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) || got != nil {
					t.Fatalf("got %v, %v, want no answer because %q", got, err, test.err)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %#v, %v\nwant %#v", got, err, test.want)
			}
		})
	}
}

func TestHTTPRequest(t *testing.T) {
	m := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if _, sent := r.Header["Idempotency-Key"]; sent {
			t.Error("the mark for our own transport was sent")
		}
		fmt.Fprintf(w, "%s %s|%s|%s|%s|%s", r.Method, r.URL, r.Host, r.Header.Get("Content-Type"), r.Header.Get("X-Name"), body)
	})
	host := net.JoinHostPort(m.Host, strconv.FormatInt(m.Port["client"], 10))
	whole := "http://" + host
	tests := []struct {
		call v1alpha1.Call
		want string
	}{
		{v1alpha1.Call{Get: ":client"}, "GET /|" + host + "|||"},
		{v1alpha1.Call{Get: ":client?a=b%20c"}, "GET /?a=b%20c|" + host + "|||"},
		{v1alpha1.Call{Get: ":client//x/${m.name}"}, "GET //x/kv-0|" + host + "|||"},
		{v1alpha1.Call{Get: whole + "/x"}, "GET /x|" + host + "|||"},
		{v1alpha1.Call{Post: ":client/x", Body: `{"n":"${m.name}"}`}, "POST /x|" + host + `|application/json||{"n":"kv-0"}`},
		{v1alpha1.Call{Put: ":client/x", Body: "b", Headers: map[string]string{"content-type": "text/x", "x-name": "${m.name}", "host": "other"}}, "PUT /x|other|text/x|kv-0|b"},
	}
	for _, test := range tests {
		got, err := asker(t, words{}).Question(t.Context(), "q", &v1alpha1.Question{Call: test.call, As: v1alpha1.FormatText}, to(m))
		if err != nil || got.(map[string]any)["text"] != test.want {
			t.Errorf("%+v:\n got %v, %v\nwant %s", test.call, got, err, test.want)
		}
	}
}

func TestQuestionsThatCannotBeAsked(t *testing.T) {
	m := &system.Member{Name: "kv-0", Component: "kv", Host: "127.0.0.1", Port: map[string]int64{"client": 1}}
	tests := []struct {
		call v1alpha1.Call
		want string
	}{
		{v1alpha1.Call{}, "give one of get, post"},
		{v1alpha1.Call{Signal: "SIGHUP"}, "make it an action"},
		{v1alpha1.Call{Get: ":peer/x"}, `port "peer": component kv has no port of that name`},
		{v1alpha1.Call{Get: "ftp://x/"}, "address: want"},
		{v1alpha1.Call{Get: ":client/${to.name}"}, "address: a value is unknown"},
		{v1alpha1.Call{Post: ":client/", Body: "${to.name}"}, "body: a value is unknown"},
		{v1alpha1.Call{Get: ":client/", Headers: map[string]string{"A": "${x}"}}, "headers: A: a value is unknown"},
		{v1alpha1.Call{Get: ":client/", Credentials: "admin"}, `none named "admin"; add spec.credentials.admin`},
		{v1alpha1.Call{Get: ":client/"}, "GET http://127.0.0.1:1/: dial tcp 127.0.0.1:1: connect: connection refused"},
		{v1alpha1.Call{TCP: &v1alpha1.TCP{Port: "client"}}, "TCP 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused"},
		{v1alpha1.Call{TCP: &v1alpha1.TCP{Port: "peer"}}, `port "peer"`},
		{v1alpha1.Call{TCP: &v1alpha1.TCP{Port: "client", Expect: "("}}, "tcp.expect"},
		{v1alpha1.Call{GRPCHealth: &v1alpha1.GRPCHealth{Port: "client"}}, "connection refused"},
		{v1alpha1.Call{Run: []string{"/nowhere/program"}}, "/nowhere/program"},
		{v1alpha1.Call{Run: []string{"true", "${x}"}}, "run[1]: a value is unknown"},
	}
	a := asker(t, words{})
	for _, test := range tests {
		got, err := a.Question(t.Context(), "q", &v1alpha1.Question{Call: test.call}, to(m))
		if got != nil || err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("question %+v: got %v, %v, want an error with %q", test.call, got, err, test.want)
		}
		if test.call.Signal != "" {
			continue
		}
		_, err = a.Do(t.Context(), &v1alpha1.Action{Call: test.call}, to(m))
		if !errors.As(err, new(*Failed)) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("action %+v: got %v, want Failed with %q", test.call, err, test.want)
		}
	}
}

func TestAddresses(t *testing.T) {
	m := &system.Member{Host: "::1", Port: map[string]int64{"client": 2379, "peer": 2380}, TLS: map[string]map[string]string{"peer": {"ca": "/ca"}}}
	for address, want := range map[string]string{
		"client/health": "http://[::1]:2379/health",
		"peer":          "https://[::1]:2380/",
	} {
		u, _, err := portURL(address, m)
		if err != nil || u.String() != want {
			t.Errorf("%s: got %v, %v, want %s", address, u, err, want)
		}
	}
	u, _ := url.Parse("https://[::1]:2380/x")
	if files := filesFor(u, &system.Scope{M: &system.Member{Host: "other"}, To: m}); files.ca != "/ca" {
		t.Errorf("whole URL of another member's port: got files %+v, want its own", files)
	}
	u.Scheme = "http"
	if files := filesFor(u, &system.Scope{M: m}); files != (tlsFiles{}) {
		t.Errorf("http URL: got files %+v, want none", files)
	}
}

func TestConnectionsAreKeptBetweenLooks(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") }))
	opened := make(chan struct{}, 100)
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened <- struct{}{}
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	a := asker(t, words{})
	for range 10 {
		if _, err := a.Question(t.Context(), "q", get(":client/"), to(at(t, server.URL))); err != nil {
			t.Fatal(err)
		}
	}
	if len(opened) != 1 {
		t.Errorf("10 looks opened %d connections, want 1", len(opened))
	}
}

// pipes is a network without a kernel, so that time in it can be made up. Who dials when it is closed is refused: a request may go on dialing
// after it was answered.
type pipes struct {
	calls  chan net.Conn
	closed chan struct{}
}

func newPipes() *pipes { return &pipes{calls: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.calls <- server:
		return client, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.calls:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// inPipes runs a test in made-up time. A request for /silent is never answered.
func inPipes(t *testing.T, test func(t *testing.T, a *Asker, network *pipes)) {
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/silent") {
				<-r.Context().Done()
				return
			}
			io.WriteString(w, "{}")
		})}
		go server.Serve(network)
		a := New(words{})
		a.Dial = network.Dial
		test(t, a, network)
		a.Close()
		server.Close()
	})
}

func TestQuestionTimeouts(t *testing.T) {
	inPipes(t, func(t *testing.T, a *Asker, _ *pipes) {
		m := &system.Member{Name: "kv-0", Host: "h", Port: map[string]int64{"client": 1}}
		for given, want := range map[time.Duration]time.Duration{0: 2 * time.Second, time.Second: time.Second, time.Hour: 30 * time.Second} {
			q := get(":client/silent")
			if given > 0 {
				q.Timeout = within(given)
			}
			begin := time.Now()
			_, err := a.Question(t.Context(), "q", q, to(m))
			if !errors.Is(err, context.DeadlineExceeded) || err.Error() != "GET http://h:1/silent: no answer within "+want.String() {
				t.Errorf("timeout %s: got %v", given, err)
			}
			if took := time.Since(begin); took != want {
				t.Errorf("timeout %s: took %s, want %s", given, took, want)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := a.Question(ctx, "q", get(":client/silent"), to(m)); !errors.Is(err, context.Canceled) {
			t.Errorf("caller gave up: got %v", err)
		}
	})
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		a := New(words{})
		a.Dial = network.Dial
		over := make(chan error)
		go func() {
			c := <-network.calls
			if _, err := c.Read(make([]byte, 4<<10)); err != nil {
				over <- err
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
			_, err := c.Read(make([]byte, 1))
			over <- err
		}()
		m := &system.Member{Name: "kv-0", Host: "h", Port: map[string]int64{"client": 1}}
		if _, err := a.Question(t.Context(), "q", get(":client/"), to(m)); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if err := <-over; !errors.Is(err, io.EOF) || time.Since(begin) != 30*time.Second {
			t.Errorf("idle connection: got %v after %s, want EOF after 30s", err, time.Since(begin))
		}
	})
}

func TestAllAsksEverybodyInTheLongestTimeout(t *testing.T) {
	inPipes(t, func(t *testing.T, a *Asker, _ *pipes) {
		questions := map[string]v1alpha1.Question{
			"health": *get(":client/health"),
			"slow":   {Call: v1alpha1.Call{Get: ":client/silent"}, Timeout: within(5 * time.Second)},
		}
		var targets []Target
		for i := range 400 { // more silent ones than there are slots
			targets = append(targets, to(&system.Member{Name: fmt.Sprint("kv-", i), Host: "h", Port: map[string]int64{"client": 1}}))
		}
		begin := time.Now()
		looks := a.All(t.Context(), questions, targets)
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("took %s, want the longest timeout, 5s", took)
		}
		if len(looks) != len(targets) {
			t.Fatalf("got %d looks, want %d", len(looks), len(targets))
		}
		for name, look := range looks {
			if len(look.Answers)+len(look.Missing) != 2 {
				t.Errorf("%s: got %v and %v, want each question once", name, look.Answers, look.Missing)
			}
			if !errors.Is(look.Missing["slow"], context.DeadlineExceeded) {
				t.Errorf("%s: slow: got %v, want a reason", name, look.Missing["slow"])
			}
		}
	})
}

func TestAll(t *testing.T) {
	m := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") })
	dead := at(t, "127.0.0.1:1")
	dead.Name = "kv-1"
	looks := asker(t, words{}).All(t.Context(), map[string]v1alpha1.Question{
		"health": *get(":client/"),
		"exec":   {Call: v1alpha1.Call{Run: []string{"echo", "${m.name}"}}},
	}, []Target{to(m), to(dead)})
	want := map[string]system.Answers{
		"kv-0": {
			"health": map[string]any{"status": int64(200), "text": "{}", "json": map[string]any{}},
			"exec":   map[string]any{"exit": int64(0), "text": "kv-0\n", "stderr": ""},
		},
		"kv-1": {"exec": map[string]any{"exit": int64(0), "text": "kv-1\n", "stderr": ""}},
	}
	for name, answers := range want {
		if got := looks[name].Answers; !reflect.DeepEqual(got, answers) {
			t.Errorf("%s: got %v\nwant %v", name, got, answers)
		}
	}
	if err := looks["kv-1"].Missing["health"]; err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("kv-1: health: got %v, want why", err)
	}
}

func TestWhyThereIsNoAnswer(t *testing.T) {
	refused := syscall.ECONNREFUSED
	for _, c := range []struct {
		missing map[string]error
		want    string
	}{
		{nil, ""},
		{map[string]error{"health": fmt.Errorf("GET a: %w", refused)}, "no answer to health: GET a: connection refused"},
		{map[string]error{"status": fmt.Errorf("GET b: %w", refused), "health": fmt.Errorf("GET a: %w", refused)}, "no answer to health, status: GET a: connection refused"},
		{map[string]error{"a": errors.New("it is no JSON"), "b": refused, "c": fmt.Errorf("GET c: %w", refused)}, "no answer to a: it is no JSON\nno answer to b, c: connection refused"},
	} {
		if got := (Look{Missing: c.missing}).Why(); got != c.want {
			t.Errorf("%v: got %q, want %q", c.missing, got, c.want)
		}
	}
}
