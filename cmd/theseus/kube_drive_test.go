package main

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/operator"
	"theseus.dev/runner"
)

// TestRefusedRetry: an edit that is refused leaves nothing behind, and one that was taken asks for another try of what failed.
func TestRefusedRetry(t *testing.T) {
	refuses, asks := false, false
	w := newTown(t, interceptor.Funcs{Patch: func(ctx context.Context, api client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
		asks = asks || o.GetAnnotations()[operator.RequestsAnnotation] != ""
		if refuses {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "clusters"}, "si", errors.New("no"))
		}
		if err := api.Patch(ctx, o, patch, options...); err != nil {
			return err
		}
		return answer(ctx, api, o, func(c *v1alpha1.Cluster) { c.Status.FailedTarget = "" })
	}}, failedOnce(t))
	k := w.opened(t, "si")
	p := k.propose(k.cluster.Spec.DeepCopy())
	p.spec.Options = map[string]string{"control": "/x"}
	refuses = true
	if err := k.accept(t.Context(), p, true, "upgrade --to 1.1.0"); codeOf(err) != exitInput || asks {
		t.Errorf("a refused edit: got %v; a request was put: %t", err, asks)
	}
	refuses = false
	if err := k.accept(t.Context(), p, true, "upgrade --to 1.1.0"); err != nil || !asks {
		t.Errorf("an edit that was taken: got %v; a request was put: %t", err, asks)
	}
	if now := w.opened(t, "si").cluster; now.Spec.Options["control"] != "/x" || len(now.Status.Requests) != 1 || now.Status.Requests[0].Kind != v1alpha1.RequestRetry {
		t.Errorf("in the end the spec has %v, and what was asked is %+v", now.Spec.Options, now.Status.Requests)
	}
}

// failedOnce is a Cluster whose upgrade to 1.1.0 failed and was taken back.
func failedOnce(t *testing.T) *v1alpha1.Cluster {
	t.Helper()
	c := applied(t, running("1.0.0"))
	c.Spec.Version, c.Status.FailedTarget = "1.1.0", "1.1.0"
	return c
}

// answer is what an operator writes that takes everything up at once, and accepts what is asked.
func answer(ctx context.Context, api client.Client, o client.Object, more func(*v1alpha1.Cluster)) error {
	c := &v1alpha1.Cluster{}
	if err := api.Get(ctx, client.ObjectKeyFromObject(o), c); err != nil {
		return err
	}
	for _, r := range operator.Waiting(c) {
		c.Status.Requests = append(c.Status.Requests, v1alpha1.RequestAnswer{ID: r.ID, Kind: r.Kind, Accepted: true, Message: "as you like"})
	}
	c.Status.ObservedGeneration = c.Generation
	if more != nil {
		more(c)
	}
	return api.Status().Update(ctx, c)
}

// TestInterruptedBefore: who stops a command before it has changed anything is told so.
func TestInterruptedBefore(t *testing.T) {
	for _, tt := range []struct {
		what string
		sent bool // the edit was on its way
		code int
		says string
	}{
		{what: "before the edit", code: exitWaiting, says: "interrupted before anything was changed"},
		{what: "in the edit", sent: true, code: exitUnknown, says: "nobody knows whether it was done"},
	} {
		stopped := &url.Error{Op: "Get", URL: "https://k", Err: context.Canceled}
		now := false
		w := newTown(t, interceptor.Funcs{
			Get: func(ctx context.Context, api client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
				if now && !tt.sent {
					return stopped
				}
				return api.Get(ctx, key, o, options...)
			},
			Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
				return stopped
			},
		}, applied(t, running("1.0.0")))
		k := w.opened(t, "si")
		p := k.propose(k.cluster.Spec.DeepCopy())
		p.spec.Version, now = "1.1.0", true
		if err := k.accept(t.Context(), p, false, ""); codeOf(err) != tt.code || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v (exit code %d), want %d, %q", tt.what, err, codeOf(err), tt.code, tt.says)
		}
	}
}

// TestPatienceOfDrive: the operator is missed when it leaves something lie, and not when somebody asks late in a long upgrade.
func TestPatienceOfDrive(t *testing.T) {
	for _, tt := range []struct {
		what   string
		lies   time.Duration // how long the request waits for the operator
		missed bool
	}{
		{"a request that is answered at once", 2 * time.Second, false},
		{"a request that nobody answers", 2 * patience, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newTown(t, interceptor.Funcs{}, applied(t, running("1.0.0")))
			at := w.opened(t, "si").at.(*object)
			reportTo(t, w, metav1.ConditionTrue)
			go func() {
				time.Sleep(2 * patience)
				if err := at.ask(t.Context(), v1alpha1.Request{ID: "other", Kind: v1alpha1.RequestPause}); err != nil {
					t.Error(err)
				}
				time.Sleep(tt.lies)
				reportTo(t, w, metav1.ConditionFalse)
			}()
			_, _, err := at.drive(t.Context(), func() error { return nil }, func(runner.Pass) {})
			if got := strings.Contains(w.err.String(), "has not taken this up yet"); err != nil || got != tt.missed {
				t.Errorf("%s: got %v, and it says %q; want the operator missed: %t", tt.what, err, w.err.String(), tt.missed)
			}
		})
	}
}

// reportTo has the operator take everything up, and say whether it goes on.
func reportTo(t *testing.T, w *town, goes metav1.ConditionStatus) {
	t.Helper()
	err := answer(t.Context(), w.api, running("1.0.0"), func(c *v1alpha1.Cluster) {
		set(c, v1alpha1.ConditionReconciling, goes, v1alpha1.ReasonIdle, "")
	})
	if err != nil {
		t.Error(err)
	}
}
