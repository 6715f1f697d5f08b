package upgradetest

import (
	"fmt"
	"time"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// driver is a controller: it makes passes, dies and comes again.
type driver struct {
	w       *World
	id      int
	cluster *v1alpha1.Cluster // as it knows it, nil after a start
	mark    int
	last    time.Duration // of the last pass, negative in the first
	dead    time.Duration // it makes no pass until then
	retired bool
}

// epoch is when every world begins.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (w *World) wallNow() time.Time { return epoch.Add(w.now + w.wall) }

// pass is what one pass looked at and decided.
type pass struct {
	in     upgrade.Input
	dec    upgrade.Decision
	honest bool // the look shows the truth
	late   bool // the world moved on since the look
}

func (w *World) newDriver() *driver {
	d := &driver{w: w, id: len(w.drivers), last: -1}
	w.drivers = append(w.drivers, d)
	w.after(0, d.step)
	return d
}

// step makes one pass and plans the next.
func (d *driver) step() {
	w := d.w
	if d.retired || w.wrong != nil {
		return
	}
	if w.now < d.dead {
		w.after(d.dead-w.now, d.step)
		return
	}
	w.passes++
	p := d.observe()
	p.dec = w.decider.Decide(p.in)
	if w.tell {
		w.tellPass(d, p)
	}
	w.checks.decided(w, d, p)
	if w.chance(SlowPass, 0.03) {
		p.late = true
		w.after(w.between(50*time.Millisecond, 3*time.Second), func() { d.finish(p) })
		return
	}
	d.finish(p)
}

// observe loads the journal and looks.
func (d *driver) observe() *pass {
	w := d.w
	j := &w.journal
	if d.cluster == nil || d.mark != j.mark {
		d.cluster, d.mark, d.last = j.cluster.DeepCopy(), j.mark, -1
	} else {
		d.cluster.Spec, d.cluster.Generation = j.cluster.Spec, j.cluster.Generation
	}
	if w.shape.adopts() {
		d.cluster.Spec = *d.cluster.Spec.DeepCopy()
		d.cluster.Spec.TakeMoved(&d.cluster.Status)
	}
	p := &pass{in: upgrade.Input{Cluster: d.cluster, System: w.known, Systems: w.systems, Requests: w.inbox, Now: w.wallNow()}}
	p.in.Look, p.honest = w.look(&d.cluster.Status)
	if d.last >= 0 {
		p.in.Tick = w.now - d.last
	}
	d.last = w.now
	return p
}

// finish stores what was decided and then does it. The driver can die at each point.
func (d *driver) finish(p *pass) {
	w := d.w
	switch {
	case w.chance(CrashBeforeStore, 0.01):
		d.die()
		return
	case p.dec.Write && !d.store(p):
		w.after(d.pause(p), d.step)
		return
	case w.chance(CrashAfterStore, 0.015):
		d.die()
		return
	}
	d.cluster.Status = p.dec.Status
	if p.dec.Act != nil {
		w.checks.acting(w, p)
		w.do(*p.dec.Act)
		if w.chance(CrashAfterAct, 0.015) {
			d.die()
			return
		}
	}
	w.after(d.pause(p), d.step)
}

// store makes the status durable, unless somebody else wrote in the meantime.
func (d *driver) store(p *pass) bool {
	w, j := d.w, &d.w.journal
	if w.chance(Conflict, 0.005) {
		j.mark++
	}
	if j.mark != d.mark {
		d.cluster = nil
		return false
	}
	before := j.cluster.Status
	j.cluster.Status = p.dec.Status
	j.mark++
	d.mark = j.mark
	w.checks.stored(w, p, &before, &j.cluster.Status)
	w.answered()
	if w.chance(StoreReplyLost, 0.005) {
		d.cluster = nil
		return false
	}
	return true
}

// answered drops the requests whose answers are durable. Some come again.
func (w *World) answered() {
	kept := w.inbox[:0:0]
	for _, r := range w.inbox {
		if !answeredIn(&w.journal.cluster.Status, r.ID) {
			kept = append(kept, r)
		} else if w.chance(DuplicateRequest, 0.2) {
			w.after(w.between(time.Second, time.Minute), func() { w.inbox = append(w.inbox, r) })
		}
	}
	w.inbox = kept
}

func answeredIn(st *v1alpha1.ClusterStatus, id string) bool {
	for i := range st.Requests {
		if st.Requests[i].ID == id {
			return true
		}
	}
	return false
}

// die ends the driver; another one begins some time later with the journal.
func (d *driver) die() {
	w := d.w
	w.say("driver %d dies", d.id)
	d.cluster, d.last = nil, -1
	down := w.between(100*time.Millisecond, 5*time.Second)
	if w.rand.IntN(10) == 0 {
		down = w.between(time.Minute, 20*time.Minute)
	}
	d.dead = w.now + down
	w.after(down, d.step)
}

// pause is how long after this pass the next one comes.
func (d *driver) pause(p *pass) time.Duration {
	switch {
	case p.dec.Again || p.dec.Act != nil && p.dec.Write:
		return 10 * time.Millisecond
	case p.dec.Situation == upgrade.Idle || p.dec.Situation == upgrade.Refused:
		return 6 * time.Second
	case p.dec.Rest:
		return 10 * time.Second
	}
	return d.w.between(500*time.Millisecond, 4*time.Second)
}

// systemOf is the System that a pass decides with.
func (p *pass) systemOf(st *v1alpha1.ClusterStatus) *system.System {
	switch {
	case running(st) != nil:
		return p.in.Systems[st.Attempt.Target.System.Hash]
	case st.Applied != nil:
		return p.in.Systems[st.Applied.System.Hash]
	}
	return p.in.System
}

// running is the attempt that has not ended, if there is one.
func running(st *v1alpha1.ClusterStatus) *v1alpha1.Attempt {
	if st.Attempt == nil || st.Attempt.Phase.Ended() {
		return nil
	}
	return st.Attempt
}

// tellPass writes a pass into the story.
func (w *World) tellPass(d *driver, p *pass) {
	st := &p.dec.Status
	line := fmt.Sprintf("driver %d: %s%s", d.id, p.dec.Situation, summary(&p.in.Look))
	if line == w.lastLine && p.dec.Act == nil && !p.dec.Again {
		return // nothing new
	}
	w.lastLine = line
	w.say("%s", line)
	if n, m := len(st.Events), len(p.in.Cluster.Status.Events); n > m {
		for _, e := range st.Events[m:] {
			w.say("  event %s %s %s", e.Reason, e.Object, e.Message)
		}
	}
	if p.dec.Refusal != nil {
		w.say("  refused: %v", p.dec.Refusal)
	}
	a := running(st)
	if a == nil {
		return
	}
	if i := p.dec.Act; i != nil {
		w.say("  act %d %s %s %s %s%s: %s", i.ID, i.Act, i.Component, i.Member, i.Version, i.Action, i.Why)
	}
	if f := a.WaitingFor; f != nil {
		w.say("  %s, waits for %s of %s: %s", a.Phase, f.Rule, f.Object, f.Message)
	} else if a.Rest != "" {
		w.say("  %s: %s", a.Phase, a.Rest)
	}
}
