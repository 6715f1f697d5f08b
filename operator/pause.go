package operator

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/system"
)

// pausedAnnotation of a Deployment says that it is paused because its attempt rests, and not by a person.
const pausedAnnotation = "theseus.dev/paused"

// holdBack pauses a Deployment whose members Kubernetes is replacing while the attempt rests, and lets it go on afterwards. A person's own pause stays, and so
// does a person's resume. One that has no pods yet is left alone, because Kubernetes would make none, and so is one whose pods all go before one comes: they would stay away.
func (p *Platform) holdBack(ctx context.Context, s runner.Scene, c *system.Component, d *appsv1.Deployment) error {
	ours, rests := d.Annotations[pausedAnnotation] != "", restsFor(s, c, d)
	next := d.DeepCopy()
	switch {
	case rests && !ours && !d.Spec.Paused && d.Status.Replicas > 0 && d.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType:
		next.Spec.Paused = true
		next.Annotations = merged(d.Annotations, map[string]string{pausedAnnotation: "true"})
	case !rests && ours:
		next.Spec.Paused = false
		delete(next.Annotations, pausedAnnotation)
	default:
		return nil
	}
	if err := p.unsurpassed(ctx, s.Cluster); err != nil {
		return err
	}
	if err := p.API.Patch(ctx, next, client.MergeFromWithOptions(d, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("pause Deployment %s, or let it go on: %w", d.Name, err)
	}
	return nil
}

// restsFor says that Kubernetes is to replace no more members of a Deployment: the attempt rests, or is to rest when the member in hand is done, which still has to be
// replaced where it is not new yet. On the way back one that was held back waits for its old template. First members are never held back.
func restsFor(s runner.Scene, c *system.Component, d *appsv1.Deployment) bool {
	a := s.Cluster.Status.Attempt
	if a == nil || a.Phase.Ended() || a.Base == nil {
		return false
	}
	switch a.Phase {
	case v1alpha1.PhasePaused, v1alpha1.PhaseStopped:
		return true
	case v1alpha1.PhaseRollingBack:
		base := s.Systems[a.Base.System.Hash]
		if base != nil && d.Annotations[pausedAnnotation] != "" && d.Spec.Template.Annotations[revisionAnnotation] != base.Revision(a.Base, c.Name(), a.Base.Spec.Version) {
			return true
		}
	}
	if !a.Pausing {
		return false
	}
	for _, st := range a.Steps {
		if st.Component == c.Name() && st.Hand != nil && st.Hand.Phase == v1alpha1.HandReplace {
			return false
		}
	}
	return true
}
