package upgrade

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// While a restore writes into members that run none of them is replaced: it would meet members that come and go, and an upgrade would be one of data
// that is not complete. Members that went down by themselves are started all the same. Who restores notes it, and takes the note away.

// LoadingText says how far a restore into the members is, and what to do where it failed.
func LoadingText(l *v1alpha1.Loading) string {
	switch {
	case l.Failed != "":
		return l.Failed
	case l.Begun != nil:
		return "restore " + l.Restore + " writes into the members: their data is not complete"
	}
	return "restore " + l.Restore + " is to write into the members once all of them are ready: they have no data yet"
}

// checkLoading refuses to replace members for whatever a field of the spec asks.
func checkLoading(st *v1alpha1.ClusterStatus, field string) error {
	l := st.Loading
	if l == nil {
		return nil
	}
	return &RefusedError{Field: field, Reason: LoadingText(l), Remedy: "no member is replaced before it has ended well"}
}

// checkEditLoading refuses an edit that would replace members while a restore writes into them. What they run may always be written again; and one that is to
// be deferred waits for the end of the restore, if there is to be one.
func checkEditLoading(sys *system.System, st *v1alpha1.ClusterStatus, old, new *v1alpha1.ClusterSpec) error {
	l := st.Loading
	if l == nil || st.Applied == nil || !corrects(sys, &st.Applied.Spec, new) || new.Upgrade.Edits == v1alpha1.EditsDeferred && l.Failed == "" {
		return nil
	}
	switch field := firstDifference(old, new); {
	case !sys.SameVersion(old.Version, new.Version):
		return checkLoading(st, "spec.version")
	case field != "":
		return checkLoading(st, "spec."+field)
	}
	return nil
}

// waitsForLoading keeps an edit that replaces members until the restore into them has ended.
func (s *Scene) waitsForLoading(kind v1alpha1.AttemptKind) bool {
	if kind != v1alpha1.AttemptUpgrade && kind != v1alpha1.AttemptRestart {
		return false
	}
	s.unfollowed = checkLoading(s.status, "spec")
	return s.unfollowed != nil
}

// restoring says that the data is not complete. What holds a cluster before its first member is not seen here.
func (s *Scene) restoring() {
	if l := s.status.Loading; l != nil {
		s.set(v1alpha1.ConditionRestoring, metav1.ConditionTrue, v1alpha1.ConditionRestoring, LoadingText(l))
		return
	}
	meta.RemoveStatusCondition(&s.status.Conditions, v1alpha1.ConditionRestoring)
}
