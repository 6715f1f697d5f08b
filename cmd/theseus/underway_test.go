package main

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"theseus.dev/api/v1alpha1"
)

// midway is in the first of two hops to 1.2.0: preflight is done and members are being replaced.
func midway(t *testing.T, change func(*v1alpha1.Attempt)) *v1alpha1.Cluster {
	t.Helper()
	c := applied(t, running("1.0.0"))
	base := c.Status.Applied.DeepCopy()
	c.Spec.Version = "1.2.0"
	target := v1alpha1.Pinned{Spec: *c.Spec.DeepCopy(), System: base.System}
	begun := metav1.Now()
	at := &v1alpha1.Attempt{ID: 2, Kind: v1alpha1.AttemptUpgrade, Phase: v1alpha1.PhaseRunning, From: "1.0.0", To: "1.2.0", Target: target, Base: base, Disrupted: true,
		Hops: []v1alpha1.HopStatus{{From: "1.0.0", To: "1.1.0"}, {From: "1.1.0", To: "1.2.0"}},
		Steps: []v1alpha1.StepStatus{{Name: "preflight", Kind: "Preflight", Phase: v1alpha1.StepDone, Begun: &begun},
			{Name: "roll standin", Kind: "Roll", Component: "standin", Phase: v1alpha1.StepRunning, Begun: &begun}, {Name: "verify", Kind: "Verify", Phase: v1alpha1.StepPending}}}
	if change != nil {
		change(at)
	}
	c.Status.Attempt, c.Status.Serial = at, 2
	return c
}

func rollingBack(at *v1alpha1.Attempt) { at.Phase = v1alpha1.PhaseRollingBack }

// A plan while an attempt runs is what is left of it, or what going back takes back.
func TestPlanUnderway(t *testing.T) {
	for what, test := range map[string]struct {
		change     func(*v1alpha1.Attempt)
		to         string
		want, lack []string
	}{
		"forward":              {to: "1.2.0", want: []string{"upgrade si from 1.0.0 to 1.2.0", "  1  roll standin", "hop 2 of 2", "  2  verify"}, lack: []string{"undo", "1.1.0\nnote: a patch\n  1  preflight"}},
		"without a version":    {want: []string{"upgrade si from 1.0.0 to 1.2.0", "  1  roll standin"}},
		"set back":             {to: "1.0.0", want: []string{"rollback si from 1.1.0 to 1.0.0", "  1  undo roll standin", "  2  undo preflight\n"}, lack: []string{"verify", "hop "}},
		"going back":           {change: rollingBack, want: []string{"rollback si from 1.1.0 to 1.0.0"}},
		"going back, again":    {change: rollingBack, to: "1.2.0", want: []string{"rollback si from 1.1.0 to 1.0.0", "warning: going back to 1.0.0; --to 1.2.0 was not taken"}},
		"another, undisturbed": {change: func(at *v1alpha1.Attempt) { at.Disrupted = false }, to: "1.1.0", want: []string{"upgrade si from 1.0.0 to 1.1.0", "  1  preflight"}},
	} {
		t.Run(what, func(t *testing.T) {
			w := newTown(t, interceptor.Funcs{}, midway(t, test.change))
			k := w.opened(t, "si")
			p, err := k.planTo(t.Context(), wish{to: test.to})
			if err != nil {
				t.Fatal(err)
			}
			k.printPlan("si", p.plan, nil)
			got := w.out.String()
			for _, s := range test.want {
				if !strings.Contains(got, s) {
					t.Errorf("no %q in\n%s", s, got)
				}
			}
			for _, s := range test.lack {
				if strings.Contains(got, s) {
					t.Errorf("%q is in\n%s", s, got)
				}
			}
		})
	}
}

// What an attempt that goes back is said to do, and what of its steps stays.
func TestWordsOfGoingBack(t *testing.T) {
	at := midway(t, rollingBack).Status.Attempt
	if got, want := doing(at), "while going back to 1.0.0"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := stepRow(&v1alpha1.StepStatus{Name: "backup", Kind: "Backup", Phase: v1alpha1.StepUndone}); got[2] != "kept" {
		t.Errorf("the backup is %q", got[2])
	}
	row := stepRow(&v1alpha1.StepStatus{Name: "roll x", Phase: v1alpha1.StepRunning, Message: "0 of 3 members updated", Hand: &v1alpha1.Hand{Member: "x-2", Phase: v1alpha1.HandSoak}})
	if want := "0 of 3 members updated, x-2 soak"; row[4] != want {
		t.Errorf("got %q, want %q", row[4], want)
	}
	s := newStory()
	s.tell(v1alpha1.Event{Reason: "RollingBack"})
	if got, want := s.tell(v1alpha1.Event{Reason: "StepDone", Object: "step backup"}).text, "kept"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
