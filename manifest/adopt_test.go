package manifest_test

import (
	"strings"
	"testing"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/manifest"
)

func TestOneMachineAdoptsNothing(t *testing.T) {
	c := &v1alpha1.Cluster{Spec: v1alpha1.ClusterSpec{Components: map[string]v1alpha1.ComponentSpec{"store": {}}}}
	if errs := manifest.ValidateHere(c); len(errs) > 0 {
		t.Errorf("got %v", errs)
	}
	c.Spec.Components["store"] = v1alpha1.ComponentSpec{Adopt: &v1alpha1.Adopt{StatefulSet: "s", Mode: v1alpha1.AdoptOrder}}
	errs := manifest.ValidateHere(c)
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), "spec.components.store.adopt: is for Kubernetes, and here is one machine") {
		t.Errorf("got %v", errs)
	}
}
