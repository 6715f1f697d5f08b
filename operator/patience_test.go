package operator

import (
	"testing"
	"time"

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
