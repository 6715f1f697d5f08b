package runner_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/yaml"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/runner/runnertest"
	"theseus.dev/system"
	"theseus.dev/systems"
	"theseus.dev/upgrade"
)

// place is a Cluster of stand-ins in memory, of which nothing runs yet, with ports that can fail.
type place struct {
	*runnertest.Memory
	t         *testing.T
	runner    *runner.Runner
	loseReply bool // of the next removal of requests, which is done
	unusable  bool // the System, for a person to mend
}

func newPlace(t *testing.T) *place {
	t.Helper()
	text, err := systems.Load("standin")
	if err != nil {
		t.Fatal(err)
	}
	api := &v1alpha1.System{}
	if err := yaml.UnmarshalStrict(text, api); err != nil {
		t.Fatal(err)
	}
	sys, err := system.Compile(api)
	if err != nil {
		t.Fatal(err)
	}
	c := &v1alpha1.Cluster{Spec: v1alpha1.ClusterSpec{System: "standin", Version: "1.0.0"}}
	c.Name, c.Generation = "kv", 1
	p := &place{Memory: runnertest.NewMemory(c, sys), t: t}
	p.runner = &runner.Runner{Journal: p, Inbox: p, Library: p, Platform: p, Decider: upgrade.New()}
	return p
}

func (p *place) Answered(ctx context.Context, answers []v1alpha1.RequestAnswer) error {
	err := p.Memory.Answered(ctx, answers)
	if p.loseReply {
		p.loseReply = false
		return errors.New("connection reset")
	}
	return err
}

func (p *place) Known(ctx context.Context, name string) (*system.System, error) {
	if p.unusable {
		return nil, &runner.UnusableError{Name: name, Err: errors.New("there is none")}
	}
	return p.Memory.Known(ctx, name)
}

// passes makes some, none of which may fail, and returns the journal.
func (p *place) passes(n int) v1alpha1.ClusterStatus {
	p.t.Helper()
	for range n {
		if _, err := p.runner.Step(p.t.Context()); err != nil {
			p.t.Fatal(err)
		}
	}
	c, _, err := p.Load(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	return c.Status
}

// An answer that is in the journal stays there, though the inbox could not say that it let go of the request.
func TestAnswerStays(t *testing.T) {
	p := newPlace(t)
	p.passes(5)
	p.Ask(v1alpha1.Request{ID: "p1", Kind: v1alpha1.RequestPause})
	p.loseReply = true
	if _, err := p.runner.Step(t.Context()); err == nil {
		t.Fatal("the lost reply is no error")
	}
	p.Ask(v1alpha1.Request{ID: "r1", Kind: v1alpha1.RequestRetry}) // so that the journal is written again
	st := p.passes(3)
	if len(st.Requests) != 2 || st.Requests[0].ID != "p1" || st.Attempt.Phase != v1alpha1.PhasePaused {
		t.Errorf("the answers are %+v, the attempt is %s; want p1 to be answered and the attempt to be paused", st.Requests, st.Attempt.Phase)
	}
}

// What runs needs no System but its own.
func TestUnusableSystem(t *testing.T) {
	p := newPlace(t)
	p.passes(5)
	p.unusable = true
	p.Ask(v1alpha1.Request{ID: "a1", Kind: v1alpha1.RequestAdoptSystem})
	p.Ask(v1alpha1.Request{ID: "p1", Kind: v1alpha1.RequestPause})
	st := p.passes(3)
	if len(st.Requests) != 2 || st.Requests[0].Accepted || !st.Requests[1].Accepted || st.Attempt.Phase != v1alpha1.PhasePaused {
		t.Errorf("the answers are %+v, the attempt is %s; want a1 to be refused, and p1 to be followed", st.Requests, st.Attempt.Phase)
	}
}

// A Cluster of which nothing runs says that its System cannot be used, and begins when it can.
func TestNoSystem(t *testing.T) {
	p := newPlace(t)
	p.unusable = true
	st := p.passes(2)
	stalled := meta.FindStatusCondition(st.Conditions, v1alpha1.ConditionStalled)
	if stalled == nil || stalled.Status != "True" || !strings.Contains(stalled.Message, "System standin cannot be used: there is none; apply the System") || st.ObservedGeneration != 1 {
		t.Errorf("it says %+v at generation %d", stalled, st.ObservedGeneration)
	}
	p.unusable = false
	if st := p.passes(1); st.Attempt == nil || meta.IsStatusConditionTrue(st.Conditions, v1alpha1.ConditionStalled) {
		t.Errorf("it did not begin: %+v", st.Conditions)
	}
}

// Each event of the journal is told once, in the pass that wrote it: also of a runner that takes over, and where two are alike.
func TestEventsAreTold(t *testing.T) {
	p := newPlace(t)
	var told []v1alpha1.Event
	watch := func(pass runner.Pass) { told = append(told, pass.Events...) }
	p.runner.Watch = watch
	p.passes(5)
	p.runner = &runner.Runner{Journal: p, Inbox: p, Library: p, Platform: p, Decider: upgrade.New(), Watch: watch}
	for _, id := range []string{"1", "2"} {
		p.Ask(v1alpha1.Request{ID: "p" + id, Kind: v1alpha1.RequestPause})
		p.passes(3)
		p.Ask(v1alpha1.Request{ID: "r" + id, Kind: v1alpha1.RequestResume})
		p.passes(3)
	}
	st := p.passes(3)
	if len(told) < 8 || !slices.EqualFunc(told, st.Events, func(a, b v1alpha1.Event) bool { return a.Reason == b.Reason && a.Message == b.Message }) {
		t.Errorf("told were %d events, %+v,\nand the journal has %d, %+v", len(told), told, len(st.Events), st.Events)
	}
}
