package main

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
)

// Of what a crashed member wrote, the lines that say why are shown.
func TestTelling(t *testing.T) {
	chatter := strings.Repeat("{\"level\":\"info\"}\n", 12)
	for _, test := range []struct{ text, want string }{
		{"it crashed", "it crashed"},
		{"it crashed:\na\nb\nc", "it crashed:\na\nb\nc"},
		{"it crashed:\n" + chatter + "panic: broken\n\ngoroutine 1\nmain.main", "it crashed:\npanic: broken\n\ngoroutine 1"},
		{"it crashed:\n" + chatter + "{\"level\":\"fatal\"}", "it crashed:\n{\"level\":\"fatal\"}"},
		{"it crashed:\n" + chatter + "a\nb\nc", "it crashed:\na\nb\nc"},
	} {
		if got := telling(test.text); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
		if got := newStory().tell(v1alpha1.Event{Reason: "Failed", Object: "member x", Message: test.text}).text; got != test.want {
			t.Errorf("event: got %q, want %q", got, test.want)
		}
	}
}

// What is done again and again until a rule holds is said once in a step.
func TestBroughtAboutOnce(t *testing.T) {
	s := newStory()
	bring := v1alpha1.Event{Reason: string(v1alpha1.ActRun), Object: "member kv-etcd-0", Message: "bring about: freshSnapshot"}
	for i, want := range []bool{false, true, true} {
		if got := s.tell(bring).detail; got != want {
			t.Errorf("time %d: left out is %t, want %t", i+1, got, want)
		}
	}
	s.tell(v1alpha1.Event{Reason: "StepDone", Object: "step needs"})
	if s.tell(bring).detail {
		t.Error("in the next step it is left out")
	}
}

// A soak ends by itself: the deadline behind it is no word of it.
func TestUntil(t *testing.T) {
	late := metav1.Now()
	if got := until(&v1alpha1.WaitingFor{Rule: "soak", Deadline: &late}); got != "" {
		t.Errorf("soak: got %q", got)
	}
	if got := until(&v1alpha1.WaitingFor{Rule: "ready", Deadline: &late}); !strings.Contains(got, "if nothing gets better") {
		t.Errorf("ready: got %q", got)
	}
}

// How long something took counts from its own beginning: not from that of an attempt before it, of the way forward
// when it is on the way back, or of the last hop when all hops are meant.
func TestTook(t *testing.T) {
	at := func(seconds int64, reason, object string) v1alpha1.Event {
		return v1alpha1.Event{At: metav1.Unix(seconds, 0), Reason: reason, Object: object}
	}
	stop, replaced := string(v1alpha1.ActStop), "MemberReplaced"
	for name, test := range map[string]struct {
		events []v1alpha1.Event
		want   string // of the last one
	}{
		"a member":             {[]v1alpha1.Event{at(0, "AttemptStarted", ""), at(10, stop, "member a"), at(13, replaced, "member a")}, "(3s)"},
		"a member tried again": {[]v1alpha1.Event{at(0, "AttemptStarted", ""), at(10, stop, "member a"), at(12, stop, "member a"), at(15, replaced, "member a")}, "(5s)"},
		"a hook before":        {[]v1alpha1.Event{at(0, "AttemptStarted", ""), at(1, string(v1alpha1.ActRun), "member a"), at(12, stop, "member a"), at(15, replaced, "member a")}, "(3s)"},
		"a new attempt":        {[]v1alpha1.Event{at(0, stop, "member a"), at(100, "AttemptStarted", ""), at(110, stop, "member a"), at(113, replaced, "member a")}, "(3s)"},
		"the way back":         {[]v1alpha1.Event{at(0, "AttemptStarted", ""), at(5, stop, "member a"), at(100, "RollingBack", ""), at(110, stop, "member a"), at(113, replaced, "member a")}, "(3s)"},
		"a step":               {[]v1alpha1.Event{at(0, "AttemptStarted", ""), at(5, "StepDone", "step preflight"), at(12, "StepDone", "step roll kv")}, "(7s)"},
		"a step after a pause": {[]v1alpha1.Event{at(0, "AttemptStarted", ""), at(5, "Paused", ""), at(100, "Resumed", ""), at(104, "StepDone", "step preflight")}, "(4s)"},
		"two hops":             {[]v1alpha1.Event{at(0, "AttemptStarted", ""), at(30, "HopStarted", ""), at(65, "AttemptSucceeded", "")}, "(1m5s)"},
		"gone back":            {[]v1alpha1.Event{at(0, "AttemptStarted", ""), at(30, "RollingBack", ""), at(42, "AttemptRolledBack", "")}, "(42s)"},
	} {
		s, last := newStory(), ""
		for _, e := range test.events {
			last = s.tell(e).text
		}
		if !strings.HasSuffix(last, test.want) {
			t.Errorf("%s: got %q, want %q at its end", name, last, test.want)
		}
	}
}

// What goes on is the attempt; after it, a restore that writes into the members.
func TestNowLine(t *testing.T) {
	st := &v1alpha1.ClusterStatus{Attempt: &v1alpha1.Attempt{Kind: v1alpha1.AttemptCreate, Phase: v1alpha1.PhaseRunning, To: "1.0"}, Loading: &v1alpha1.Loading{Restore: "r"}}
	for phase, want := range map[v1alpha1.AttemptPhase]string{v1alpha1.PhaseRunning: "first start at 1.0", v1alpha1.PhaseSucceeded: "restore r is to write into the members once all of them are ready: they have no data yet"} {
		if st.Attempt.Phase = phase; nowLine(st) != want {
			t.Errorf("%s: got %q, want %q", phase, nowLine(st), want)
		}
	}
}
