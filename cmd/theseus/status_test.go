package main

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"theseus.dev/api/v1alpha1"
)

// Status says how to have done with an upgrade that failed, and does not cut off what a refusal advises.
func TestStatusAfterAFailure(t *testing.T) {
	c := applied(t, running("1.0.0"))
	c.Spec.Version, c.Status.FailedTarget = "1.1.0", "1.1.0"
	refusal := "spec.version 1.1.0: the upgrade to it failed or was taken back, and is not begun again by itself; set another version, or ask for a retry once the cause is gone"
	set(c, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonRefused, refusal)
	w := newTown(t, interceptor.Funcs{}, c)
	w.opened(t, "si").printStatus(false)
	for _, want := range []string{"to stay at 1.0.0: theseus upgrade si --to 1.0.0", refusal} {
		if !strings.Contains(w.out.String(), want) {
			t.Errorf("no %q in\n%s", want, w.out.String())
		}
	}
}

// TestWayAround: a rule can be overridden, and who has waited for a moment only is not told so, nor who waits for what ends by itself.
func TestWayAround(t *testing.T) {
	for _, tt := range []struct {
		rule   string
		waited time.Duration
		want   bool
	}{{"ready", time.Minute, true}, {"ready", time.Second, false}, {"soak", time.Minute, false}} {
		w := newTown(t, interceptor.Funcs{}, applied(t, running("1.0.0")))
		now := time.Now()
		w.opened(t, "si").printWait(&v1alpha1.WaitingFor{Object: "member si-standin-0", Rule: tt.rule, Override: "override '" + tt.rule + "'",
			Since: metav1.NewTime(now.Add(-tt.waited)), Deadline: &metav1.Time{Time: now.Add(time.Hour)}})
		if got := strings.Contains(w.out.String(), "to go on all the same: theseus override si '"+tt.rule+"'"); got != tt.want {
			t.Errorf("%s after %s: the way around is told: %t, want %t:\n%s", tt.rule, tt.waited, got, tt.want, w.out.String())
		}
	}
}
