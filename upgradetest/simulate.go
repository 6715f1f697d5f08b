package upgradetest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// Result is what one world came to.
type Result struct {
	Seed uint64
	// Upgrades is the number of attempts that ended.
	Upgrades int
	Passes   int
	// Faults that happened.
	Faults [faultCount]int32
	// Outcomes that were reached: phases, failure classes, kinds of attempt.
	Outcomes map[string]int32
	// Err names the promise that was broken.
	Err error
	// Story of the world, where it was told.
	Story []string
}

// Bounds of one world. Whoever does not come to an end within them never will.
const (
	maxTime   = 48 * time.Hour
	maxPasses = 6000
)

// Simulate lets one world run to its end. tell keeps its story.
func Simulate(seed uint64, tell bool) (res Result) {
	w := newWorld(seed, tell)
	defer func() {
		if r := recover(); r != nil {
			if tell {
				panic(r)
			}
			res = Result{Seed: seed, Err: fmt.Errorf("panic: %v", r)}
		}
	}()
	for w.wrong == nil && !w.finished() && w.next() {
	}
	if w.wrong == nil {
		w.checks.p12ended(w)
	}
	return Result{Seed: seed, Upgrades: int(w.journal.cluster.Status.Serial), Passes: w.passes, Faults: w.hits, Outcomes: w.outcomes, Err: w.wrong, Story: w.story}
}

// finished says that nobody wants anything more and the world is calm and at rest, or that a bound is reached.
func (w *World) finished() bool {
	if w.now > maxTime || w.passes > maxPasses {
		return true
	}
	return w.people.done && running(&w.journal.cluster.Status) == nil && w.quiet()
}

func newWorld(seed uint64, tell bool) *World {
	r := rand.New(rand.NewPCG(seed, 1))
	w := &World{seed: seed, rand: r, shape: shapeOf(r.Uint64()), kube: r.IntN(2) == 0, tell: tell, sets: map[string]*simSet{},
		leaders: map[string]*member{}, configured: map[string]revision{}, guards: map[string]guard{}, prepared: map[string]upgrade.Outcome{}, runs: map[int64]upgrade.Outcome{},
		backups: map[string]upgrade.Outcome{}, bad: map[string]Fault{}, systems: map[string]*system.System{}, outcomes: map[string]int32{},
		decider: upgrade.New(), level: versions[0], checks: checks{asked: map[string]bool{}, actions: map[string]int{}, runs: map[int64]int64{}}}
	w.kube = w.kube || w.shape.adopts()
	w.drawFaults()
	w.known = w.shape.variants[0]
	for _, s := range w.shape.variants {
		w.systems[s.Hash()] = s
	}
	w.people.campaigns = 1 + r.IntN(4)
	w.people.patient, w.people.until = r.IntN(4) == 0, -time.Hour
	w.calm = w.between(2*time.Minute, 40*time.Minute)
	w.begin()
	w.newDriver()
	w.after(w.between(0, 5*time.Second), w.live)
	return w
}

// drawFaults gives some worlds none, most a few and some many.
func (w *World) drawFaults() {
	p := []float64{0, 0.08, 0.2, 0.5}[weighted(w.rand, 1, 4, 3, 2)]
	for f := range w.on {
		w.on[f] = w.rand.Float64() < p
	}
}

// begin sets up a cluster that runs, or one that is still to be created.
func (w *World) begin() {
	c := &w.journal.cluster
	c.Name = clusterName
	c.Spec = v1alpha1.ClusterSpec{System: "sim", Version: versions[0], Backup: &v1alpha1.BackupPlace{URL: "mem://"}, Upgrade: w.policy(), Components: w.adoptions()}
	applied := v1alpha1.Pinned{Spec: *c.Spec.DeepCopy(), System: v1alpha1.SystemRef{Name: "sim", Hash: w.known.Hash()}}
	create := w.rand.IntN(10) == 0 && !w.shape.adopts() // what is adopted runs
	if !create {
		c.Status.Applied = &applied
	} else {
		w.spoil()
	}
	for i := range w.shape.comps {
		comp := &w.shape.comps[i]
		rev := revision{w.known.Revision(&applied, comp.name, versions[0]), versions[0]}
		if !create || w.kube {
			w.configured[comp.name] = rev
		}
		if comp.adopted {
			w.sets[theirs(comp)] = &simSet{comp: comp, name: theirs(comp), members: comp.replicas, revision: rev, seen: true}
		}
		for n := range comp.replicas {
			m := &member{comp: comp, name: c.Spec.MemberName(clusterName, comp.name, n), ordinal: n, state: upgrade.ProcessAbsent}
			if !create {
				m.format, m.inc, m.revision, m.state, m.up, m.crashes = versions[0], 1, rev, upgrade.ProcessRunning, true, int32(w.rand.IntN(5))
			}
			if comp.adopted {
				m.set = theirs(comp)
			}
			w.members = append(w.members, m)
		}
		if comp.roles {
			w.lead(comp, w.pickLeader(comp, nil))
		}
	}
}

// Describe is the setting of a world in some lines.
func (w *World) describe() string {
	var b strings.Builder
	platform := "local"
	if w.kube {
		platform = "Kubernetes-like"
	}
	fmt.Fprintf(&b, "seed %d, %s, calm after %s\n", w.seed, platform, w.calm.Round(time.Second))
	for _, c := range w.shape.comps {
		fmt.Fprintf(&b, "component %+v\n", c)
	}
	for i := range w.shape.edges {
		e := w.shape.edges[i]
		fmt.Fprintf(&b, "edge %s to %s: %s, backup %s, finalizes %s, undo after %v, finalized %q, needs %v, volumes of %v, moves %+v\n", e.From, e.To, e.Strategy, e.Backup, e.Finalizes, e.UndoAfter, e.Finalized, e.Needs, e.RecreateVolumes, e.Moves)
	}
	fmt.Fprintf(&b, "policy %+v\n", w.journal.cluster.Spec.Upgrade)
	for f, on := range w.on {
		if on {
			fmt.Fprintf(&b, "%s; ", Fault(f))
		}
	}
	return b.String()
}
