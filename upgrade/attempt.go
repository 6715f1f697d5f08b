package upgrade

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// RefusedError says why the spec cannot be followed. It is a user's mistake: nothing was changed.
type RefusedError struct {
	Field  string // the field of the spec
	Value  string
	Reason string
	Remedy string
}

func (e *RefusedError) Error() string {
	msg := e.Field
	if e.Value != "" {
		msg += " " + e.Value
	}
	msg += ": " + e.Reason
	if e.Remedy != "" {
		msg += "; " + e.Remedy
	}
	return msg
}

// begin is the pass without an attempt: is there anything to do?
func (d *Decider) begin(s *Scene) Decision {
	if err := cmp.Or(s.unusable(), s.blocked()); err != nil {
		return s.refused(err)
	}
	kind, err := s.wish()
	switch {
	case err != nil:
		return s.refused(err)
	case kind == "":
		if i := s.reconfigure(); i != nil {
			return Decision{Situation: Repairing, Act: i}
		}
		return s.repair()
	case s.waitsForLoading(kind):
		return s.repair()
	}
	return d.start(s, kind, 0)
}

// unusable refuses a spec whose System a person has to bring or to mend first.
func (s *Scene) unusable() error {
	if s.in.Unusable == nil {
		return nil
	}
	return &RefusedError{Field: "spec.system", Reason: s.in.Unusable.Error(), Remedy: "apply the System, or name another one"}
}

// refused keeps up what is applied all the same.
func (s *Scene) refused(err error) Decision {
	dec := Decision{Rest: true}
	if s.status.Applied != nil {
		dec = s.repair()
	}
	dec.Situation, dec.Refusal = Refused, err
	return dec
}

// start begins an attempt at what the spec wants.
func (d *Decider) start(s *Scene, kind v1alpha1.AttemptKind, restart int64) Decision {
	a, err := d.newAttempt(s.in, s.status, kind, restart)
	if err != nil {
		return s.refused(err)
	}
	s.begin(a)
	return Decision{Situation: Upgrading, Again: true}
}

// begin makes an attempt the one that runs.
func (s *Scene) begin(a *v1alpha1.Attempt) {
	s.status.Serial++
	a.ID, a.Started = s.status.Serial, s.Now()
	s.status.Attempt = a
	s.open()
	s.event("AttemptStarted", "", describeAttempt(a), false)
}

func describeAttempt(a *v1alpha1.Attempt) string {
	switch a.Kind {
	case v1alpha1.AttemptUpgrade:
		text := "upgrade from " + a.From + " to " + a.To
		if n := len(a.Hops); n > 1 {
			text += fmt.Sprintf(" in %d hops", n)
		}
		return text
	case v1alpha1.AttemptCreate:
		return "create at " + a.To
	case v1alpha1.AttemptStart:
		return "start again at " + a.To
	}
	return "rolling restart at " + a.To
}

// wish compares the spec with what is applied: which attempt does it ask for, if any?
func (s *Scene) wish() (v1alpha1.AttemptKind, error) {
	want, have := &s.in.Cluster.Spec, s.status.Applied
	if have == nil {
		return v1alpha1.AttemptCreate, nil
	}
	if s.allAbsent() {
		return v1alpha1.AttemptStart, nil
	}
	if t := s.status.FailedTarget; t != "" && !s.sys.SameVersion(t, want.Version) {
		s.status.FailedTarget = "" // spec.version changed since
	}
	if !s.sys.SameVersion(want.Version, have.Spec.Version) {
		if s.status.FailedTarget != "" {
			return "", &RefusedError{Field: "spec.version", Value: want.Version, Reason: "the upgrade to it failed or was taken back, and is not begun again by itself",
				Remedy: "set another version, or ask for a retry once the cause is gone"}
		}
		return v1alpha1.AttemptUpgrade, nil
	}
	if s.status.FailedRevision == "" && reflect.DeepEqual(want, &have.Spec) {
		return "", nil
	}
	if err := checkScale(s.sys, want, &have.Spec); err != nil {
		return "", err
	}
	p := v1alpha1.Pinned{Spec: *want, System: have.System, Restart: have.Restart}
	switch {
	case revisions(s.sys, &p) == revisions(s.sys, have):
		s.status.FailedRevision = ""
	case change(s.sys, &p) == s.status.FailedRevision:
		return "", &RefusedError{Field: "spec", Reason: "the rolling restart for this change failed or was taken back, and is not begun again by itself",
			Remedy: "change it, or ask for a retry once the cause is gone"}
	default:
		return v1alpha1.AttemptRestart, nil
	}
	s.applyRest(want, have)
	return "", nil
}

// allAbsent says that every member was stopped: then starting them again is one thing and not many repairs.
func (s *Scene) allAbsent() bool {
	n := 0
	for _, c := range s.sys.Components() {
		for _, f := range s.group(c.Name()).facts {
			if f.State != ProcessAbsent {
				return false
			}
			n++
		}
	}
	return n > 0
}

// checkScale refuses another number of members: joining and leaving a group needs steps that are not built yet.
func checkScale(sys *system.System, want, have *v1alpha1.ClusterSpec) error {
	for _, c := range sys.Components() {
		if want.Components[c.Name()].Adopt != nil {
			continue // somebody else makes and removes its members
		}
		if w, h := c.Replicas(want), c.Replicas(have); w != h {
			return &RefusedError{Field: "spec.components." + c.Name() + ".replicas", Value: itoa(w),
				Reason: fmt.Sprintf("the number of members cannot change yet (it is %d)", h), Remedy: "set it back to " + itoa(h)}
		}
	}
	return nil
}

// applyRest takes over what can change without touching a member: the backup place, the policy.
func (s *Scene) applyRest(want *v1alpha1.ClusterSpec, have *v1alpha1.Pinned) {
	if !reflect.DeepEqual(want, &have.Spec) {
		have.Spec = *want.DeepCopy()
	}
}

// repair starts members that should run and do not, one at a time, with the revision that is applied.
func (s *Scene) repair() Decision {
	p := s.status.Applied
	for _, c := range s.sys.Components() {
		for _, f := range s.group(c.Name()).facts {
			if !f.expected || f.State != ProcessAbsent {
				continue
			}
			i := v1alpha1.Intent{Act: v1alpha1.ActStart, Component: c.Name(), Member: f.View.Name, Version: p.Spec.Version,
				Volume: f.Volume, Revision: s.sys.Revision(p, c.Name(), p.Spec.Version), Why: "it should run and does not"}
			i.ID = s.status.Acts // a start is conditional on absence: it needs no id of its own, and no write
			return Decision{Situation: Repairing, Act: &i}
		}
	}
	return Decision{Situation: Idle, Rest: true}
}

// newAttempt plans an attempt. It is also what a dry run prints.
func (d *Decider) newAttempt(in *Input, status *v1alpha1.ClusterStatus, kind v1alpha1.AttemptKind, restart int64) (*v1alpha1.Attempt, error) {
	sys := in.System
	have := status.Applied
	if have != nil && kind != v1alpha1.AttemptUpgrade {
		sys = in.Systems[have.System.Hash]
	}
	spec := in.Cluster.Spec.DeepCopy()
	a := &v1alpha1.Attempt{Kind: kind, Phase: v1alpha1.PhaseRunning, To: spec.Version,
		Target: v1alpha1.Pinned{Spec: *spec, System: v1alpha1.SystemRef{Name: sys.Name(), Hash: sys.Hash()}}}
	if have != nil {
		a.From, a.Base = have.Spec.Version, have.DeepCopy()
		a.Target.Restart = have.Restart + restart
	} else {
		a.Wrote = wroteBefore(status)
		if status.Attempt == nil { // a correction has checks of its own
			if err := checkOlder(sys, a); err != nil {
				return nil, err
			}
		}
	}
	if kind == v1alpha1.AttemptStart {
		a.Target, a.To = *have.DeepCopy(), have.Spec.Version
		a.Base = nil // nothing runs: there is nothing to go back to
	}
	hops, err := planHops(sys, a)
	if err != nil {
		return nil, err
	}
	a.Hops = hops
	if err := planMoves(sys, in.Cluster.Name, a); err != nil {
		return nil, err
	}
	if err := checkAttempt(sys, in, a); err != nil {
		return nil, err
	}
	a.Steps = d.planSteps(sys, in.Cluster, a)
	return a, nil
}

// wroteBefore are the versions that wrote to the volumes of a cluster before its first members are started: a restore filled them, they were there, or
// the first start is one that was corrected.
func wroteBefore(status *v1alpha1.ClusterStatus) []string {
	if before := status.Attempt; before != nil {
		return slices.Clone(before.Wrote)
	}
	if status.Filled != "" {
		return []string{status.Filled}
	}
	return nil
}

func planHops(sys *system.System, a *v1alpha1.Attempt) ([]v1alpha1.HopStatus, error) {
	if err := sys.CheckVersion(a.To); err != nil {
		return nil, err
	}
	if a.Kind != v1alpha1.AttemptUpgrade {
		return []v1alpha1.HopStatus{{From: a.To, To: a.To, Edge: -1}}, nil
	}
	path, err := sys.Path(a.From, a.To)
	if err != nil {
		return nil, err
	}
	var hops []v1alpha1.HopStatus
	for _, h := range path {
		hops = append(hops, v1alpha1.HopStatus{From: h.From, To: h.To, Edge: int32(h.Edge)})
	}
	return hops, nil
}

// checkAttempt refuses what is known beforehand to be impossible.
func checkAttempt(sys *system.System, in *Input, a *v1alpha1.Attempt) error {
	if a.Base != nil {
		if err := checkScale(sys, &a.Target.Spec, &a.Base.Spec); err != nil {
			return err
		}
		if err := checkFixed(sys, &a.Base.Spec, &a.Target.Spec, elsewhere); err != nil {
			return err
		}
	}
	if a.Kind == v1alpha1.AttemptUpgrade {
		if err := checkTogether(sys, &a.Base.Spec, &a.Target.Spec, a.Hops); err != nil {
			return err
		}
	}
	if a.Kind != v1alpha1.AttemptStart {
		if err := checkOptions(sys, a); err != nil {
			return err
		}
	}
	spec := &a.Target.Spec
	if err := checkAdopted(sys, spec, a); err != nil {
		return err
	}
	for _, h := range a.Hops {
		if err := checkVolumes(sys, spec, &h); err != nil {
			return err
		}
		e := edgeOf(sys, h.Edge)
		if e.Backup == v1alpha1.BackupRequired && spec.Backup == nil {
			return &RefusedError{Field: "spec.backup", Reason: fmt.Sprintf("the hop from %s to %s requires a backup and there is no place for it", h.From, h.To),
				Remedy: "set spec.backup.url, for example file:///var/backups/" + in.Cluster.Name}
		}
	}
	if a.Kind == v1alpha1.AttemptCreate || a.Kind == v1alpha1.AttemptStart || in.Cluster.Spec.Upgrade.AllowDowntime {
		return nil
	}
	return checkDowntime(sys, spec, a)
}

func checkDowntime(sys *system.System, spec *v1alpha1.ClusterSpec, a *v1alpha1.Attempt) error {
	const field = "spec.upgrade.allowDowntime"
	for _, h := range a.Hops {
		if edgeOf(sys, h.Edge).Strategy == v1alpha1.Recreate {
			return &RefusedError{Field: field, Value: "false", Reason: fmt.Sprintf("the hop from %s to %s stops all members at once", h.From, h.To),
				Remedy: "set it to true if the service may be down for that time"}
		}
	}
	for _, c := range sys.Components() {
		if c.Replicas(spec) == 1 {
			return &RefusedError{Field: field, Value: "false", Reason: "component " + c.Name() + " has one member: replacing it takes the service down",
				Remedy: "set it to true if the service may be down for that time, or run more members"}
		}
	}
	return nil
}

// endHop ends the hop that has no step left: the next one is planned, or the attempt has succeeded.
func (d *Decider) endHop(s *Scene) Decision {
	a := s.attempt
	hop := s.Hop()
	hop.Done = true
	a.Base = s.hopTarget()
	s.status.Applied = a.Base.DeepCopy()
	s.noteVersion(hop.To)
	if s.LastHop() {
		s.end(v1alpha1.PhaseSucceeded, hop.To, "")
		if a.Kind == v1alpha1.AttemptUpgrade {
			s.forgetFailed() // that members were restarted or started says nothing for what failed before
		}
		return Decision{Situation: Idle, Again: true}
	}
	a.Hop++
	a.Approved = false
	s.spendOverrides()
	a.Steps = d.planSteps(s.sys, s.in.Cluster, a)
	s.event("HopStarted", "", fmt.Sprintf("hop %d of %d: %s to %s", a.Hop+1, len(a.Hops), s.Hop().From, s.Hop().To), false)
	return Decision{Situation: Upgrading, Again: true}
}

// endBack ends an attempt that has gone back.
func (s *Scene) endBack() Decision {
	a := s.attempt
	end := a.Ending
	if end == "" {
		end = v1alpha1.PhaseRolledBack
	}
	message := ""
	if a.Failure != nil {
		message = a.Failure.Message
	}
	s.status.Applied = a.Base.DeepCopy()
	s.end(end, a.Base.Spec.Version, message)
	return Decision{Situation: Idle, Again: true}
}

const (
	maxAttempts = 10
	maxVersions = 20
)

func (s *Scene) end(phase v1alpha1.AttemptPhase, at, message string) {
	a := s.attempt
	now := s.Now()
	a.Phase, a.Ended, a.Intent, a.WaitingFor, a.Rest, a.Resume = phase, &now, nil, nil, "", ""
	sum := v1alpha1.AttemptSummary{ID: a.ID, Kind: a.Kind, From: a.From, To: a.To, Outcome: phase, At: at, Message: message, Started: a.Started, Ended: now}
	for _, h := range a.Hops {
		if h.Backup != "" {
			sum.Backups = append(sum.Backups, h.Backup)
		}
	}
	for _, o := range s.status.Overrides {
		if o.Used {
			sum.Overrides = append(sum.Overrides, o.Rule+by(o.By, o.Reason))
		}
	}
	s.status.Overrides = nil
	s.ended = append(s.ended, sum)
	s.status.Attempts = appendBounded(s.status.Attempts, sum, maxAttempts)
	how := describeAttempt(a) + " ended at " + at
	if at == "" {
		how = describeAttempt(a) + " ended: " + message
	}
	s.event("Attempt"+string(phase), "", how, phase != v1alpha1.PhaseSucceeded)
}

func (s *Scene) noteVersion(v string) {
	h := s.status.VersionHistory
	if len(h) == 0 || h[len(h)-1] != v {
		s.status.VersionHistory = appendBounded(h, v, maxVersions)
	}
}

// leaveRest is what can end a rest without a request: the spec was set back, or the cluster got to a good state by another way.
func (d *Decider) leaveRest(s *Scene) bool {
	a := s.attempt
	if a.Phase == v1alpha1.PhasePaused && d.followSpec(s) {
		return true
	}
	if a.Phase != v1alpha1.PhasePaused || a.Failure == nil || !a.Disrupted && !startsAll(a.Kind) {
		return false
	}
	if !s.looksGood() {
		a.HealthyFor = metav1.Duration{}
		return false
	}
	a.HealthyFor.Duration += s.in.Tick
	if a.HealthyFor.Duration < s.healingSoak() {
		return false
	}
	s.event("Healed", "", "every member is ready at "+s.towards()+" again; the attempt goes on", false)
	s.resume()
	return true
}

func (s *Scene) towards() string {
	_, v := s.wanted(s.sys.Components()[0].Name())
	return v
}

// looksGood says that all members are ready, settled, and at what the attempt was going to.
func (s *Scene) looksGood() bool {
	for _, c := range s.sys.Components() {
		rev, version := s.wanted(c.Name())
		g := s.group(c.Name())
		for _, f := range g.facts {
			if f.expected && (f.ready != system.Yes || f.Revision != rev || !s.sys.SameVersion(f.version, version)) {
				return false
			}
		}
		if m := s.settled(g, nil, nil); m.Kind != MoveDone {
			return false
		}
	}
	return true
}

// healingSoak is longer than a soak, so that what comes and goes does not make an attempt fail and heal for ever.
func (s *Scene) healingSoak() time.Duration {
	longest := time.Duration(0)
	for _, c := range s.sys.Components() {
		longest = max(longest, s.soak(c))
	}
	return 2*longest + time.Second
}

// resume goes on where the attempt rested. What failed may be tried again, and every deadline starts anew.
func (s *Scene) resume() {
	a := s.attempt
	a.Phase = a.Resume
	if a.Phase == "" {
		a.Phase = v1alpha1.PhaseRunning
	}
	failed := a.Failure != nil
	a.Resume, a.Rest, a.Failure, a.Pausing = "", "", nil, false
	if a.Phase != v1alpha1.PhaseRollingBack {
		s.forgetFailed() // else it would begin again once it is back
	}
	for i := range a.Steps {
		st := &a.Steps[i]
		st.ProgressAt = a.Clock
		for j := range st.Runs {
			// A backup that hangs is left alone: another one, under another name, harms nobody.
			if r := &st.Runs[j]; !r.Done && (r.Failed != "" || failed && st.Kind == KindBackup) {
				r.Tries = 0
			}
		}
		if h := st.Hand; h != nil {
			h.Crashes = countAnew
		}
		for j := range st.Members {
			st.Members[j].Crashes = countAnew
		}
	}
	s.event("Resumed", "", "", false)
}

// IsRefused says whether an error is a user's mistake about the spec.
func IsRefused(err error) bool {
	var r *RefusedError
	return errors.As(err, &r)
}
