package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test program be the stand-in, so that ends of the process
// are tried on a process.
func TestMain(m *testing.M) {
	if os.Getenv("STANDIN_RUN") == "1" {
		main()
		return
	}
	os.Exit(m.Run())
}

// group is a running group of stand-ins with a control file.
type group struct {
	t       *testing.T
	dir     string
	names   []string
	addrs   map[string]string
	procs   map[string]*process
	version string
}

type process struct {
	*exec.Cmd
	file string // its output
	done chan struct{}
}

// loopback is an address that other tests on this machine hardly use too.
var loopback = fmt.Sprintf("127.%d.%d.%d", 2+rand.N(250), rand.N(256), 1+rand.N(254))

// newGroup finds free ports; nobody runs yet.
func newGroup(t *testing.T, names ...string) *group {
	t.Helper()
	g := &group{t: t, dir: t.TempDir(), names: names, addrs: map[string]string{}, procs: map[string]*process{}, version: "1.0.0"}
	for _, name := range names {
		l, err := net.Listen("tcp", loopback+":0")
		if err != nil {
			t.Fatal(err)
		}
		g.addrs[name] = l.Addr().String()
		l.Close()
	}
	t.Cleanup(func() {
		for name := range g.procs {
			g.kill(name)
		}
	})
	return g
}

func startGroup(t *testing.T, names ...string) *group {
	t.Helper()
	g := newGroup(t, names...)
	g.start(names...)
	g.awaitReady(names...)
	return g
}

func (g *group) data(name string) string { return filepath.Join(g.dir, name) }

func (g *group) control(text string) {
	g.t.Helper()
	next := filepath.Join(g.dir, "next")
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(g.dir, "control.json")); err != nil {
		g.t.Fatal(err)
	}
}

func (g *group) start(names ...string) {
	g.t.Helper()
	peers := []string{}
	for name, addr := range g.addrs {
		peers = append(peers, name+"="+addr)
	}
	for _, name := range names {
		g.procs[name] = startProcess(g.t, "standin-"+g.version, "--name", name, "--listen", g.addrs[name], "--data", g.data(name),
			"--peers", strings.Join(peers, ","), "--control", filepath.Join(g.dir, "control.json"))
	}
}

func startProcess(t *testing.T, argv0 string, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p := &process{Cmd: exec.Command(self), file: out.Name(), done: make(chan struct{})}
	p.Args = append([]string{argv0}, args...)
	p.Env = append(os.Environ(), "STANDIN_RUN=1")
	p.Stdout, p.Stderr = out, out
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.Wait() // the exit code is in ProcessState
		close(p.done)
	}()
	return p
}

func (p *process) log() string {
	text, err := os.ReadFile(p.file)
	return fmt.Sprint(string(text), err)
}

// exit waits for the process and returns its exit code.
func (p *process) exit(t *testing.T) int {
	t.Helper()
	select {
	case <-p.done:
		return p.ProcessState.ExitCode()
	case <-time.After(30 * time.Second):
		t.Fatalf("process %d does not end", p.Process.Pid)
		return 0
	}
}

func (g *group) kill(name string) {
	p := g.procs[name]
	_ = p.Process.Kill() // it may have ended
	<-p.done
	if g.t.Failed() {
		g.t.Logf("log of %s:\n%s", name, p.log())
	}
	delete(g.procs, name)
}

// call returns the code and body, or code 0 if nobody answers in time.
func (g *group) call(method, name, path, body string) (int, string) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://"+g.addrs[name]+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(text)
}

func (g *group) must(method, name, path, body string) string {
	g.t.Helper()
	code, text := g.call(method, name, path, body)
	if code != http.StatusOK {
		g.t.Fatalf("%s %s of %s: got %d %s, want 200", method, path, name, code, text)
	}
	return text
}

func (g *group) status(name string) status {
	g.t.Helper()
	var s status
	if err := json.Unmarshal([]byte(g.must("GET", name, "/status", "")), &s); err != nil {
		g.t.Fatalf("status of %s: %v", name, err)
	}
	return s
}

func (g *group) await(what string, so func() bool) {
	g.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !so() {
		if time.Now().After(deadline) {
			g.t.Fatalf("%s: not within 30 s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (g *group) awaitReady(names ...string) {
	g.t.Helper()
	for _, name := range names {
		g.await(name+" ready", func() bool {
			_, text := g.call("GET", name, "/health", "")
			return strings.Contains(text, `"true"`)
		})
	}
}

func TestGroupKeepsAcknowledgedWrites(t *testing.T) {
	g := startGroup(t, "a", "b", "c")
	for i := range 20 {
		g.must("PUT", g.names[i%3], fmt.Sprintf("/kv/key/%d", i), fmt.Sprintf("old %d", i))
	}
	// One member is killed, and one after the other loses its folder: each
	// time the other two have to hold everything, and the new one to copy it.
	for round, victim := range g.names {
		g.kill(victim)
		survivor := g.names[(round+1)%3]
		for i := range 20 {
			g.must("PUT", survivor, fmt.Sprintf("/kv/key/%d", i), fmt.Sprintf("%d in round %d", i, round))
		}
		if err := os.RemoveAll(g.data(victim)); err != nil {
			t.Fatal(err)
		}
		g.start(victim)
		g.awaitReady(victim)
		if got := g.status(victim).Entries; got != 20 {
			t.Errorf("%s has caught up with %d entries, want 20", victim, got)
		}
		for i := range 20 {
			want := fmt.Sprintf("%d in round %d", i, round)
			if got := g.must("GET", victim, fmt.Sprintf("/kv/key/%d", i), ""); got != want {
				t.Errorf("key %d at %s: got %q, want %q", i, victim, got, want)
			}
		}
	}
}

func TestWritesNeedAMajority(t *testing.T) {
	g := startGroup(t, "a", "b", "c")
	g.must("PUT", "a", "/kv/k", "1")
	if s := g.status("a"); s.Leader != "a" {
		t.Fatalf("leader with everybody: got %q, want a", s.Leader)
	}
	g.kill("b")
	g.kill("c")
	if code, text := g.call("PUT", "a", "/kv/k", "2"); code != http.StatusServiceUnavailable {
		t.Errorf("put without a majority: got %d %s, want 503", code, text)
	}
	if code, text := g.call("GET", "a", "/backup", ""); code != http.StatusServiceUnavailable {
		t.Errorf("backup without a majority: got %d %s, want 503", code, text)
	}
	if s := g.status("a"); s.Leader != "" || s.Role != "follower" {
		t.Errorf("leader without a majority: got %q, role %s", s.Leader, s.Role)
	}
}

func TestNewFolderWaitsForTheOthers(t *testing.T) {
	g := startGroup(t, "a", "b", "c")
	g.must("PUT", "a", "/kv/k", "1")
	g.kill("b")
	g.kill("c")
	if err := os.RemoveAll(g.data("c")); err != nil {
		t.Fatal(err)
	}
	g.start("c")
	g.await("c answers", func() bool { code, _ := g.call("GET", "c", "/health", ""); return code == 200 })
	if g.status("c").Ready {
		t.Error("c is ready, but b may be the one that has what c acknowledged")
	}
	g.start("b")
	g.awaitReady("b", "c")
}

func TestLeader(t *testing.T) {
	g := startGroup(t, "a", "b", "c")
	if s := g.status("a"); s.Leader != "a" || s.Role != "leader" {
		t.Fatalf("first leader: got %q, role %s, want a", s.Leader, s.Role)
	}
	if code, _ := g.call("POST", "b", "/handover", `{"to":"c"}`); code != http.StatusConflict {
		t.Errorf("handover by a follower: got %d, want 409", code)
	}
	if code, _ := g.call("POST", "a", "/handover", `{"to":"x"}`); code != http.StatusConflict {
		t.Errorf("handover to nobody: got %d, want 409", code)
	}
	g.must("POST", "a", "/handover", `{"to":"c"}`)
	for _, name := range g.names {
		if s := g.status(name); s.Leader != "c" || s.Term != 2 {
			t.Errorf("leader after the handover, at %s: got %q in term %d, want c in 2", name, s.Leader, s.Term)
		}
	}
	g.kill("a")
	g.start("a")
	g.awaitReady("a")
	if s := g.status("a"); s.Leader != "c" {
		t.Errorf("leader that a finds when it comes back: got %q, want c", s.Leader)
	}
	g.kill("c")
	for _, name := range []string{"a", "b"} {
		if s := g.status(name); s.Leader != "a" || s.Term != 3 {
			t.Errorf("leader after the death of c, at %s: got %q in term %d, want a in 3", name, s.Leader, s.Term)
		}
	}
}

func TestLateLeaderKeepsItsRoleForAWhile(t *testing.T) {
	g := startGroup(t, "a", "b", "c")
	g.status("b")
	if err := g.procs["a"].Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if s := g.status("b"); s.Leader != "a" {
		t.Errorf("first look at a leader that does not answer: got %q, want a", s.Leader)
	}
	g.await("another leader", func() bool { return g.status("b").Leader == "b" })
}

func TestActionsAreCountedOnDisk(t *testing.T) {
	g := startGroup(t, "a")
	g.must("POST", "a", "/admin/finalize", "")
	g.must("POST", "a", "/admin/finalize", "")
	g.control(`{"failActions": ["backup"]}`)
	if code, _ := g.call("POST", "a", "/admin/backup", ""); code != http.StatusInternalServerError {
		t.Errorf("action that fails: got %d, want 500", code)
	}
	g.control(`{"hangActions": ["migrate"]}`)
	if code, _ := g.call("POST", "a", "/admin/migrate", ""); code != 0 {
		t.Errorf("action that hangs: got %d, want no answer", code)
	}
	g.kill("a")
	g.start("a")
	g.awaitReady("a")
	got := g.status("a").Actions
	if got["finalize"] != 2 || got["backup"] != 0 || got["migrate"] != 1 {
		t.Errorf("actions after a restart: got %v, want finalize 2, migrate 1", got)
	}
	if text := g.must("GET", "a", "/metrics", ""); !strings.Contains(text, `standin_actions_total{action="finalize"} 2`) {
		t.Errorf("metrics: got %s", text)
	}
}

// TestAnswers turns each knob that changes answers, on a running member.
func TestAnswers(t *testing.T) {
	g := startGroup(t, "a", "b")
	health := func() string { _, text := g.call("GET", "a", "/health", ""); return strings.TrimSpace(text) }
	tests := []struct {
		control string
		got     func() any
		want    any
	}{
		{`{}`, func() any { return health() }, `{"health":"true"}`},
		{`{"unhealthy": true}`, func() any { return health() }, `{"health":"false"}`},
		{`{"neverReady": true}`, func() any { return health() }, `{"health":"false"}`},
		{`{"readyAfter": "1h"}`, func() any { return g.status("a").Ready }, false},
		{`{"neverReady": true}`, func() any { code, _ := g.call("PUT", "a", "/kv/k", "v"); return code }, 503},
		{`{"garbage": true}`, func() any { return json.Valid([]byte(health())) }, false},
		{`{"unknown": true}`, func() any { code, _ := g.call("GET", "a", "/status", ""); return code }, 0},
		{`{"slow": "1h"}`, func() any { code, _ := g.call("GET", "a", "/metrics", ""); return code }, 0},
		{`{"answerVersion": "9"}`, func() any { return g.status("a").Version }, "9"},
		{`{"role": "leader", "leader": "z"}`, func() any { s := g.status("b"); return s.Role + " " + s.Leader }, "leader z"},
		{`{"neverSettled": true}`, func() any { s := g.status("a"); return fmt.Sprint(s.Settled, s.Left) }, "false 1000"},
		{`{"settledAfter": "1h"}`, func() any { return g.status("a").Left > 3_000_000 }, true},
		{`{"settledAfter": "1ms"}`, func() any { return g.status("a").Settled }, true},
		{`{"refuseHandover": true}`, func() any { code, _ := g.call("POST", "a", "/handover", `{"to":"b"}`); return code }, 409},
		{`{"ignoreHandover": true}`, func() any { g.must("POST", "a", "/handover", `{"to":"b"}`); return g.status("a").Leader }, "a"},
		// Layers: the weaker first.
		{`{"answerVersion": "0", "versions": {"1.0.0": {"answerVersion": "1"}, "2.0.0": {"answerVersion": "2"}}}`, func() any { return g.status("a").Version }, "1"},
		{`{"versions": {"1.0.0": {"answerVersion": "1"}}, "members": {"a": {"answerVersion": "a"}}}`, func() any { return g.status("a").Version }, "a"},
		{`{"versions": {"1.0.0": {"answerVersion": "1"}}, "members": {"a": {"answerVersion": "a"}}}`, func() any { return g.status("b").Version }, "1"},
		{`{"members": {"a": {"answerVersion": "a"}, "a@1.0.0": {"answerVersion": "a1"}, "a@2.0.0": {"answerVersion": "a2"}}}`, func() any { return g.status("a").Version }, "a1"},
		{`{"members": {"a": {"slow": "1ms"}}, "answerVersion": "0"}`, func() any { return g.status("a").Version }, "0"},
	}
	for _, test := range tests {
		g.control(test.control)
		if got := test.got(); got != test.want {
			t.Errorf("with %s: got %v, want %v", test.control, got, test.want)
		}
	}
}

func TestBadControlFileLeavesWhatWas(t *testing.T) {
	g := startGroup(t, "a")
	g.control(`{"answerVersion": "9"}`)
	if got := g.status("a").Version; got != "9" {
		t.Fatalf("with a good file: got version %s, want 9", got)
	}
	for _, bad := range []string{`{"anserVersion": "8"}`, `{"members": {"x": {"slow": 3}}}`, `{`} {
		g.control(bad)
		if got := g.status("a").Version; got != "9" {
			t.Errorf("with %s: got version %s, want 9 as before", bad, got)
		}
	}
	g.kill("a")
	g.start("a")
	if code := g.procs["a"].exit(t); code != exitUsage {
		t.Errorf("start with a bad control file: got exit code %d, want %d", code, exitUsage)
	}
}

func TestEnds(t *testing.T) {
	t.Run("at start", func(t *testing.T) {
		g := newGroup(t, "a")
		g.control(`{"versions": {"1.0.0": {"exitAtStart": 7}}}`)
		g.start("a")
		if code := g.procs["a"].exit(t); code != 7 {
			t.Errorf("got exit code %d, want 7", code)
		}
	})
	t.Run("after ready", func(t *testing.T) {
		g := startGroup(t, "a")
		g.control(`{"crashAfterReady": "1ms"}`)
		if code := g.procs["a"].exit(t); code != exitCrashed {
			t.Errorf("got exit code %d, want %d", code, exitCrashed)
		}
		if !strings.Contains(g.procs["a"].log(), "panic: crash") {
			t.Errorf("the log does not say it: %s", g.procs["a"].log())
		}
	})
	t.Run("at SIGTERM", func(t *testing.T) {
		g := startGroup(t, "a")
		if err := g.procs["a"].Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if code := g.procs["a"].exit(t); code != 0 {
			t.Errorf("got exit code %d, want 0", code)
		}
	})
	t.Run("not at SIGTERM", func(t *testing.T) {
		g := startGroup(t, "a")
		g.control(`{"stopIgnoresTerm": true}`)
		if err := g.procs["a"].Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		g.await("SIGTERM ignored", func() bool { return strings.Contains(g.procs["a"].log(), "SIGTERM ignored") })
		g.must("GET", "a", "/status", "")
		g.kill("a")
	})
	t.Run("usage", func(t *testing.T) {
		for _, args := range []string{"", "--name a --listen 127.0.0.1:0", "--name a --listen x --data y --peers b", "--unknown a"} {
			if code := startProcess(t, "standin", strings.Fields(args)...).exit(t); code != exitUsage {
				t.Errorf("standin %s: got exit code %d, want %d", args, code, exitUsage)
			}
		}
	})
}

func TestDropWritesLoses(t *testing.T) {
	g := startGroup(t, "a", "b", "c")
	g.control(`{"members": {"a": {"dropWrites": true}}}`)
	g.must("PUT", "a", "/kv/lost", "1")
	g.must("PUT", "b", "/kv/kept", "1")
	g.control(`{}`)
	if code, _ := g.call("GET", "a", "/kv/lost", ""); code != http.StatusNotFound {
		t.Errorf("what a dropped: got %d, want 404", code)
	}
	g.must("GET", "a", "/kv/kept", "")
}

// TestAsrestore: what asbackup wrote of one group is written into another one that runs, and nothing of another namespace is.
func TestAsrestore(t *testing.T) {
	g, fresh := startGroup(t, "a", "b", "c"), startGroup(t, "x", "y", "z")
	g.must("PUT", "a", "/kv/folder/key", "v")
	host, port, _ := strings.Cut(g.addrs["b"], ":")
	file := filepath.Join(g.dir, "backup.asb")
	var dump bytes.Buffer
	if err := runAsbackup([]string{"-h", host, "-p", port, "-n", "test", "-o", "-"}, &dump); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, dump.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	host, port, _ = strings.Cut(fresh.addrs["y"], ":")
	if err := runAsrestore([]string{"-h", host, "-p", port, "-n", "other", "-i", file}, io.Discard); err == nil {
		t.Error("a backup of another namespace: got no error")
	}
	if err := runAsrestore([]string{"-h", host, "-p", port, "-n", "test", "-i", file}, io.Discard); err != nil {
		t.Fatal(err)
	}
	fresh.must("GET", "z", "/kv/folder/key", "")
}

func TestBackupAndRestore(t *testing.T) {
	g := startGroup(t, "a", "b", "c")
	g.kill("c")
	for i := range 10 {
		g.must("PUT", "a", fmt.Sprintf("/kv/%d", i), "v")
	}
	file := filepath.Join(g.dir, "backup.json")
	var dump bytes.Buffer
	if err := runBackup([]string{"--from", g.addrs["b"]}, &dump); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, dump.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	var count bytes.Buffer
	if err := runCheck([]string{file}, &count); err != nil || count.String() != "10\n" {
		t.Errorf("check: got %q and %v, want 10", &count, err)
	}

	fresh := newGroup(t, "x", "y", "z")
	for _, name := range fresh.names {
		if err := runRestore([]string{"--data", fresh.data(name), file}, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	if err := runRestore([]string{"--data", fresh.data("x"), file}, io.Discard); err == nil {
		t.Error("restore over data: got no error")
	}
	fresh.start(fresh.names...)
	fresh.awaitReady(fresh.names...)
	fresh.must("GET", "y", "/kv/7", "")

	if err := os.WriteFile(file, bytes.Replace(dump.Bytes(), []byte(`"count":10`), []byte(`"count":11`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := runCheck([]string{file}, io.Discard); err == nil {
		t.Error("check of a file with a key missing: got no error")
	}
}

func TestVersionOfProgram(t *testing.T) {
	for program, want := range map[string]string{"standin": "", "/bin/standin-1.2.0": "1.2.0", "./standin-2.0.0-rc.1": "2.0.0-rc.1"} {
		if got := versionOf(program); got != want {
			t.Errorf("version of %s: got %q, want %q", program, got, want)
		}
	}
}
