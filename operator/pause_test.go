package operator

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// TestHoldBack: Kubernetes replaces no more members of a Deployment while the attempt rests.
func TestHoldBack(t *testing.T) {
	sys, err := shipped("pravega")
	fatal(t, err)
	hand := func(p v1alpha1.HandPhase) []v1alpha1.StepStatus {
		return []v1alpha1.StepStatus{{Component: "controller", Kind: upgrade.KindRoll, Hand: &v1alpha1.Hand{Phase: p}}}
	}
	never := func(d *appsv1.Deployment) { d.Status.Replicas = 0 }
	together := func(d *appsv1.Deployment) { d.Spec.Strategy.Type = appsv1.RecreateDeploymentStrategyType }
	held := func(d *appsv1.Deployment) {
		d.Spec.Paused, d.Annotations = true, map[string]string{pausedAnnotation: "true"}
	}
	byAPerson := func(d *appsv1.Deployment) { d.Spec.Paused = true }
	letGo := func(d *appsv1.Deployment) { d.Annotations = map[string]string{pausedAnnotation: "true"} }
	new := func(d *appsv1.Deployment) { d.Spec.Template.Annotations = map[string]string{revisionAnnotation: "new"} }
	for name, test := range map[string]struct {
		phase   v1alpha1.AttemptPhase
		steps   []v1alpha1.StepStatus
		pausing bool
		first   bool
		is      []func(*appsv1.Deployment)
		want    bool
	}{
		"it runs":                                {phase: v1alpha1.PhaseRunning},
		"it is paused":                           {phase: v1alpha1.PhasePaused, want: true},
		"it is stopped":                          {phase: v1alpha1.PhaseStopped, want: true},
		"it goes on":                             {phase: v1alpha1.PhaseRunning, is: []func(*appsv1.Deployment){held}},
		"it has ended":                           {phase: v1alpha1.PhaseSucceeded, is: []func(*appsv1.Deployment){held}},
		"it goes back":                           {phase: v1alpha1.PhaseRollingBack, is: []func(*appsv1.Deployment){held}},
		"it goes back, and has the new template": {phase: v1alpha1.PhaseRollingBack, is: []func(*appsv1.Deployment){held, new}, want: true},
		"a first start":                          {phase: v1alpha1.PhasePaused, first: true},
		"it has no pods":                         {phase: v1alpha1.PhasePaused, is: []func(*appsv1.Deployment){never}},
		"all of its pods go at once":             {phase: v1alpha1.PhasePaused, is: []func(*appsv1.Deployment){together}},
		"a person paused it":                     {phase: v1alpha1.PhaseRunning, is: []func(*appsv1.Deployment){byAPerson}, want: true},
		"a person let it go on":                  {phase: v1alpha1.PhasePaused, is: []func(*appsv1.Deployment){letGo}},
		"it is to pause":                         {phase: v1alpha1.PhaseRunning, pausing: true, want: true},
		"it is to pause, and a member is new":    {phase: v1alpha1.PhaseRunning, pausing: true, steps: hand(v1alpha1.HandSoak), want: true},
		"it is to pause, and a member is to go":  {phase: v1alpha1.PhaseRunning, pausing: true, steps: hand(v1alpha1.HandReplace)},
	} {
		c := kv()
		base := &v1alpha1.Pinned{Spec: c.Spec, System: v1alpha1.SystemRef{Hash: sys.Hash()}}
		b := &blueprint{cluster: c, system: sys, component: sys.Component("controller"), spec: &c.Spec, revision: "r"}
		d := b.deployment(corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{revisionAnnotation: sys.Revision(base, "controller", c.Spec.Version)}}})
		d.Status.Replicas = 2
		for _, is := range test.is {
			is(d)
		}
		c.Status.Attempt = &v1alpha1.Attempt{Phase: test.phase, Steps: test.steps, Pausing: test.pausing, Base: base}
		if test.first {
			c.Status.Attempt.Base = nil
		}
		api := fakeAPI(t, d)
		p := &Platform{API: api, Live: api, Key: key}
		have := &appsv1.Deployment{}
		fatal(t, api.Get(t.Context(), client.ObjectKeyFromObject(d), have))
		before, err := generationOf(have)
		fatal(t, err)
		fatal(t, p.holdBack(t.Context(), runner.Scene{Cluster: c, System: sys, Systems: map[string]*system.System{sys.Hash(): sys}}, sys.Component("controller"), have))
		fatal(t, api.Get(t.Context(), client.ObjectKeyFromObject(d), have))
		if have.Spec.Paused != test.want {
			t.Errorf("%s: paused is %v, want %v", name, have.Spec.Paused, test.want)
		}
		if after, _ := generationOf(have); after != before {
			t.Errorf("%s: that it is paused counts as an edit", name)
		}
		if !have.Spec.Paused && test.phase != v1alpha1.PhasePaused && have.Annotations[pausedAnnotation] != "" {
			t.Errorf("%s: it goes on, and is marked as paused", name)
		}
	}
}

// TestOver: an attempt that has begun to rest is looked at once more, because that look holds Deployments back.
func TestOver(t *testing.T) {
	for _, test := range []struct {
		upgrade.Decision
		want bool
	}{
		{upgrade.Decision{Rest: true, Situation: upgrade.Idle, Write: true}, true},
		{upgrade.Decision{Rest: true, Situation: upgrade.Resting}, true},
		{upgrade.Decision{Rest: true, Situation: upgrade.Resting, Write: true}, false},
		{upgrade.Decision{Rest: true, Act: &v1alpha1.Intent{}}, false},
		{upgrade.Decision{Situation: upgrade.Upgrading}, false},
	} {
		if got := over(runner.Pass{Decision: test.Decision}); got != test.want {
			t.Errorf("%+v: over is %v, want %v", test.Decision, got, test.want)
		}
	}
}
