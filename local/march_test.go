package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/systems"
	"theseus.dev/upgrade"
)

// driveCommand makes this program a driver: HOME PROGRAMS.
const driveCommand = "__drive"

func driveMain(args []string) int {
	if err := driveTo(Home(args[0]), args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func driveTo(home Home, programs string) error {
	st, err := home.Open("kv")
	if err != nil {
		return err
	}
	unlock, err := st.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	st.Fault = dieAt(os.Getenv("THESEUS_TEST_DRIVER"))
	text, err := systems.Load("standin")
	if err != nil {
		return err
	}
	api := &v1alpha1.System{}
	if err := yaml.UnmarshalStrict(text, api); err != nil {
		return err
	}
	sys, err := system.Compile(api)
	if err != nil {
		return err
	}
	st.Systems = func(context.Context, string) (*system.System, error) { return sys, nil }
	p := &Platform{State: st, Programs: []string{programs}}
	defer p.Close()
	r := runner.Runner{Journal: st, Inbox: st, Library: st, Platform: p, Decider: upgrade.New(), Every: 10 * time.Millisecond}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err = r.Run(ctx)
	return err
}

// TestDriverMarch upgrades with drivers each of which is killed soon: at the first write that lasts, before the second, or
// anywhere. Every next one must go on, and all of them together must come to the end.
func TestDriverMarch(t *testing.T) {
	deaths := map[string]func(life int) string{
		"after each journal write":  func(int) string { return "journal.done 1" },
		"before each journal write": func(int) string { return "journal.rename 2" },
		"anywhere":                  func(life int) string { return fmt.Sprintf("* %d", 4+life*5%11) },
	}
	for name, death := range deaths {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 3)
			w.drive()
			w.spec(func(s *v1alpha1.ClusterSpec) { s.Version = "1.1.0" })
			killed := 0
			for w.life(death(killed)) {
				if killed++; killed > 300 {
					t.Fatal("300 drivers were killed and the upgrade has not ended")
				}
			}
			if killed < 5 {
				t.Errorf("only %d drivers were killed: the test shows nothing", killed)
			}
			c, _, err := w.state.Load(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if a := c.Status.Attempt; a.Phase != v1alpha1.PhaseSucceeded || c.Status.CurrentVersion != "1.1.0" {
				t.Errorf("after %d kills the attempt is %s at %q, want Succeeded at 1.1.0: %+v", killed, a.Phase, c.Status.CurrentVersion, a.Failure)
			}
			for i := range 3 {
				m := w.member(w.platform(), upgrade.MemberName("kv", "standin", i))
				if m.View.Version != "1.1.0" || m.Crashes != 0 {
					t.Errorf("%s runs %s with %d crashes, want 1.1.0 and none", m.View.Name, m.View.Version, m.Crashes)
				}
				w.onlyOne(m.View.Name)
			}
		})
	}
}

// life is one driver, and says whether it was killed.
func (w *world) life(death string) bool {
	w.Helper()
	exe, err := os.Executable()
	if err != nil {
		w.Fatal(err)
	}
	armed := filepath.Join(w.TempDir(), "armed")
	if err := os.WriteFile(armed, nil, 0o600); err != nil {
		w.Fatal(err)
	}
	cmd := exec.Command(exe, driveCommand, string(w.home), filepath.Dir(standin))
	cmd.Env = append(os.Environ(), "THESEUS_TEST_DRIVER="+armed+" "+death)
	out, err := cmd.CombinedOutput()
	if _, gone := os.Stat(armed); gone != nil {
		return true
	}
	exit := &exec.ExitError{}
	if errors.As(err, &exit) {
		w.Fatalf("a driver ended with %v: %s", err, out)
	}
	return false
}
