package operator

import (
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/upgrade"
)

// A soak that ends in a moment is looked at then, however long the wait has been.
func TestPatienceEndsWithTheWait(t *testing.T) {
	soaks := v1alpha1.ClusterStatus{Attempt: &v1alpha1.Attempt{WaitingFor: &v1alpha1.WaitingFor{Object: "member a", Rule: "soak"}}}
	for name, c := range map[string]struct {
		due, want time.Duration
	}{
		"nothing is known":     {0, lookLater},
		"in a moment":          {30 * time.Millisecond, 30 * time.Millisecond},
		"later than next look": {time.Minute, lookLater},
	} {
		t.Run(name, func(t *testing.T) {
			d := &driver{progress: "member asoak", since: time.Now().Add(-time.Minute)}
			p := runner.Pass{Decision: upgrade.Decision{Status: soaks, Due: c.due}}
			if got := d.patience(p); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// However long the API server was away, a Cluster is tried again soon after; and one that fails is not tried all the time.
func TestRetriesAreSoonAndFew(t *testing.T) {
	r, of := retries(), reconcile.Request{}
	last := time.Duration(0)
	for n := range 100 {
		next := r.When(of)
		if next < last || next > 15*time.Second {
			t.Fatalf("after %d failures it is tried again in %s, and %s before that; want later and later, up to 15 s", n+1, next, last)
		}
		last = next
	}
	if last < 5*time.Second {
		t.Errorf("after 100 failures it is tried again in %s, want that it has time", last)
	}
}
