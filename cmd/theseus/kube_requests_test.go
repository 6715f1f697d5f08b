package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/operator"
)

// TestRequests: each command puts its request, once and with an id, waits for the answer, and ends as what was asked came to.
func TestRequests(t *testing.T) {
	paused, ended := v1alpha1.PhasePaused, v1alpha1.PhaseSucceeded
	for _, tt := range []struct {
		args string
		want v1alpha1.Request      // without id and who asks
		to   v1alpha1.AttemptPhase // where the operator brings the attempt
		code int
	}{
		{args: "pause si --reason lunch", want: v1alpha1.Request{Kind: v1alpha1.RequestPause, Reason: "lunch"}, to: paused, code: exitDone},
		{args: "resume si", want: v1alpha1.Request{Kind: v1alpha1.RequestResume}, to: ended, code: exitDone},
		{args: "resume si", want: v1alpha1.Request{Kind: v1alpha1.RequestResume}, to: paused, code: exitWaiting},
		{args: "abort si", want: v1alpha1.Request{Kind: v1alpha1.RequestAbort}, to: v1alpha1.PhaseAborted, code: exitDone},
		{args: "rollback si --reason errors", want: v1alpha1.Request{Kind: v1alpha1.RequestRollback, Reason: "errors"}, to: v1alpha1.PhaseRolledBack, code: exitDone},
		{args: "rollback si", want: v1alpha1.Request{Kind: v1alpha1.RequestRollback}, to: v1alpha1.PhaseStopped, code: exitUnknown},
		{args: "finalize si", want: v1alpha1.Request{Kind: v1alpha1.RequestFinalize}, to: ended, code: exitDone},
		{args: "override si soak --for 5m --reason seen", want: v1alpha1.Request{Kind: v1alpha1.RequestOverride, Rule: "soak", For: &metav1.Duration{Duration: 5 * time.Minute}, Reason: "seen"}, to: ended, code: exitDone},
		{args: "retry si", want: v1alpha1.Request{Kind: v1alpha1.RequestRetry}, to: v1alpha1.PhaseRolledBack, code: exitFailed},
		{args: "restart si", want: v1alpha1.Request{Kind: v1alpha1.RequestRestart}, to: ended, code: exitDone},
		{args: "adopt-system si", want: v1alpha1.Request{Kind: v1alpha1.RequestAdoptSystem}, to: ended, code: exitDone},
	} {
		for _, accepted := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s to %s, %t", tt.args, tt.to, accepted), func(t *testing.T) {
				t.Parallel()
				o := &answering{accepts: accepted, to: tt.to}
				w := newTown(t, interceptor.Funcs{Get: o.get}, underway(t))
				code := w.types(t.Context(), strings.Fields(tt.args)...)
				want := tt.code
				if !accepted {
					want = exitInput
				}
				if code != want || !accepted && !strings.Contains(w.err.String(), "not now") {
					t.Errorf("exit code %d, want %d:\n%s%s", code, want, w.out.String(), w.err.String())
				}
				if len(o.put) != 1 {
					t.Fatalf("put were %+v, want one request", o.put)
				}
				got := o.put[0]
				if got.ID == "" || got.By == "" {
					t.Errorf("the request has id %q and is by %q", got.ID, got.By)
				}
				got.ID, got.By = "", "" // of which answers and history speak
				if tt.want.For != nil && (got.For == nil || *got.For != *tt.want.For) {
					t.Errorf("it is for %v, want %v", got.For, tt.want.For)
				}
				if got.For, tt.want.For = nil, nil; got != tt.want {
					t.Errorf("put was %+v, want %+v", got, tt.want)
				}
				if answers := w.opened(t, "si").cluster.Status.Requests; len(answers) != 1 || answers[0].ID != o.put[0].ID {
					t.Errorf("the command ended with the answers %+v", answers)
				}
			})
		}
	}
}

// underway is a Cluster with an attempt that waits.
func underway(t *testing.T) *v1alpha1.Cluster {
	t.Helper()
	c := applied(t, running("1.1.0"))
	c.Status.Applied.Spec.Version, c.Status.CurrentVersion, c.Status.Serial = "1.0.0", "1.0.0", 1
	c.Status.Attempt = &v1alpha1.Attempt{ID: 1, Kind: v1alpha1.AttemptUpgrade, From: "1.0.0", To: "1.1.0", Phase: v1alpha1.PhaseRunning, Base: c.Status.Applied, Target: *c.Status.Applied.DeepCopy(),
		WaitingFor: &v1alpha1.WaitingFor{Object: "member si-standin-2", Rule: "soak"}}
	return c
}

// answering is an operator that takes its time.
type answering struct {
	accepts bool
	to      v1alpha1.AttemptPhase
	put     []v1alpha1.Request
	asked   int // reads of the Cluster since a request was there
}

// get reads the Cluster; by then the operator has done something.
func (o *answering) get(ctx context.Context, api client.WithWatch, key client.ObjectKey, into client.Object, options ...client.GetOption) error {
	err := api.Get(ctx, key, into, options...)
	c, ok := into.(*v1alpha1.Cluster)
	if !ok || err != nil {
		return err
	}
	waiting := operator.Waiting(c)
	for _, r := range waiting {
		if !slices.ContainsFunc(o.put, func(p v1alpha1.Request) bool { return p.ID == r.ID }) {
			o.put = append(o.put, r)
		}
	}
	if len(waiting) == 0 {
		return nil
	}
	if o.asked++; o.asked < 2 {
		return nil // it has not looked yet
	}
	for _, r := range waiting {
		c.Status.Requests = append(c.Status.Requests, v1alpha1.RequestAnswer{ID: r.ID, Kind: r.Kind, Accepted: o.accepts, Message: "not now"})
	}
	if o.accepts {
		c.Status.Attempt.Phase, c.Status.Attempt.WaitingFor = o.to, nil
	}
	if err := api.Status().Update(ctx, c); err != nil {
		return err
	}
	return api.Get(ctx, key, into, options...)
}

// TestBackupList lists the Backups of a Cluster and of no other, oldest first.
func TestBackupList(t *testing.T) {
	made := func(name, cluster string, minute int, condition string) *v1alpha1.Backup {
		b := &v1alpha1.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: name, CreationTimestamp: metav1.NewTime(time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC))},
			Spec: v1alpha1.BackupSpec{Cluster: cluster, To: "1.1.0"}, Status: v1alpha1.BackupStatus{Version: "1.0.0", Bytes: 42}}
		if condition != "" {
			b.Status.Conditions = []metav1.Condition{{Type: condition, Status: metav1.ConditionTrue}}
		}
		return b
	}
	w := newTown(t, interceptor.Funcs{}, applied(t, running("1.0.0")), made("a-new", "si", 3, v1alpha1.ConditionFinished), made("b-bad", "si", 1, v1alpha1.ConditionFailed),
		made("c-other", "kv", 2, ""), made("d-waits", "si", 2, ""))
	code := w.types(t.Context(), "backup", "si", "--list")
	var got []string
	for line := range strings.Lines(w.out.String()) {
		got = append(got, strings.Join(strings.Fields(line)[:2], " "))
	}
	if want := "BACKUP STATE, b-bad failed, d-waits waiting, a-new finished"; code != exitDone || strings.Join(got, ", ") != want {
		t.Errorf("exit code %d, and the list is %q, want %q\n%s%s", code, got, want, w.out.String(), w.err.String())
	}
	if code := w.types(t.Context(), "backup", "si", "--list", "--json"); code != exitDone || !strings.Contains(w.out.String(), `"name": "b-bad"`) || strings.Contains(w.out.String(), "c-other") {
		t.Errorf("as JSON: exit code %d\n%s%s", code, w.out.String(), w.err.String())
	}
}
