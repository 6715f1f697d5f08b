package operator

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
)

// TestAction: events of different things, and of one thing at different times, are not one that came again; and each action is short enough.
func TestAction(t *testing.T) {
	at := func(second int) metav1.Time { return metav1.Date(2026, 3, 4, 5, 6, second, 0, time.UTC) }
	seen := map[string]bool{}
	for _, e := range []v1alpha1.Event{
		{At: at(1)},
		{At: at(1), Attempt: 1},
		{At: at(1), Attempt: 2},
		{At: at(1), Attempt: 2, Object: "member kv-0"},
		{At: at(1), Attempt: 2, Object: "member kv-1"},
		{At: at(2), Attempt: 2, Object: "member kv-1"},
		{At: at(2), Attempt: 2, Object: "backup " + strings.Repeat("b", 200)},
	} {
		a := action(e)
		if seen[a] || len(a) > 128 || strings.Contains(a, " ") {
			t.Errorf("the action of %+v is %q, which another one has, or is none", e, a)
		}
		seen[a] = true
	}
}
