package upgradetest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// versions that every shape lists, ascending; an edge leads from each to the next.
var versions = []string{"1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0"}

// shape is what worlds have in common that share their Systems: compiling one takes
// longer than simulating it, so there are only some hundred.
type shape struct {
	// variants of the System: the first is known at the start, the others come by edits. The second changes
	// revisions, the third only rules.
	variants [3]*system.System
	comps    []compShape
	edges    []v1alpha1.Edge
}

// compShape is how the members of a component behave, as far as the System knows.
type compShape struct {
	name       string
	replicas   int
	roles      bool
	observers  bool // the fourth member and later ones cannot lead
	handover   bool
	needsFirst bool
	quorum     bool // no member is ready without a majority
	synced     bool // members have something left to do after a start
	brought    bool // and do it only when asked
	settles    bool // has rules of settled
	adopted    bool // somebody else made its workload, and edges move its members
}

const shapes = 160

var shapeCache [shapes]struct {
	sync.Once
	*shape
}

func shapeOf(seed uint64) *shape {
	c := &shapeCache[seed%shapes]
	c.Do(func() {
		c.shape = newShape(rand.New(rand.NewPCG(seed%shapes, 7)), rand.New(rand.NewPCG(seed%shapes, 11)))
	})
	return c.shape
}

func newShape(r, moves *rand.Rand) *shape {
	s := &shape{}
	left := 9
	for i := range 1 + weighted(r, 55, 30, 15) {
		n := min(left, []int{1, 2, 3, 3, 3, 4, 5, 5, 7}[r.IntN(9)])
		if i > 0 {
			n = min(n, 3)
		}
		if n == 0 {
			break
		}
		left -= n
		c := compShape{name: string(rune('a' + i)), replicas: n, roles: r.IntN(3) > 0, quorum: r.IntN(3) == 0, synced: r.IntN(2) == 0,
			needsFirst: i > 0 && r.IntN(3) == 0}
		c.handover = c.roles && r.IntN(4) > 0
		c.observers = c.roles && n > 3 && r.IntN(2) == 0
		c.brought = c.synced && r.IntN(3) == 0
		s.comps = append(s.comps, c)
	}
	if moves.IntN(5) == 0 {
		s.comps[moves.IntN(len(s.comps))].adopt()
	}
	api := s.api(r)
	s.move(api, moves)
	for i := range s.variants {
		v := api.DeepCopy()
		switch i {
		case 1:
			v.Components[0].Start = append(v.Components[0].Start, "--more")
		case 2:
			v.Components[0].Soak = &metav1.Duration{Duration: 3 * time.Second}
		}
		sys, err := system.Compile(v)
		if err != nil {
			panic(fmt.Sprintf("shape does not compile: %v", err))
		}
		s.variants[i] = sys
	}
	s.edges = s.variants[0].API().Edges
	return s
}

// weighted draws an index by weight.
func weighted(r *rand.Rand, weights ...int) int {
	sum := 0
	for _, w := range weights {
		sum += w
	}
	n := r.IntN(sum)
	for i, w := range weights {
		if n -= w; n < 0 {
			return i
		}
	}
	return 0
}

func (s *shape) api(r *rand.Rand) *v1alpha1.System {
	api := &v1alpha1.System{}
	api.Name = "sim"
	api.Versions.Listed = versions
	api.Versions.Program = "sim-${version}"
	api.Versions.Image = "sim:${version}"
	api.Options = map[string]v1alpha1.Option{"tune": {Default: "0"}}
	for i := range s.comps {
		c := s.comps[i].api(r)
		s.comps[i].settles = len(c.Settled) > 0
		api.Components = append(api.Components, c)
	}
	for i := range len(versions) - 1 {
		api.Edges = append(api.Edges, s.edge(r, versions[i], versions[i+1]))
	}
	unknown := []v1alpha1.OnUnknown{v1alpha1.StopOnUnknown, v1alpha1.RepeatOnUnknown}[r.IntN(2)]
	api.Actions = map[string]v1alpha1.Action{
		"raise": {Call: v1alpha1.Call{Post: ":p/raise"}, OnUnknown: unknown},
		"lower": {Call: v1alpha1.Call{Post: ":p/lower"}, OnUnknown: v1alpha1.RepeatOnUnknown},
	}
	api.Needs = map[string]v1alpha1.Rule{"fresh": {Is: "m.s.json.snap > then.s.json.snap",
		Bring: &v1alpha1.Action{Call: v1alpha1.Call{Post: ":p/snap"}, Where: v1alpha1.OnAny}}}
	api.Backup = &v1alpha1.BackupMethod{Run: []string{"bk", "${m.host}"}}
	return api
}

func (c compShape) api(r *rand.Rand) v1alpha1.Component {
	n := int32(c.replicas)
	api := v1alpha1.Component{Name: c.name, Replicas: &n, Ports: map[string]int32{"p": 80}, NeedsFirst: c.needsFirst,
		Start:   []string{"sim", "--tune=${options.tune}"},
		Ask:     map[string]v1alpha1.Question{"s": {Call: v1alpha1.Call{Get: ":p/s"}}},
		Ready:   "m.s.json.ready == true",
		Version: "m.s.json.version",
		Soak:    &metav1.Duration{Duration: time.Duration(r.IntN(9)) * time.Second},
	}
	if c.roles {
		api.Role = "m.s.json.role"
		leader := v1alpha1.Role{Name: "leader"}
		if c.handover {
			leader.Handover = &v1alpha1.Action{Call: v1alpha1.Call{Post: ":p/handover", Body: "${to.name}"}}
			leader.HandoverOnlyTo = "to.s.json.role == 'follower'"
		}
		if c.observers {
			api.Roles = append(api.Roles, v1alpha1.Role{Name: "observer"})
		}
		api.Roles = append(api.Roles, v1alpha1.Role{Name: "follower"}, leader)
		if r.IntN(2) == 0 {
			api.Settled = append(api.Settled, v1alpha1.Rule{Rule: "a leader", Is: "all.exists(x, x.s.json.role == 'leader')"})
		}
	}
	if c.synced {
		synced := v1alpha1.Rule{Rule: "synced", Is: "m.s.json.left == 0", Left: "m.s.json.left"}
		if c.brought {
			synced.Bring = &v1alpha1.Action{Call: v1alpha1.Call{Post: ":p/sync"}}
		}
		api.Settled = append(api.Settled, synced)
	}
	if r.IntN(4) == 0 {
		api.Settled = append(api.Settled, v1alpha1.Rule{Rule: "kept", Is: "m.s.json.snap >= then.s.json.snap"})
	}
	if r.IntN(5) == 0 {
		api.Drain = hook(r, "drain", ":p/drain")
	}
	if r.IntN(5) == 0 {
		api.Before = []v1alpha1.Hook{*hook(r, "note", ":p/note")}
	}
	if r.IntN(5) == 0 {
		h := *hook(r, "clear", ":p/clear")
		h.Where = v1alpha1.OnOthers
		api.After = []v1alpha1.Hook{h}
	}
	return api
}

func hook(r *rand.Rand, name, post string) *v1alpha1.Hook {
	h := &v1alpha1.Hook{Name: name, Action: v1alpha1.Action{Call: v1alpha1.Call{Post: post}, Timeout: &metav1.Duration{Duration: time.Second}}}
	h.OnUnknown = []v1alpha1.OnUnknown{v1alpha1.StopOnUnknown, v1alpha1.RepeatOnUnknown}[r.IntN(2)]
	h.OnFailure = []v1alpha1.HookFailure{v1alpha1.HookPauses, v1alpha1.HookWarns}[r.IntN(2)]
	return h
}

func (s *shape) edge(r *rand.Rand, from, to string) v1alpha1.Edge {
	e := v1alpha1.Edge{From: from, To: to, Backup: []v1alpha1.BackupRule{v1alpha1.BackupNone, v1alpha1.BackupIfPossible, v1alpha1.BackupRequired}[r.IntN(3)]}
	if r.IntN(7) == 0 {
		e.Strategy = v1alpha1.Recreate
	}
	switch weighted(r, 50, 20, 30) {
	case 1:
		e.Finalizes, e.Finalize = v1alpha1.FinalizesTheseus, []string{"raise"}
	case 2:
		e.Finalizes = v1alpha1.FinalizesWithLastMember
	}
	for _, c := range s.comps {
		if e.Strategy == "" && c.replicas > 1 && c.settles && r.IntN(3) == 0 {
			e.RecreateVolumes = append(e.RecreateVolumes, c.name)
		}
	}
	if e.Finalizes != "" && r.IntN(2) == 0 {
		e.UndoAfter = []string{"lower"}
	}
	if e.Finalizes != "" && r.IntN(3) > 0 {
		e.Finalized = "all.all(x, x.s.json.level == '" + to + "')"
	}
	if r.IntN(5) == 0 {
		e.Needs = []string{"fresh"}
	}
	if r.IntN(3) == 0 {
		e.Changes = []string{"tune"}
	}
	if r.IntN(6) == 0 {
		h := *hook(r, "warn", ":p/warn")
		h.Where = v1alpha1.OnEach
		e.Before = []v1alpha1.Hook{h}
	}
	if r.IntN(6) == 0 {
		e.After = []v1alpha1.Hook{*hook(r, "tell", ":p/tell")}
	}
	if r.IntN(4) == 0 {
		e.Verify = []v1alpha1.Rule{{Rule: "all well", Is: "all.all(x, x.s.json.well == true)"}}
	}
	return e
}
