package manifest_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"theseus.dev/manifest"
	"theseus.dev/system"
)

// kv is the System that the Clusters of the tests are of.
const kv = `apiVersion: theseus.dev/v1alpha1
kind: System
metadata: {name: kv}
versions: {listed: [3.5.0, 3.5.1, 3.6.0], program: "kv-${version}"}
edges: [{from: 3.5.x, to: 3.6.x}]
components:
- name: store
  replicas: 3
  ports: {client: 2379, peer: 2380}
  start: [kv, "--name=${m.name}"]
  ask: {health: {get: ":client/health", credentials: root}}
  ready: m.health.json.ok == true
  version: m.health.json.version
options:
  quota: {pattern: "[0-9]+"}
  level: {since: "3.6"}
rules:
- {rule: some quota, is: "options.quota != '0'", remedy: write how much, warn: true}
`

func compiled(t testing.TB, text string) *system.System {
	t.Helper()
	objects, err := manifest.Decode("kv.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	s, err := system.Compile(objects[0].System)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// check does what a command does with a file: decode, compile or default and
// validate, locate.
func check(s *system.System, text string) (warnings []string, err error) {
	objects, err := manifest.Decode("kv.yaml", []byte(text))
	if err != nil {
		return nil, err
	}
	var errs manifest.Errors
	for i := range objects {
		o := &objects[i]
		if o.System != nil {
			_, err := system.Compile(o.System)
			var list manifest.Errors
			if errors.As(err, &list) {
				errs = append(errs, o.Locate(list)...)
			}
			continue
		}
		manifest.DefaultCluster(o.Cluster)
		errs = append(errs, o.Locate(manifest.ValidateCluster(o.Cluster, s))...)
		if len(errs) == 0 {
			warnings = append(warnings, manifest.Warnings(o.Cluster, s)...)
		}
	}
	return warnings, errs.OrNil()
}

// TestBad reads bad files. "file" is a whole file, "spec" the spec of a Cluster
// of the System above, "warn" a spec that is good but odd. Rewrite with -rewrite
// and read the difference.
func TestBad(t *testing.T) {
	s := compiled(t, kv)
	datadriven.RunTest(t, "testdata/bad", func(t *testing.T, d *datadriven.TestData) string {
		text := d.Input
		if d.Cmd != "file" {
			text = "apiVersion: theseus.dev/v1alpha1\nkind: Cluster\nmetadata: {name: kv}\nspec:\n  " + strings.ReplaceAll(text, "\n", "\n  ")
		}
		warnings, err := check(s, text)
		switch {
		case err != nil:
			return err.Error() + "\n"
		case len(warnings) > 0:
			return strings.Join(warnings, "\n") + "\n"
		}
		return "good\n"
	})
}
