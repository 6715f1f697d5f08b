package main

import (
	"context"
	"regexp"
	"strings"
	"testing"

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
	if code := w.types(t.Context(), "upgrade", "si", "--to", "1.1.0"); code != exitWaiting || !strings.Contains(w.err.String(), "has not begun to replace its members by 1.1.0 yet") {
		t.Errorf("before the operator has seen it: exit code %d\n%s%s", code, w.out.String(), w.err.String())
	}
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
