package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"theseus.dev/api/v1alpha1"
)

// maxRequests that wait for an answer. A person asks a few; more is a script gone wrong.
const maxRequests = 64

// request is a file of the inbox.
type request struct {
	// At orders requests, nanoseconds since 1970.
	At      int64            `json:"at"`
	Request v1alpha1.Request `json:"request"`
}

func (st *State) requestPath(id string) string {
	return st.path(inboxFolder, url.PathEscape(id)+".json")
}

// Ask puts a request into the inbox, for the driver that runs or the next one. The same id again is the same request.
func (st *State) Ask(r v1alpha1.Request) error {
	if r.ID == "" || len(r.ID) > 100 || strings.HasPrefix(r.ID, ".") {
		return fmt.Errorf("request id %q: give one of 1 to 100 characters that does not begin with a dot", r.ID)
	}
	return st.alone(func() error {
		if _, err := os.Stat(st.requestPath(r.ID)); err == nil {
			return nil
		}
		waiting, err := st.waiting()
		if err != nil {
			return err
		}
		if len(waiting) >= maxRequests {
			return fmt.Errorf("%d requests wait for an answer already; run the attempt on, so that they get one", len(waiting))
		}
		return st.Fault.writeJSON("request", st.requestPath(r.ID), request{time.Now().UnixNano(), r})
	})
}

// Requests is part of runner.Inbox: those that wait for an answer, oldest first.
func (st *State) Requests(context.Context) ([]v1alpha1.Request, error) {
	waiting, err := st.waiting()
	if err != nil {
		return nil, err
	}
	requests := make([]v1alpha1.Request, len(waiting))
	for i, w := range waiting {
		requests[i] = w.Request
	}
	return requests, nil
}

func (st *State) waiting() ([]request, error) {
	entries, err := os.ReadDir(st.path(inboxFolder))
	if err != nil {
		return nil, err
	}
	var waiting []request
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok {
			continue
		}
		w := request{}
		if there, err := readJSON(st.path(inboxFolder, e.Name()), &w); !there || err != nil || w.Request.ID == "" {
			// Not written by Ask. As a request without a kind it is refused, and so answered and removed.
			id, _ = url.PathUnescape(id)
			w = request{Request: v1alpha1.Request{ID: id}}
		}
		waiting = append(waiting, w)
	}
	slices.SortStableFunc(waiting, func(a, b request) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Request.ID, b.Request.ID))
	})
	return waiting, nil
}

// Answered is part of runner.Inbox.
func (st *State) Answered(_ context.Context, answers []v1alpha1.RequestAnswer) error {
	var errs []error
	for _, a := range answers {
		if err := os.Remove(st.requestPath(a.ID)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
