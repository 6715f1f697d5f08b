package operator

import (
	"errors"
	"testing"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
)

// TestIntentAfterEdit: an intent is not written over an edit or a request that came since the look. It may have been to stop it. What is no intent is.
func TestIntentAfterEdit(t *testing.T) {
	for what, edit := range map[string]func(*v1alpha1.Cluster){
		"an edit": func(c *v1alpha1.Cluster) { c.Generation++; c.Spec.Version = "0.9.0" }, // the fake does not count
		"a request": func(c *v1alpha1.Cluster) {
			c.Annotations = map[string]string{RequestsAnnotation: `{"id": "p", "kind": "Pause"}`}
		},
		"a label": func(c *v1alpha1.Cluster) { c.Labels = map[string]string{"team": "kv"} },
	} {
		api := fakeAPI(t)
		s := &State{API: api, Live: api, Key: key}
		c, mark, err := s.Load(t.Context())
		fatal(t, err)
		now := &v1alpha1.Cluster{}
		fatal(t, api.Get(t.Context(), key, now))
		edit(now)
		fatal(t, api.Update(t.Context(), now))
		c.Status.Attempt = &v1alpha1.Attempt{}
		mark, err = s.Save(t.Context(), &c.Status, mark)
		if err != nil {
			t.Errorf("%s: without an intent: %v", what, err)
		}
		c.Status.Attempt.Intent = &v1alpha1.Intent{ID: 7, Act: v1alpha1.ActStop, Member: "kv-standin-0", Incarnation: "u"}
		if _, err := s.Save(t.Context(), &c.Status, mark); errors.Is(err, runner.ErrConflict) != (what != "a label") {
			t.Errorf("%s: with an intent: %v", what, err)
		}
		if _, mark, err = s.Load(t.Context()); err == nil { // who looked again may go on
			_, err = s.Save(t.Context(), &c.Status, mark)
		}
		if err != nil {
			t.Errorf("%s: after another load: %v", what, err)
		}
	}
}

// TestAnotherOfTheName: who drives a Cluster does not go on with one that was made anew with its name, of which it knows nothing.
func TestAnotherOfTheName(t *testing.T) {
	api := fakeAPI(t)
	now := &v1alpha1.Cluster{}
	fatal(t, api.Get(t.Context(), key, now))
	if _, _, err := (&State{API: api, Live: api, Key: key, UID: now.UID}).Load(t.Context()); err != nil {
		t.Errorf("the same: %v", err)
	}
	if _, _, err := (&State{API: api, Live: api, Key: key, UID: "former"}).Load(t.Context()); !errors.Is(err, runner.ErrConflict) {
		t.Errorf("another one: got %v, want a conflict", err)
	}
	r := &Reconciler{API: api, Live: api, Shipped: shipped}
	former := r.driverOf(key, "former")
	if _, err := former.runner.Step(t.Context()); !errors.Is(err, runner.ErrConflict) {
		t.Errorf("a pass of the former one's driver: got %v, want a conflict", err)
	}
	if r.driverOf(key, now.UID) == former {
		t.Error("another one has the same driver")
	}
}
