package runnertest

import (
	"slices"
	"testing"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
)

// InboxPlace is a fresh, empty inbox.
type InboxPlace struct {
	// Open returns the inbox as another process sees it.
	Open func(t *testing.T) runner.Inbox
	// Ask puts a request in, as a person does beside a driver.
	Ask func(t *testing.T, r v1alpha1.Request)
}

// Inbox runs the suite of runner.Inbox.
func Inbox(t *testing.T, fresh func(t *testing.T) InboxPlace) {
	tests := []struct {
		name string
		run  func(*testing.T, InboxPlace)
	}{
		{"requests come in the order in which they were asked", inboxOrder},
		{"the same id is one request, the first", inboxOnce},
		{"only what was answered goes", inboxAnswered},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, fresh(t)) })
	}
}

func waiting(t *testing.T, i runner.Inbox) []v1alpha1.Request {
	t.Helper()
	rs, err := i.Requests(t.Context())
	if err != nil {
		t.Fatalf("requests: %v", err)
	}
	return rs
}

func ids(rs []v1alpha1.Request) []string {
	var out []string
	for _, r := range rs {
		out = append(out, r.ID)
	}
	return out
}

func inboxOrder(t *testing.T, p InboxPlace) {
	if rs := waiting(t, p.Open(t)); len(rs) > 0 {
		t.Fatalf("a fresh inbox has %v", ids(rs))
	}
	asked := []string{"z", "a", "with space/and+slash", "m"}
	for _, id := range asked {
		p.Ask(t, v1alpha1.Request{ID: id, Kind: v1alpha1.RequestPause, Reason: "for " + id})
	}
	rs := waiting(t, p.Open(t))
	if got := ids(rs); !slices.Equal(got, asked) {
		t.Fatalf("got %q, want %q", got, asked)
	}
	if rs[2].Kind != v1alpha1.RequestPause || rs[2].Reason != "for with space/and+slash" {
		t.Errorf("the request came as %+v", rs[2])
	}
}

func inboxOnce(t *testing.T, p InboxPlace) {
	p.Ask(t, v1alpha1.Request{ID: "a", Kind: v1alpha1.RequestPause})
	p.Ask(t, v1alpha1.Request{ID: "a", Kind: v1alpha1.RequestResume})
	if rs := waiting(t, p.Open(t)); len(rs) != 1 || rs[0].Kind != v1alpha1.RequestPause {
		t.Errorf("got %+v, want the Pause alone", rs)
	}
}

func inboxAnswered(t *testing.T, p InboxPlace) {
	i := p.Open(t)
	for _, id := range []string{"a", "b/c", "d"} {
		p.Ask(t, v1alpha1.Request{ID: id, Kind: v1alpha1.RequestPause})
	}
	answers := []v1alpha1.RequestAnswer{{ID: "b/c"}, {ID: "never asked"}}
	for range 2 { // as in every pass
		if err := i.Answered(t.Context(), answers); err != nil {
			t.Fatalf("answered: %v", err)
		}
		if got := ids(waiting(t, p.Open(t))); !slices.Equal(got, []string{"a", "d"}) {
			t.Fatalf("got %q, want a and d", got)
		}
	}
}
