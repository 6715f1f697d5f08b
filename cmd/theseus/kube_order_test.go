package main

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/operator"
)

// TestOrderedUpgrade: where somebody else changes the template, only that upgrades. The command says so, or watches how it goes on.
func TestOrderedUpgrade(t *testing.T) {
	w := adopting(t, v1alpha1.AdoptOrder, interceptor.Funcs{})
	for _, args := range [][]string{{"upgrade", "si", "--to", "1.1.0"}, {"upgrade", "si", "--to", "1.1.0", "--dry-run"}, {"plan", "si", "--to", "1.1.0"}} {
		code := w.types(t.Context(), args...)
		for _, want := range []string{"the template of StatefulSet shop says 1.0.0", "set the image there to 1.1.0", "theseus status si --watch --namespace prod"} {
			if code != exitInput || !strings.Contains(w.err.String(), want) {
				t.Errorf("%q: exit code %d, and it says %s; want %q", args, code, w.err.String(), want)
			}
		}
	}
	if code := w.types(t.Context(), "upgrade", "si", "--to", "1.0.0"); code != exitDone || !strings.Contains(w.out.String(), "si runs 1.0.0") {
		t.Errorf("to what the template says: exit code %d\n%s%s", code, w.out.String(), w.err.String())
	}
	changeShop(t, w, "1.1.0")
	synctest.Test(t, func(t *testing.T) { // it waits, and does not wait for ever
		if code := w.types(t.Context(), "upgrade", "si", "--to", "1.1.0"); code != exitWaiting || !strings.Contains(w.err.String(), "has not begun to replace its members by 1.1.0 yet") {
			t.Errorf("before the operator has seen it: exit code %d\n%s%s", code, w.out.String(), w.err.String())
		}
	})
	if now := w.opened(t, "si").cluster; now.Spec.Version != "1.0.0" || len(operator.Waiting(now)) > 0 {
		t.Errorf("the spec says %s, and %d requests were put; want nothing changed", now.Spec.Version, len(operator.Waiting(now)))
	}

	c := w.opened(t, "si").cluster // the operator takes it up, and does it
	seen := c.DeepCopy()
	if err := operator.See(t.Context(), w.api, standin(t), seen); err != nil {
		t.Fatal(err)
	}
	c.Status.Applied.Spec, c.Status.CurrentVersion = seen.Spec, "1.1.0"
	if err := w.api.Status().Update(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if code := w.types(t.Context(), "upgrade", "si", "--to", "1.1.0"); code != exitDone || !strings.Contains(w.out.String(), "si runs 1.1.0") {
		t.Errorf("after it was done: exit code %d\n%s%s", code, w.out.String(), w.err.String())
	}
	if code := w.types(t.Context(), "status"); code != exitDone || !regexp.MustCompile(`si +1\.1\.0 +1\.1\.0 +3`).MatchString(w.out.String()) {
		t.Errorf("status, with what the template wants as the desired version: exit code %d\n%s", code, w.out.String())
	}
}

// TestOrderedAtOnce: who upgrades right after the template was changed waits until the operator has seen that, and then for the end.
func TestOrderedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w *town
		reads := 0
		w = adopting(t, v1alpha1.AdoptOrder, interceptor.Funcs{Get: func(ctx context.Context, api client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
			if _, ours := o.(*v1alpha1.Cluster); ours && w != nil {
				reads++
			}
			return api.Get(ctx, key, o, options...)
		}})
		changeShop(t, w, "1.1.0")
		become := func(change func(*v1alpha1.ClusterStatus)) {
			c := &v1alpha1.Cluster{}
			if err := w.api.Get(t.Context(), client.ObjectKey{Namespace: "prod", Name: "si"}, c); err != nil {
				t.Error(err)
			}
			change(&c.Status)
			if err := w.api.Status().Update(t.Context(), c); err != nil {
				t.Error(err)
			}
		}
		code := make(chan int)
		go func() { code <- w.types(t.Context(), "upgrade", "si", "--to", "1.1.0") }()
		time.Sleep(patience / 2)
		if reads < 3 {
			t.Errorf("the Cluster was read %d times in %s, want it watched", reads, patience/2)
		}
		become(func(st *v1alpha1.ClusterStatus) {
			st.Serial, st.Attempt = 1, &v1alpha1.Attempt{ID: 1, From: "1.0.0", To: "1.1.0", Phase: v1alpha1.PhaseRunning, Base: st.Applied, Target: *st.Applied.DeepCopy()}
			meta.SetStatusCondition(&st.Conditions, metav1.Condition{Type: v1alpha1.ConditionReconciling, Status: metav1.ConditionTrue, Reason: "Upgrading"})
		})
		time.Sleep(2 * patience)
		select {
		case c := <-code:
			t.Fatalf("it ended while the operator works: exit code %d\n%s%s", c, w.out.String(), w.err.String())
		default:
		}
		become(func(st *v1alpha1.ClusterStatus) {
			st.CurrentVersion, st.Attempt.Phase = "1.1.0", v1alpha1.PhaseSucceeded
			meta.SetStatusCondition(&st.Conditions, metav1.Condition{Type: v1alpha1.ConditionReconciling, Status: metav1.ConditionFalse, Reason: "Idle"})
		})
		if c := <-code; c != exitDone || !strings.Contains(w.out.String(), "si runs 1.1.0") {
			t.Errorf("exit code %d\n%s%s", c, w.out.String(), w.err.String())
		}
	})
}

// TestOrderedRetry: what failed is tried again without an edit, while the template says it.
func TestOrderedRetry(t *testing.T) {
	w := adopting(t, v1alpha1.AdoptOrder, interceptor.Funcs{Patch: func(ctx context.Context, api client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
		if err := api.Patch(ctx, o, patch, options...); err != nil {
			return err
		}
		return answer(ctx, api, o, func(c *v1alpha1.Cluster) { c.Status.FailedTarget, c.Status.CurrentVersion = "", "1.1.0" })
	}})
	changeShop(t, w, "1.1.0")
	c := w.opened(t, "si").cluster
	c.Status.FailedTarget = "1.1.0"
	if err := w.api.Status().Update(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if code := w.types(t.Context(), "plan", "si"); code != exitFailed || !strings.Contains(w.err.String(), "to try again: theseus upgrade si --to 1.1.0") {
		t.Errorf("the plan: exit code %d\n%s%s", code, w.out.String(), w.err.String())
	}
	if code := w.types(t.Context(), "upgrade", "si", "--to", "1.1.0"); code != exitDone || !strings.Contains(w.out.String(), "si runs 1.1.0") {
		t.Errorf("the upgrade: exit code %d\n%s%s", code, w.out.String(), w.err.String())
	}
	now := w.opened(t, "si").cluster
	if asked := now.Status.Requests; len(asked) != 1 || asked[0].Kind != v1alpha1.RequestRetry || now.Spec.Version != "1.0.0" {
		t.Errorf("the spec says %s, and what was asked is %+v; want one retry and no edit", now.Spec.Version, asked)
	}
}
