package operator

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestEditedWorkload: what somebody adds to a workload by hand is an edit too, and is written over. What was written and not noted is not written again.
func TestEditedWorkload(t *testing.T) {
	sys, err := shipped("pravega")
	fatal(t, err)
	c := kv()
	b := &blueprint{cluster: c, system: sys, component: sys.Component("controller"), spec: &c.Spec, version: "1.0.0", revision: "r"}
	template := corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "controller", Image: "i"}}}}
	set, err := b.statefulSet(template)
	fatal(t, err)
	for _, want := range []client.Object{b.deployment(template), set} {
		api := fakeAPI(t)
		p := &Platform{API: api, Live: api, Key: key}
		apply := func() client.Object {
			t.Helper()
			fatal(t, p.applyWorkload(t.Context(), want.DeepCopyObject().(client.Object)))
			have := want.DeepCopyObject().(client.Object)
			fatal(t, api.Get(t.Context(), client.ObjectKeyFromObject(want), have))
			return have
		}
		have := apply()
		if again := apply(); again.GetResourceVersion() != have.GetResourceVersion() {
			t.Errorf("%T: it was written again as it was", want)
		}
		edited := have.DeepCopyObject().(client.Object)
		edited.SetGeneration(have.GetGeneration() + 1)
		switch e := edited.(type) {
		case *appsv1.Deployment:
			e.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
		case *appsv1.StatefulSet:
			e.Spec.Template.Spec.Containers = append(e.Spec.Template.Spec.Containers, corev1.Container{Name: "sidecar", Image: "theirs"})
		}
		fatal(t, api.Update(t.Context(), edited))
		switch h := apply().(type) {
		case *appsv1.Deployment:
			if h.Spec.Strategy.Type != appsv1.RollingUpdateDeploymentStrategyType {
				t.Errorf("the strategy is %s, as somebody set it", h.Spec.Strategy.Type)
			}
		case *appsv1.StatefulSet:
			if len(h.Spec.Template.Spec.Containers) != 1 {
				t.Error("the container that somebody added is still there")
			}
		}
	}
}
