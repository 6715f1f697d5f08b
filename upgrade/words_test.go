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

// A rule of the whole group names who gave no answer, and why where the platform knows.
func TestSilent(t *testing.T) {
	g := &group{facts: []*fact{{Member: &Member{View: system.Member{Name: "a"}}}, {Member: &Member{View: system.Member{Name: "b"}, Message: "no answer to disk: no such host"}}}}
	for why, want := range map[string]string{
		"no answer to disk of b":  "b: no answer to disk: no such host",
		"no answer to disk of a":  "no answer to disk of a",
		"no answer to other of b": "no answer to other of b",
		"all.all(x, x.ok)":        "all.all(x, x.ok)",
	} {
		if got := g.silent(why); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// In a Deployment the next one comes before a member goes. Where that one is broken, the member that is to go is not waited for.
func TestComing(t *testing.T) {
	api := &v1alpha1.System{SystemSpec: v1alpha1.SystemSpec{Versions: v1alpha1.Versions{Listed: []string{"1.0", "1.1"}}, Components: []v1alpha1.Component{{Name: "web", Start: []string{"p"},
		Workload: v1alpha1.WorkloadDeployment, Ports: map[string]int32{"p": 80}, Ask: map[string]v1alpha1.Question{"s": {Call: v1alpha1.Call{Get: ":p/s"}}}, Ready: "m.s.json.ready == true", Version: "m.s.text"}}}}
	api.Name = "web"
	sys, err := system.Compile(api)
	if err != nil {
		t.Fatal(err)
	}
	stop := &v1alpha1.Intent{Act: v1alpha1.ActStop, Component: "web", Member: "c-web-1", Revision: "new"}
	for _, tt := range []struct {
		what          string
		comes         Member
		fails         string // at once
		excuse, after string // while it is waited for, and when that took too long
	}{
		{"in a loop", Member{Revision: "new", State: ProcessExited, Crashes: 3, Message: "exit code 3"}, "CrashLoop: it ended by itself 3 times. exit code 3", "web-x comes before it goes: exit code 3", "Member"},
		{"up again", Member{Revision: "new", State: ProcessRunning, Crashes: 3, Unready: "probe failed"}, "", "web-x comes before it goes: probe failed", "Member"},
		{"no image", Member{Revision: "new", State: ProcessStarting, Broken: "ImagePullBackOff"}, "MemberBroken: ImagePullBackOff", "web-x comes before it goes: its process is starting", "Member"},
		{"well", Member{Revision: "new", State: ProcessRunning}, "", "web-x comes before it goes: its process is running", "Environment"},
		{"of before", Member{Revision: "old", State: ProcessExited, Crashes: 9, Broken: "gone"}, "", "", "Environment"},
	} {
		tt.comes.View = system.Member{Name: "web-x", Component: "web"}
		s := &Scene{in: &Input{Cluster: &v1alpha1.Cluster{}, Look: Look{Coming: []Member{tt.comes}}}, attempt: &v1alpha1.Attempt{}, sys: sys}
		w := &walk{Scene: s, st: &v1alpha1.StepStatus{Component: "web"}, g: &group{comp: sys.Component("web")}, revision: "new", version: "1.1"}
		got := ""
		if m := w.faults(); m.Kind == MoveFail {
			got = m.Failure.Reason + ": " + m.Failure.Message
		}
		if got != tt.fails {
			t.Errorf("%s: got %q, want %q", tt.what, got, tt.fails)
		}
		if got := strings.TrimPrefix(s.excuse(stop), ". "); got != tt.excuse {
			t.Errorf("%s: it is waited for with %q, want %q", tt.what, got, tt.excuse)
		}
		if m := s.neverSeen(stop); string(m.Failure.Class) != tt.after {
			t.Errorf("%s: after the deadline it is the fault of %s: %s; want %s", tt.what, m.Failure.Class, m.Failure.Message, tt.after)
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
