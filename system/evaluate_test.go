package system_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// ruleOf is a rule of the System of the tests with another expression.
func ruleOf(t testing.TB, is string) *system.Rule {
	t.Helper()
	quoted, _ := json.Marshal(is)
	s := compile(t, strings.Replace(kv, "is: m.status.json.left == 0", "is: "+string(quoted), 1))
	return s.Component("store").Settled()[1]
}

func TestIs(t *testing.T) {
	for _, test := range []struct {
		is     string
		change func(*system.Scope)
		want   system.Answer
		why    string
	}{
		{is: "m.status.json.left == 0", want: system.Yes},
		{is: "m.status.json.left > 0", want: system.No, why: "m.status.json.left > 0 is false: it is 0"},
		// Why it is not so: which part, what is there instead, and for whom.
		{is: "m.status.json.leader != '' && 2 > m.ordinal && m.version == '3.6.0' && from != ''", want: system.No, why: `m.version == "3.6.0" is false: it is "3.5.0"`},
		{is: "m.status.json.left >= all.size()", want: system.No, why: "m.status.json.left >= all.size() is false: they are 0 and 3"},
		{is: "m.status.json.left > 0 || m.ordinal > 7", want: system.No, why: "m.status.json.left > 0 || m.ordinal > 7 is false"},
		{is: "has(m.health) == false", want: system.No, why: "has(m.health) == false is false"},
		{is: "m.host == '" + strings.Repeat("x", 70) + "'", change: func(sc *system.Scope) { sc.M.Host = strings.Repeat("ö", 70) }, want: system.No,
			why: `m.host == "` + strings.Repeat("x", 70) + `" is false: it is "` + strings.Repeat("ö", 60) + `…"`},
		{is: "all.all(x, x.ordinal == 1 && x.name != '')", want: system.No, why: `all.all(x, x.ordinal == 1 && x.name != "") is false: not for a, c`},
		{is: "[1, 2].all(n, n < 2)", want: system.No, why: "[1, 2].all(n, n < 2) is false"},
		{is: "m.status.json.gone == 0", want: system.Unknown, why: "m.status.json.gone == 0: no such key: gone"},
		{is: "m.status.json.version", want: system.Unknown, why: "m.status.json.version is a string, not true or false"},
		{is: "m.status.json.version > 1", want: system.Unknown, why: "m.status.json.version > 1: it uses a value of another type than it expects (no such overload)"},
		{is: "m.status.json.left == 0", change: func(sc *system.Scope) { delete(sc.M.Answers, "status") }, want: system.Unknown, why: "no answer to status"},
		{is: "m.status.json.left == 0", change: func(sc *system.Scope) { sc.M = nil }, want: system.Unknown, why: "there is no m here"},
		// Three values: what is known decides where it can.
		{is: "m.status.json.left == 1 && m.health.json.ok", change: func(sc *system.Scope) { delete(sc.M.Answers, "health") }, want: system.No, why: "m.status.json.left == 1 is false: it is 0"},
		{is: "m.status.json.left == 0 || m.health.json.ok", change: func(sc *system.Scope) { delete(sc.M.Answers, "health") }, want: system.Yes},
		{is: "m.status.json.left == 0 && m.health.json.ok", change: func(sc *system.Scope) { delete(sc.M.Answers, "health") }, want: system.Unknown, why: "no answer to health"},
		{is: "all.all(x, x.status.json.leader == m.status.json.leader)", want: system.Yes},
		{is: "all.all(x, x.status.json.leader == m.status.json.leader)", change: func(sc *system.Scope) { delete(sc.All[2].Answers, "status") }, want: system.Unknown, why: "no answer to status of c"},
		{is: "all.exists(x, x.name == 'c' && x.ordinal == 2 && x.host.endsWith('.c') && x.data == '/data/c' && x.component == 'store')", want: system.Yes},
		{is: "all.filter(x, x != m).size() == 2 && m == all[1]", want: system.Yes},
		{is: "has(m.health) && !has(m.status.json.gone) && 'status' in m", want: system.Yes},
		{is: "m.port.client == 2379 && m.scheme.client == 'http' && m.version == '3.5.0'", want: system.Yes},
		{is: "m.scheme.client == 'https' && m.tls.client.ca == '/ca.pem'", change: func(sc *system.Scope) {
			sc.M.TLS = map[string]map[string]string{"client": {"ca": "/ca.pem"}}
		}, want: system.Yes},
		{is: "cluster == 'kv' && version == '3.6.0' && from == '3.5.0' && options.quota == ''", want: system.Yes},
		{is: "from != ''", change: func(sc *system.Scope) { sc.From = "" }, want: system.Unknown, why: "there is no from here"},
		{is: "m.status.json.left == then.status.json.left", change: func(sc *system.Scope) {
			sc.Then = map[string]system.Answers{"b": {"status": map[string]any{"json": map[string]any{"left": 0.0}}}}
		}, want: system.Yes},
		{is: "m.status.json.left == then.status.json.left", want: system.Unknown, why: "no answer to status of b when the step began"},
		// A loop over what a member answered is bounded.
		{is: "lists.range(10000).all(i, lists.range(10000).all(j, i + j >= 0))", want: system.Unknown, why: "lists.range(10000).all(i, lists.range(10000).all(j, i + j >= 0)): it does too much work"},
	} {
		sc := scope(1)
		if test.change != nil {
			test.change(sc)
		}
		if got, why := ruleOf(t, test.is).Is(sc); got != test.want || why != test.why {
			t.Errorf("%s\ngot  %s %q\nwant %s %q", test.is, got, why, test.want, test.why)
		}
	}
}

func TestRuleFacts(t *testing.T) {
	for _, test := range []struct {
		is                  string
		perMember, usesThen bool
	}{
		{"all.all(x, x.name != '')", false, false},
		{"all.all(m, m.name != '')", false, false}, // a loop variable of the same name
		{"m.name != ''", true, false},
		{"all.all(x, x.name != m.name)", true, false},
		{"then.status.json.left == 0", true, true},
	} {
		r := compile(t, strings.Replace(kv, "all.all(x, x.status.json.leader == m.status.json.leader)", test.is, 1)).Component("store").Settled()[0]
		if r.PerMember() != test.perMember || r.UsesThen() != test.usesThen {
			t.Errorf("%s: per member %t, then %t", test.is, r.PerMember(), r.UsesThen())
		}
	}
	s := compile(t, kv)
	well := s.Verify(2)[0]
	if well.PerMember() || well.Bring().Where != v1alpha1.OnAny {
		t.Errorf("a rule about all: per member %t, bring on %s", well.PerMember(), well.Bring().Where)
	}
	synced := s.Component("store").Settled()[1]
	if !synced.PerMember() || synced.Bring().Where != v1alpha1.OnMember || synced.Bring().OnUnknown != v1alpha1.RepeatOnUnknown {
		t.Errorf("a rule about m: per member %t, bring %+v", synced.PerMember(), synced.Bring())
	}
	if left, ok := synced.Left(scope(1)); left != 0 || !ok {
		t.Errorf("left is %v %t", left, ok)
	}
	if _, ok := well.Left(scope(1)); ok {
		t.Error("a rule without left says how much is left")
	}
	if s.Finalized(0) != nil || s.Finalized(1) == nil || s.Need("fresh") == nil || s.Need("x") != nil {
		t.Error("finalized or needs are not where they belong")
	}
}

func TestComponentAnswers(t *testing.T) {
	s := compile(t, kv)
	store := s.Component("store")
	sc := scope(0)
	if v, ok := store.Version(sc); v != "3.5.0" || !ok {
		t.Errorf("version %q %t", v, ok)
	}
	if r, ok := store.Role(sc); r != "leader" || !ok {
		t.Errorf("role %q %t", r, ok)
	}
	if r, ok := s.Component("proxy").Role(sc); r != "" || !ok {
		t.Errorf("role without roles %q %t", r, ok)
	}
	delete(sc.M.Answers, "status")
	if r, ok := store.Role(sc); r != "" || ok {
		t.Errorf("role without an answer %q %t", r, ok)
	}
	sc = scope(0)
	sc.To = sc.All[1]
	if a, why := store.MayTakeOver("leader", sc); a != system.Yes {
		t.Errorf("b may take over: %s %s", a, why)
	}
	sc.To.Answers["status"].(map[string]any)["json"].(map[string]any)["lag"] = 50.0
	if a, _ := store.MayTakeOver("leader", sc); a != system.No {
		t.Errorf("b lags and may take over: %s", a)
	}
	if a, _ := store.MayTakeOver("follower", sc); a != system.Yes {
		t.Errorf("a role without restriction: %s", a)
	}
}

func TestExpand(t *testing.T) {
	s := compile(t, kv)
	sc := scope(1)
	sc.To = sc.All[0]
	for _, test := range []struct{ template, want, err string }{
		{template: "", want: ""},
		{template: "plain", want: "plain"},
		{template: "${m.name}-${version}", want: "b-3.6.0"},
		{template: `{"to": "${to.name}"}`, want: `{"to": "a"}`},
		{template: "$${m.name} $x $", want: "${m.name} $x $"},
		{template: "${'}'}${\"{\"}${{'a': '}'}.a}", want: "}{}"},
		{template: "${r'\\'}${'\\''}${'''a'b'''}", want: `\'a'b`},
		{template: "${m.ordinal + 1} ${1 < 2} ${0.5} ${3.0} ${size('abc')}u", want: "2 true 0.5 3 3u"},
		{template: "${all.map(x, x.name + '=' + x.host).join(',')}", want: "a=127.0.0.a,b=127.0.0.b,c=127.0.0.c"},
		{template: "${m.name", err: `template "${m.name" has a ${ that no } ends`},
		{template: "${'m.name}", err: `template "${'m.name}" has a text in ${} that does not end`},
		{template: "a ${m.nothing.x} b", err: `template "a ${m.nothing.x} b": ${m.nothing.x}: no answer to nothing`},
		{template: "${all}", err: `template "${all}": ${all} is a list, not a text, number or boolean`},
		{template: "${out}/db", err: `template "${out}/db": ${out}: there is no out here`},
	} {
		got, err := s.Expand(test.template, sc)
		message := ""
		if err != nil {
			message = err.Error()
		}
		if got != test.want || message != test.err {
			t.Errorf("%s\ngot  %q %s\nwant %q %s", test.template, got, message, test.want, test.err)
		}
	}
}

func TestExpect(t *testing.T) {
	s := compile(t, kv)
	handover, err := s.Action(system.HandoverPath("store", "leader"))
	if err != nil {
		t.Fatal(err)
	}
	plain, run, signal := &v1alpha1.Action{}, &v1alpha1.Action{}, &v1alpha1.Action{}
	plain.Post, run.Run, signal.Signal = ":client/x", []string{"x"}, "SIGHUP"
	for _, test := range []struct {
		action *v1alpha1.Action
		reply  map[string]any
		want   system.Answer
		why    string
	}{
		{plain, map[string]any{"status": int64(204)}, system.Yes, ""},
		{plain, map[string]any{"status": int64(302)}, system.No, "HTTP status 302"},
		{plain, map[string]any{"status": 500}, system.No, "HTTP status 500"},
		{plain, map[string]any{}, system.Unknown, "the reply has no status"},
		{plain, nil, system.Unknown, "no reply"},
		{run, map[string]any{"status": int64(0)}, system.Yes, ""},
		{run, map[string]any{"status": int64(2)}, system.No, "exit code 2"},
		{signal, map[string]any{}, system.Yes, ""},
		{handover, map[string]any{"status": int64(200)}, system.Yes, ""},
		{handover, map[string]any{"status": int64(204)}, system.No, "reply.status == 200 is false: it is 204"},
		{handover, map[string]any{"text": ""}, system.Unknown, "reply.status == 200: no such key: status"},
	} {
		sc := scope(0)
		sc.Reply = test.reply
		if got, why := s.Expect(test.action, sc); got != test.want || why != test.why {
			t.Errorf("%v: got %s %q, want %s %q", test.reply, got, why, test.want, test.why)
		}
	}
}

func TestActionPaths(t *testing.T) {
	s := compile(t, kv)
	for _, path := range []string{
		system.NamedActionPath("raise"), system.NeedBringPath("fresh"), system.HandoverPath("store", "leader"),
		system.SettledBringPath("store", "synced"), system.DrainPath("store"), system.MemberBeforePath("store", "note"),
		system.MemberAfterPath("store", "clear"), system.HopBeforePath(2, "warn"), system.HopAfterPath(2, "tell"),
		system.VerifyBringPath(2, "all well"),
	} {
		a, err := s.Action(path)
		if err != nil {
			t.Error(err)
			continue
		}
		if a.Timeout == nil || a.Times != 1 && path != "needs.fresh.bring" || a.Component != "store" || a.OnUnknown == "" || a.Where == "" {
			t.Errorf("%s has no defaults: %+v", path, a)
		}
	}
	if r := s.Component("store").Settled()[1]; r.BringPath() != system.SettledBringPath("store", "synced") {
		t.Errorf("bring path %q", r.BringPath())
	}
	if _, err := s.Action("actions.none"); err == nil {
		t.Error("an action that does not exist was found")
	}
}

func TestProcess(t *testing.T) {
	s := compile(t, kv)
	spec := &v1alpha1.ClusterSpec{
		Options: map[string]string{"quota": "5"},
		Components: map[string]v1alpha1.ComponentSpec{"store": {
			Args: []string{"--own=${m.name}"}, Env: map[string]string{"NAME": "own-${m.name}", "MORE": "x"},
		}},
		Programs: map[string]v1alpha1.Program{"3.6": {Path: "/opt/kv"}, "3.5.0": {URL: "https://h/kv", SHA256: "00"}},
	}
	sc := scope(0)
	sc.Options = nil
	for _, m := range sc.All {
		m.Answers = nil // nobody was asked before the start
	}
	p, err := s.Process("store", spec, sc)
	if err != nil {
		t.Fatal(err)
	}
	want := system.Process{
		Program: "/opt/kv", Source: p.Source,
		Args: []string{"--name=a", "--peers=a=http://127.0.0.a:2380,b=http://127.0.0.b:2380,c=http://127.0.0.c:2380", "--quota=5", "--own=a"},
		Env:  map[string]string{"NAME": "own-a", "MORE": "x"},
	}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("got  %+v\nwant %+v", p, want)
	}
	// An option that stands for a whole argument is left out when it is empty; a download has the System's name.
	sc.Version, spec.Options = "3.5.0", nil
	if p, err = s.Process("store", spec, sc); err != nil {
		t.Fatal(err)
	}
	if len(p.Args) != 3 || p.Program != "kv-3.5.0" || p.Source == nil || p.Source.URL != "https://h/kv" {
		t.Errorf("got %+v", p)
	}
	if _, err := s.Process("none", spec, sc); err == nil {
		t.Error("a component that does not exist has a process")
	}
}

// TestRevision changes one thing at a time.
func TestRevision(t *testing.T) {
	pinned := func() *v1alpha1.Pinned { return &v1alpha1.Pinned{Spec: v1alpha1.ClusterSpec{Version: "3.6.0"}} }
	s := compile(t, kv)
	base := s.Revision(pinned(), "store", "3.6.0")
	if len(base) != 12 {
		t.Errorf("the revision is %q", base)
	}
	for name, test := range map[string]struct {
		edit    [2]string // of the System
		change  func(*v1alpha1.Pinned)
		version string
		differs bool
	}{
		"nothing":         {},
		"question":        {edit: [2]string{`get: ":client/health"`, `get: ":client/healthz", timeout: 9s`}},
		"ready":           {edit: [2]string{`== "true"`, `== "yes"`}},
		"rule":            {edit: [2]string{"left == 0", "left <= 0"}},
		"edge":            {edit: [2]string{"backup: Required", "backup: None"}},
		"description":     {edit: [2]string{"description: bytes", "description: octets"}},
		"other component": {edit: [2]string{"--listen=", "--bind="}},
		"start":           {edit: [2]string{"--name=", "--id="}, differs: true},
		"env":             {edit: [2]string{"NAME:", "NOM:"}, differs: true},
		"ports":           {edit: [2]string{"client: 2379", "client: 2378"}, differs: true},
		"program":         {edit: [2]string{`program: "kv-`, `program: "kvd-`}, differs: true},
		"default":         {edit: [2]string{"description: bytes", "default: '7'"}, differs: true},
		"policy": {change: func(p *v1alpha1.Pinned) {
			p.Spec.Upgrade.MaxUnavailable, p.Spec.Backup = 2, &v1alpha1.BackupPlace{URL: "file:///b"}
		}},
		"replicas": {change: func(p *v1alpha1.Pinned) {
			five := int32(5)
			p.Spec.Components = map[string]v1alpha1.ComponentSpec{"store": {Replicas: &five}}
		}},
		"other args": {change: func(p *v1alpha1.Pinned) {
			p.Spec.Components = map[string]v1alpha1.ComponentSpec{"proxy": {Args: []string{"x"}}}
		}},
		"args": {change: func(p *v1alpha1.Pinned) {
			p.Spec.Components = map[string]v1alpha1.ComponentSpec{"store": {Args: []string{"x"}}}
		}, differs: true},
		"tls": {change: func(p *v1alpha1.Pinned) {
			p.Spec.Components = map[string]v1alpha1.ComponentSpec{"store": {TLS: map[string]v1alpha1.TLSFiles{"client": {CA: "/ca"}}}}
		}, differs: true},
		"option":        {change: func(p *v1alpha1.Pinned) { p.Spec.Options = map[string]string{"quota": "9"} }, differs: true},
		"restart":       {change: func(p *v1alpha1.Pinned) { p.Restart = 1 }, differs: true},
		"version":       {version: "3.7.0", differs: true},
		"program path":  {change: func(p *v1alpha1.Pinned) { p.Spec.Programs = map[string]v1alpha1.Program{"3.6.0": {Path: "/x"}} }, differs: true},
		"other program": {change: func(p *v1alpha1.Pinned) { p.Spec.Programs = map[string]v1alpha1.Program{"3.7.0": {Path: "/x"}} }},
	} {
		with := s
		if test.edit[0] != "" {
			text := strings.Replace(kv, test.edit[0], test.edit[1], 1)
			if text == kv {
				t.Fatalf("%s: %q is not in the System", name, test.edit[0])
			}
			with = compile(t, text)
		}
		p := pinned()
		if test.change != nil {
			test.change(p)
		}
		version := test.version
		if version == "" {
			version = "3.6.0"
		}
		if differs := with.Revision(p, "store", version) != base; differs != test.differs {
			t.Errorf("%s: the revision differs: %t, want %t", name, differs, test.differs)
		}
	}
}

func TestHash(t *testing.T) {
	s := compile(t, kv)
	if again := compile(t, kv); again.Hash() != s.Hash() || len(s.Hash()) != 64 {
		t.Errorf("hashes %s and %s", s.Hash(), again.Hash())
	}
	for _, edit := range [][2]string{{"name: kv}", "name: kw}"}, {"left == 0", "left <= 0"}, {"bytes", "octets"}} {
		if other := compile(t, strings.Replace(kv, edit[0], edit[1], 1)); other.Hash() == s.Hash() {
			t.Errorf("the hash stays with %s", edit[1])
		}
	}
	// What the default says anyway changes nothing.
	kept, err := system.Compile(s.Source())
	if err != nil || kept.Hash() != s.Hash() {
		t.Errorf("its own source compiles to another hash (%v)", err)
	}
	if full, err := system.Compile(s.API()); err != nil || full.Hash() == s.Hash() {
		t.Errorf("defaults are in the hash (%v): a later default would lose every System that was kept", err)
	}
}

// TestCompileCopies: neither the input nor what others see of it changes.
func TestCompileCopies(t *testing.T) {
	in := read(t, kv)
	before := in.DeepCopy()
	s, err := system.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(in, before) {
		t.Error("compiling changes its input")
	}
	in.Components[0].Start[0] = "other"
	if s.API().Components[0].Start[0] != "kv" {
		t.Error("changing the input changes the compiled System")
	}
}

func TestThenOf(t *testing.T) {
	s := compile(t, kv)
	got := s.ThenOf(members()[0].Answers)
	if want := (system.Answers{"metrics": map[string]any{"snapshots_total": 7.0}}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	wider := compile(t, strings.Replace(kv, "then.metrics.snapshots_total\"", "then.metrics.snapshots_total && then.metrics == m.metrics && then.status.json.log[0] == 1\"", 1))
	answers := members()[0].Answers
	answers["status"].(map[string]any)["json"].(map[string]any)["log"] = []any{1.0, 2.0}
	got = wider.ThenOf(answers)
	want := system.Answers{
		"metrics": answers["metrics"],
		"status":  map[string]any{"json": map[string]any{"log": []any{1.0, 2.0}}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := s.ThenOf(nil); len(got) != 0 {
		t.Errorf("of nothing got %v", got)
	}
	if !reflect.DeepEqual(members()[1].Answers["metrics"], map[string]any{"snapshots_total": 7.0, "other_total": 9.0}) {
		t.Error("the answers were changed")
	}
}

func TestMetricsOf(t *testing.T) {
	for _, test := range []struct {
		is   string
		want []string
	}{
		{"m.status.json.left == 0", []string{"snapshots_total"}},
		{"all.exists(x, x.metrics.a_total > 0) && m.metrics['b_total'] > 1", []string{"a_total", "b_total", "snapshots_total"}},
		{"has(then.metrics.c_total)", []string{"c_total", "snapshots_total"}},
		{"m.metrics.all(k, k != '')", nil},
		{"m[m.name] == 1", nil},
		{"all.filter(x, x != m).all(y, y.metrics.d_total == 1)", []string{"d_total", "snapshots_total"}},
	} {
		quoted, _ := json.Marshal(test.is)
		s := compile(t, strings.Replace(kv, "is: m.status.json.left == 0", "is: "+string(quoted), 1))
		if got := s.MetricsOf("store", "metrics"); !slices.Equal(got, test.want) || (got == nil) != (test.want == nil) {
			t.Errorf("%s: got %q, want %q", test.is, got, test.want)
		}
	}
}

func TestOptions(t *testing.T) {
	s := compile(t, strings.Replace(kv, "description: bytes", "default: '7'", 1))
	for want, own := range map[string]map[string]string{"7": nil, "9": {"quota": "9"}} {
		if got := s.Options(&v1alpha1.ClusterSpec{Options: own}); !maps.Equal(got, map[string]string{"quota": want}) {
			t.Errorf("got %v, want quota %s", got, want)
		}
	}
}

// FuzzExpand expands anything without a panic, and keeps what has no ${.
func FuzzExpand(f *testing.F) {
	for _, seed := range []string{"${m.name}", "$${", "${'}", "${{}}", "a$", "${\"\"\"\"}", "${all.map(x, x)}"} {
		f.Add(seed)
	}
	s := compile(f, kv)
	sc := scope(0)
	f.Fuzz(func(t *testing.T, template string) {
		got, err := s.Expand(template, sc)
		if !strings.Contains(template, "${") && (err != nil || got != template) {
			t.Errorf("%q became %q: %v", template, got, err)
		}
	})
}
