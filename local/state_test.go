package local

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"theseus.dev/api/v1alpha1"
)

// TestNewer writes what a newer Theseus would, and expects every way to write to refuse and leave it.
func TestNewer(t *testing.T) {
	for _, file := range []string{
		`{"format": 2, "what": {"nobody": "knows"}}`,
		`{"format": 1, "mark": 3, "status": {"journal": 2, "attempt": "of another shape"}}`,
	} {
		w := newWorld(t, 1)
		if err := os.WriteFile(w.state.path(statusFile), []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		spec := w.cluster.Spec.DeepCopy()
		spec.Version = "1.1.0"
		_, _, loadErr := w.state.Load(t.Context())
		_, saveErr := w.state.Save(t.Context(), &v1alpha1.ClusterStatus{}, "3")
		for what, err := range map[string]error{"load": loadErr, "save": saveErr, "accept": w.state.AcceptSpec(spec)} {
			if !errors.As(err, new(*NewerError)) {
				t.Errorf("%s of %s: got %v, want a NewerError", what, file, err)
			}
		}
		if now, _ := os.ReadFile(w.state.path(statusFile)); string(now) != file {
			t.Errorf("%s was changed to %s", file, now)
		}
		if c, err := readCluster(w.state.dir); err != nil || c.Spec.Version != "1.0.0" {
			t.Errorf("the spec beside a newer journal was changed: %v", err)
		}
	}
}

func TestNewerCluster(t *testing.T) {
	w := newWorld(t, 1)
	text, err := os.ReadFile(w.state.path(clusterFile))
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("theseus.dev/v1alpha1"), []byte("theseus.dev/v9"), 1)
	if err := os.WriteFile(w.state.path(clusterFile), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.state.Load(t.Context()); !errors.As(err, new(*NewerError)) || !strings.Contains(err.Error(), "theseus.dev/v9") {
		t.Errorf("got %v, want a NewerError that names theseus.dev/v9", err)
	}
}

func TestTwoDrivers(t *testing.T) {
	w := newWorld(t, 1)
	unlock, err := w.state.Lock()
	if err != nil {
		t.Fatal(err)
	}
	busy := &BusyError{}
	if _, err := w.again(t).Lock(); !errors.As(err, &busy) || busy.PID != os.Getpid() {
		t.Errorf("a second driver: got %v, want a BusyError that names process %d", err, os.Getpid())
	}
	if err := w.home.Delete("kv"); !errors.As(err, &busy) {
		t.Errorf("delete under a driver: got %v, want a BusyError", err)
	}
	unlock()
	unlock, err = w.again(t).Lock()
	if err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	unlock()
}

// A cluster is hollow from its first moment until it has its data, and none becomes so.
func TestCreateHollow(t *testing.T) {
	w := newWorld(t, 1)
	if _, err := w.home.CreateHollow(w.cluster, w.sys); !errors.As(err, new(*ExistsError)) || w.again(t).Hollow() {
		t.Errorf("over one that is there: got %v, hollow %v; want an ExistsError and false", err, w.again(t).Hollow())
	}
	if err := w.home.Delete("kv"); err != nil {
		t.Fatal(err)
	}
	st, err := w.home.CreateHollow(w.cluster, w.sys)
	if err != nil || !w.again(t).Hollow() {
		t.Fatalf("got %v, hollow %v", err, w.again(t).Hollow())
	}
	if err := st.Filled("1.0"); err != nil || w.again(t).Hollow() {
		t.Errorf("with its data: got %v, hollow %v", err, w.again(t).Hollow())
	}
	if err := w.home.Delete("kv"); err != nil {
		t.Fatal(err)
	}
	if st, err = w.home.CreateHollow(w.cluster, w.sys); err != nil {
		t.Fatal(err)
	}
	if err := st.Loads("kv/b"); err != nil || w.again(t).Hollow() {
		t.Errorf("that is to get its data: got %v, hollow %v", err, w.again(t).Hollow())
	}
	if c, _, err := w.again(t).Load(t.Context()); err != nil || c.Status.Loading == nil || c.Status.Loading.Restore != "kv/b" {
		t.Errorf("it notes %+v, %v; want kv/b", c.Status.Loading, err)
	}
}

func TestCreate(t *testing.T) {
	w := newWorld(t, 1)
	if _, err := w.home.Create(w.cluster, w.sys); !errors.As(err, new(*ExistsError)) {
		t.Errorf("a name that is taken: got %v, want an ExistsError", err)
	}
	for _, name := range []string{"", ".", "..", "a/b", ".hidden", "programs"} {
		c := w.cluster.DeepCopy()
		c.Name = name
		if _, err := w.home.Create(c, w.sys); err == nil {
			t.Errorf("name %q: got no error", name)
		}
	}
	unknown := &UnknownClusterError{}
	if _, err := w.home.Open("other"); !errors.As(err, &unknown) || len(unknown.Known) != 1 {
		t.Errorf("got %v, want an UnknownClusterError that knows kv", err)
	}
	c, _, err := w.state.Load(t.Context())
	if err != nil || c.Generation != 1 || c.CreationTimestamp.IsZero() {
		t.Errorf("got generation %d, created %v, %v; want 1, now", c.Generation, c.CreationTimestamp, err)
	}
	w.spec(func(s *v1alpha1.ClusterSpec) { s.Version = "1.1.0" })
	w.spec(func(*v1alpha1.ClusterSpec) {}) // the same is no new generation
	if c, _, err := w.state.Load(t.Context()); err != nil || c.Generation != 2 {
		t.Errorf("after one edit the generation is %d, %v; want 2", c.Generation, err)
	}
	if err := w.home.Delete("kv"); err != nil {
		t.Fatal(err)
	}
	if names, err := w.home.List(); err != nil || len(names) > 0 {
		t.Errorf("after delete there are %v, %v", names, err)
	}
}

// TestForeignRequest puts a file into the inbox that Ask did not write: it must be answered and go, and not stop the driver.
func TestForeignRequest(t *testing.T) {
	w := newWorld(t, 1)
	if err := os.WriteFile(w.state.path(inboxFolder, "by-hand.json"), []byte("pause please"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := w.drive()
	if n := len(p.Status.Requests); n != 1 || p.Status.Requests[0].ID != "by-hand" || p.Status.Requests[0].Accepted {
		t.Errorf("got answers %+v, want one that refuses by-hand", p.Status.Requests)
	}
	if left, err := w.state.Requests(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("the inbox still has %v, %v", left, err)
	}
}

func TestInboxBounded(t *testing.T) {
	w := newWorld(t, 1)
	for n := range maxRequests {
		if err := w.state.Ask(v1alpha1.Request{ID: strings.Repeat("x", n+1), Kind: v1alpha1.RequestPause}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.state.Ask(v1alpha1.Request{ID: "one more"}); err == nil {
		t.Error("one more than the most: got no error")
	}
	for _, id := range []string{"", ".x", strings.Repeat("x", 101)} {
		if err := w.state.Ask(v1alpha1.Request{ID: id}); err == nil {
			t.Errorf("id %q: got no error", id)
		}
	}
}

// TestChangedSystem edits a System that members were rolled with behind our back.
func TestChangedSystem(t *testing.T) {
	w := newWorld(t, 1)
	if err := w.state.Keep(t.Context(), w.sys); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(w.state.systemPath(w.sys.Hash()))
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("grace: 10s"), []byte("grace: 1s"), 1)
	if err := os.WriteFile(w.state.systemPath(w.sys.Hash()), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := w.state.Pinned(t.Context(), w.sys.Hash()); err == nil || !strings.Contains(err.Error(), "was changed") {
		t.Errorf("got %v, want an error that says that it was changed", err)
	}
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"format": 1, "mark": 3, "status": {"journal": 1, "currentVersion": "1.0.0"}}`))
	f.Add([]byte(`{"format": 2}`))
	f.Add([]byte(`{"format": 1, "status": {"journal": 1, "attempt": {"clock": "1s", "steps": [{"since": "2s"}]}}}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		j, err := decodeJournal("status.json", data)
		if err != nil {
			return
		}
		if j.Format != statusFormat || j.Status.Journal > v1alpha1.JournalVersion {
			t.Fatalf("accepted format %d, journal %d", j.Format, j.Status.Journal)
		}
		text, err := json.Marshal(j)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if _, err := decodeJournal("status.json", text); err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, text)
		}
	})
}

func FuzzShimState(f *testing.F) {
	f.Add([]byte(`{"protocol": 1, "phase": "running", "shim": {"pid": 1, "start": 2, "boot": "x"}, "crashes": 1}`))
	f.Add([]byte(`{"protocol": 2, "phase": {"of": "another shape"}}`))
	f.Add([]byte(`{"shim": {"pid": -1}, "member": {"pid": 0}}`))
	dir := f.TempDir()
	k := keeper{dir}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(k.path(stateFile), data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := k.state()
		if err != nil {
			return
		}
		if s.Protocol > ShimProtocol {
			t.Fatalf("accepted protocol %d", s.Protocol)
		}
		s.process() // of any content; signals nobody
	})
}

func FuzzStat(f *testing.F) {
	f.Add([]byte("42 (a) b) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 0 0"))
	f.Add([]byte("42 (x) Z 1 2"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, data []byte) {
		start, err := startTime(data)
		if err == nil && !strings.Contains(string(data), strconv.FormatUint(start, 10)) {
			t.Fatalf("start time %d is not in %q", start, data)
		}
	})
}
