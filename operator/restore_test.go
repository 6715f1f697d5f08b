package operator

import (
	"errors"
	"strings"
	"testing"

	"theseus.dev/api/v1alpha1"
)

// TestRestoreIntoAnOlderVersion: a Restore waits for the version to be corrected before a member starts.
func TestRestoreIntoAnOlderVersion(t *testing.T) {
	f := &filling{restore: &v1alpha1.Restore{}, cluster: &v1alpha1.Cluster{}, system: standin(t)}
	f.cluster.Name, f.restore.Status.Version = "si2", "1.1.0"
	f.cluster.Spec.Version = "1.0.0"
	err := f.finish(t.Context())
	if !errors.As(err, new(waits)) || !strings.Contains(err.Error(), "set its spec.version to 1.1.0") || f.restore.Status.Finished != nil {
		t.Errorf("got %v, finished %v", err, f.restore.Status.Finished)
	}
	for _, version := range []string{"1.1.0", "1.2.0"} {
		if f.cluster.Spec.Version = version; f.mayRead("1.1.0") != nil {
			t.Errorf("version %s is refused", version)
		}
	}
}
