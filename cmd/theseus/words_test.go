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
