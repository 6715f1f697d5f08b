// Package crd tries the rules that the CRDs have for one object, with the code that the API server runs.
package crd

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	apiext "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/install"
	v1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	schemavalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"
)

// load reads a CRD as the API server stores it.
func load(t *testing.T, file string) *apiext.CustomResourceDefinition {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	crd := &v1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(text, crd); err != nil {
		t.Fatal(err)
	}
	scheme.Default(crd)
	in := &apiext.CustomResourceDefinition{}
	if err := scheme.Convert(crd, in, nil); err != nil {
		t.Fatal(err)
	}
	in.Status.StoredVersions = []string{"v1alpha1"}
	return in
}

// TestAccepted also finds a rule that costs too much.
func TestAccepted(t *testing.T) {
	files, err := filepath.Glob("../../config/crd/*.yaml")
	if err != nil || len(files) != 4 {
		t.Fatalf("got %q, %v, want four files", files, err)
	}
	for _, f := range files {
		for _, e := range validation.ValidateCustomResourceDefinition(context.Background(), load(t, f)) {
			t.Error(f, e)
		}
	}
}

// clusterRules says what the CRD has against a change of a Cluster.
func clusterRules(t *testing.T) func(new, old string) string {
	t.Helper()
	return rulesOf(t, "../../config/crd/theseus.dev_clusters.yaml")
}

// rulesOf says what a CRD has against a change of an object.
func rulesOf(t *testing.T, file string) func(new, old string) string {
	t.Helper()
	crd := load(t, file)
	s := crd.Spec.Validation
	if s == nil {
		s = crd.Spec.Versions[0].Schema
	}
	st, err := structuralschema.NewStructural(s.OpenAPIV3Schema)
	if err != nil {
		t.Fatal(err)
	}
	v := cel.NewValidator(st, true, celconfig.PerCallLimit)
	sv, _, err := schemavalidation.NewSchemaValidator(s.OpenAPIV3Schema)
	if err != nil {
		t.Fatal(err)
	}
	obj := func(text string) map[string]any {
		m := map[string]any{}
		if err := yaml.Unmarshal([]byte(text), &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	return func(new, old string) string {
		n := obj(new)
		errs, _ := v.Validate(context.Background(), field.NewPath(""), st, n, obj(old), celconfig.RuntimeCELCostBudget)
		errs = append(errs, schemavalidation.ValidateCustomResource(nil, n, sv)...)
		got := ""
		for _, e := range errs {
			got += e.Error() + "\n"
		}
		return got
	}
}

func TestRules(t *testing.T) {
	against := clusterRules(t)
	const good = "{apiVersion: theseus.dev/v1alpha1, kind: Cluster, metadata: {name: kv}, spec: {system: etcd, version: 3.6.0, components: {etcd: {storage: 1Gi, storageClass: a}}, backup: {url: 'file:///b', claim: c, secret: {name: x}}}}"
	for _, tc := range []struct{ from, to, want string }{
		{"", "", ""},
		{"system: etcd", "system: redis", "spec.system cannot change"},
		{"storage: 1Gi", "storage: 2Gi", "storage of a component cannot change"},
		{"storage: 1Gi, ", "", "storage of a component cannot change"},
		{"storageClass: a", "storageClass: b", "storageClass of a component"},
		{"3.6.0", "3.7.0", ""},
		{"components: {etcd: {storage: 1Gi, storageClass: a}}, ", "", ""},
		{"components: {etcd", "components: {proxy: {storage: 1Gi}, etcd", ""},
		{"storage: 1Gi, storageClass: a", "storage: 1Gi, storageClass: a, adopt: {statefulSet: e, mode: Order}", "adopt can neither be added nor taken away"},
		{"components: {etcd", "components: {proxy: {adopt: {statefulSet: e, mode: Order}}, etcd", "adopt can neither be added nor taken away"},
		{"name: kv", "name: " + strings.Repeat("k", 41), "longer than 40"},
		{"name: kv", "name: k.v", "no DNS label"},
		{"file:///b", "s3://b", "a claim is only for"},
		{"file:///b", "b", "begins with its scheme"},
		{"version: 3.6.0", "version: ''", "spec.version is empty"},
		{"secret: {name: x}", "secret: {name: ''}", "spec.backup.secret.name"},
		{"storage: 1Gi", "replicas: 0, storage: 1Gi", "spec.components.etcd.replicas"},
		{"backup:", "upgrade: {pauseAfter: -1}, backup:", "pauseAfter"},
	} {
		got := against(strings.Replace(good, tc.from, tc.to, 1), good)
		if tc.want == "" && got != "" || !strings.Contains(got, tc.want) {
			t.Errorf("%s -> %s: got %q", tc.from, tc.to, got)
		}
	}
}

func TestAdoptRules(t *testing.T) {
	against := clusterRules(t)
	const good = "{apiVersion: theseus.dev/v1alpha1, kind: Cluster, metadata: {name: kv}, spec: {system: etcd, version: 3.6.0, components: {etcd: {adopt: {statefulSet: e, mode: Version, container: c}}}}}"
	for _, tc := range []struct{ from, to, want string }{
		{"", "", ""},
		{"mode: Version", "mode: Version, allow: [TakeImage, SwitchToOnDelete]", ""},
		{"mode: Version", "mode: Version, allow: [All]", "allow"},
		{"mode: Version", "mode: Order", "of adopt only allow can change"},
		{"statefulSet: e", "statefulSet: f", "of adopt only allow can change"},
		{", container: c", "", "of adopt only allow can change"},
		{"adopt: {statefulSet: e, mode: Version, container: c}", "", "adopt can neither be added nor taken away"},
		{"etcd: {adopt: {statefulSet: e, mode: Version, container: c}}", "", "adopt can neither be added nor taken away"},
		{", components: {etcd: {adopt: {statefulSet: e, mode: Version, container: c}}}", "", "adopt can neither be added nor taken away"},
	} {
		got := against(strings.Replace(good, tc.from, tc.to, 1), good)
		if tc.want == "" && got != "" || !strings.Contains(got, tc.want) {
			t.Errorf("%s -> %s: got %q", tc.from, tc.to, got)
		}
	}
}

// TestRestoreRules shows that a Restore has one source.
func TestRestoreRules(t *testing.T) {
	against := rulesOf(t, "../../config/crd/theseus.dev_restores.yaml")
	for spec, want := range map[string]string{
		"backup: b": "",
		"from: {place: {url: 's3://b'}, name: kv}":            "",
		"backup: b, from: {place: {url: 's3://b'}, name: kv}": "name either the Backup in backup, or place and name",
		"":                                  "name either the Backup in backup, or place and name",
		"from: {place: {url: b}, name: kv}": "begins with its scheme",
		"from: {place: {url: 's3://b'}, name: ''}": "spec.from.name",
	} {
		object := "{apiVersion: theseus.dev/v1alpha1, kind: Restore, metadata: {name: r}, spec: {cluster: kv, " + spec + "}}"
		if got := against(object, object); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", spec, got, want)
		}
	}
}

// TestDurations: what Go cannot read as a time is never stored, since no list of its kind could be read after that; nor is a time that the webhook refuses.
func TestDurations(t *testing.T) {
	const (
		cluster = "{apiVersion: theseus.dev/v1alpha1, kind: Cluster, metadata: {name: kv}, spec: {system: etcd, version: 3.6.0, upgrade: {%: D}}}"
		backup  = "{apiVersion: theseus.dev/v1alpha1, kind: Backup, metadata: {name: b}, spec: {cluster: kv, ttl: D}}"
		system  = "{apiVersion: theseus.dev/v1alpha1, kind: System, metadata: {name: s}, versions: {listed: ['1.0']}, edges: [], components: [{name: kv, start: [kv], ready: 'true', version: m.v, %}]}"
		// nonsense is the error that a message follows where a rule costs too much to look at the text itself.
		nonsense = "type conversion error from 'string' to 'google.protobuf.Duration' evaluating rule: write a"
	)
	soak, deadline := strings.Replace(cluster, "%", "soak", 1), strings.Replace(cluster, "%", "progressDeadline", 1)
	kept := strings.Replace(cluster, "%", "backupTTL", 1)
	member, asks := strings.Replace(system, "%", "soak: D", 1), strings.Replace(system, "%", "ask: {q: {get: ':p/', timeout: D}}", 1)
	stop, hook := strings.Replace(system, "%", "stop: {grace: D}", 1), strings.Replace(system, "%", "after: [{name: h, run: [h], timeout: D}]", 1)
	rules := map[string]func(new, old string) string{}
	for _, kind := range []string{"Cluster", "Backup", "System"} {
		rules[kind] = rulesOf(t, "../../config/crd/theseus.dev_"+strings.ToLower(kind)+"s.yaml")
	}
	for _, tc := range []struct{ object, duration, want string }{
		{soak, "1h30m", ""},
		{soak, "1.5h", ""},
		{soak, "90s", ""},
		{soak, "1h0m0.5s", ""},
		{soak, "250ms", ""},
		{soak, "100µs", ""}, // as Go itself writes it
		{soak, "'0'", ""},
		{soak, "0s", ""},
		{soak, "-1s", `"-1s": soak is no time, or a negative one: write it as 30s, 10m or 1h30m`},
		{soak, "1h-1m", `"1h-1m": soak is no time`},
		{soak, "1 day", `"1 day": soak is no time`},
		{soak, "''", `"": soak is no time`},
		{soak, "'30'", `"30": soak is no time`},
		{soak, "1h0", "soak is no time"},
		{soak, "..h", "soak is no time"},
		{soak, "9999999h", "soak is no time"}, // 1141 years, and Go knows 292
		{soak, "30", "must be of type string"},
		{deadline, "1s", ""},
		{deadline, "999ms", `"999ms": progressDeadline is no time of at least 1s`},
		{kept, "2160h", ""},
		{kept, "30d", `"30d": backupTTL is no time of at least 1m: write it as 2160h for 90 days (there is no unit for days)`},
		{kept, "59s", `"59s": backupTTL is no time of at least 1m`},
		{backup, "720h", ""},
		{backup, "30d", `"30d": ttl is no time of at least 1m: write it as 2160h for 90 days (there is no unit for days)`},
		{backup, "59s", `"59s": ttl is no time of at least 1m`},
		{member, "0s", ""},
		{member, "-5s", `"-5s": write a time as 5s or 10m, or 0s for none`},
		{member, "1 day", nonsense},
		{asks, "500ms", ""},
		{asks, "0s", `"0s": write a positive time as 500ms, 30s or 10m`},
		{asks, "2 s", nonsense},
		{stop, "2m", ""},
		{stop, "0s", "write a positive time"},
		{stop, "2min", nonsense},
		{hook, "10s", ""},
		{hook, "10sec", nonsense},
	} {
		object := strings.Replace(tc.object, "D}", tc.duration+"}", 1)
		kind := strings.Fields(strings.TrimPrefix(object, "{apiVersion: theseus.dev/v1alpha1, kind: "))[0]
		got := rules[strings.TrimSuffix(kind, ",")](object, object)
		if tc.want == "" && got != "" || !strings.Contains(got, tc.want) {
			t.Errorf("%s: got %q, want %q", object, got, tc.want)
		}
	}
}
