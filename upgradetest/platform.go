package upgradetest

import (
	"strings"
	"time"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/upgrade"
)

// do carries out an act as a platform does: conditionally, without waiting for its end, and with the faults of acting.
func (w *World) do(i v1alpha1.Intent) {
	if w.chance(LostAct, 0.02) {
		return
	}
	w.chance(LostReply, 0.02) // the reply is never looked at
	i = w.fenced(i)
	if w.chance(DelayedAct, 0.02) {
		w.after(w.between(time.Second, 3*time.Minute), func() { w.effect(i) })
		return
	}
	w.effect(i)
	if w.chance(DoubledAct, 0.02) {
		w.after(w.between(100*time.Millisecond, 2*time.Minute), func() { w.effect(i) })
	}
}

func (w *World) effect(i v1alpha1.Intent) {
	m := w.member(i.Member)
	switch i.Act {
	case v1alpha1.ActGrow, v1alpha1.ActShrink, v1alpha1.ActRemove:
		w.scale(i)
	case v1alpha1.ActConfigure:
		if w.compOf(i.Component).adopted {
			w.configureSet(i)
			return
		}
		w.configured[i.Component] = revision{i.Revision, i.Version}
		w.guards[i.Component] = guard{i.OnlyOn, i.NeverOn}
	case v1alpha1.ActStop:
		if m != nil && m.state != upgrade.ProcessAbsent && m.state != upgrade.ProcessStopping && incarnation(m.inc) == i.Incarnation {
			w.stop(m)
		}
	case v1alpha1.ActStart:
		if m != nil && (w.kube || m.volume == i.Volume) {
			w.startIfAbsent(m, revision{i.Revision, i.Version})
		}
	case v1alpha1.ActRenew:
		w.renew(m, i)
	case v1alpha1.ActPrepare:
		w.prepare(i)
	case v1alpha1.ActBackup:
		w.backup(i)
	case v1alpha1.ActRun:
		w.run(i)
	}
}

// startIfAbsent starts with the revision wanted; Kubernetes knows only what is configured.
func (w *World) startIfAbsent(m *member, r revision) {
	if m == nil || m.state != upgrade.ProcessAbsent || m.gone > w.now {
		return
	}
	if w.kube {
		r = w.nextOf(m)
	}
	w.start(m, r)
}

// guard is how the platform keeps the processes that it starts by itself off volumes that are not for them.
type guard struct{ only, never string }

func (g guard) permits(volume string) bool {
	return strings.HasPrefix(volume, g.only) && (g.never == "" || !strings.HasPrefix(volume, g.never))
}

// renew makes the volume anew of a member that does not run, or that the guard holds.
func (w *World) renew(m *member, i v1alpha1.Intent) {
	if m == nil || m.volume != i.Volume || m.state != upgrade.ProcessAbsent && !m.held {
		return
	}
	m.volume, m.format, m.empty = i.Name, "", true
	w.hits[RenewedVolume]++
	w.say("the volume of %s is empty, and called %s", m.name, m.volume)
	if m.held {
		w.start(m, w.configured[m.comp.name])
	}
}

// long begins something that takes time, at most once, and says whether it began.
func long[K comparable](w *World, list *map[K]upgrade.Outcome, key K, d time.Duration, end func() upgrade.OutcomePhase) {
	if (*list)[key].Phase != upgrade.NotBegun {
		return
	}
	set := func(p upgrade.OutcomePhase) {
		next := make(map[K]upgrade.Outcome, len(*list)+1) // looks keep the old one
		for k, o := range *list {
			next[k] = o
		}
		next[key] = upgrade.Outcome{Phase: p}
		*list = next
	}
	set(upgrade.Underway)
	w.after(d, func() { set(end()) })
}

func (w *World) prepare(i v1alpha1.Intent) {
	if w.prepared[i.Revision].Phase == upgrade.Failed {
		delete(w.prepared, i.Revision) // asked again, it is tried again
	}
	long(w, &w.prepared, i.Revision, w.between(50*time.Millisecond, time.Second), func() upgrade.OutcomePhase {
		if w.chance(PrepareFails, 0.1) {
			return upgrade.Failed
		}
		return upgrade.Succeeded
	})
}

func (w *World) backup(i v1alpha1.Intent) {
	long(w, &w.backups, i.Name, w.between(200*time.Millisecond, 5*time.Second), func() upgrade.OutcomePhase {
		switch {
		case w.chance(BackupFails, 0.2):
			return upgrade.Failed
		case w.chance(BackupUnknown, 0.1):
			return upgrade.OutcomeUnknown
		}
		return upgrade.Succeeded
	})
}

// run does an action once per id. A failed one did nothing; one of unknown outcome may have.
func (w *World) run(i v1alpha1.Intent) {
	long(w, &w.runs, i.ID, w.between(20*time.Millisecond, 2*time.Second), func() upgrade.OutcomePhase {
		m := w.member(i.Member)
		switch {
		case w.chance(RunFails, 0.05), m == nil, !w.serves(m):
			return upgrade.Failed
		case w.chance(RunUnknown, 0.04):
			if w.rand.IntN(2) == 0 {
				w.action(m, i)
			}
			return upgrade.OutcomeUnknown
		}
		w.action(m, i)
		return upgrade.Succeeded
	})
}

// action is what an action does to the world.
func (w *World) action(m *member, i v1alpha1.Intent) {
	w.say("done: %s on %s", i.Action, m.name)
	w.checks.happened(w, i)
	switch {
	case strings.HasSuffix(i.Action, ".handover"):
		w.handover(m, w.member(i.To))
	case i.Action == "actions.raise":
		w.level, w.lowered = i.Version, false
	case i.Action == "actions.lower":
		w.level, w.lowered = i.From, true
	case i.Action == "needs.fresh.bring":
		for _, o := range w.members {
			o.snap += w.rand.IntN(3)
		}
	case strings.HasSuffix(i.Action, ".synced.bring"):
		m.left = max(0, m.left-1-w.rand.IntN(2))
		m.empty = m.empty && m.left > 0
	}
}

func (w *World) handover(from, to *member) {
	if w.leaders[from.comp.name] != from || to == nil || !to.up || to.state != upgrade.ProcessRunning || to.observer() {
		return
	}
	if w.chance(HandoverIgnored, 0.2) {
		return
	}
	w.after(w.between(0, time.Second), func() {
		if to.up && to.state == upgrade.ProcessRunning {
			w.lead(to.comp, to)
		}
	})
}
