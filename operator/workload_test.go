package operator

import (
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
			fatal(t, p.applyWorkload(t.Context(), c, want.DeepCopyObject().(client.Object)))
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

// TestDeploymentSoak: Kubernetes takes the next pod when the new one has stayed ready for the soak, however long that is.
func TestDeploymentSoak(t *testing.T) {
	sys, err := shipped("pravega")
	fatal(t, err)
	for soak, want := range map[time.Duration]int32{300 * time.Millisecond: 1, time.Hour: 3600} {
		c := kv()
		c.Spec.Upgrade.Soak = &metav1.Duration{Duration: soak}
		d := (&blueprint{cluster: c, system: sys, component: sys.Component("controller"), spec: &c.Spec}).deployment(corev1.PodTemplateSpec{})
		if d.Spec.MinReadySeconds != want || *d.Spec.ProgressDeadlineSeconds <= want {
			t.Errorf("soak %s: minReadySeconds %d, progressDeadlineSeconds %d", soak, d.Spec.MinReadySeconds, *d.Spec.ProgressDeadlineSeconds)
		}
	}
}

// TestBudget: what the core permits beside a member that is down, the Cluster's own budget permits too.
func TestBudget(t *testing.T) {
	for may, want := range map[int32]int{0: 1, 1: 1, 2: 2} {
		c, sys := kv(), standin(t)
		c.Spec.Upgrade.MaxUnavailable = may
		b := &blueprint{cluster: c, system: sys, component: sys.Components()[0], spec: &c.Spec}
		if got := b.budget().(*policyv1.PodDisruptionBudget).Spec.MaxUnavailable.IntValue(); got != want {
			t.Errorf("maxUnavailable %d: the budget allows %d, want %d", may, got, want)
		}
	}
}
