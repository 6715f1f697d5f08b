package system

import (
	"strings"
	"testing"

	"theseus.dev/api/v1alpha1"
)

func TestSizes(t *testing.T) {
	for source, want := range map[string]string{
		`quantity("4Gi") == 4 * 1024 * 1024 * 1024`:       "yes",
		`quantity("4G") == 4000000000`:                    "yes",
		`quantity("1500m") == 1`:                          "unknown", // no whole bytes
		`jvmSize("4G") == quantity("4Gi")`:                "yes",
		`jvmSize("12g") == jvmSize("12288m")`:             "yes",
		`jvmSize("100") == 100 && jvmSize("2k") == 2048`:  "yes",
		`jvmSize("1t") == 1024 * jvmSize("1g")`:           "yes",
		`jvmSize("4Gi") > 0`:                              "unknown",
		`jvmSize("99999999999t") > 0`:                     "unknown",
		`quantity("-1Gi") < 0`:                            "unknown",
		`quantity("") == 0`:                               "unknown",
		`quantity("9999999999999999999999999999Gi") == 0`: "unknown",
	} {
		e, err := newExpression(source)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		if got, why := e.is(&Scope{Cluster: "c"}); got.String() != want {
			t.Errorf("%s: %s (%s), want %s", source, got, why, want)
		}
	}
}

// ruled is a System with rules about options.
func ruled() *v1alpha1.System {
	api := &v1alpha1.System{}
	api.Name = "ruled"
	api.Versions.Listed = []string{"1.0", "2.0"}
	api.Options = map[string]v1alpha1.Option{
		"heap": {Default: "1g", Pattern: "[0-9]+[kmg]"}, "direct": {Default: "1g"}, "memory": {Default: "4Gi"}, "copies": {Default: "2"},
	}
	api.Components = []v1alpha1.Component{{Name: "kv", Start: []string{"kv"}, Ready: "true", Version: "m.version"}}
	api.Rules = []v1alpha1.OptionRule{
		{Rule: "memory", Versions: ">=2.0", Is: "jvmSize(options.heap) + jvmSize(options.direct) <= quantity(options.memory)", Remedy: "raise memory"},
		{Rule: "copies", Is: "int(options.copies) <= replicas.kv", Remedy: "run more members"},
		{Rule: "spare", Versions: ">=2.0", Is: "int(options.copies) > 1", Remedy: "have two", Warn: true},
	}
	return api
}

func TestCheckOptions(t *testing.T) {
	s, err := Compile(ruled())
	if err != nil {
		t.Fatal(err)
	}
	two := int32(2)
	for _, tc := range []struct {
		version string
		options map[string]string
		want    string
	}{
		{"2.0", nil, ""},
		{"2.0", map[string]string{"direct": "4g"}, `spec.options.direct: "heap=1g, direct=4g, memory=4Gi" does not keep the rule "memory"; raise memory`},
		{"1.0", map[string]string{"direct": "4g"}, ""}, // the rule is about 2.0
		{"2.0", map[string]string{"direct": "much"}, `cannot be judged by the rule "memory": `},
		{"2.0", map[string]string{"heap": "much"}, `spec.options.heap: "much" does not match`}, // and the rule is not asked
		{"1.0", map[string]string{"copies": "3"}, `spec.options.copies: "copies=3" does not keep the rule "copies"; run more members`},
		{"1.0", map[string]string{"head": "3"}, `is no option of ruled; did you mean heap?`},
	} {
		spec := &v1alpha1.ClusterSpec{Version: tc.version, Options: tc.options, Components: map[string]v1alpha1.ComponentSpec{"kv": {Replicas: &two}}}
		errs := s.CheckOptions(spec)
		switch {
		case tc.want == "" && len(errs) > 0:
			t.Errorf("%s %v: %v", tc.version, tc.options, errs)
		case tc.want != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), tc.want)):
			t.Errorf("%s %v: got %v, want %q", tc.version, tc.options, errs, tc.want)
		}
	}
}

func TestOptionWarnings(t *testing.T) {
	s, err := Compile(ruled())
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ version, copies, want string }{
		{"2.0", "2", ""},
		{"1.0", "1", ""}, // the rule is about 2.0
		{"2.0", "1", `spec.options.copies: "copies=1" does not keep the rule "spare"; have two`},
		{"2.0", "one", `cannot be judged by the rule "spare": `},
		{"2.0", "3", ""}, // what is refused is no warning
		{"two", "1", ""}, // and is refused
	} {
		spec := &v1alpha1.ClusterSpec{Version: tc.version, Options: map[string]string{"copies": tc.copies}}
		got := s.OptionWarnings(spec)
		if tc.want == "" && len(got) > 0 || tc.want != "" && (len(got) != 1 || !strings.Contains(got[0], tc.want)) {
			t.Errorf("%s with %s copies: warnings %q, want %q", tc.version, tc.copies, got, tc.want)
		}
		for _, e := range s.CheckOptions(spec) {
			if strings.Contains(e.Error(), "spare") {
				t.Errorf("%s with %s copies: refused by a rule that only warns: %v", tc.version, tc.copies, e)
			}
		}
	}
}

// TestRuleHash: Clusters know their System by a hash, and a field that it does not use must not change that.
func TestRuleHash(t *testing.T) {
	api := ruled()
	api.Rules = api.Rules[:2]
	s, err := Compile(api)
	if err != nil {
		t.Fatal(err)
	}
	if want := "ab6c5841160974d331ed0b619bdb500f45a5855e80b1e7cfe1738db7c9a7dee2"; s.Hash() != want {
		t.Errorf("the hash is %s, want %s", s.Hash(), want)
	}
}

func TestEdgeAndRuleMistakes(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*v1alpha1.System)
		want   string
	}{
		"no such option":     {func(s *v1alpha1.System) { s.Rules[0].Is = "options.heat == ''" }, "rules.memory.is: \"options.heat == ''\" speaks of options.heat"},
		"no such component":  {func(s *v1alpha1.System) { s.Rules[0].Is = "replicas.vk > 1" }, "speaks of replicas.vk"},
		"members":            {func(s *v1alpha1.System) { s.Rules[0].Is = "m.version == version" }, "speaks of m, which there is not here"},
		"no remedy":          {func(s *v1alpha1.System) { s.Rules[0].Remedy = "" }, "rules.memory.remedy: is missing"},
		"versions":           {func(s *v1alpha1.System) { s.Rules[0].Versions = "new" }, "rules.memory.versions: \"new\""},
		"changes no option":  {func(s *v1alpha1.System) { s.Edges[0].Changes = []string{"heat"} }, "edges.0.changes.0: \"heat\" is not in options"},
		"requires no option": {func(s *v1alpha1.System) { s.Edges[0].Requires = []string{"heat"} }, "edges.0.requires.0: \"heat\" is not in options"},
		"recreates what": {func(s *v1alpha1.System) { s.Edges[0].RecreateVolumes = []string{"vk"} },
			"edges.0.recreateVolumes.0: \"vk\" is not in components"},
		"recreates all at once": {func(s *v1alpha1.System) {
			s.Edges[0].RecreateVolumes, s.Edges[0].Strategy = []string{"kv"}, v1alpha1.Recreate
		}, "would be without data all at once"},
		"recreates and nobody knows when": {func(s *v1alpha1.System) { s.Edges[0].RecreateVolumes = []string{"kv"} }, "has no rules of settled"},
		"hand outside a hook":             {func(s *v1alpha1.System) { s.Components[0].Ready = "hand.name == ''" }, "speaks of hand, which there is not here"},
	} {
		api := ruled()
		api.Edges = []v1alpha1.Edge{{From: "1.0", To: "2.0"}}
		tc.change(api)
		if _, err := Compile(api); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
}
