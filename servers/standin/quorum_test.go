package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// fakePeer answers what it is told to; a nil answer is a failure.
type fakePeer struct {
	has  *entry // the answer to /peer/get
	puts bool   // whether /peer/put succeeds
}

func (p fakePeer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/peer/get" && p.has != nil:
		reply(w, p.has)
	case r.URL.Path == "/peer/put" && p.puts:
		reply(w, true)
	case r.URL.Path == "/peer/dump":
		reply(w, dump{Joined: true})
	default:
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// among starts a ready member in this process among fake peers.
func among(t *testing.T, fakes map[string]fakePeer) http.Handler {
	t.Helper()
	opts := options{name: "a", data: t.TempDir(), peers: map[string]string{}}
	for name, fake := range fakes {
		server := httptest.NewServer(fake)
		t.Cleanup(server.Close)
		opts.peers[name] = strings.TrimPrefix(server.URL, "http://")
	}
	ctl, err := openControl(opts)
	if err != nil {
		t.Fatal(err)
	}
	m, err := openMember(opts, ctl)
	if err != nil {
		t.Fatal(err)
	}
	m.catchUp(t.Context())
	return m.handler()
}

func TestQuorum(t *testing.T) {
	nothing, seven := &entry{}, &entry{Key: "k", Value: "seven", Seq: 7, Writer: "z"}
	tests := []struct {
		name, method string
		b, c         fakePeer
		code         int
		body         string // in the answer
	}{
		{"one peer stores", "PUT", fakePeer{nothing, true}, fakePeer{nothing, false}, 200, `{"seq":1}`},
		{"no peer stores", "PUT", fakePeer{nothing, false}, fakePeer{nothing, false}, 503, "1 needed"},
		{"no peer tells what it has", "PUT", fakePeer{nil, true}, fakePeer{nil, true}, 503, "1 needed"},
		{"the number is above what a peer has", "PUT", fakePeer{seven, true}, fakePeer{nil, true}, 200, `{"seq":8}`},
		{"a peer has the newest", "GET", fakePeer{seven, true}, fakePeer{nil, true}, 200, "seven"},
		{"the newest cannot be written back", "GET", fakePeer{seven, false}, fakePeer{nil, false}, 503, "1 needed"},
		{"nobody has it", "GET", fakePeer{nothing, false}, fakePeer{nothing, false}, 404, "no key"},
		{"no peer answers", "GET", fakePeer{}, fakePeer{}, 503, "1 needed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			handler := among(t, map[string]fakePeer{"b": test.b, "c": test.c})
			got := httptest.NewRecorder()
			handler.ServeHTTP(got, httptest.NewRequest(test.method, "/kv/k", strings.NewReader("mine")))
			if body := got.Body.String(); got.Code != test.code || !strings.Contains(body, test.body) {
				t.Errorf("%s: got %d %s, want %d with %s in it", test.method, got.Code, body, test.code, test.body)
			}
		})
	}
}

// TestUnjoinedFolderDoesNotVote: it may have lost what it acknowledged.
func TestUnjoinedFolderDoesNotVote(t *testing.T) {
	opts := options{name: "a", data: t.TempDir(), peers: map[string]string{"b": "127.0.0.1:1"}}
	m, err := openMember(opts, &control{})
	if err != nil {
		t.Fatal(err)
	}
	get := func() int {
		w := httptest.NewRecorder()
		m.handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/peer/get", strings.NewReader(`"k"`)))
		return w.Code
	}
	if got := get(); got != http.StatusServiceUnavailable {
		t.Errorf("before it has caught up: got %d, want 503", got)
	}
	if err := m.store.put(record{Joined: true}); err != nil {
		t.Fatal(err)
	}
	if got := get(); got != http.StatusOK {
		t.Errorf("afterwards: got %d, want 200", got)
	}
}

// TestWritersDiffer: two writes must never carry the same number and writer.
func TestWritersDiffer(t *testing.T) {
	opts := options{name: "a", data: t.TempDir()}
	seen := map[string]bool{}
	for range 2 { // a process, and the one that follows it
		m, err := openMember(opts, &control{})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			key, err := json.Marshal([]any{m.nextSeq(5), m.writer()})
			if err != nil {
				t.Fatal(err)
			}
			if seen[string(key)] {
				t.Errorf("%s was given twice", key)
			}
			seen[string(key)] = true
		}
	}
}
