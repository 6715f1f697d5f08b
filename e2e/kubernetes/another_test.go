//go:build linux

package kubernetes

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestAnotherCluster runs tests against a cluster that KUBECONFIG names and that they take for no lab: its images are there before, and nothing of it is
// theirs to break.
func TestAnotherCluster(t *testing.T) {
	t.Parallel()
	if theLab == nil {
		t.Skip("this is another cluster")
	}
	loadTheseus(t)
	for _, version := range []string{"1.0.0", "1.1.0"} {
		loadStandin(t, version)
	}
	self, err := os.Executable()
	must(t, err)
	tests := "^(TestExecAndLogs|TestNamesAndAddressesFromPodAndHost|TestAPIServerComesBack|TestUpgradeStands)$/^(a_pod_is_deleted|images_are_mirrored)?$"
	cmd := exec.CommandContext(t.Context(), self, "-test.v", "-test.run", tests)
	cmd.Env = append(os.Environ(), "THESEUS_LAB_DIR=")
	text, err := cmd.CombinedOutput()
	out := string(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"--- PASS: TestExecAndLogs", "--- PASS: TestUpgradeStands/a_pod_is_deleted", "--- SKIP: TestAPIServerComesBack"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}
