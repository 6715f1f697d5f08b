package upgrade

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
)

const (
	maxRequests     = 32
	defaultOverride = 10 * time.Minute
)

// answerRequests answers the first request of the inbox that has no answer yet, and says whether there was one. One a
// pass, because each sees the state that the one before it left.
func (d *Decider) answerRequests(s *Scene) bool {
	for _, r := range s.in.Requests {
		if slices.ContainsFunc(s.status.Requests, func(a v1alpha1.RequestAnswer) bool { return a.ID == r.ID }) {
			continue
		}
		message, err := d.answer(s, r)
		a := v1alpha1.RequestAnswer{ID: r.ID, Kind: r.Kind, Accepted: err == nil, Message: message, At: s.Now()}
		if err != nil {
			a.Message = err.Error()
		}
		s.status.Requests = appendBounded(s.status.Requests, a, maxRequests)
		s.event("Request"+string(r.Kind), r.ID, a.Message+by(r.By, r.Reason), err != nil)
		return true
	}
	return false
}

func (d *Decider) answer(s *Scene, r v1alpha1.Request) (string, error) {
	switch r.Kind {
	case v1alpha1.RequestRestart:
		return d.askRestart(s)
	case v1alpha1.RequestRetry:
		return askRetry(s)
	case v1alpha1.RequestOverride:
		return askOverride(s, r)
	}
	if s.attempt == nil && r.Kind == v1alpha1.RequestAdoptSystem {
		return "", fmt.Errorf("no attempt is under way: a changed System is taken by the next upgrade")
	}
	if s.attempt == nil {
		return "", fmt.Errorf("no attempt is under way")
	}
	switch r.Kind {
	case v1alpha1.RequestPause:
		return askPause(s)
	case v1alpha1.RequestResume:
		return askResume(s)
	case v1alpha1.RequestAbort:
		return d.askAbort(s)
	case v1alpha1.RequestRollback:
		return d.askRollback(s)
	case v1alpha1.RequestFinalize:
		return askFinalize(s)
	case v1alpha1.RequestAdoptSystem:
		if s.in.Unusable != nil {
			return "", s.in.Unusable
		}
		return askAdopt(s)
	}
	return "", fmt.Errorf("unknown request %q", r.Kind)
}

func askPause(s *Scene) (string, error) {
	if resting(s.attempt.Phase) {
		return "", fmt.Errorf("the attempt rests already: %s", s.attempt.Rest)
	}
	s.attempt.Pausing = true
	return "no new disruption; the member in hand is finished first", nil
}

func askResume(s *Scene) (string, error) {
	switch {
	case resting(s.attempt.Phase):
		s.forget()
		s.resume()
		return "the attempt goes on", nil
	case s.attempt.Pausing:
		s.attempt.Pausing = false
		return "the pause that was asked for is taken back", nil
	}
	return "", fmt.Errorf("the attempt is not paused")
}

// forget drops runs of unknown outcome, so that they are done again: who resumes has looked.
func (s *Scene) forget() {
	if s.attempt.Phase != v1alpha1.PhaseStopped {
		return
	}
	for i := range s.attempt.Steps {
		st := &s.attempt.Steps[i]
		st.Runs = slices.DeleteFunc(st.Runs, func(r v1alpha1.RunRef) bool { return !r.Done })
	}
}

func (d *Decider) askAbort(s *Scene) (string, error) {
	if s.attempt.Disrupted && s.attempt.Base != nil {
		return "", fmt.Errorf("a member was disrupted already; choose pause or rollback")
	}
	early := s.cameEarly()
	if err := d.turnBack(s, v1alpha1.PhaseAborted, "abort was asked for"); err != nil {
		return "", err
	}
	s.noteFailed() // asked for once, it is not begun again by itself
	if len(early) > 0 {
		return "what was prepared is taken back, and so is what came back with " + s.Hop().To + " by itself: " + strings.Join(early, ", "), nil
	}
	return "nothing was disrupted; what was prepared is taken back", nil
}

// cameEarly are members that run what the hop leads to though the attempt replaced none: somebody else ended their processes.
func (s *Scene) cameEarly() (names []string) {
	for _, c := range s.sys.Components() {
		if s.revisionAfter(c.Name()) == s.revisionBefore(c.Name()) {
			continue
		}
		for _, f := range s.group(c.Name()).facts {
			if f.expected && f.Revision == s.revisionAfter(c.Name()) {
				names = append(names, f.View.Name)
			}
		}
	}
	return names
}

func (d *Decider) askRollback(s *Scene) (string, error) {
	if s.attempt.Phase == v1alpha1.PhaseRollingBack {
		return "", fmt.Errorf("the attempt goes back already")
	}
	if s.backing {
		return askResume(s)
	}
	end := v1alpha1.PhaseRolledBack
	if !s.attempt.Disrupted {
		end = v1alpha1.PhaseAborted
	}
	s.forget()
	if err := d.turnBack(s, end, "rollback was asked for"); err != nil {
		return "", err
	}
	s.noteFailed() // asked for once, it is not begun again by itself
	return "going back to " + baseVersion(s.attempt), nil
}

func askFinalize(s *Scene) (string, error) {
	if s.backing {
		return "", fmt.Errorf("the attempt goes back")
	}
	s.attempt.Approved = true
	return "hop " + s.Hop().From + " to " + s.Hop().To + " may become irreversible", nil
}

// askAdopt takes the System as it is known now into the running attempt. The members' revisions may change with it;
// those that were done before are looked at anew.
func askAdopt(s *Scene) (string, error) {
	now := s.in.System
	hops := slices.Clone(s.attempt.Hops) // an edge is known by its place in a System
	for i := range hops {
		h := &hops[i]
		if h.Edge < 0 {
			continue
		}
		path, err := now.Path(h.From, h.To)
		if err != nil || len(path) != 1 {
			return "", fmt.Errorf("the System %s has no edge from %s to %s any more", now.Name(), h.From, h.To)
		}
		h.Edge = int32(path[0].Edge)
	}
	for _, st := range s.attempt.Steps {
		if st.Component != "" && now.Component(st.Component) == nil {
			return "", fmt.Errorf("the System %s has no component %s any more", now.Name(), st.Component)
		}
	}
	ahead := *s.attempt
	ahead.Hops = hops[ahead.Hop:]
	if err := checkAttempt(now, s.in, &ahead); err != nil {
		return "", err
	}
	s.attempt.Hops, s.attempt.Target.System = hops, v1alpha1.SystemRef{Name: now.Name(), Hash: now.Hash()}
	for i := range s.attempt.Steps {
		st := &s.attempt.Steps[i]
		st.ProgressAt = s.attempt.Clock
		if st.Kind == KindPreflight && st.Phase == v1alpha1.StepDone {
			st.Phase, st.Ended = v1alpha1.StepRunning, nil // for the revision as it is now
		}
	}
	return "the attempt goes on with System " + now.Name() + " " + short(now.Hash()), nil
}

func short(hash string) string { return hash[:min(8, len(hash))] }

func askOverride(s *Scene, r v1alpha1.Request) (string, error) {
	if r.Rule == "" {
		return "", fmt.Errorf("name the rule; status shows it as waitingFor.rule")
	}
	if s.attempt == nil {
		return "", fmt.Errorf("no attempt is under way: nothing is waited for")
	}
	if w := s.attempt.WaitingFor; w != nil && w.Rule == r.Rule && w.Override == "" {
		return "", fmt.Errorf("rule %s keeps a promise that no override passes", r.Rule)
	}
	d := defaultOverride
	if r.For != nil {
		d = r.For.Duration
	}
	until := metav1.NewTime(s.in.Now.Add(d))
	s.status.Overrides = append(s.status.Overrides, v1alpha1.Override{Rule: r.Rule, Request: r.ID, By: r.By, Reason: r.Reason, Until: until})
	return fmt.Sprintf("rule %s is passed until %s", r.Rule, until.UTC().Format(time.RFC3339)), nil
}

func (s *Scene) expireOverrides() {
	s.status.Overrides = slices.DeleteFunc(s.status.Overrides, func(o v1alpha1.Override) bool {
		// A used one is kept to the end of the attempt, for its history.
		return !o.Used && !s.in.Now.Before(o.Until.Time)
	})
}

// spendOverrides ends those that counted a run as done: the same run in a later hop, or on the way back, is another one.
func (s *Scene) spendOverrides() {
	for i := range s.status.Overrides {
		if o := &s.status.Overrides[i]; strings.HasPrefix(o.Rule, "run/") {
			o.Until = s.Now()
		}
	}
}

func (d *Decider) askRestart(s *Scene) (string, error) {
	if s.attempt != nil {
		return "", fmt.Errorf("an attempt is under way")
	}
	if s.status.Applied == nil {
		return "", fmt.Errorf("the cluster was never started")
	}
	if err := checkLoading(s.status, "restart"); err != nil {
		return "", err
	}
	if object := s.foreignObject(); object != "" {
		return "", fmt.Errorf("%s is somebody else's to change: change its template there, and its members are replaced in order", object)
	}
	in := *s.in
	in.Cluster = s.in.Cluster.DeepCopy()
	have := &s.status.Applied.Spec
	// A restart changes no version, and nothing that is to change together with one; nor does it try again what failed.
	if s.status.FailedRevision != "" || !s.sys.SameVersion(in.Cluster.Spec.Version, have.Version) {
		in.Cluster.Spec = *have.DeepCopy()
		in.Cluster.Spec.Upgrade = s.in.Cluster.Spec.Upgrade
	}
	a, err := d.newAttempt(&in, s.status, v1alpha1.AttemptRestart, 1)
	if err != nil {
		return "", err
	}
	s.begin(a)
	return "a rolling restart begins", nil
}

func askRetry(s *Scene) (string, error) {
	if s.attempt != nil {
		if !resting(s.attempt.Phase) {
			return "", fmt.Errorf("an attempt is under way")
		}
		return askResume(s)
	}
	v := s.status.FailedTarget
	if v == "" && s.status.FailedRevision == "" {
		return "", fmt.Errorf("nothing failed")
	}
	s.forgetFailed()
	if v == "" {
		return "the rolling restart is tried again", nil
	}
	return "version " + v + " is tried again", nil
}
