package operator

import (
	"errors"
	"strings"
	"testing"

	"theseus.dev/api/v1alpha1"
)

// TestRestoreIntoAnOlderVersion: a Restore waits for the version to be corrected before it touches a volume. Who wrote the data is in the name of the backup.
func TestRestoreIntoAnOlderVersion(t *testing.T) {
	f := &filling{restore: &v1alpha1.Restore{}, cluster: &v1alpha1.Cluster{}, system: standin(t)}
	f.cluster.Name, f.cluster.Spec.Version = "si2", "1.0.0"
	from := &v1alpha1.StoredBackup{Name: "si/20260304T050607Z_1.1.0___manual"}
	f.restore.Spec.From = from
	if err := f.source(t.Context()); !errors.As(err, new(waits)) || !strings.Contains(err.Error(), "set its spec.version to 1.1.0") {
		t.Errorf("got %v", err)
	}
	for _, version := range []string{"1.1.0", "1.2.0"} {
		f.cluster.Spec.Version = version
		if err := f.source(t.Context()); err != nil {
			t.Errorf("version %s is refused: %v", version, err)
		}
	}
	from.Name = "kv-1.1.0-before"
	if err := f.source(t.Context()); !errors.As(err, new(refusal)) || !strings.Contains(err.Error(), "give the name that status.name of its Backup had") {
		t.Errorf("what is no name of a backup: got %v", err)
	}
}
