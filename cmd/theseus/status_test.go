package main

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"theseus.dev/api/v1alpha1"
)

// Status says how to have done with an upgrade that failed, and does not cut off what a refusal advises.
func TestStatusAfterAFailure(t *testing.T) {
	c := applied(t, running("1.0.0"))
	c.Spec.Version, c.Status.FailedTarget = "1.1.0", "1.1.0"
	refusal := "spec.version 1.1.0: the upgrade to it failed or was taken back, and is not begun again by itself; set another version, or ask for a retry once the cause is gone"
	set(c, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonRefused, refusal)
	w := newTown(t, interceptor.Funcs{}, c)
	w.opened(t, "si").printStatus(false)
	for _, want := range []string{"to stay at 1.0.0: theseus upgrade si --to 1.0.0", refusal} {
		if !strings.Contains(w.out.String(), want) {
			t.Errorf("no %q in\n%s", want, w.out.String())
		}
	}
}
