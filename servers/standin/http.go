package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"
	"unicode/utf8"
)

// handler serves clients and peers on one address. The knobs that spoil
// answers spoil those to clients only.
func (m *member) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", m.spoiled(m.getHealth))
	mux.HandleFunc("GET /status", m.spoiled(m.getStatus))
	mux.HandleFunc("POST /handover", m.slowed(m.postHandover))
	mux.HandleFunc("PUT /kv/{key...}", m.slowed(m.whenReady(m.putKey)))
	mux.HandleFunc("GET /kv/{key...}", m.slowed(m.whenReady(m.getKey)))
	mux.HandleFunc("GET /backup", m.slowed(m.whenReady(m.getBackup)))
	mux.HandleFunc("POST /admin/{action}", m.slowed(m.postAction))
	mux.HandleFunc("GET /metrics", m.slowed(m.getMetrics))
	m.handlePlayed(mux)

	mux.HandleFunc("POST /peer/state", func(w http.ResponseWriter, _ *http.Request) { reply(w, m.peerState()) })
	mux.HandleFunc("POST /peer/dump", func(w http.ResponseWriter, _ *http.Request) { reply(w, m.store.dump()) })
	mux.HandleFunc("POST /peer/get", m.peerGet)
	mux.HandleFunc("POST /peer/put", m.peerPut)
	mux.HandleFunc("POST /peer/leader", m.peerLeader)
	return mux
}

// slowed adds the delay of the knob slow.
func (m *member) slowed(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if d := time.Duration(m.control.knobs().Slow); d == 0 || sleep(r.Context(), d) {
			next(w, r)
		}
	}
}

// spoiled adds what can be wrong with the answer to a question.
func (m *member) spoiled(next http.HandlerFunc) http.HandlerFunc {
	return m.slowed(func(w http.ResponseWriter, r *http.Request) {
		k := m.control.knobs()
		switch {
		case k.Unknown:
			<-r.Context().Done()
		case k.Garbage:
			fmt.Fprint(w, `{"health":"tr`)
		default:
			next(w, r)
		}
	})
}

func (m *member) whenReady(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, ready := m.ready(); !ready {
			refuse(w, http.StatusServiceUnavailable, fmt.Errorf("%s is not ready", m.opts.name))
			return
		}
		next(w, r)
	}
}

func (m *member) getHealth(w http.ResponseWriter, _ *http.Request) {
	_, ready := m.ready()
	healthy := ready && !m.control.knobs().Unhealthy
	reply(w, map[string]string{"health": fmt.Sprint(healthy)})
}

func (m *member) getStatus(w http.ResponseWriter, r *http.Request) {
	reply(w, m.status(r.Context()))
}

func (m *member) postHandover(w http.ResponseWriter, r *http.Request) {
	var ask struct{ To string }
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	k := m.control.knobs()
	if k.IgnoreHandover {
		reply(w, leadership{Leader: ask.To})
		return
	}
	if k.RefuseHandover {
		refuse(w, http.StatusConflict, errors.New("handover refused, as the control file says"))
		return
	}
	next, err := m.handOver(r.Context(), ask.To)
	if err != nil {
		refuse(w, http.StatusConflict, err)
		return
	}
	reply(w, next)
}

// handOver makes another ready member the leader.
func (m *member) handOver(ctx context.Context, to string) (leadership, error) {
	now, ready := m.look(ctx)
	if now.Leader != m.opts.name {
		return now, fmt.Errorf("%s does not lead: %q does", m.opts.name, now.Leader)
	}
	if !slices.Contains(ready, to) {
		return now, fmt.Errorf("%q is not ready", to)
	}
	next := leadership{Term: now.Term + 1, Leader: to}
	m.adopt(next)
	m.peers.tellLeader(ctx, next)
	return next, nil
}

// putKey writes with a number higher than any that a majority knows, and
// answers when a majority has it. Without one the outcome is unknown: 503.
func (m *member) putKey(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil || !utf8.Valid(body) {
		refuse(w, http.StatusBadRequest, errors.Join(err, errors.New("the value has to be text of at most 1 MiB")))
		return
	}
	if m.control.knobs().DropWrites {
		reply(w, map[string]uint64{"seq": 0})
		return
	}
	// A client that goes away must not stop a write that some already have.
	e, err := m.write(context.WithoutCancel(r.Context()), r.PathValue("key"), string(body))
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, err)
		return
	}
	m.mu.Lock()
	m.puts++
	m.mu.Unlock()
	reply(w, map[string]uint64{"seq": e.Seq})
}

func (m *member) write(ctx context.Context, key, value string) (entry, error) {
	known, err := m.read(ctx, key)
	if err != nil {
		return entry{}, err
	}
	e := entry{Key: key, Value: value, Seq: m.nextSeq(known.Seq), Writer: m.writer()}
	return e, m.spread(ctx, e)
}

// nextSeq is different for any two writes of this process.
func (m *member) nextSeq(known uint64) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lastSeq = max(m.lastSeq, known) + 1
	return m.lastSeq
}

// writer is different for any two processes: one that died may have left a
// number on a peer that the next would give again, for another value.
func (m *member) writer() string {
	return fmt.Sprintf("%s@%d", m.opts.name, m.started.UnixNano())
}

// read returns the newest entry that a majority knows.
func (m *member) read(ctx context.Context, key string) (entry, error) {
	best, _ := m.store.get(key)
	others, err := m.peers.newestOf(ctx, key, m.majority()-1)
	for _, e := range others {
		if e.newerThan(best) {
			best = e
		}
	}
	return best, err
}

// spread returns when a majority, this member included, has the entry on disk.
func (m *member) spread(ctx context.Context, e entry) error {
	own := make(chan error, 1)
	go func() { own <- m.store.put(record{Entry: &e}) }()
	err := m.peers.storeOn(ctx, e, m.majority()-1)
	return errors.Join(err, <-own)
}

// getKey writes the value back before it answers: a value that one reader saw
// must not be missing for the next one.
func (m *member) getKey(w http.ResponseWriter, r *http.Request) {
	ctx := context.WithoutCancel(r.Context())
	e, err := m.read(ctx, r.PathValue("key"))
	if err == nil && e.Seq > 0 {
		err = m.spread(ctx, e)
	}
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, err)
		return
	}
	if e.Seq == 0 {
		refuse(w, http.StatusNotFound, fmt.Errorf("no key %q", r.PathValue("key")))
		return
	}
	m.mu.Lock()
	m.gets++
	m.mu.Unlock()
	_, _ = io.WriteString(w, e.Value)
}

// backup is the answer of GET /backup.
type backup struct {
	Count int               `json:"count"`
	Keys  map[string]string `json:"keys"`
}

// getBackup reads from a majority: everything acknowledged before the request
// is in it.
func (m *member) getBackup(w http.ResponseWriter, r *http.Request) {
	dumps, err := m.peers.dumps(r.Context())
	dumps = append(dumps, m.store.dump())
	if countJoined(dumps) < m.majority() {
		refuse(w, http.StatusServiceUnavailable, fmt.Errorf("no majority: %w", err))
		return
	}
	b := backup{Keys: map[string]string{}}
	for key, e := range newest(dumps) {
		b.Keys[key] = e.Value
	}
	b.Count = len(b.Keys)
	reply(w, b)
}

var actionName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func (m *member) postAction(w http.ResponseWriter, r *http.Request) {
	name, k := r.PathValue("action"), m.control.knobs()
	if !actionName.MatchString(name) {
		refuse(w, http.StatusBadRequest, fmt.Errorf("no name for an action: %q", name))
		return
	}
	if slices.Contains(k.FailActions, name) {
		refuse(w, http.StatusInternalServerError, fmt.Errorf("%s failed, as the control file says", name))
		return
	}
	if err := m.store.put(record{Action: name}); err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	if slices.Contains(k.HangActions, name) {
		<-r.Context().Done()
		return
	}
	reply(w, map[string]any{"action": name, "count": m.store.actionCounts()[name]})
}

// getMetrics asks nobody: it tells what this member knows.
func (m *member) getMetrics(w http.ResponseWriter, _ *http.Request) {
	_, ready := m.ready()
	m.mu.Lock()
	lead, puts, gets := m.leadership, m.puts, m.gets
	m.mu.Unlock()
	var text strings.Builder
	fmt.Fprintf(&text, "standin_info{name=%q,version=%q} 1\n", m.opts.name, m.opts.version)
	fmt.Fprintf(&text, "standin_ready %d\nstandin_leader %d\n", number(ready), number(lead.Leader == m.opts.name))
	fmt.Fprintf(&text, "standin_term %d\nstandin_entries %d\n", lead.Term, m.store.count())
	fmt.Fprintf(&text, "standin_puts_total %d\nstandin_gets_total %d\n", puts, gets)
	counts := m.store.actionCounts()
	names := make([]string, 0, len(counts))
	for name := range counts {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Fprintf(&text, "standin_actions_total{action=%q} %d\n", name, counts[name])
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	_, _ = io.WriteString(w, text.String())
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// peerGet must not answer from a folder that may have lost what it once
// acknowledged: it would count in a majority.
func (m *member) peerGet(w http.ResponseWriter, r *http.Request) {
	var key string
	if err := json.NewDecoder(r.Body).Decode(&key); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	if !m.store.isJoined() {
		refuse(w, http.StatusServiceUnavailable, errors.New("not caught up"))
		return
	}
	e, _ := m.store.get(key)
	reply(w, e)
}

func (m *member) peerPut(w http.ResponseWriter, r *http.Request) {
	var e entry
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	if m.control.knobs().DropWrites {
		reply(w, true)
		return
	}
	if err := m.store.put(record{Entry: &e}); err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	reply(w, true)
}

func (m *member) peerLeader(w http.ResponseWriter, r *http.Request) {
	var l leadership
	if err := json.NewDecoder(r.Body).Decode(&l); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	m.adopt(l)
	reply(w, true)
}

func reply(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value) // the client went away: nothing to do
}

func refuse(w http.ResponseWriter, code int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
}
