package upgrade

import "theseus.dev/api/v1alpha1"

// Check says whether the spec of a Cluster can be followed from its status, without a look at members. It is what a webhook asks before
// it accepts an edit: it plans as the next pass will, so that the two never disagree. While an attempt runs it plans from where that is
// going to end; that the edit may come now is for CheckEdit to say. That a target failed before is nothing against the spec: it is not begun again by
// itself, and that is all. Systems of the input must hold every System that the status refers to.
func (d *Decider) Check(in Input) error {
	status := in.Cluster.Status.DeepCopy()
	status.FailedTarget, status.FailedRevision = "", ""
	in.Look = Look{} // nobody looked: no member is known to be absent
	s := newScene(&in, status)
	if a := s.attempt; a != nil {
		want, end := in.Cluster.Spec.Version, &a.Target
		superseded := a.Kind == v1alpha1.AttemptUpgrade && !a.Disrupted && !s.sys.SameVersion(want, a.To)
		if a.Base != nil && (s.backing || superseded || s.sys.SameVersion(want, a.Base.Spec.Version)) {
			end = a.Base
		}
		if Unused(a) {
			end = nil
		}
		status.Applied, status.Attempt = end.DeepCopy(), nil
		s.open()
	}
	kind, err := s.wish()
	if err != nil || kind == "" {
		return err
	}
	_, err = d.newAttempt(&in, s.status, kind, 0)
	return err
}
