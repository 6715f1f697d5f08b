package system

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"theseus.dev/api/v1alpha1"
)

const overlaid = `
apiVersion: theseus.dev/v1alpha1
kind: System
metadata: {name: kv}
versions: {listed: [1.0.0], program: kv}
components:
- name: kv
  start: [kv]
  ports: {client: 80}
  ask: {open: {tcp: {port: client}}}
  ready: m.open.ok
  version: m.version
  pod:
    spec:
      shareProcessNamespace: null
      terminationGracePeriodSeconds: 9007199254740993
      containers:
      - name: kv
        command: [sh, -c, "echo $${HOME}", "${options.extra}"]
        resources: {limits: {memory: "${options.memory}", cpu: "2"}}
options: {memory: {}, extra: {}}
`

func compileOverlaid(t *testing.T, text string) (*System, error) {
	t.Helper()
	api := &v1alpha1.System{}
	if err := yaml.UnmarshalStrict([]byte(text), api); err != nil {
		t.Fatal(err)
	}
	return Compile(api)
}

// The texts of an overlay are filled in; what comes out empty is left out, and all else is as it was written.
func TestOverlay(t *testing.T) {
	s, err := compileOverlaid(t, overlaid)
	if err != nil {
		t.Fatal(err)
	}
	for memory, limits := range map[string]string{"": `{"cpu":"2"}`, "3Gi": `{"cpu":"2","memory":"3Gi"}`} {
		spec := &v1alpha1.ClusterSpec{Version: "1.0.0", Options: map[string]string{"memory": memory}}
		got, err := s.Overlay("kv", spec, "c", "1.0.0")
		if err != nil {
			t.Fatal(err)
		}
		want := `{"spec":{"containers":[{"command":["sh","-c","echo ${HOME}"],"name":"kv","resources":{"limits":` + limits + `}}],"shareProcessNamespace":null,"terminationGracePeriodSeconds":9007199254740993}}`
		if string(got.Raw) != want {
			t.Errorf("memory %q: got %s\nwant %s", memory, got.Raw, want)
		}
	}
}

// A pod template is that of all members, so it cannot speak of one.
func TestOverlayOfOneMember(t *testing.T) {
	_, err := compileOverlaid(t, strings.Replace(overlaid, "${options.extra}", "${m.name}", 1))
	if err == nil || !strings.Contains(err.Error(), "components.kv.pod.spec.containers.0.command.3") || !strings.Contains(err.Error(), "speaks of m") {
		t.Errorf("got %v, want an error that names the place", err)
	}
}
