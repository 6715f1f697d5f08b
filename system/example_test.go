package system_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"go.yaml.in/yaml/v3"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// kv is a System that uses most of what there is; tests bend it.
const kv = `
metadata: {name: kv}
versions:
  listed: [3.5.0, 3.5.1, 3.6.0, 3.6.2, 3.7.0]
  program: "kv-${version}"
edges:
- {from: 3.x, to: 3.x, within: Minor}
- {from: 3.5.x, to: 3.6.x, backup: Required, finalizes: Theseus, finalize: [raise], undoAfter: [lower], finalized: "all.all(x, x.status.json.level == '3.6')"}
- from: 3.6.x
  to: 3.7.x
  needs: [fresh]
  before: [{name: warn, post: ":client/warn", timeout: 5s}]
  after: [{name: tell, post: ":client/tell", timeout: 5s}]
  verify: [{rule: all well, is: "all.all(x, x.status.json.well == true)", bring: {post: ":client/heal"}}]
components:
- name: store
  replicas: 3
  ports: {client: 2379, peer: 2380}
  start: [kv, "--name=${m.name}", "--peers=${all.map(x, x.name + '=' + x.scheme.peer + '://' + x.host + ':' + string(x.port.peer)).join(',')}", "${options.quota == '' ? '' : '--quota=' + options.quota}"]
  env: {NAME: "${m.name}"}
  ask:
    health: {get: ":client/health"}
    status: {get: ":client/status"}
    metrics: {get: ":client/metrics", as: Prometheus}
  ready: m.health.json.health == "true"
  version: m.status.json.version
  role: 'm.status.json.leader == m.name ? "leader" : "follower"'
  roles:
  - {name: follower}
  - name: leader
    handover: {post: ":client/handover", body: '{"to": "${to.name}"}', expect: reply.status == 200}
    handoverOnlyTo: to.status.json.lag < 10
  settled:
  - {rule: one leader, is: "all.all(x, x.status.json.leader == m.status.json.leader)"}
  - {rule: synced, is: m.status.json.left == 0, left: m.status.json.left, bring: {post: ":client/sync"}}
  drain: {post: ":client/drain", timeout: 10s}
  before: [{name: note, post: ":client/note", timeout: 5s}]
  after: [{name: clear, post: ":client/clear", timeout: 5s}]
- name: proxy
  ports: {front: 80}
  start: [kv-proxy, "--listen=${m.host}"]
  ask: {ping: {tcp: {port: front, send: "PING\r\n", expect: "^PONG"}}}
  ready: m.ping.text.startsWith("PONG")
  version: m.version
options:
  quota: {description: bytes, pattern: "[0-9]*"}
backup: {run: [kvctl, backup, "--from=${m.host}", "${out}/db"], check: [kvctl, check, "${out}/db"]}
restore: {run: [kvctl, restore, "--data=${m.data}", "${file}"]}
actions:
  raise: {post: ":client/level", body: "3.6", where: Leader}
  lower: {post: ":client/level", body: "3.5"}
needs:
  fresh: {is: "m.metrics.snapshots_total > then.metrics.snapshots_total", bring: {post: ":client/write", times: 100, parallel: 4, where: Any}}
`

func read(t testing.TB, text string) *v1alpha1.System {
	t.Helper()
	var content any
	if err := yaml.Unmarshal([]byte(text), &content); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	in := &v1alpha1.System{}
	strict := json.NewDecoder(bytes.NewReader(data))
	strict.DisallowUnknownFields()
	if err := strict.Decode(in); err != nil {
		t.Fatal(err)
	}
	return in
}

func compile(t testing.TB, text string) *system.System {
	t.Helper()
	s, err := system.Compile(read(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// members are three members that answer well; a leads.
func members() []*system.Member {
	var all []*system.Member
	for i, name := range []string{"a", "b", "c"} {
		all = append(all, &system.Member{
			Name: name, Component: "store", Ordinal: i, Host: "127.0.0." + name, Data: "/data/" + name, Version: "3.5.0",
			Port: map[string]int64{"client": 2379, "peer": 2380},
			Answers: system.Answers{
				"health":  map[string]any{"json": map[string]any{"health": "true"}},
				"status":  map[string]any{"json": map[string]any{"leader": "a", "left": 0.0, "lag": 3.0, "version": "3.5.0", "level": "3.5", "ready": true}},
				"metrics": map[string]any{"snapshots_total": 7.0, "other_total": 9.0},
			},
		})
	}
	return all
}

func scope(m int) *system.Scope {
	all := members()
	return &system.Scope{Cluster: "kv", Version: "3.6.0", From: "3.5.0", Options: map[string]string{"quota": ""}, M: all[m], All: all}
}

func TestExampleCompiles(t *testing.T) {
	s := compile(t, kv)
	if w := s.Warnings(); len(w) > 0 {
		t.Errorf("warnings %q", w)
	}
	sc := scope(1)
	store := s.Component("store")
	if a, why := store.Ready(sc); a != system.Yes {
		t.Errorf("ready is %s: %s", a, why)
	}
	delete(sc.M.Answers, "health")
	if a, why := store.Ready(sc); a != system.Unknown || why != "no answer to health" {
		t.Errorf("ready without an answer is %s: %s", a, why)
	}
}

func BenchmarkSelect(b *testing.B) {
	s := compile(b, kv)
	rule := s.Component("store").Settled()[1]
	sc := scope(1)
	b.ReportAllocs()
	for b.Loop() {
		if a, why := rule.Is(sc); a != system.Yes {
			b.Fatal(why)
		}
	}
}

func BenchmarkAll(b *testing.B) {
	s := compile(b, kv)
	rule := s.Component("store").Settled()[0]
	sc := scope(1)
	b.ReportAllocs()
	for b.Loop() {
		if a, why := rule.Is(sc); a != system.Yes {
			b.Fatal(why)
		}
	}
}
