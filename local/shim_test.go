package local

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/upgrade"
)

func TestStartTime(t *testing.T) {
	tests := []struct {
		stat string
		want uint64
	}{
		{"42 (sh) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 0 0", 12345},
		{"42 (a) Z 1) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 7 0 0", 7}, // a name may hold anything
		{"42 (sh) Z 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 0 0", 0}, // a zombie has ended
		{"42 (sh) S 1", 0},
	}
	for _, test := range tests {
		if got, err := startTime([]byte(test.stat)); got != test.want || (err == nil) != (test.want > 0) {
			t.Errorf("%s: got %d, %v; want %d", test.stat, got, err, test.want)
		}
	}
}

// TestReusedPID gives a member's shim the number of a process that is not it: this one, which must survive.
func TestReusedPID(t *testing.T) {
	w := newWorld(t, 1)
	p := w.platform()
	me, err := identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []process{
		{PID: me.PID, Start: me.Start - 1, Boot: me.Boot},
		{PID: me.PID, Start: me.Start, Boot: "another boot"},
		{PID: 0},
		{PID: -1},
		{PID: 1 << 30},
	} {
		w.writeState("kv-standin-0", shimState{Protocol: ShimProtocol, Incarnation: "x", Phase: shimRunning, Shim: other, Member: other, Signal: syscall.SIGKILL})
		if m := w.member(p, "kv-standin-0"); m.State != upgrade.ProcessAbsent {
			t.Errorf("%+v: the member is %s, want absent", other, m.State)
		}
		if err := p.stop(v1alpha1.Intent{Member: "kv-standin-0", Incarnation: "x"}); err != nil {
			t.Errorf("%+v: stop: %v", other, err)
		}
		if err := w.state.keeper("kv-standin-0").signal(syscall.SIGKILL); err == nil {
			t.Errorf("%+v: a signal was sent", other)
		}
	}
}

func (w *world) writeState(member string, s shimState) {
	w.Helper()
	k := w.state.keeper(member)
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		w.Fatal(err)
	}
	if err := (Fault)(nil).writeJSON("state", k.path(stateFile), s); err != nil {
		w.Fatal(err)
	}
}

// TestNewerShim meets a member that a newer Theseus started.
func TestNewerShim(t *testing.T) {
	w := newWorld(t, 1)
	w.writeState("kv-standin-0", shimState{Protocol: ShimProtocol + 1, Incarnation: "x"})
	p := w.platform()
	if m := w.member(p, "kv-standin-0"); m.State != upgrade.ProcessUnknown || !strings.Contains(m.Message, "newer Theseus") {
		t.Errorf("it is %s: %s; want unknown, and why", m.State, m.Message)
	}
	if err := p.stop(v1alpha1.Intent{Member: "kv-standin-0", Incarnation: "x"}); err == nil {
		t.Error("it could be stopped")
	}
	w.writeState("kv-standin-0", shimState{Protocol: ShimProtocol}) // for the cleanup
}

// start starts members of the first revision and waits until they are ready.
func (w *world) start(p *Platform, names ...string) {
	w.Helper()
	for _, name := range names {
		w.begin(p, name)
	}
	for _, name := range names {
		w.await(name+" is ready", func() bool { return w.healthy(w.member(p, name)) })
	}
}

func (w *world) begin(p *Platform, name string) {
	w.Helper()
	pinned := w.pinned()
	i := v1alpha1.Intent{Act: v1alpha1.ActStart, Component: "standin", Member: name, Version: pinned.Spec.Version, Revision: w.sys.Revision(pinned, "standin", pinned.Spec.Version)}
	if err := p.Do(w.Context(), w.scene(), i, pinned); err != nil {
		w.Fatalf("start %s: %v", name, err)
	}
}

func (w *world) healthy(m upgrade.Member) bool {
	health, _ := m.View.Answers["health"].(map[string]any)
	answer, _ := health["json"].(map[string]any)
	return m.State == upgrade.ProcessRunning && answer["health"] == "true"
}

// TestStubborn stops a member that does not listen to SIGTERM.
func TestStubborn(t *testing.T) {
	w := newWorld(t, 1)
	api := w.sys.API().DeepCopy()
	api.Components[0].Stop.Grace.Duration = 200 * time.Millisecond
	w.sys = compileSystem(t, api)
	w.misbehave(`{"stopIgnoresTerm": true}`)
	p := w.platform()
	w.start(p, "kv-standin-0")
	if err := p.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err := w.state.keeper("kv-standin-0").state()
	if err != nil || s.Phase != shimStopped || s.Exit != "killed by SIGKILL" || s.Crashes != 0 {
		t.Errorf("got phase %s, %q, %d crashes, %v; want stopped, killed by SIGKILL, 0", s.Phase, s.Exit, s.Crashes, err)
	}
}

// TestHungShim stops a member whose shim does not react: it is killed in the end, and the member with it.
func TestHungShim(t *testing.T) {
	w := newWorld(t, 1)
	p := w.platform()
	w.start(p, "kv-standin-0")
	m := w.member(p, "kv-standin-0")
	w.signalShim("kv-standin-0", syscall.SIGSTOP)
	stop := v1alpha1.Intent{Act: v1alpha1.ActStop, Member: "kv-standin-0", Incarnation: m.Incarnation}
	if err := p.stop(stop); err != nil {
		t.Fatal(err)
	}
	if m := w.member(p, "kv-standin-0"); m.State != upgrade.ProcessRunning {
		t.Fatalf("it is %s at once, want running for its grace", m.State)
	}
	p.patience[m.Incarnation] = time.Now().Add(-time.Hour)
	if err := p.stop(stop); err != nil {
		t.Fatal(err)
	}
	w.await("it is absent", func() bool { return w.member(p, "kv-standin-0").State == upgrade.ProcessAbsent })
}

func (w *world) signalShim(name string, sig syscall.Signal) {
	w.Helper()
	s, err := w.state.keeper(name).state()
	if err == nil {
		err = s.Shim.signal(sig)
	}
	if err != nil {
		w.Fatalf("signal the shim of %s: %v", name, err)
	}
}

// TestLastWords lets a member end at once, again and again.
func TestLastWords(t *testing.T) {
	w := newWorld(t, 1)
	w.misbehave(`{"exitAtStart": 7}`)
	p := w.platform()
	w.begin(p, "kv-standin-0")
	var m upgrade.Member
	w.await("it crashed twice", func() bool { m = w.member(p, "kv-standin-0"); return m.Crashes >= 2 })
	for _, want := range []string{"exit code 7", "control: exit at start"} {
		if !strings.Contains(m.Message, want) {
			t.Errorf("the message has no %q:\n%s", want, m.Message)
		}
	}
	if n := strings.Count(m.Message, "\n"); n > tailLines {
		t.Errorf("the message has %d lines, want at most %d", n, tailLines)
	}
	if m.Broken != "" {
		t.Errorf("it is called broken (%s): it could be started", m.Broken)
	}
}

// TestBroken starts what cannot be started, in every way. It must be seen at once, be stopped like any other, and heal.
func TestBroken(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(text, []byte("not a program"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(plain, []byte("#!/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		spec v1alpha1.Program
		want string
	}{
		{"missing", v1alpha1.Program{Path: filepath.Join(dir, "none")}, "there is no such file"},
		{"no program", v1alpha1.Program{Path: text}, "exec format error"},
		{"not executable", v1alpha1.Program{Path: plain}, "not executable"},
		{"a folder", v1alpha1.Program{Path: dir}, "it is not a file"},
		{"never downloaded", v1alpha1.Program{URL: "https://127.0.0.1/x", SHA256: strings.Repeat("0", 64)}, "it was not downloaded"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, 1)
			w.cluster.Spec.Programs = map[string]v1alpha1.Program{"1.0.0": test.spec}
			p := w.platform()
			w.begin(p, "kv-standin-0")
			var m upgrade.Member
			w.await("it is seen to be broken", func() bool { m = w.member(p, "kv-standin-0"); return m.Broken != "" })
			if m.State != upgrade.ProcessExited || !strings.Contains(m.Broken, test.want) {
				t.Errorf("it is %s, broken: %s; want exited, %q", m.State, m.Broken, test.want)
			}
			if err := p.stop(v1alpha1.Intent{Member: "kv-standin-0", Incarnation: m.Incarnation}); err != nil {
				t.Fatal(err)
			}
			w.await("it is absent", func() bool { return w.member(p, "kv-standin-0").State == upgrade.ProcessAbsent })
		})
	}
}

// TestBrokenArgs has a start command that cannot be made: an expression that nothing answers.
func TestBrokenArgs(t *testing.T) {
	w := newWorld(t, 1)
	w.cluster.Spec.Components["standin"] = v1alpha1.ComponentSpec{Replicas: new(int32(1)), Args: []string{"--x=${m.nothing.json}"}}
	p := w.platform()
	w.begin(p, "kv-standin-0")
	w.await("it is seen to be broken", func() bool { return strings.Contains(w.member(p, "kv-standin-0").Broken, "start command") })
}

// TestShimKills kills the shim at each of its durable writes, once each, and expects the next driver to bring the
// member up all the same, and the one after it to stop it.
func TestShimKills(t *testing.T) {
	points := []string{"state.begin 1", "state.rename 1", "state.done 1", "state.begin 2", "state.rename 2", "state.done 2"}
	for _, point := range points {
		t.Run(point, func(t *testing.T) {
			w := newWorld(t, 1)
			armed := w.arm(point)
			w.drive()
			if _, err := os.Stat(armed); err == nil {
				t.Errorf("the shim never came to %s", point)
			}
			w.onlyOne("kv-standin-0")
		})
	}
}

// TestShimKillsLater is the same at the writes that a crash and a stop bring about.
func TestShimKillsLater(t *testing.T) {
	for _, point := range []string{"state.begin 3", "state.rename 3", "state.done 3"} {
		for _, by := range []string{"crash", "stop"} {
			t.Run(by+" "+point, func(t *testing.T) {
				w := newWorld(t, 1)
				armed := w.arm(point)
				p := w.platform()
				w.start(p, "kv-standin-0")
				if by == "crash" {
					w.kill("kv-standin-0", func(s *shimState) process { return s.Member })
				} else if err := p.stop(v1alpha1.Intent{Member: "kv-standin-0", Incarnation: w.member(p, "kv-standin-0").Incarnation}); err != nil {
					t.Fatal(err)
				}
				w.await("the shim was killed", func() bool { _, err := os.Stat(armed); return err != nil })
				w.await("the member is absent", func() bool { return w.member(p, "kv-standin-0").State == upgrade.ProcessAbsent })
				w.start(p, "kv-standin-0")
				w.onlyOne("kv-standin-0")
			})
		}
	}
}

// arm lets the next shim, job or driver that comes to a point be killed there, and returns the file that is gone afterwards.
func (w *world) arm(point string) string {
	w.Helper()
	file := filepath.Join(w.TempDir(), "armed")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		w.Fatal(err)
	}
	w.Setenv("THESEUS_TEST_FAULT", file+" "+point)
	return file
}

// onlyOne looks for processes of a member that nobody knows of.
func (w *world) onlyOne(member string) {
	w.Helper()
	s, err := w.state.keeper(member).state()
	if err != nil {
		w.Fatal(err)
	}
	arg := "--data=" + w.state.DataDir(member)
	w.await("only the known process runs", func() bool {
		pids := w.withArg(arg)
		return len(pids) == 1 && pids[0] == s.Member.PID
	})
}

// withArg are the processes that have an argument.
func (w *world) withArg(arg string) (pids []int) {
	w.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		w.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || !slices.Contains(strings.Split(string(text), "\x00"), arg) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			w.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// TestEnvironment sees that a member gets what the spec says and little else, and no ignored signals.
func TestEnvironment(t *testing.T) {
	w := newWorld(t, 1)
	t.Setenv("SECRET_OF_THE_DRIVER", "x")
	w.cluster.Spec.Components["standin"] = v1alpha1.ComponentSpec{Replicas: new(int32(1)), Env: map[string]string{"GIVEN": "${m.name}"}}
	p := w.platform()
	w.start(p, "kv-standin-0")
	s, err := w.state.keeper("kv-standin-0").state()
	if err != nil {
		t.Fatal(err)
	}
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", s.Member.PID))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(env), "GIVEN=kv-standin-0") || strings.Contains(string(env), "SECRET_OF_THE_DRIVER") {
		t.Errorf("its environment is %q", env)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Member.PID))
	if err != nil {
		t.Fatal(err)
	}
	// What ran the test may have had others ignored; these are the ones that a shim ignores itself.
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE} {
		if ignored(t, string(status))&(1<<(sig-1)) != 0 {
			t.Errorf("it was started with %s ignored", sig)
		}
	}
}

// ignored is the set of signals that a process ignores, of its /proc/PID/status.
func ignored(t *testing.T, status string) (set uint64) {
	t.Helper()
	_, line, _ := strings.Cut(status, "SigIgn:\t")
	if _, err := fmt.Sscanf(line, "%x", &set); err != nil {
		t.Fatalf("read SigIgn: %v", err)
	}
	return set
}

// TestOrderRoundTrip keeps what driver and shim agree on.
func TestOrderRoundTrip(t *testing.T) {
	w := newWorld(t, 1)
	p := w.platform()
	w.start(p, "kv-standin-0")
	o := order{}
	if there, err := readJSON(w.state.keeper("kv-standin-0").path(orderFile), &o); !there || err != nil {
		t.Fatal(there, err)
	}
	s, err := w.state.keeper("kv-standin-0").state()
	if err != nil {
		t.Fatal(err)
	}
	of, _ := json.Marshal(o.View)
	is, _ := json.Marshal(s.View)
	if string(of) != string(is) || s.Incarnation != o.Incarnation || s.Grace != 10*time.Second || s.Signal != syscall.SIGTERM {
		t.Errorf("ordered %+v, got %+v", o, s)
	}
}
