package upgradetest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutant is a defect put into the core: a text of a file replaced by another. The simulator must find it.
type mutant struct {
	name     string
	file     string // of package upgrade
	old, new string
	promise  string // that is seen to be broken, "" for any
}

var mutants = []mutant{
	{"the budget overlooks members of unknown readiness", "look.go", `f.ready != system.Yes {
			n++`, `f.ready == system.No {
			n++`, "promise 1"},
	{"an incomplete look permits a disruption", "hand.go", `	if !w.in.Look.Complete {
		return WaitFirmly(object,`, `	if false {
		return WaitFirmly(object,`, "promise 1"},
	{"a stop that is not seen is repeated without asking again", "hand.go", `	// A stop that was permitted before`, `	if h.Incarnation != "" && h.Incarnation == f.Incarnation {
		return stay(Do(w.stop(f)))
	}
	// A stop that was permitted before`, ""},
	{"the backup is not waited for after a retry", "kinds.go", `	if r.Tries >= backupTries {`, `	if r.Tries >= 1 {
		return Done()
	}
	if r.Tries >= backupTries {`, "promise 2"},
	{"components are undone in forward order", "decide.go", `	for i := range slices.Backward(s.attempt.Steps) {
		st :=`, `	for i := range s.attempt.Steps {
		st :=`, "promise 3"},
	{"the leader is not last", "roll.go", `return i, true
		}
	}`, `return -i, true
		}
	}`, "promise 4"},
	{"a handover is not confirmed", "hand.go", `		m = w.confirm(h, f)
	}
	return stay(m)`, `		h.Phase = v1alpha1.HandReplace
		h.Incarnation = f.Incarnation
		m = Do(w.stop(f))
	}
	return stay(m)`, "promise 4"},
	{"the role is not read again in the look that permits the disruption", "hand.go", `	case role != nil:
		return then(v1alpha1.HandHandover) // the role came back
	}`, `	case role != nil && h.Incarnation == "never":
	}`, "promise 4"},
	{"finalized is not marked", "hand.go", `	hop.Finalized = true
	w.event("Finalizing"`, `	w.event("Finalizing"`, "promise 5"},
	{"the software's own finalizing is not noticed and nothing opens the way back", "kinds.go", `func (s *Scene) openWayBack() Move {`, `func (s *Scene) openWayBack() Move {
	if true {
		return Done()
	}`, "promise 5"},
	{"a first start that served is corrected all the same", "edit.go", `			a.Served = a.Served || f.ready == system.Yes`, ``, "promise 6"},
	{"requests are answered each time they come", "requests.go", `func(a v1alpha1.RequestAnswer) bool { return a.ID == r.ID }`, `func(a v1alpha1.RequestAnswer) bool { return false }`, ""},
	{"deadlines count the wall clock, and with it the time in which nobody looked", "scene.go", `	return s.Clock()-s.step.ProgressAt.Duration >= s.deadline()`, `	w := s.attempt.WaitingFor
	return w != nil && s.in.Now.Sub(w.Since.Time) >= s.deadline()`, "promise 8"},
	{"a wait forgets since when", "decide.go", `		w.Since = old.Since`, `		_ = old.Since`, "promise 7"},
	{"a resumed step keeps its old deadline", "attempt.go", `		st.ProgressAt = a.Clock
		for j := range`, `		for j := range`, "promise 8"},
	{"a failed target is tried again", "attempt.go", `		if s.status.FailedTarget != "" {`, `		if false {`, "promise 9"},
	{"a fault of the environment rolls back", "decide.go", `	case f.Class == v1alpha1.FaultEnvironment:`, `	case false:`, "promise 9"},
	{"a failed attempt does not heal", "attempt.go", `	if a.HealthyFor.Duration < s.healingSoak() {`, `	if true {`, "promise 10"},
	{"the intent is not in the journal before the act", "decide.go", `	dec.Write = changed(&in.Cluster.Status, status)`, `	dec.Write = dec.Act == nil && changed(&in.Cluster.Status, status)`, "promise 11"},
	{"an unknown outcome is repeated", "run.go", `out.Phase == OutcomeUnknown && onUnknown(e) == v1alpha1.StopOnUnknown:`, `false:`, ""},
	{"a member that came back new is not checked", "roll.go", `		if f.expected && f.Revision == w.revision && f.State != ProcessAbsent && !w.done(f) {
			return f`, `		if false {
			return f`, "promise 1"},
	{"members are started one by one", "roll.go", `	if m := w.raise(); m.Kind != MoveDone {
		return m
	}
	if st.Hand`, `	if st.Hand`, ""},
	{"a new System restarts members", "attempt.go", `	if s.status.FailedRevision == "" && reflect`, `	if revisions(s.in.System, have) != revisions(s.sys, have) {
		return v1alpha1.AttemptRestart, nil
	}
	if s.status.FailedRevision == "" && reflect`, "promise 13"},
	{"a volume is made anew though another member does not serve", "volume.go", `n > 0 && !w.Overridden("volume")`, `n > 99 && !w.Overridden("volume")`, "promise 14"},
	{"a member starts on the volume that it has", "hand.go", `		if w.unfit(f) {
			return stay(w.renew(h, f))
		}
		return stay(Do`, `		return stay(Do`, "promise 14"},
	{"a paused attempt goes on", "decide.go", `		return Decision{Situation: Resting, Rest: true}
	}
	s.attempt.Clock`, `	}
	s.attempt.Clock`, ""},
	{"members leave before those that take over are good", "relocate.go", `	if m := w.good(); m.Kind != MoveDone {
		return m
	}
	return w.next()`, `	return w.next()`, ""},
	{"on the way back members that serve go before others do", "relocate.go", `len(going) > 0 && !slices.ContainsFunc(going, func(f *fact) bool { return !f.bad() })`,
		`len(going) > 0`, "promise 1"},
	{"the old workload is removed before the new one is seen to be well", "relocate.go", `	if m := s.allGood(); m.Kind != MoveDone {
		return m
	}
	if st.Since`, `	if st.Since`, "move"},
}

// TestMutants puts each defect into the core and expects the simulator to find it. The short run takes some of them.
func TestMutants(t *testing.T) {
	for i, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			if os.Getenv("THESEUS_LONG") == "" && i%8 != 3 {
				t.Skip("in make test-long only")
			}
			m.run(t)
		})
	}
}

func (m mutant) run(t *testing.T) {
	binary := m.build(t)
	cmd := exec.Command(binary, "-test.run=^TestHunt$", "-worlds=6000")
	cmd.Env = append(os.Environ(), "THESEUS_HUNT="+m.promise+":")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("%s is not seen to be broken in 6000 worlds:\n%s", cmp.Or(m.promise, "no promise"), out)
	}
	found := "found: "
	at := bytes.Index(out, []byte(found))
	if at < 0 {
		t.Fatalf("the simulator failed otherwise: %v\n%s", err, out)
	}
	line, _, _ := strings.Cut(string(out[at:]), "\n")
	t.Log(line)
}

// build builds this test with the core's file replaced.
func (m mutant) build(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "upgrade", m.file))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), m.old); n != 1 {
		t.Fatalf("the text to replace is %d times in %s: %q", n, m.file, m.old)
	}
	dir := t.TempDir()
	changed, overlay := filepath.Join(dir, m.file), filepath.Join(dir, "overlay.json")
	write(t, changed, []byte(strings.Replace(string(text), m.old, m.new, 1)))
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{path: changed}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, overlay, replace)
	binary := filepath.Join(dir, "hunt")
	if out, err := exec.Command("go", "test", "-c", "-o", binary, "-overlay", overlay, "-vet=off", ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestHunt is run by TestMutants in the binaries that it builds: it ends when the promise is seen to be broken, whichever others are.
func TestHunt(t *testing.T) {
	hunt := os.Getenv("THESEUS_HUNT")
	if hunt == "" {
		t.Skip("run by TestMutants")
	}
	for n := 0; n < *worlds; n += 100 {
		for _, r := range simulateAll(uint64(n), 100).broken {
			if strings.Contains(r.Err.Error(), hunt) {
				t.Fatalf("found: after at most %d worlds: %v", n+100, r.Err)
			}
		}
	}
}
