package runnertest

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
)

// JournalPlace is a fresh journal of a Cluster without a status.
type JournalPlace struct {
	// Open returns the journal as another process sees it.
	Open func(t *testing.T) runner.Journal
	// Edit replaces the spec, as a person does beside a driver.
	Edit func(t *testing.T, spec *v1alpha1.ClusterSpec)
}

// Journal runs the suite of runner.Journal. Each test gets a place of its own.
func Journal(t *testing.T, fresh func(t *testing.T) JournalPlace) {
	tests := []struct {
		name string
		run  func(*testing.T, JournalPlace)
	}{
		{"a new journal is empty", journalEmpty},
		{"what was saved is loaded elsewhere", journalSaved},
		{"an old mark saves nothing", journalConflict},
		{"of savers at once one wins", journalRace},
		{"an edit of the spec is seen and is no conflict", journalEdit},
		{"what was loaded is a copy", journalCopy},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, fresh(t)) })
	}
}

func load(t *testing.T, j runner.Journal) (*v1alpha1.Cluster, string) {
	t.Helper()
	c, mark, err := j.Load(t.Context())
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	return c, mark
}

func save(t *testing.T, j runner.Journal, s *v1alpha1.ClusterStatus, mark string) string {
	t.Helper()
	mark, err := j.Save(t.Context(), s, mark)
	if err != nil {
		t.Fatalf("save: %v", err)
	}
	return mark
}

// status is one that fills the fields that are hard to keep: times, durations, pointers, text.
func status(n int64) *v1alpha1.ClusterStatus {
	return &v1alpha1.ClusterStatus{
		Journal: v1alpha1.JournalVersion, Acts: n, CurrentVersion: "1.0.0",
		Attempt: &v1alpha1.Attempt{ID: n, Kind: v1alpha1.AttemptUpgrade, Phase: v1alpha1.PhaseRunning, To: "1.1.0", Clock: metav1.Duration{Duration: 1500000001},
			Target: v1alpha1.Pinned{Spec: v1alpha1.ClusterSpec{System: "standin", Version: "1.1.0"}, System: v1alpha1.SystemRef{Name: "standin", Hash: "0"}},
			Hops:   []v1alpha1.HopStatus{{From: "1.0.0", To: "1.1.0"}}, Started: metav1.Unix(1700000000, 0),
			Steps:  []v1alpha1.StepStatus{{Name: "roll kv", Kind: "Roll", Phase: v1alpha1.StepRunning, Then: `{"a":"\u00fc\n"}`, Since: &metav1.Duration{}}},
			Intent: &v1alpha1.Intent{ID: n, Act: v1alpha1.ActStop, Incarnation: "x"}},
	}
}

func journalEmpty(t *testing.T, p JournalPlace) {
	c, _ := load(t, p.Open(t))
	if c.Name == "" || c.Spec.System == "" {
		t.Errorf("the Cluster has name %q and system %q, want both", c.Name, c.Spec.System)
	}
	if !reflect.DeepEqual(c.Status, v1alpha1.ClusterStatus{}) {
		t.Errorf("got status %+v, want none", c.Status)
	}
}

func journalSaved(t *testing.T, p JournalPlace) {
	j := p.Open(t)
	_, mark := load(t, j)
	for n := range int64(3) {
		mark = save(t, j, status(n), mark)
		c, again := load(t, p.Open(t))
		if again != mark {
			t.Errorf("save %d: loaded mark %q, want the saved %q", n, again, mark)
		}
		if !reflect.DeepEqual(&c.Status, status(n)) {
			t.Errorf("save %d: loaded %+v, want %+v", n, &c.Status, status(n))
		}
	}
}

func journalConflict(t *testing.T, p JournalPlace) {
	a, b := p.Open(t), p.Open(t)
	_, old := load(t, a)
	save(t, b, status(1), old)
	if _, err := a.Save(t.Context(), status(2), old); !errors.Is(err, runner.ErrConflict) {
		t.Errorf("save with an old mark: got %v, want ErrConflict", err)
	}
	if c, _ := load(t, a); c.Status.Acts != 1 {
		t.Errorf("after a conflict acts is %d, want the 1 of who came first", c.Status.Acts)
	}
	_, mark := load(t, a)
	save(t, a, status(3), mark)
}

func journalRace(t *testing.T, p JournalPlace) {
	_, mark := load(t, p.Open(t))
	const savers = 8
	var group sync.WaitGroup
	errs := make([]error, savers)
	for i := range savers {
		j := p.Open(t)
		group.Go(func() { _, errs[i] = j.Save(t.Context(), status(int64(i+1)), mark) })
	}
	group.Wait()
	won := int64(0)
	for i, err := range errs {
		switch {
		case err == nil && won == 0:
			won = int64(i + 1)
		case err == nil:
			t.Errorf("savers %d and %d both won", won, i+1)
		case !errors.Is(err, runner.ErrConflict):
			t.Errorf("saver %d: got %v, want ErrConflict", i+1, err)
		}
	}
	if c, _ := load(t, p.Open(t)); won == 0 || c.Status.Acts != won {
		t.Errorf("acts is %d, want the %d of the winner", c.Status.Acts, won)
	}
}

func journalEdit(t *testing.T, p JournalPlace) {
	j := p.Open(t)
	c, mark := load(t, j)
	mark = save(t, j, status(1), mark)
	spec := c.Spec.DeepCopy()
	spec.Version = "9.9.9"
	p.Edit(t, spec)
	c, again := load(t, j)
	if c.Spec.Version != "9.9.9" || c.Status.Acts != 1 {
		t.Errorf("after an edit: version %q and acts %d, want 9.9.9 and 1", c.Spec.Version, c.Status.Acts)
	}
	if again != mark {
		t.Errorf("after an edit the mark is %q, want %q as before: it speaks of the status", again, mark)
	}
	save(t, j, status(2), mark)
	if c, _ := load(t, j); c.Spec.Version != "9.9.9" {
		t.Errorf("a save changed the version in the spec to %q", c.Spec.Version)
	}
}

func journalCopy(t *testing.T, p JournalPlace) {
	j := p.Open(t)
	_, mark := load(t, j)
	saved := status(1)
	save(t, j, saved, mark)
	saved.Attempt.Phase = v1alpha1.PhaseAborted
	c, _ := load(t, j)
	c.Status.Attempt.Phase = v1alpha1.PhasePaused
	c.Spec.System = "other"
	if again, _ := load(t, j); again.Status.Attempt.Phase != v1alpha1.PhaseRunning || again.Spec.System == "other" {
		t.Errorf("a change of what was saved or loaded is in the journal: %s", fmt.Sprint(again.Status.Attempt.Phase, again.Spec.System))
	}
}
