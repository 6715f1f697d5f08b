package upgrade_test

import (
	"fmt"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

const small = `
apiVersion: theseus.dev/v1alpha1
kind: System
metadata: {name: small}
versions: {listed: ["1.0", "1.1"], program: p, image: "i:${version}"}
edges: [{from: "1.0", to: "1.1"}]
components:
- {name: kv, replicas: 3, ports: {p: 80}, start: [kv], ask: {s: {get: ":p/s"}}, ready: m.s.json.ready == true, version: m.s.json.version}
`

// adopted is what a pass sees of three members of an adopted workload, which run 1.0 of template a and are ready.
func adopted(t *testing.T, mode v1alpha1.AdoptMode) upgrade.Input {
	t.Helper()
	object := &v1alpha1.System{}
	if err := yaml.UnmarshalStrict([]byte(small), object); err != nil {
		t.Fatal(err)
	}
	sys, err := system.Compile(object)
	if err != nil {
		t.Fatal(err)
	}
	three := int32(3)
	c := &v1alpha1.Cluster{Spec: v1alpha1.ClusterSpec{System: "small", Version: "1.0", Components: map[string]v1alpha1.ComponentSpec{
		"kv": {Replicas: &three, Adopt: &v1alpha1.Adopt{StatefulSet: "theirs", Mode: mode, Template: "a"}}}}}
	c.Name = "c"
	c.Status.Applied = &v1alpha1.Pinned{Spec: *c.Spec.DeepCopy(), System: v1alpha1.SystemRef{Name: "small", Hash: sys.Hash()}}
	in := upgrade.Input{Cluster: c, System: sys, Systems: map[string]*system.System{sys.Hash(): sys}, Now: time.Unix(1, 0), Tick: time.Second}
	revision := sys.Revision(c.Status.Applied, "kv", "1.0")
	in.Look = upgrade.Look{Complete: true, Configured: map[string]string{"kv": revision}, Prepared: map[string]upgrade.Outcome{revision: {Phase: upgrade.Succeeded}}}
	for i := range 3 {
		m := upgrade.Member{State: upgrade.ProcessRunning, Incarnation: "1", Revision: revision}
		m.View = system.Member{Name: fmt.Sprintf("theirs-%d", i), Component: "kv", Ordinal: i,
			Answers: system.Answers{"s": map[string]any{"json": map[string]any{"ready": true, "version": "1.0"}}}}
		in.Look.Members = append(in.Look.Members, m)
	}
	return in
}

// TestWrittenAgain is about what Theseus owns of an adopted workload, while nothing else is to be done.
func TestWrittenAgain(t *testing.T) {
	for _, test := range []struct {
		name       string
		mode       v1alpha1.AdoptMode
		configured string
		want       bool
	}{
		{"as it was", v1alpha1.AdoptVersion, "", false},
		{"changed", v1alpha1.AdoptVersion, "other", true},
		{"changed, and not Theseus'", v1alpha1.AdoptOrder, "other", false},
	} {
		in := adopted(t, test.mode)
		want := in.Look.Configured["kv"]
		if test.configured != "" {
			in.Look.Configured["kv"] = test.configured
		}
		dec := upgrade.New().Decide(in)
		if got := dec.Act != nil && dec.Act.Act == v1alpha1.ActConfigure && dec.Act.Revision == want; got != test.want || dec.Status.Attempt != nil {
			t.Errorf("%s: got %+v, attempt %+v", test.name, dec.Act, dec.Status.Attempt)
		}
	}
}

// TestAdoptingReplacesNobody adopts a workload in the middle of somebody else's rollout: one member was made from an older template.
func TestAdoptingReplacesNobody(t *testing.T) {
	in := adopted(t, v1alpha1.AdoptOrder)
	in.Cluster.Status = v1alpha1.ClusterStatus{}
	in.Look.Members[1].Revision = "older"
	d, ended := upgrade.New(), false
	for range 100 {
		dec := d.Decide(in)
		in.Cluster.Status = dec.Status
		if dec.Act != nil {
			t.Fatalf("wants %+v", dec.Act)
		}
		if w := dec.Status.Attempt.WaitingFor; w != nil && w.Object == "member theirs-1" && dec.Rest {
			in.Look.Members[1].Revision = in.Look.Members[0].Revision // its owner replaced it
		}
		ended = dec.Status.Attempt.Phase == v1alpha1.PhaseSucceeded
	}
	if !ended {
		t.Errorf("not adopted: %+v", in.Cluster.Status.Attempt)
	}
}

// TestConsentsAreNoEdit lets what a wait asks for come while an attempt runs.
func TestConsentsAreNoEdit(t *testing.T) {
	in := adopted(t, v1alpha1.AdoptVersion)
	old, sys := &in.Cluster.Spec, in.System
	st := &v1alpha1.ClusterStatus{Attempt: &v1alpha1.Attempt{Phase: v1alpha1.PhaseRunning, To: "1.1", Disrupted: true, Base: in.Cluster.Status.Applied}}
	allowed := old.DeepCopy()
	allowed.Components["kv"].Adopt.Allow = []v1alpha1.AdoptConsent{v1alpha1.TakeImage}
	if err := upgrade.CheckEdit(sys, st, old, allowed); err != nil {
		t.Errorf("a consent is refused: %v", err)
	}
	other := old.DeepCopy()
	other.Components["kv"].Adopt.Container = "other"
	if err := upgrade.CheckEdit(sys, st, old, other); err == nil {
		t.Error("another container is accepted while an attempt runs")
	}
}
