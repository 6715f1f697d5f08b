package operator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/upgrade"
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

// TestSystemWakesItsClusters: one that was applied before its System would else wait for a retry, which are a quarter of an hour apart in the end.
func TestSystemWakesItsClusters(t *testing.T) {
	other := kv()
	other.Name, other.Spec.System = "other", "etcd"
	sys := &v1alpha1.System{ObjectMeta: metav1.ObjectMeta{Name: "standin"}}
	got := (&Reconciler{API: fakeAPI(t, other)}).clustersOfSystem(t.Context(), sys)
	if len(got) != 1 || got[0].NamespacedName != key {
		t.Errorf("woken are %v, want %s alone", got, key)
	}
}

// told are the reasons of events, and these in full where that is asked for.
type told struct {
	events.EventRecorder
	reasons, full *[]string
}

func (r told) Eventf(_, _ runtime.Object, kind, reason, _, note string, args ...any) {
	if r.full != nil {
		*r.full = append(*r.full, kind+" "+reason+": "+fmt.Sprintf(note, args...))
		return
	}
	*r.reasons = append(*r.reasons, reason)
}

// TestTell: what a pass wrote down becomes events, as it is.
func TestTell(t *testing.T) {
	var list []string
	r := &Reconciler{Events: told{full: &list}}
	r.tell(runner.Pass{Cluster: kv(), Decision: upgrade.Decision{Events: []v1alpha1.Event{{Reason: "Stop", Object: "member kv-0", Message: "100% old"}, {Reason: "Failed", Warning: true}}}})
	if got := strings.Join(list, "|"); got != "Normal Stop: member kv-0: 100% old|Warning Failed: " {
		t.Errorf("told were %q", got)
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
