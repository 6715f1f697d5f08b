package upgrade_test

import (
	"strings"
	"testing"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// TestLoadMember: a restore writes by way of the first member of its component, once every member of the cluster is ready.
func TestLoadMember(t *testing.T) {
	component := func(name string) v1alpha1.Component {
		return v1alpha1.Component{Name: name, Start: []string{"p"}, Ports: map[string]int32{"p": 80},
			Ask: map[string]v1alpha1.Question{"s": {Call: v1alpha1.Call{Get: ":p/s"}}}, Ready: "m.s.json.ready == true", Version: "m.s.text"}
	}
	api := &v1alpha1.System{SystemSpec: v1alpha1.SystemSpec{Versions: v1alpha1.Versions{Listed: []string{"1.0"}}, Components: []v1alpha1.Component{component("proxy"), component("kv")},
		Restore: &v1alpha1.RestoreMethod{Into: v1alpha1.IntoMembers, Component: "kv", Run: []string{"load", "${file}"}}}}
	api.Name = "sys"
	sys, err := system.Compile(api)
	if err != nil {
		t.Fatal(err)
	}
	answers := func(ready bool) system.Answers {
		return system.Answers{"s": map[string]any{"json": map[string]any{"ready": ready}, "text": "1.0"}}
	}
	for _, test := range []struct {
		what  string
		state upgrade.ProcessState
		ready bool
		says  string
	}{
		{"all are ready", upgrade.ProcessRunning, true, ""},
		{"one of another component is not ready", upgrade.ProcessRunning, false, "member c-proxy-0 is not ready: m.s.json.ready == true is false"},
		{"one of another component does not run", upgrade.ProcessAbsent, true, "member c-proxy-0 does not run. no node has room"},
	} {
		look := &upgrade.Look{Members: []upgrade.Member{
			{View: system.Member{Name: "c-proxy-0", Component: "proxy", Answers: answers(test.ready)}, State: test.state},
			{View: system.Member{Name: "c-kv-0", Component: "kv", Answers: answers(true)}, State: upgrade.ProcessRunning},
			{View: system.Member{Name: "c-kv-1", Component: "kv", Answers: answers(true)}, State: upgrade.ProcessRunning},
		}}
		if test.state == upgrade.ProcessAbsent {
			look.Members[0].Message = "no node has room"
		}
		c := &v1alpha1.Cluster{}
		c.Name = "c"
		m, all, err := upgrade.LoadMember(sys, c, look)
		switch {
		case test.says == "" && (err != nil || m.Name != "c-kv-0" || m.Answers != nil || len(all) != 2 || all[1].Answers != nil):
			t.Errorf("%s: got %v, %v, %v; want c-kv-0 and two members, without answers", test.what, m, all, err)
		case test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)):
			t.Errorf("%s: got %v, want %s", test.what, err, test.says)
		}
	}
}
