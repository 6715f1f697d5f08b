package main

import (
	"strings"
	"testing"

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
