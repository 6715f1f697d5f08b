package upgrade

import (
	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// PinnedOf finds what the revision of an intent was made from: the hop's target, what was before it, or what is applied.
// It returns nil for intents without a revision and for revisions that nothing knows any more.
func PinnedOf(status *v1alpha1.ClusterStatus, systems map[string]*system.System, i v1alpha1.Intent) *v1alpha1.Pinned {
	if i.Revision == "" || i.Component == "" {
		return nil
	}
	var candidates []*v1alpha1.Pinned
	if a := status.Attempt; a != nil && !a.Phase.Ended() {
		if sys := systems[a.Target.System.Hash]; sys != nil {
			candidates = append(candidates, TargetOf(sys, a))
		}
		candidates = append(candidates, a.Base)
	}
	for _, p := range append(candidates, status.Applied) {
		if p == nil || systems[p.System.Hash] == nil {
			continue
		}
		if systems[p.System.Hash].Revision(p, i.Component, p.Spec.Version) == i.Revision {
			return p
		}
	}
	return nil
}
