package upgrade

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// describe derives what people and other controllers read from what was decided: counts, versions, conditions.
// Nothing in the core reads it back.
func (s *Scene) describe(dec *Decision) {
	st := s.status
	s.open()
	st.TargetVersion = ""
	if s.attempt != nil {
		st.TargetVersion = s.attempt.To
	}
	s.count()
	s.conditions(dec)
	for i := range st.Conditions { // those too that say the same as before
		st.Conditions[i].ObservedGeneration = s.in.Cluster.Generation
	}
}

// count sums up the members and takes the current version from their answers: the lowest that any says.
func (s *Scene) count() {
	st := s.status
	st.Replicas, st.ReadyReplicas, st.Members = 0, 0, v1alpha1.MemberNames{}
	lowest := ""
	for _, c := range s.sys.Components() {
		wanted, ready := int32(0), int32(0)
		for _, f := range s.group(c.Name()).facts {
			if !f.expected {
				continue
			}
			wanted++
			if f.ready == system.Yes {
				ready++
				st.Members.Ready = append(st.Members.Ready, f.View.Name)
			} else {
				st.Members.Unready = append(st.Members.Unready, f.View.Name)
			}
			if f.version != "" || f.role != "" {
				st.Members.Said = append(st.Members.Said, v1alpha1.MemberSaid{Name: f.View.Name, Version: f.version, Role: f.role})
			}
			if f.version != "" && (lowest == "" || s.sys.Compare(f.version, lowest) < 0) {
				lowest = f.version
			}
		}
		if s.moving(c.Name()) != nil { // members that move are in two workloads for a while, and still as many are wanted
			wanted = int32(s.replicas(c)) //nolint:gosec // at most 99
			ready = min(ready, wanted)
		}
		st.Replicas, st.ReadyReplicas = st.Replicas+wanted, st.ReadyReplicas+ready
	}
	if lowest != "" {
		st.CurrentVersion = lowest
	}
}

// whyUnready says what the first member lacks that is not ready. While an attempt runs, its wait says that; and a text that changes
// with each look would have the journal written each time.
func (s *Scene) whyUnready() string {
	if s.attempt != nil {
		return ""
	}
	for _, c := range s.sys.Components() {
		for _, f := range s.group(c.Name()).facts {
			if f.expected && f.ready != system.Yes {
				return "; " + f.View.Name + ": " + f.lacks()
			}
		}
	}
	return ""
}

func (s *Scene) conditions(dec *Decision) {
	st, a := s.status, s.attempt
	ready, reason := metav1.ConditionTrue, v1alpha1.ReasonAllMembersReady
	if st.ReadyReplicas < st.Replicas {
		ready, reason = metav1.ConditionFalse, v1alpha1.ReasonMembersNotReady
	}
	s.set(v1alpha1.ConditionReady, ready, reason, fmt.Sprintf("%d of %d members ready", st.ReadyReplicas, st.Replicas)+s.whyUnready())

	up, back := metav1.ConditionFalse, metav1.ConditionFalse
	upReason, backReason, message := v1alpha1.ReasonIdle, v1alpha1.ReasonIdle, ""
	if a != nil {
		where, progress := progressOf(a)
		message = progress
		if s.backing {
			back, backReason = metav1.ConditionTrue, where
		} else {
			up, upReason = metav1.ConditionTrue, where
		}
		if resting(a.Phase) {
			up, back = metav1.ConditionFalse, metav1.ConditionFalse
			upReason, backReason, message = restReason(a), restReason(a), a.Rest
		}
	}
	s.set(v1alpha1.ConditionUpgrading, up, upReason, message)
	s.set(v1alpha1.ConditionRollingBack, back, backReason, message)
	s.backedUp()
	s.restoring()
	s.kstatus(dec)
}

// progressOf is the component that an attempt works on, as Upgrading's reason, and how far it is.
func progressOf(a *v1alpha1.Attempt) (reason, message string) {
	for i := range a.Steps {
		st := &a.Steps[i]
		if st.Phase != v1alpha1.StepRunning && st.Phase != v1alpha1.StepUndoing {
			continue
		}
		if st.Component != "" && replaces(st.Kind) {
			return "Updating" + strings.ToUpper(st.Component[:1]) + strings.ReplaceAll(st.Component[1:], "-", ""), st.Message
		}
		return string(st.Kind), st.Message
	}
	return v1alpha1.ReasonRunning, ""
}

func restReason(a *v1alpha1.Attempt) string {
	switch {
	case a.Phase == v1alpha1.PhaseStopped:
		return v1alpha1.ReasonOutcomeUnknown
	case a.Failure != nil:
		return v1alpha1.ReasonFailed
	}
	return v1alpha1.ReasonPaused
}

// backedUp says of the hop that is taken, or was taken last, whether there is a backup from before it.
func (s *Scene) backedUp() {
	a := s.status.Attempt
	if a == nil || a.Kind != v1alpha1.AttemptUpgrade {
		return
	}
	i := slices.IndexFunc(a.Steps, func(st v1alpha1.StepStatus) bool { return st.Kind == KindBackup })
	switch {
	case i < 0:
		s.set(v1alpha1.ConditionBackedUp, metav1.ConditionFalse, v1alpha1.ReasonNoBackup, "the hop from "+a.Hops[a.Hop].From+" to "+a.Hops[a.Hop].To+" takes none")
	case a.Steps[i].Phase == v1alpha1.StepDone:
		s.set(v1alpha1.ConditionBackedUp, metav1.ConditionTrue, v1alpha1.ReasonBackedUp, a.Hops[a.Hop].Backup)
	case a.Steps[i].Phase == v1alpha1.StepPending, a.Steps[i].Phase == v1alpha1.StepRunning:
		s.set(v1alpha1.ConditionBackedUp, metav1.ConditionFalse, v1alpha1.ReasonNoBackup, "the hop's backup is not complete yet")
	}
}

// kstatus sets the two conditions that say whether to go on waiting.
func (s *Scene) kstatus(dec *Decision) {
	s.status.ObservedGeneration = s.in.Cluster.Generation
	reconciling, stalled := metav1.ConditionFalse, metav1.ConditionFalse
	reason, message := v1alpha1.ReasonIdle, ""
	switch {
	case dec.Refusal != nil:
		stalled, reason, message = metav1.ConditionTrue, v1alpha1.ReasonRefused, dec.Refusal.Error()
	case s.attempt == nil && s.status.Loading != nil:
		reconciling, reason, message = metav1.ConditionTrue, v1alpha1.ConditionRestoring, LoadingText(s.status.Loading)
		if s.status.Loading.Failed != "" {
			reconciling, stalled, reason = metav1.ConditionFalse, metav1.ConditionTrue, v1alpha1.ReasonFailed
		}
		if stalled == metav1.ConditionFalse && s.unfollowed != nil {
			message += "; an edit waits for its end"
		}
	case s.attempt == nil:
		if dec.Situation == Repairing || dec.Again { // what follows at once is not known yet: a retry that was just accepted begins an attempt
			reconciling, reason = metav1.ConditionTrue, v1alpha1.ReasonRunning
		}
	case resting(s.attempt.Phase):
		stalled, reason, message = metav1.ConditionTrue, restReason(s.attempt), s.attempt.Rest
		if s.attempt.Kind == v1alpha1.AttemptCreate || s.unfollowed != nil {
			if e := s.editWaiting(); e != "" {
				message += "; " + e
			}
		}
	case dec.Rest:
		stalled, reason = metav1.ConditionTrue, v1alpha1.ReasonWaiting
		if w := s.attempt.WaitingFor; w != nil {
			message = w.Object + ": " + w.Message
		}
	default:
		reconciling, reason = metav1.ConditionTrue, v1alpha1.ReasonRunning
		if e := s.editWaiting(); e != "" {
			message = e
		}
	}
	s.set(v1alpha1.ConditionReconciling, reconciling, reason, message)
	s.set(v1alpha1.ConditionStalled, stalled, reason, message)
}

// editWaiting says which edit of the spec waits for the end of the attempt.
func (s *Scene) editWaiting() string {
	if err := s.unusable(); err != nil {
		return "no edit is followed: " + err.Error()
	}
	if s.unfollowed != nil {
		return "an edit waits: " + s.unfollowed.Error()
	}
	if err := CheckEdit(s.sys, s.status, &s.attempt.Target.Spec, &s.in.Cluster.Spec); err != nil {
		return "an edit waits: " + err.Error()
	}
	if field := deferredField(s.sys, s.attempt, &s.in.Cluster.Spec); field != "" {
		return "an edit waits: spec." + field + " is followed when the attempt has ended, as spec.upgrade.edits: Defer says"
	}
	return ""
}

func (s *Scene) set(kind string, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&s.status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message,
		ObservedGeneration: s.in.Cluster.Generation, LastTransitionTime: s.Now()})
}
