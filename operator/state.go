package operator

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
)

// RequestsAnnotation of a Cluster holds what people ask: one request, or a list of them, as YAML or JSON. Example:
//
//	kubectl annotate cluster.theseus.dev kv 'theseus.dev/requests={"id": "p1", "kind": "Pause"}'
//
// A request counts once for its id; its answer is in status.requests. Answered ones are taken out of the annotation. One that is
// put back, by a tool that applies the same file again and again, is not answered twice.
const RequestsAnnotation = "theseus.dev/requests"

// State is one Cluster object as the runner's journal and inbox. Reads are live.
type State struct {
	// API writes, Live reads past every cache.
	API  client.Client
	Live client.Reader
	Key  types.NamespacedName
	// UID, if set, is that of the Cluster: another one of its name is a conflict.
	UID types.UID
	// See, if set, fills in what adopted workloads say. Nothing of it is written to the object's spec.
	See func(context.Context, *v1alpha1.Cluster) error

	last   *v1alpha1.Cluster // as last read or written, with its resource version
	loaded wish              // with the status that is decided on
}

// wish is what people want of a Cluster.
type wish struct {
	generation int64
	requests   string
}

func wishOf(c *v1alpha1.Cluster) wish { return wish{c.Generation, c.Annotations[RequestsAnnotation]} }

var (
	_ runner.Journal = (*State)(nil)
	_ runner.Inbox   = (*State)(nil)
)

// NewerError says that a newer Theseus wrote the status. Nothing was changed; use that one.
type NewerError struct {
	Cluster      types.NamespacedName
	Found, Known int32
}

func (e *NewerError) Error() string {
	return fmt.Sprintf("the status of cluster %s has journal %d and this Theseus knows %d: a newer Theseus wrote it; use that one. Nothing was changed", e.Cluster, e.Found, e.Known)
}

func (s *State) get(ctx context.Context) (*v1alpha1.Cluster, error) {
	c := &v1alpha1.Cluster{}
	if err := s.Live.Get(ctx, s.Key, c); err != nil {
		return nil, err
	}
	if s.UID != "" && c.UID != s.UID {
		return nil, fmt.Errorf("cluster %s is another one of this name by now: %w", s.Key, runner.ErrConflict)
	}
	if c.Status.Journal > v1alpha1.JournalVersion {
		return nil, &NewerError{s.Key, c.Status.Journal, v1alpha1.JournalVersion}
	}
	s.last = c
	return c.DeepCopy(), nil
}

// Read is for those who only look, and do not drive: a Cluster that a Restore holds can be read.
func (s *State) Read(ctx context.Context) (*v1alpha1.Cluster, error) { return s.get(ctx) }

// Load is part of runner.Journal. The mark is a sum of the status alone: an edit of the spec beside a driver is no conflict.
func (s *State) Load(ctx context.Context) (*v1alpha1.Cluster, string, error) {
	c, err := s.get(ctx)
	if err == nil {
		err = cmp.Or(refuseLeaving(c), refuseHeld(c))
	}
	if err != nil {
		return nil, "", err
	}
	if s.See != nil && c.Spec.Adopts() {
		if err := s.See(ctx, c); err != nil {
			return nil, "", err
		}
	}
	s.loaded = wishOf(s.last)
	return c, mark(&c.Status), nil
}

// errLeaving is that of a pass over a Cluster that is being deleted: what goes with it is not made again.
var errLeaving = errors.New("the Cluster is being deleted")

func refuseLeaving(c *v1alpha1.Cluster) error {
	if c.DeletionTimestamp != nil {
		return errLeaving
	}
	return nil
}

func mark(status *v1alpha1.ClusterStatus) string {
	text, err := json.Marshal(status)
	if err != nil {
		panic(err) // texts, numbers and times always marshal
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Save is part of runner.Journal. The write is conditional on the resource version; where only the rest of the object changed since the
// load it is tried again on what is there now; but an intent is not written over an edit or a request that nobody looked at, which may have been to stop it.
func (s *State) Save(ctx context.Context, status *v1alpha1.ClusterStatus, loaded string) (string, error) {
	for fresh := false; ; fresh = true {
		if fresh || s.last == nil {
			if _, err := s.get(ctx); err != nil {
				return "", err
			}
		}
		if mark(&s.last.Status) != loaded {
			return "", runner.ErrConflict
		}
		if a := status.Attempt; a != nil && a.Intent != nil && wishOf(s.last) != s.loaded {
			return "", runner.ErrConflict
		}
		next := s.last.DeepCopy()
		status.DeepCopyInto(&next.Status)
		err := s.API.Status().Update(ctx, next)
		if apierrors.IsConflict(err) {
			continue
		}
		if err != nil {
			s.last = nil // it may have been written all the same
			return "", err
		}
		s.last = next
		return mark(&next.Status), nil
	}
}

// Requests is part of runner.Inbox. It speaks of the object that was loaded last.
func (s *State) Requests(ctx context.Context) ([]v1alpha1.Request, error) {
	if s.last == nil {
		if _, err := s.get(ctx); err != nil {
			return nil, err
		}
	}
	return requestsIn(s.last.Annotations[RequestsAnnotation]), nil
}

// requestsIn reads the annotation. What cannot be read is one request without a kind, which is refused, and so answered and removed.
func requestsIn(text string) []v1alpha1.Request {
	if text == "" {
		return nil
	}
	var list []v1alpha1.Request
	if yaml.UnmarshalStrict([]byte(text), &list) != nil {
		one := v1alpha1.Request{}
		if yaml.UnmarshalStrict([]byte(text), &one) != nil {
			return []v1alpha1.Request{{ID: unreadable(text)}}
		}
		list = []v1alpha1.Request{one}
	}
	var requests []v1alpha1.Request
	for _, r := range list {
		if r.ID == "" {
			r.ID = unreadable(text)
			r.Kind = "" // without an id nobody can say whether it was answered
		}
		if !hasRequest(requests, r.ID) {
			requests = append(requests, r)
		}
	}
	return requests
}

func unreadable(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "unreadable-" + hex.EncodeToString(sum[:4])
}

func hasRequest(list []v1alpha1.Request, id string) bool {
	return slices.ContainsFunc(list, func(r v1alpha1.Request) bool { return r.ID == id })
}

// Answered is part of runner.Inbox.
func (s *State) Answered(ctx context.Context, answers []v1alpha1.RequestAnswer) error {
	answered := func(r v1alpha1.Request) bool {
		return slices.ContainsFunc(answers, func(a v1alpha1.RequestAnswer) bool { return a.ID == r.ID })
	}
	for {
		requests, err := s.Requests(ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(requests, answered) {
			return nil
		}
		if err = s.keepRequests(ctx, slices.DeleteFunc(requests, answered)); !apierrors.IsConflict(err) {
			return err
		}
		s.last = nil
	}
}

func (s *State) keepRequests(ctx context.Context, rest []v1alpha1.Request) error {
	next := s.last.DeepCopy()
	delete(next.Annotations, RequestsAnnotation)
	if len(rest) > 0 {
		text, err := json.Marshal(rest)
		if err != nil {
			return err
		}
		next.Annotations[RequestsAnnotation] = string(text)
	}
	patch := client.MergeFromWithOptions(s.last, client.MergeFromWithOptimisticLock{})
	if err := s.API.Patch(ctx, next, patch); err != nil {
		return err
	}
	s.last = next
	return nil
}

// Ask puts a request into the inbox of a Cluster. The same id again is the same request.
func (s *State) Ask(ctx context.Context, r v1alpha1.Request) error {
	if r.ID == "" {
		return errors.New("a request needs an id")
	}
	for {
		s.last = nil
		requests, err := s.Requests(ctx)
		if err != nil || hasRequest(requests, r.ID) {
			return err
		}
		if s.last.Annotations == nil {
			s.last.Annotations = map[string]string{}
		}
		if err := s.keepRequests(ctx, append(requests, r)); !apierrors.IsConflict(err) {
			return err
		}
	}
}
