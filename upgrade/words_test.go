package upgrade

import (
	"strings"
	"testing"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

func TestBy(t *testing.T) {
	for want, asked := range map[string][2]string{"": {}, " (root)": {"root", ""}, " (lunch)": {"", "lunch"}, " (root: lunch)": {"root", "lunch"}} {
		if got := by(asked[0], asked[1]); got != want {
			t.Errorf("%q: got %q, want %q", asked, got, want)
		}
	}
}

// What the platform says of a missing answer is not said twice.
func TestLacks(t *testing.T) {
	for _, test := range []struct{ why, message, want string }{
		{"no answer to ready", "", "no answer to ready"},
		{"no answer to ready", "no answer to ready: connection refused", "no answer to ready: connection refused"},
		{"its process is exited", "exit code 1", "its process is exited. exit code 1"},
	} {
		f := &fact{Member: &Member{Message: test.message}, why: test.why}
		if got := f.lacks(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

// A cluster that was never whole has no version to go back to: who can neither edit nor abort is told what is left.
func TestAnew(t *testing.T) {
	sys := &system.System{}
	for kind, want := range map[v1alpha1.AttemptKind]bool{v1alpha1.AttemptCreate: true, v1alpha1.AttemptRestart: false} {
		st := &v1alpha1.ClusterStatus{Attempt: &v1alpha1.Attempt{Kind: kind, To: "1.0"}}
		err := CheckEdit(sys, st, &v1alpha1.ClusterSpec{Version: "1.0"}, &v1alpha1.ClusterSpec{Version: "1.0", System: "other"})
		if err == nil || strings.Contains(err.Error(), anew) != want {
			t.Errorf("%s: got %v", kind, err)
		}
	}
}
