package upgrade

import "testing"

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
