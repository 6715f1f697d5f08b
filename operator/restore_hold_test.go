package operator

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
)

// TestAwaited: a Cluster waits for each Restore that has not ended, and for one that failed unless another succeeded after that.
func TestAwaited(t *testing.T) {
	restore := func(name, cluster, end string, second int) v1alpha1.Restore {
		x := restoreOf(name)
		x.Spec.Cluster = cluster
		x.CreationTimestamp = metav1.Date(2026, 3, 4, 5, 6, int(name[1]-'0'), 0, time.UTC) // in the order of their names
		if end != "" {
			at := metav1.Date(2026, 3, 4, 5, 6, second, 0, time.UTC)
			x.Status = v1alpha1.RestoreStatus{Finished: &at, Conditions: []metav1.Condition{{Type: end, Status: metav1.ConditionTrue}}}
		}
		return *x
	}
	const failed, finished = v1alpha1.ConditionFailed, v1alpha1.ConditionFinished
	for _, test := range []struct {
		what string
		list []v1alpha1.Restore
		want string
	}{
		{"none", nil, ""},
		{"one that goes on", []v1alpha1.Restore{restore("r1", "new", "", 0)}, "r1"},
		{"one that is done", []v1alpha1.Restore{restore("r1", "new", finished, 10)}, ""},
		{"one that failed", []v1alpha1.Restore{restore("r1", "new", failed, 10)}, "r1"},
		{"the next one was refused because the first one went on, which then succeeded", []v1alpha1.Restore{restore("r1", "new", finished, 30), restore("r2", "new", failed, 10)}, ""},
		{"one that failed after another had succeeded", []v1alpha1.Restore{restore("r1", "new", failed, 30), restore("r2", "new", finished, 10)}, "r1"},
		{"one that failed, and the next goes on", []v1alpha1.Restore{restore("r1", "new", failed, 10), restore("r2", "new", "", 0)}, "r2"},
		{"those of other clusters", []v1alpha1.Restore{restore("r1", "other", "", 0), restore("r2", "new", failed, 10), restore("r3", "other", finished, 20)}, "r2"},
	} {
		got := ""
		if x := awaited(test.list, "new"); x != nil {
			got = x.Name
		}
		if got != test.want {
			t.Errorf("%s: got %q, want %q", test.what, got, test.want)
		}
	}
}

// TestHeldCluster says what it waits for, whether a person has to act, and of which spec it speaks; what is as it was is not written.
func TestHeldCluster(t *testing.T) {
	c := empty().(*v1alpha1.Cluster)
	c.Generation = 3
	want := func(what, reconciling, stalled, message string) {
		t.Helper()
		for kind, status := range map[string]string{v1alpha1.ConditionReconciling: reconciling, v1alpha1.ConditionStalled: stalled} {
			got := meta.FindStatusCondition(c.Status.Conditions, kind)
			if got == nil || string(got.Status) != status || got.ObservedGeneration != c.Generation || !strings.Contains(got.Message, message) {
				t.Errorf("%s: %s is %+v, want %s with %q", what, kind, got, status, message)
			}
		}
		if c.Status.ObservedGeneration != c.Generation {
			t.Errorf("%s: the status speaks of generation %d, and the spec is of %d", what, c.Status.ObservedGeneration, c.Generation)
		}
	}
	if setHeld(c, holding{}) {
		t.Error("a Cluster that nothing holds is written")
	}
	x := restoreOf("r")
	for range 2 {
		first := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionRestoring) == nil
		if changed := setHeld(c, heldBy(x)); changed != first {
			t.Errorf("written: %v, want %v", changed, first)
		}
		want("a Restore goes on", "True", "False", "Restore r is to fill its volumes")
	}
	x.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionFailed, Status: metav1.ConditionTrue, Message: "no such bucket"}}
	c.Generation++
	if !setHeld(c, heldBy(x)) {
		t.Error("that the Restore failed is not written")
	}
	want("the Restore failed", "False", "True", "make another one, or delete it, and the volumes that it left, to start without data; it failed because no such bucket")
	if err := refuseHeld(c); err == nil {
		t.Error("a driver may begin")
	}
	if !setHeld(c, holding{}) || refuseHeld(c) != nil {
		t.Error("the Cluster is still held")
	}
	want("nothing holds it any more", "True", "False", "")
}
