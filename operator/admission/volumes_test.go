package admission

import (
	"strings"
	"testing"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
	"theseus.dev/systems"
)

func TestVolumesWithoutStorage(t *testing.T) {
	text, err := systems.Load("aerospike")
	if err != nil {
		t.Fatal(err)
	}
	sys := compile(t, string(text))
	for _, test := range []struct{ name, from, to, storage, want string }{
		{"over the change of format", "4.1.0.6", "4.2.0.10", "", "spec.components.aerospike.storage: is missing, and the way to 4.2.0.10 makes volumes anew"},
		{"with storage", "4.1.0.6", "4.2.0.10", "1Gi", ""},
		{"after the change", "4.2.0.3", "4.2.0.10", "", ""},
	} {
		old := kv(func(s *specs) {
			three := int32(3)
			*s = specs{System: "aerospike", Version: test.from, Backup: &v1alpha1.BackupPlace{URL: "file:///backups", Claim: "backups"},
				Components: map[string]v1alpha1.ComponentSpec{"aerospike": {Replicas: &three, Storage: test.storage}}}
		})
		old.Status.Applied = &v1alpha1.Pinned{Spec: old.Spec, System: v1alpha1.SystemRef{Name: sys.Name(), Hash: sys.Hash()}}
		old.Status.ReadyReplicas = 3
		edited := old.DeepCopy()
		edited.Spec.Version = test.to
		facts := &ClusterFacts{Pinned: map[string]*system.System{sys.Hash(): sys}}
		facts.System.Value, facts.Place.Claim.Value = sys, &struct{}{}
		v := CheckCluster(old, edited, facts)
		if got := v.Message(); test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}
