package runner

import (
	"testing"
	"testing/synctest"
	"time"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/upgrade"
)

// TestNextPause looks at the pauses of one wait, one after the other.
func TestNextPause(t *testing.T) {
	waits := func(rule string) upgrade.Decision {
		w := &v1alpha1.WaitingFor{Object: "member a", Rule: rule}
		return upgrade.Decision{Status: v1alpha1.ClusterStatus{Attempt: &v1alpha1.Attempt{WaitingFor: w}}}
	}
	due, acts := waits("soak"), waits("ready")
	due.Due, acts.Act = 3*time.Millisecond, &v1alpha1.Intent{}
	tests := []struct {
		name   string
		waited time.Duration
		dec    upgrade.Decision
		want   time.Duration
	}{
		{"it begins short", 0, waits("stopped"), 10 * time.Millisecond},
		{"it grows", 800 * time.Millisecond, waits("stopped"), 50 * time.Millisecond},
		{"it has a bound", time.Hour, waits("stopped"), 100 * time.Millisecond},
		{"another wait begins anew", 0, waits("ready"), 10 * time.Millisecond},
		{"and grows", 800 * time.Millisecond, waits("ready"), 50 * time.Millisecond},
		{"an act begins anew", 0, acts, 10 * time.Millisecond},
		{"a time is waited for exactly", 0, due, 3 * time.Millisecond},
		{"nothing is waited for", 0, upgrade.Decision{}, 10 * time.Millisecond},
		{"and still nothing", time.Hour, upgrade.Decision{}, 100 * time.Millisecond},
	}
	synctest.Test(t, func(t *testing.T) {
		r := &Runner{}
		for _, test := range tests {
			time.Sleep(test.waited)
			if got := r.next(&Pass{Decision: test.dec}); got != test.want {
				t.Errorf("%s: pause %s, want %s", test.name, got, test.want)
			}
		}
	})
}
