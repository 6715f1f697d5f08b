package crd

import (
	"testing"

	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
)

// TestDefaults: an object that nobody looked at yet has the status of another generation, so that kstatus does not take it for one that is done.
func TestDefaults(t *testing.T) {
	for _, kind := range []string{"clusters", "backups", "restores"} {
		crd := load(t, "../../config/crd/theseus.dev_"+kind+".yaml")
		s := crd.Spec.Validation
		if s == nil {
			s = crd.Spec.Versions[0].Schema
		}
		st, err := structuralschema.NewStructural(s.OpenAPIV3Schema)
		if err != nil {
			t.Fatal(err)
		}
		object := map[string]any{"spec": map[string]any{}}
		defaulting.Default(object, st)
		if status, _ := object["status"].(map[string]any); status["observedGeneration"] != int64(-1) {
			t.Errorf("the status of new %s is %v", kind, object["status"])
		}
	}
}
