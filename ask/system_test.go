package ask

import (
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// TestWithACompiledSystem asks and acts as a System says, and has it read the answers.
func TestWithACompiledSystem(t *testing.T) {
	s, err := system.Compile(&v1alpha1.System{
		ObjectMeta: metav1.ObjectMeta{Name: "kv"},
		SystemSpec: v1alpha1.SystemSpec{
			Versions: v1alpha1.Versions{Listed: []string{"1.0.0"}, Program: "kv"},
			Edges:    []v1alpha1.Edge{},
			Components: []v1alpha1.Component{{
				Name: "kv", Ports: map[string]int32{"client": 80}, Start: []string{"kv"},
				Ask: map[string]v1alpha1.Question{
					"status":  {Call: v1alpha1.Call{Post: ":client/status", Body: `{"of":"${m.name}"}`}},
					"metrics": {Call: v1alpha1.Call{Get: ":client/metrics"}, As: v1alpha1.FormatPrometheus},
				},
				Ready:   `m.status.json.of == m.name && m.metrics.snapshots_total > 2`,
				Version: "m.status.json.version",
			}},
			Actions: map[string]v1alpha1.Action{
				"good": {Call: v1alpha1.Call{Post: ":client/status"}, Expect: "reply.json.id == 9007199254740993"},
				"bad":  {Call: v1alpha1.Call{Post: ":client/status"}, Expect: "reply.json.id == 9007199254740992"},
				"odd":  {Call: v1alpha1.Call{Post: ":client/status"}, Expect: "reply.json.absent == 1"},
				"run":  {Call: v1alpha1.Call{Run: []string{"sh", "-c", "echo '{\"a\":1}'; exit 7"}}, Expect: "reply.status == 7 && reply.json.a == 1"},
			},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	m := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" {
			io.WriteString(w, "snapshots_total{a=\"1\"} 1\nsnapshots_total{a=\"2\"} 2\nother 7\n")
			return
		}
		reply := map[string]any{"id": 9007199254740993, "version": "1.0.0"}
		json.NewDecoder(r.Body).Decode(&reply) // gives back what it is told
		json.NewEncoder(w).Encode(reply)
	})
	a := New(s)
	t.Cleanup(a.Close)
	kv := s.Component("kv")
	target := to(m)
	look := a.All(t.Context(), s.API().Components[0].Ask, []Target{target})["kv-0"]
	if len(look.Missing) > 0 || !reflect.DeepEqual(look.Answers["metrics"], map[string]any{"snapshots_total": 3.0}) {
		t.Fatalf("got %v and %v", look.Answers, look.Missing)
	}
	m.Answers = look.Answers
	if ready, why := kv.Ready(target.Scope); ready != system.Yes {
		t.Errorf("ready is %s: %s", ready, why)
	}
	for name, want := range map[string]string{"good": "worked", "bad": "failed", "odd": "unknown", "run": "worked"} {
		action, err := s.Action(system.NamedActionPath(name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Do(t.Context(), action, target); outcomeOf(err) != want {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
}
