package upgradetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// checks are the promises of the design, one function each or some, and what they must remember. They judge by what
// a pass looked at and by the truth of the world, with no code of the core.
type checks struct {
	asked    map[string]bool // ids of requests that were answered
	active   time.Duration   // that a controller looked at the running attempt, since the step last could have begun to wait
	activeOf string          // the attempt and step that active counts for
	actions  map[string]int  // effects by attempt, hop, action and member
	runs     map[int64]int64 // the attempt that wanted a run: its effect may come after it
	forgiven int             // how often a person let unknown outcomes be done again
	good     time.Duration   // that a failed attempt's cluster looked good
	wait     *v1alpha1.WaitingFor
	waitFor  int64  // the attempt that the wait is of
	served   int64  // the attempt of first members one of which was seen ready
	retry    bool   // somebody asked for another try
	allowed  string // the lowest version below the level that a person let members have
	lastSpec string // of the attempt before
}

// decided is called after each decision, before anything of it is durable.
func (c *checks) decided(w *World, d *driver, p *pass) {
	old, st := &p.in.Cluster.Status, &p.dec.Status
	if c.lastSpec != specKey(&p.in.Cluster.Spec) {
		c.lastSpec = "" // it was edited: what failed may be tried again
	}
	c.p7everyWaitIsNamed(w, p, st)
	c.p7overridesAreHonoured(w, p, st)
	c.p8deadlinesCountProgress(w, p, old, st)
	c.p9failuresHaveTheirConsequence(w, p, old, st)
	c.p10failedHeals(w, p, old, st)
	c.p6editsWhileAnAttemptRuns(w, p, old, st)
	c.p6firstStartIsCorrectedUnused(w, p, old, st)
	if p.dec.Act != nil {
		c.pausedDoesNothing(w, p, old)
		c.act(w, p, *p.dec.Act)
	}
}

// act checks what is about to be done.
func (c *checks) act(w *World, p *pass, i v1alpha1.Intent) {
	st := &p.dec.Status
	a := running(st)
	c.p5onlyVersionsOfTheHop(w, p, a, i)
	c.p5neverBelowTheLevel(w, p, i)
	if a == nil {
		return
	}
	sight := &sights{p: p, a: a, sys: p.systemOf(st), back: a.Phase == v1alpha1.PhaseRollingBack}
	switch i.Act {
	case v1alpha1.ActRun:
		c.runs[i.ID] = a.ID
	case v1alpha1.ActStop:
		c.p6nobodyIsTakenFromUsers(w, sight, i)
		c.p2backupBeforeDisruption(w, a, i)
		c.p5lastMemberFinalizes(w, sight, i)
		if sight.sys.API().Edges[max(0, a.Hops[a.Hop].Edge)].Strategy == v1alpha1.Recreate && a.Hops[a.Hop].Edge >= 0 || a.Kind == v1alpha1.AttemptCreate || a.Kind == v1alpha1.AttemptStart {
			return
		}
		c.p1withinBudget(w, sight, i)
		c.p1newMembersAreCheckedFirst(w, sight, i)
		c.p3componentsInOrder(w, sight, i)
		c.p4leaderLast(w, sight, i)
		c.p11nothingReplacedTwice(w, sight, i)
	case v1alpha1.ActGrow, v1alpha1.ActShrink, v1alpha1.ActRemove:
		c.move(w, sight, i)
	case v1alpha1.ActConfigure:
		c.p2backupBeforeDisruption(w, a, i)
		c.p3componentsInOrder(w, sight, i)
	case v1alpha1.ActStart:
		c.p2backupBeforeDisruption(w, a, i)
	case v1alpha1.ActRenew:
		c.p2backupBeforeDisruption(w, a, i)
		c.p14oneWithoutData(w, sight, i)
	}
}

// p14formats: a version never starts on a volume that it cannot read, where an edge says so.
func (c *checks) p14formats(w *World, m *member) {
	if m.format == "" {
		m.format = m.version
		return
	}
	lo, hi := slices.Index(versions, m.format), slices.Index(versions, m.version)
	for e := min(lo, hi); e < max(lo, hi); e++ {
		if slices.Contains(w.shape.edges[e].RecreateVolumes, m.comp.name) {
			w.broke("promise 14", "%s starts with %s on a volume of %s", m.name, m.version, m.format)
		}
	}
}

// p14oneWithoutData: no volume is made anew while another member is without its data, or may be.
func (c *checks) p14oneWithoutData(w *World, s *sights, i v1alpha1.Intent) {
	if overridden(&s.p.dec.Status, "volume") || slices.ContainsFunc(s.p.dec.Status.Overrides, func(o v1alpha1.Override) bool {
		return o.Used && strings.HasPrefix(o.Rule, "settled/")
	}) {
		return // a person knows better
	}
	for _, m := range w.group(w.compOf(i.Component)) {
		switch {
		case m.name == i.Member:
		case readySeen(s.member(m.name)) != system.Yes:
			w.broke("promise 14", "the volume of %s is made anew, and %s does not serve by the look", i.Member, m.name)
		case s.p.honest && m.empty && m.comp.synced:
			w.broke("promise 14", "the volume of %s is made anew, and the data of %s has not come back", i.Member, m.name)
		}
	}
}

// acting is called when the act is begun, after the store.
func (c *checks) acting(w *World, p *pass) { c.p11intentIsDurable(w, p) }

// stored is called when the journal was written.
func (c *checks) stored(w *World, p *pass, before, after *v1alpha1.ClusterStatus) {
	c.p6requestsOncePerID(w, before, after)
	c.p5planIsAPath(w, p, before, after)
	c.p9failedTargetIsNotRetried(w, p, before, after)
	c.p13nothingBeginsByItself(w, p, before, after)
	c.p5pinned(w, before, after)
	if a := running(after); a != nil && a.Kind == v1alpha1.AttemptCreate && p.sawReady() {
		c.served = a.ID
	}
	c.p2backupPerAttempt(w, before, after)
	w.count(before, after)
}

// sights reads what a pass saw, without the core.
type sights struct {
	p    *pass
	a    *v1alpha1.Attempt
	sys  *system.System
	back bool
}

// wanted is the revision that the members of a component shall have in this direction.
func (s *sights) wanted(component string) string {
	if s.back {
		return s.before(component)
	}
	target := s.a.Target
	h := s.a.Hops[s.a.Hop]
	target.Spec.Version = h.To
	if h.Edge >= 0 && s.a.Base != nil && !slices.Contains(s.sys.Edge(int(h.Edge)).Changes, "tune") {
		target.Spec.Options = s.a.Base.Spec.Options // it has changed already, or does so in a later hop
	}
	return s.sys.Revision(&target, component, target.Spec.Version)
}

// before is the revision that the members of a component had when the hop began.
func (s *sights) before(component string) string {
	return s.p.in.Systems[s.a.Base.System.Hash].Revision(s.a.Base, component, s.a.Base.Spec.Version)
}

func (s *sights) member(name string) *upgrade.Member {
	for i := range s.p.in.Look.Members {
		if m := &s.p.in.Look.Members[i]; m.View.Name == name {
			return m
		}
	}
	return nil
}

// seen is a member by component and ordinal; nil where the look does not show it.
func (s *sights) group(w *World, component string) []*upgrade.Member {
	var g []*upgrade.Member
	for _, m := range w.members {
		if m.comp.name == component && !m.extra {
			g = append(g, s.member(m.name))
		}
	}
	return g
}

// readySeen is whether a member is ready, as far as a look tells.
func readySeen(m *upgrade.Member) system.Answer {
	switch {
	case m == nil || m.State == upgrade.ProcessUnknown:
		return system.Unknown
	case m.State != upgrade.ProcessRunning:
		return system.No
	}
	j, ok := sight(m)
	if !ok {
		return system.Unknown
	}
	if j["ready"] == true {
		return system.Yes
	}
	return system.No
}

func roleSeen(m *upgrade.Member) string {
	if m == nil {
		return ""
	}
	j, _ := sight(m)
	role, _ := j["role"].(string)
	return role
}

// p1withinBudget: a member is disrupted only if, as of a fresh look at all, the group stays within its budget.
func (c *checks) p1withinBudget(w *World, s *sights, i v1alpha1.Intent) {
	if !s.p.in.Look.Complete {
		w.broke("promise 1", "%s is stopped on an incomplete look", i.Member)
	}
	if readySeen(s.member(i.Member)) == system.No {
		return // takes nothing away
	}
	group := s.group(w, i.Component)
	away, lost := 1, 1
	for _, m := range group {
		if (m == nil || m.View.Name != i.Member) && readySeen(m) != system.Yes {
			away++
		}
	}
	for _, m := range w.group(w.compOf(i.Component)) {
		if m.name != i.Member && !w.serves(m) {
			lost++
		}
	}
	if most := budget(s.p, len(group)); away > most {
		w.broke("promise 1", "%s is stopped: then %d of %s are unavailable by the look, and %d may be", i.Member, away, i.Component, most)
	} else if s.p.honest && lost > most {
		w.broke("promise 1", "%s is stopped: then %d of %s are unavailable in truth, and %d may be", i.Member, lost, i.Component, most)
	}
}

// p1newMembersAreCheckedFirst: no good member goes while one that came back new has not passed all checks.
func (c *checks) p1newMembersAreCheckedFirst(w *World, s *sights, i v1alpha1.Intent) {
	if readySeen(s.member(i.Member)) == system.No {
		return
	}
	at := slices.IndexFunc(s.a.Steps, func(st v1alpha1.StepStatus) bool { return st.Name == i.Step })
	want := s.wanted(i.Component)
	for _, m := range s.group(w, i.Component) {
		if m == nil || m.Revision != want || m.State == upgrade.ProcessAbsent || m.State == upgrade.ProcessUnknown {
			continue
		}
		passed := func(d v1alpha1.MemberDone) bool { return d.Name == m.View.Name && d.Incarnation == m.Incarnation }
		if !slices.ContainsFunc(s.a.Steps[at].Members, passed) {
			w.broke("promise 1", "%s is stopped, and %s is new and was not checked", i.Member, m.View.Name)
		}
	}
}

// p5lastMemberFinalizes: where the software finalizes with its last member, the hop counts as finalized before that goes.
func (c *checks) p5lastMemberFinalizes(w *World, s *sights, i v1alpha1.Intent) {
	h := s.a.Hops[s.a.Hop]
	if s.back || h.Edge < 0 || h.Finalized || s.sys.Edge(int(h.Edge)).Finalizes != v1alpha1.FinalizesWithLastMember {
		return
	}
	for j := range w.shape.comps {
		old := s.before(w.shape.comps[j].name)
		for _, m := range s.group(w, w.shape.comps[j].name) {
			if m == nil || m.View.Name != i.Member && (m.Revision == "" || m.Revision == old || w.member(m.View.Name).held) {
				return
			}
		}
	}
	w.broke("promise 5", "%s is the last of %s, and the hop is not marked as finalized", i.Member, h.From)
}

func (w *World) compOf(name string) *compShape { return &w.shape.comps[w.index(name)] }

func budget(p *pass, n int) int {
	policy := &p.in.Cluster.Spec.Upgrade
	most := max(1, int(policy.MaxUnavailable))
	if policy.AllowDowntime {
		return most
	}
	return min(most, n-1)
}

// p2backupBeforeDisruption: a required backup is complete and proved before the first disruption of its hop, and before
// what makes an evicted member come back new.
func (c *checks) p2backupBeforeDisruption(w *World, a *v1alpha1.Attempt, i v1alpha1.Intent) {
	h := a.Hops[a.Hop]
	if a.Kind != v1alpha1.AttemptUpgrade || i.Version == h.From || w.systems[a.Target.System.Hash].Edge(int(h.Edge)).Backup != v1alpha1.BackupRequired {
		return
	}
	if w.backups[h.Backup].Phase != upgrade.Succeeded {
		w.broke("promise 2", "%s of %s%s without a complete backup for the hop %s to %s", i.Act, i.Member, i.Component, h.From, h.To)
	}
}

// p2backupPerAttempt: a new target means a new backup.
func (c *checks) p2backupPerAttempt(w *World, before, after *v1alpha1.ClusterStatus) {
	if n := len(after.Attempts); n > 1 && n > len(before.Attempts) {
		for _, b := range after.Attempts[n-1].Backups {
			for _, earlier := range after.Attempts[:n-1] {
				if slices.Contains(earlier.Backups, b) {
					w.broke("promise 2", "attempts %d and %d share the backup %s", earlier.ID, after.Attempts[n-1].ID, b)
				}
			}
		}
	}
}

// p3componentsInOrder: in order, in reverse when going back, except where a component needs the one before it first.
func (c *checks) p3componentsInOrder(w *World, s *sights, i v1alpha1.Intent) {
	at := w.index(i.Component)
	for j := range w.shape.comps {
		other := &w.shape.comps[j]
		if j == at || s.earlier(w, at, j) {
			continue
		}
		want := s.wanted(other.name)
		for _, m := range s.group(w, other.name) {
			if m != nil && m.State != upgrade.ProcessAbsent && m.State != upgrade.ProcessUnknown && m.Revision != want {
				w.broke("promise 3", "%s of %s%s before component %s is done", i.Act, i.Component, i.Member, other.name)
				return
			}
		}
	}
}

// earlier says whether component at comes before component j in this direction.
func (s *sights) earlier(w *World, at, j int) bool {
	if !s.back {
		return at < j
	}
	lo, hi := min(at, j), max(at, j)
	together := true // linked by needsFirst: forward order, also when going back
	for k := lo + 1; k <= hi; k++ {
		together = together && w.shape.comps[k].needsFirst
	}
	if together {
		return at < j
	}
	return at > j
}

// p4leaderLast: the leader goes last, and only when it gave its role away.
func (c *checks) p4leaderLast(w *World, s *sights, i v1alpha1.Intent) {
	comp := w.compOf(i.Component)
	m := s.member(i.Member)
	if !comp.roles || comp.replicas == 1 || readySeen(m) == system.No {
		return
	}
	st := &s.p.dec.Status
	role := roleSeen(m)
	if role == "" && !s.back && !overridden(st, "role") {
		w.broke("promise 4", "%s is stopped and its role is not known", i.Member)
	}
	if role != "leader" {
		return
	}
	policy := &s.p.in.Cluster.Spec.Upgrade
	if comp.handover && !overridden(st, "handover") && !policy.AllowDowntime {
		w.broke("promise 4", "%s is stopped and leads", i.Member)
	}
	want := s.wanted(i.Component)
	for _, o := range s.group(w, i.Component) {
		if o == nil || o.View.Name == i.Member || roleSeen(o) == role && !s.p.honest {
			continue // a look that mixes two moments may show two leaders: it does not say who is to go last
		}
		if o.Revision != want && o.State != upgrade.ProcessAbsent && !overridden(st, "handover") {
			w.broke("promise 4", "%s leads and is stopped before %s", i.Member, o.View.Name)
		}
	}
}

func overridden(st *v1alpha1.ClusterStatus, rule string) bool {
	return slices.ContainsFunc(st.Overrides, func(o v1alpha1.Override) bool { return o.Rule == rule && o.Used })
}

// p5onlyVersionsOfTheHop: acts bring members to one of the two ends of the hop, in the direction of the attempt.
func (c *checks) p5onlyVersionsOfTheHop(w *World, p *pass, a *v1alpha1.Attempt, i v1alpha1.Intent) {
	if i.Act != v1alpha1.ActStart && i.Act != v1alpha1.ActConfigure {
		return
	}
	var want string
	switch {
	case i.Act == v1alpha1.ActStart && a != nil && i.Revision == p.in.Look.Configured[i.Component]:
		return // it comes back as the platform would bring it back
	case a == nil:
		want = p.dec.Status.Applied.Spec.Version
	case a.Phase == v1alpha1.PhaseRollingBack && a.Hops[a.Hop].Finalized && !a.Hops[a.Hop].Reopened && i.Act == v1alpha1.ActStart && i.Version == a.Hops[a.Hop].To:
		return // somebody must be up to open a way back
	case i.Act == v1alpha1.ActStart && w.otherEnd(p, a, i):
		return // its volume is of the other end of the hop, until its turn comes
	case a.Phase == v1alpha1.PhaseRollingBack:
		want = a.Base.Spec.Version
	default:
		want = a.Hops[a.Hop].To
	}
	if i.Version != want {
		w.broke("promise 5", "%s of %s%s with %s, and %s is wanted", i.Act, i.Component, i.Member, i.Version, want)
	}
}

// otherEnd says that a member is started with the version that its volume was made for, where the hop makes volumes anew.
func (w *World) otherEnd(p *pass, a *v1alpha1.Attempt, i v1alpha1.Intent) bool {
	h := a.Hops[a.Hop]
	if h.Edge < 0 || !slices.Contains(w.shape.edges[h.Edge].RecreateVolumes, i.Component) {
		return false
	}
	made := strings.HasPrefix(i.Volume, fmt.Sprintf("a%d.h%d.new.", a.ID, a.Hop))
	return made && i.Version == h.To || !made && i.Version == h.From
}

// p5neverBelowTheLevel: no member is brought to a version below what was finalized, unless a way back was opened.
func (c *checks) p5neverBelowTheLevel(w *World, p *pass, i v1alpha1.Intent) {
	below := func(a, b string) bool { return slices.Index(versions, a) < slices.Index(versions, b) }
	if !below(i.Version, w.level) {
		return
	}
	byPerson := overridden(&p.dec.Status, "way back") || overridden(&p.dec.Status, "run/action/lower")
	if byPerson && (c.allowed == "" || below(i.Version, c.allowed)) {
		c.allowed = i.Version // a person knows better, and has to go on with it afterwards
	}
	if c.allowed != "" && !below(i.Version, c.allowed) {
		return
	}
	if (i.Act == v1alpha1.ActStart || i.Act == v1alpha1.ActConfigure) && p.honest {
		w.broke("promise 5", "%s of %s%s with %s, below the finalized %s", i.Act, i.Component, i.Member, i.Version, w.level)
	}
}

// p5planIsAPath: hops follow each other upwards along edges.
func (c *checks) p5planIsAPath(w *World, p *pass, before, after *v1alpha1.ClusterStatus) {
	a := running(after)
	if a == nil || before.Attempt != nil && before.Attempt.ID == a.ID && before.Attempt.Hop == a.Hop {
		return
	}
	if a.Kind != v1alpha1.AttemptUpgrade {
		return
	}
	at := a.From
	for _, h := range a.Hops {
		from, to := slices.Index(versions, h.From), slices.Index(versions, h.To)
		if h.From != at || to != from+1 || int(h.Edge) != from {
			w.broke("promise 5", "the hop %s to %s by edge %d from %s is no edge", h.From, h.To, h.Edge, at)
		}
		at = h.To
	}
	if at != a.To {
		w.broke("promise 5", "the hops end at %s and not at %s", at, a.To)
	}
}

// p5pinned: a running attempt keeps its target and its System.
func (c *checks) p5pinned(w *World, before, after *v1alpha1.ClusterStatus) {
	a, b := before.Attempt, after.Attempt
	if a == nil || b == nil || a.ID != b.ID {
		return
	}
	if a.To != b.To || a.Target.Spec.Version != b.Target.Spec.Version || a.Target.Restart != b.Target.Restart || a.Target.Spec.Options["tune"] != b.Target.Spec.Options["tune"] {
		w.broke("promise 6", "the target of attempt %d changed while it ran", a.ID)
	}
	if a.Target.System.Hash != b.Target.System.Hash && !newlyAccepted(before, after, v1alpha1.RequestAdoptSystem) {
		w.broke("promise 13", "attempt %d took another System though nobody asked", a.ID)
	}
}

func newlyAccepted(before, after *v1alpha1.ClusterStatus, kind v1alpha1.RequestKind) bool {
	for _, r := range after.Requests {
		if r.Kind == kind && r.Accepted && !answeredIn(before, r.ID) {
			return true
		}
	}
	return false
}

// p6requestsOncePerID: a request counts once.
func (c *checks) p6requestsOncePerID(w *World, before, after *v1alpha1.ClusterStatus) {
	for _, r := range after.Requests {
		if answeredIn(before, r.ID) {
			continue
		}
		if c.asked[r.ID] {
			w.broke("promise 6", "request %s is answered twice", r.ID)
		}
		c.asked[r.ID] = true
		if r.Kind == v1alpha1.RequestResume || r.Kind == v1alpha1.RequestRetry || r.Kind == v1alpha1.RequestRollback {
			c.forgiven++
		}
	}
}

// p6editsWhileAnAttemptRuns: the version set back means going back; another target is taken only before the first disruption.
func (c *checks) p6editsWhileAnAttemptRuns(w *World, p *pass, old, st *v1alpha1.ClusterStatus) {
	a, b := running(old), st.Attempt
	if a == nil || a.Kind != v1alpha1.AttemptUpgrade || a.Phase != v1alpha1.PhaseRunning || b.ID != a.ID || !sameAnswers(old, st) {
		return
	}
	want := p.in.Cluster.Spec.Version
	turned := b.Phase == v1alpha1.PhaseRollingBack
	switch {
	case want == a.Base.Spec.Version && !turned && !a.Hops[a.Hop].Finalized:
		w.broke("promise 6", "the version was set back to %s and the attempt does not go back", want)
	case want != a.To && want != a.Base.Spec.Version && a.Disrupted && turned && b.Failure == nil:
		w.broke("promise 6", "another target turned back an attempt that had disrupted")
	}
}

// p6firstStartIsCorrectedUnused: the first members are all replaced for an edit only where none of them was ever seen ready.
func (c *checks) p6firstStartIsCorrectedUnused(w *World, p *pass, old, st *v1alpha1.ClusterStatus) {
	a := running(old)
	if a == nil || a.Kind != v1alpha1.AttemptCreate || st.Attempt.ID == a.ID {
		return
	}
	w.outcomes["first start corrected"]++
	if c.served == a.ID || p.sawReady() {
		w.broke("promise 6", "attempt %d of first members gave way to an edit though a member was ready", a.ID)
	}
}

// p6nobodyIsTakenFromUsers: a first start that was corrected stops nobody who got ready in the meantime, unless a person says so.
func (c *checks) p6nobodyIsTakenFromUsers(w *World, s *sights, i v1alpha1.Intent) {
	if s.a.Kind == v1alpha1.AttemptCreate && readySeen(s.member(i.Member)) == system.Yes && !overridden(&s.p.dec.Status, "served") {
		w.broke("promise 6", "%s is ready, and is stopped by a first start", i.Member)
	}
}

func (p *pass) sawReady() bool {
	return slices.ContainsFunc(p.in.Look.Members, func(m upgrade.Member) bool { return readySeen(&m) == system.Yes })
}

func sameAnswers(a, b *v1alpha1.ClusterStatus) bool {
	n, m := len(a.Requests), len(b.Requests)
	return n == m && (n == 0 || a.Requests[n-1].ID == b.Requests[m-1].ID)
}

// p7everyWaitIsNamed: object, rule, since; a deadline or a person; and how to override.
func (c *checks) p7everyWaitIsNamed(w *World, p *pass, st *v1alpha1.ClusterStatus) {
	a := running(st)
	if a == nil || p.dec.Again {
		return
	}
	if a.Phase == v1alpha1.PhasePaused || a.Phase == v1alpha1.PhaseStopped {
		if a.Rest == "" {
			w.broke("promise 7", "the attempt rests and does not say why")
		}
		return
	}
	f := a.WaitingFor
	switch {
	case p.dec.Act != nil && f == nil:
		c.wait = nil
		return
	case f == nil:
		w.broke("promise 7", "nothing is done and nothing is waited for")
		return
	}
	p7saysAll(w, p, f)
	if o := c.wait; o != nil && c.waitFor == a.ID && o.Object == f.Object && o.Rule == f.Rule && w.journalHas(o) && !f.Since.Time.Equal(o.Since.Time) {
		w.broke("promise 7", "a wait for %s of %s moved its beginning from %s to %s", f.Rule, f.Object, o.Since, f.Since)
	}
	c.wait, c.waitFor = f, a.ID
}

// p7saysAll looks at one wait.
func p7saysAll(w *World, p *pass, f *v1alpha1.WaitingFor) {
	switch {
	case f.Object == "" || f.Rule == "" || f.Since.IsZero() || f.Message == "":
		w.broke("promise 7", "a wait without object, rule, since or message: %+v", *f)
	case f.Deadline == nil && !p.dec.Rest:
		w.broke("promise 7", "a wait for %s without deadline and without a person", f.Rule)
	case p.dec.Rest && f.Override == "":
		w.broke("promise 7", "a person is waited for and is not told what to ask: %+v", *f)
	}
}

// journalHas says whether a wait is durable, so that the next one must go on with it.
func (w *World) journalHas(o *v1alpha1.WaitingFor) bool {
	a := w.journal.cluster.Status.Attempt
	return a != nil && a.WaitingFor != nil && a.WaitingFor.Object == o.Object && a.WaitingFor.Rule == o.Rule && len(w.drivers) == 1
}

// p7overridesAreHonoured: what a wait says can override it does.
func (c *checks) p7overridesAreHonoured(w *World, p *pass, st *v1alpha1.ClusterStatus) {
	a := running(st)
	if a == nil || p.dec.Again || a.WaitingFor == nil || !strings.HasPrefix(a.WaitingFor.Override, "override") {
		return
	}
	for _, o := range st.Overrides {
		if o.Rule == a.WaitingFor.Rule && p.in.Now.Before(o.Until.Time) {
			w.broke("promise 7", "%s is overridden and still waited for: %s", o.Rule, a.WaitingFor.Message)
		}
	}
}

// p8deadlinesCountProgress: a deadline fires only after so much time in which the attempt was looked at and not paused.
func (c *checks) p8deadlinesCountProgress(w *World, p *pass, old, st *v1alpha1.ClusterStatus) {
	a, b := running(old), st.Attempt
	if a == nil || b == nil || a.ID != b.ID {
		c.active, c.activeOf = 0, ""
		return
	}
	of := fmt.Sprint(a.ID, a.Hop, a.Phase == v1alpha1.PhaseRollingBack)
	if of != c.activeOf || a.Phase == v1alpha1.PhasePaused || a.Phase == v1alpha1.PhaseStopped {
		c.active, c.activeOf = p.in.Tick, of
		return
	}
	c.active += p.in.Tick
	f := b.Failure
	deadline := p.in.Cluster.Spec.Upgrade.ProgressDeadline.Duration
	if a.Failure == nil && f != nil && f.Reason == "ProgressDeadlineExceeded" && c.active < deadline {
		w.broke("promise 8", "the deadline of %s fired after %s", deadline, c.active)
	}
}

// p9failuresHaveTheirConsequence: members and checks turn back or pause as the spec says, the environment pauses, the unknown stops.
func (c *checks) p9failuresHaveTheirConsequence(w *World, p *pass, old, st *v1alpha1.ClusterStatus) {
	a, b := running(old), st.Attempt
	if a == nil || b.Failure == nil || a.Phase == b.Phase || a.Failure != nil && *a.Failure == *b.Failure || a.Phase == v1alpha1.PhasePaused || a.Phase == v1alpha1.PhaseStopped {
		return
	}
	back := a.Phase == v1alpha1.PhaseRollingBack
	class, onFailure := b.Failure.Class, p.in.Cluster.Spec.Upgrade.OnFailure
	w.outcomes["failure "+string(class)]++
	want := v1alpha1.PhaseRollingBack
	switch {
	case class == v1alpha1.FaultUnknown:
		want = v1alpha1.PhaseStopped
	case back, class == v1alpha1.FaultEnvironment, onFailure == v1alpha1.FailurePauses:
		want = v1alpha1.PhasePaused
	case b.Phase == v1alpha1.PhasePaused && (a.Base == nil || a.Hops[a.Hop].Finalized):
		return // there is no way back
	}
	if b.Phase != want {
		w.broke("promise 9", "a failure of class %s led to %s and not to %s", class, b.Phase, want)
	}
}

// p9failedTargetIsNotRetried by itself.
func (c *checks) p9failedTargetIsNotRetried(w *World, p *pass, before, after *v1alpha1.ClusterStatus) {
	c.retry = c.retry || newlyAccepted(before, after, v1alpha1.RequestRetry)
	a := running(after)
	if a == nil || before.Attempt != nil && before.Attempt.ID == a.ID {
		return
	}
	last := before.Attempt
	spec := specKey(&p.in.Cluster.Spec)
	if last != nil && last.Failure != nil && last.Phase == v1alpha1.PhaseRolledBack && a.Kind == last.Kind && a.Kind != v1alpha1.AttemptStart &&
		spec == c.lastSpec && a.Target.Restart == last.Target.Restart &&
		!c.retry && !newlyAccepted(before, after, v1alpha1.RequestRestart) {
		w.broke("promise 9", "attempt %d tries again what failed in attempt %d", a.ID, last.ID)
	}
	c.lastSpec, c.retry = spec, false
}

func specKey(s *v1alpha1.ClusterSpec) string { return s.Version + " " + s.Options["tune"] }

// p10failedHeals: a failed attempt whose cluster got to a good state does not stay failed.
func (c *checks) p10failedHeals(w *World, p *pass, old, st *v1alpha1.ClusterStatus) {
	a, b := running(old), running(st)
	if a == nil || b == nil || a.Failure == nil || !a.Disrupted || a.Phase != v1alpha1.PhasePaused || b.Phase != v1alpha1.PhasePaused || !c.allGood(w, p, b) {
		c.good = 0
		return
	}
	if c.good += p.in.Tick; c.good > time.Minute {
		w.broke("promise 10", "every member is good for %s and the attempt is still failed", c.good)
	}
}

// allGood says that a look shows every member ready and at what the attempt goes to.
func (c *checks) allGood(w *World, p *pass, a *v1alpha1.Attempt) bool {
	back := a.Phase == v1alpha1.PhaseRollingBack || a.Resume == v1alpha1.PhaseRollingBack
	s := &sights{p: p, a: a, sys: p.systemOf(&p.dec.Status), back: back}
	for _, comp := range w.shape.comps {
		want := s.wanted(comp.name)
		for _, m := range s.group(w, comp.name) {
			j := map[string]any{}
			if m != nil {
				j, _ = sight(m)
			}
			if readySeen(m) != system.Yes || m.Revision != want || j["left"] != 0.0 || j["version"] != p.version(a, back) || comp.roles && w.leaders[comp.name] == nil {
				return false
			}
		}
	}
	return true
}

func (p *pass) version(a *v1alpha1.Attempt, back bool) string {
	if back {
		return a.Base.Spec.Version
	}
	return a.Hops[a.Hop].To
}

// pausedDoesNothing: while an attempt rests, nothing is done.
func (c *checks) pausedDoesNothing(w *World, p *pass, old *v1alpha1.ClusterStatus) {
	a := running(old)
	if a == nil {
		return
	}
	if a.Phase == v1alpha1.PhasePaused || a.Phase == v1alpha1.PhaseStopped {
		w.broke("pause", "%s of %s%s while the attempt rests", p.dec.Act.Act, p.dec.Act.Component, p.dec.Act.Member)
	}
	if a.Pausing && a.Phase != v1alpha1.PhaseRollingBack && p.dec.Act.Act == v1alpha1.ActStop && !handIs(a, p.dec.Act.Member) && p.systemOf(old).API().Edges[max(0, a.Hops[a.Hop].Edge)].Strategy != v1alpha1.Recreate {
		w.broke("pause", "%s is stopped though a pause was asked for", p.dec.Act.Member)
	}
}

func handIs(a *v1alpha1.Attempt, member string) bool {
	return slices.ContainsFunc(a.Steps, func(s v1alpha1.StepStatus) bool { return s.Hand != nil && s.Hand.Member == member })
}

// p11intentIsDurable: what is done is in the journal, unless another controller wrote in the meantime.
func (c *checks) p11intentIsDurable(w *World, p *pass) {
	a := running(&w.journal.cluster.Status)
	if running(&p.dec.Status) == nil || p.late || len(w.drivers) > 1 {
		return
	}
	i := *p.dec.Act
	if a == nil || a.Intent == nil {
		w.broke("promise 11", "%s of %s%s is done and not in the journal", i.Act, i.Component, i.Member)
		return
	}
	j := *a.Intent
	if j != i {
		w.broke("promise 11", "%+v is done and %+v is in the journal", i, j)
	}
}

// p11nothingReplacedTwice: a member that has the wanted revision is not stopped.
func (c *checks) p11nothingReplacedTwice(w *World, s *sights, i v1alpha1.Intent) {
	if m := s.member(i.Member); m == nil || m.Revision == s.wanted(i.Component) {
		w.broke("promise 11", "%s is stopped and is not outdated", i.Member)
	}
}

// happened counts the effects of actions that must not be repeated.
func (c *checks) happened(w *World, i v1alpha1.Intent) {
	st := &w.journal.cluster.Status
	a := running(st)
	if a == nil || !strings.HasPrefix(i.Action, "edges.") && i.Action != "actions.raise" {
		return
	}
	action, err := w.systems[a.Target.System.Hash].Action(i.Action)
	if err != nil || action.OnUnknown == v1alpha1.RepeatOnUnknown {
		return
	}
	of, known := c.runs[i.ID]
	if !known {
		of = a.ID
	}
	key := fmt.Sprint(of, i.From, i.Action, i.Member)
	if c.actions[key]++; c.actions[key] > 1+c.forgiven {
		w.broke("promise 11", "%s is done on %s %d times", i.Action, i.Member, c.actions[key])
	}
}

// p13nothingBeginsByItself: a restart begins only when a person asked for it or edited something.
func (c *checks) p13nothingBeginsByItself(w *World, p *pass, before, after *v1alpha1.ClusterStatus) {
	a := running(after)
	if a == nil || before.Attempt != nil && before.Attempt.ID == a.ID || a.Kind != v1alpha1.AttemptRestart {
		return
	}
	if !newlyAccepted(before, after, v1alpha1.RequestRestart) && specKey(&p.in.Cluster.Spec) == specKey(&before.Applied.Spec) {
		w.broke("promise 13", "a restart begins and nobody asked for it")
	}
}

// p12ended is asked when the world is calm: every attempt ended, at its target or at the version of the last finalized hop.
func (c *checks) p12ended(w *World) {
	st := &w.journal.cluster.Status
	if a := running(st); a != nil {
		w.broke("promise 12", "attempt %d (%s to %s) did not end: %s %s", a.ID, a.Kind, a.To, a.Phase, a.Rest)
		return
	}
	for _, s := range st.Attempts {
		if slices.Index(versions, s.At) < slices.Index(versions, s.From) || slices.Index(versions, s.At) > slices.Index(versions, s.To) {
			w.broke("promise 12", "attempt %d from %s to %s ended at %s", s.ID, s.From, s.To, s.At)
		}
	}
	for _, m := range w.members {
		if m.set != "" && st.Applied != nil && m.set != st.Applied.Spec.Components[m.comp.name].Adopt.Workload() {
			w.broke("promise 12", "all has ended, and %s is still in a workload that was left", m.name)
		}
		if !m.extra && st.Applied != nil && (m.version != st.Applied.Spec.Version || !w.serves(m)) {
			w.broke("promise 12", "all has ended at %s, and %s is %s with %s", st.Applied.Spec.Version, m.name, m.state, m.version)
		}
	}
}

// count keeps what was reached, for the coverage table.
func (w *World) count(before, after *v1alpha1.ClusterStatus) {
	a, b := before.Attempt, after.Attempt
	if b == nil {
		return
	}
	if a == nil || a.ID != b.ID || a.Phase != b.Phase {
		w.outcomes["attempt "+string(b.Phase)]++
		if a == nil || a.ID != b.ID {
			w.outcomes["kind "+string(b.Kind)]++
		}
	}
	for i := range b.Steps {
		s := &b.Steps[i]
		if a == nil || a.ID != b.ID || a.Hop != b.Hop || len(a.Steps) <= i || a.Steps[i].Phase != s.Phase {
			w.outcomes["step "+string(s.Kind)+" "+string(s.Phase)]++
		}
		if s.Hand != nil && (len(a.Steps) <= i || a.Steps[i].Hand == nil || a.Steps[i].Hand.Phase != s.Hand.Phase) {
			w.outcomes["hand "+string(s.Hand.Phase)]++
		}
	}
}
