package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"theseus.dev/api/v1alpha1"
)

// TestLogs: a member that is being replaced has no pod, and hides no other.
func TestLogs(t *testing.T) {
	town := func(pods ...client.Object) *town {
		w := newTown(t, interceptor.Funcs{}, append(pods, applied(t, running("1.0.0")))...)
		w.pods = podsLike(t, w.api)
		return w
	}
	one, two := memberPod("si-standin-1", "si-standin-1", corev1.PodRunning), memberPod("si-standin-2", "si-standin-2", corev1.PodRunning)
	w := town(&one, &two)
	if code := w.types(t.Context(), "logs", "si"); code != exitDone || w.out.String() != "── si-standin-1\nfake logs── si-standin-2\nfake logs" || !strings.Contains(w.err.String(), "member si-standin-0 has no pod now") {
		t.Errorf("of all: exit code %d, and it prints\n%s\n%s", code, w.out.String(), w.err.String())
	}
	var all []memberLog
	if code := w.types(t.Context(), "logs", "si", "--json"); code != exitDone || json.Unmarshal(w.out.Bytes(), &all) != nil || len(all) != 3 || all[0].Missing == "" || all[1].Lines[0] != "fake logs" {
		t.Errorf("as JSON: exit code %d, and it prints\n%s%s", code, w.out.String(), w.err.String())
	}
	if code := w.types(t.Context(), "logs", "si", "si-standin-0"); code != exitInput || !strings.Contains(w.err.String(), "member si-standin-0 has no pod now") {
		t.Errorf("of the one without a pod: exit code %d\n%s", code, w.err.String())
	}
	w = town()
	if code := w.types(t.Context(), "logs", "si"); code != exitInput || w.out.Len() > 0 || !strings.Contains(w.err.String(), "member si-standin-0 has no pod now") {
		t.Errorf("where nobody has a pod: exit code %d\n%s%s", code, w.out.String(), w.err.String())
	}
}

// TestLogsOfNobody: an adopted StatefulSet may have been scaled to nothing.
func TestLogsOfNobody(t *testing.T) {
	w := adopting(t, v1alpha1.AdoptOrder, interceptor.Funcs{})
	c, none := w.opened(t, "si").cluster, int32(0)
	own := c.Status.Applied.Spec.Components["standin"]
	own.Replicas = &none
	c.Status.Applied.Spec.Components["standin"], c.Status.Members = own, v1alpha1.MemberNames{}
	if err := w.api.Status().Update(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"logs", "si"}, {"logs", "si", "--follow"}} {
		if code := w.types(t.Context(), args...); code != exitInput || !strings.Contains(w.err.String(), "si has no members now") {
			t.Errorf("%q: exit code %d\n%s%s", args, code, w.out.String(), w.err.String())
		}
	}
}

// TestLeftoverPods: what a Deployment leaves of a member that failed is not the member.
func TestLeftoverPods(t *testing.T) {
	made := func(name string, phase corev1.PodPhase, minute int) *corev1.Pod {
		p := memberPod(name, "si-standin-0", phase)
		p.CreationTimestamp = metav1.NewTime(time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC))
		return &p
	}
	w := newTown(t, interceptor.Funcs{}, applied(t, running("1.0.0")), made("a-failed", corev1.PodFailed, 1), made("b-runs", corev1.PodRunning, 2), made("c-evicted", corev1.PodFailed, 3))
	at := w.opened(t, "si").at.(*object)
	if got, err := at.memberPods(t.Context()); err != nil || len(got) != 1 || got[0].Name != "b-runs" || got[0].Container != "standin" {
		t.Errorf("the member is %+v, %v; want the pod that runs", got, err)
	}
}
