package system

import (
	"strings"
	"testing"

	"theseus.dev/api/v1alpha1"
)

func TestMoveMistakes(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*v1alpha1.System)
		want   string
	}{
		"as it should be":   {func(*v1alpha1.System) {}, ""},
		"no such component": {func(s *v1alpha1.System) { s.Edges[0].Moves[0].Component = "vk" }, `edges.0.moves.0.component: "vk" is no component; did you mean kv?`},
		"twice": {func(s *v1alpha1.System) { s.Edges[0].Moves = append(s.Edges[0].Moves, s.Edges[0].Moves[0]) },
			`edges.0.moves.kv: "kv" is named twice; name it once`},
		"none at a time":  {func(s *v1alpha1.System) { none := int32(0); s.Edges[0].Moves[0].By = &none }, `edges.0.moves.kv.by: "0" is not between 1 and 99; write how many`},
		"no name":         {func(s *v1alpha1.System) { s.Edges[0].Moves[0].To = "" }, "edges.0.moves.kv.to: is missing; name the new StatefulSet"},
		"no template":     {func(s *v1alpha1.System) { s.Edges[0].Moves[0].To = "${cluster-new" }, `edges.0.moves.kv.to: "${cluster-new" has a ${ that no } ends`},
		"a member's name": {func(s *v1alpha1.System) { s.Edges[0].Moves[0].To = "${m.name}-new" }, "edges.0.moves.kv.to: \"m.name\" speaks of m, which there is not here; use cluster"},
		"no variable":     {func(s *v1alpha1.System) { s.Edges[0].Moves[0].Env = []string{"HEAT"} }, `edges.0.moves.kv.env.0: "HEAT" is not in components.kv.env; did you mean HEAP?`},
		"claims":          {func(s *v1alpha1.System) { s.Edges[0].Moves[0].Claims = "Drop" }, `edges.0.moves.kv.claims: "Drop" is not known`},
		"all at once":     {func(s *v1alpha1.System) { s.Edges[0].Strategy = v1alpha1.Recreate }, "cannot move with strategy: Recreate, which leaves nobody to take over; write strategy: Rolling"},
		"the last one":    {func(s *v1alpha1.System) { s.Edges[0].Finalizes = v1alpha1.FinalizesWithLastMember }, "cannot move with finalizes: WithLastMember"},
		"other volumes": {func(s *v1alpha1.System) {
			s.Edges[0].RecreateVolumes = []string{"kv"}
			s.Components[0].Settled = []v1alpha1.Rule{{Rule: "all", Is: "true"}}
		}, "is in recreateVolumes too; leave it away there"},
		"a Deployment": {func(s *v1alpha1.System) { s.Components[0].Workload = v1alpha1.WorkloadDeployment }, "is no StatefulSet: Kubernetes replaces its members; leave moves away"},
		"roles": {func(s *v1alpha1.System) {
			s.Components[0].Role, s.Components[0].Roles = "'leader'", []v1alpha1.Role{{Name: "leader"}}
		}, "has roles, and members that move come and go several at a time; leave moves away"},
		"hooks": {func(s *v1alpha1.System) { s.Components[0].After = []v1alpha1.Hook{{Name: "tell"}} }, "has hooks around each member"},
	} {
		api := ruled()
		api.Components[0].Env = map[string]string{"HEAP": "${options.heap}"}
		api.Edges = []v1alpha1.Edge{{From: "1.0", To: "2.0", Moves: []v1alpha1.Move{{Component: "kv", To: "${cluster}-new", Env: []string{"HEAP"}}}}}
		tc.change(api)
		_, err := Compile(api)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
}
