package operator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"theseus.dev/api/v1alpha1"
)

// TestWhatIsMissing: a pass over a Cluster that is gone is over. That something else is gone is an error, or nobody would hear of a Cluster that nobody drives.
func TestWhatIsMissing(t *testing.T) {
	for resource, want := range map[string]bool{"clusters": true, "configmaps": false} {
		err := fmt.Errorf("a pass: %w", apierrors.NewNotFound(schema.GroupResource{Resource: resource}, "x"))
		if _, err := failed(t.Context(), err); (err == nil) != want {
			t.Errorf("%s: got %v", resource, err)
		}
	}
}

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
