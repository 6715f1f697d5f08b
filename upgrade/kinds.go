package upgrade

import (
	"fmt"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// builtin are the kinds of step that Theseus brings, in the order in which steps of one place stand.
func builtin() []Kind {
	return []Kind{preflight{}, needs{}, takeBackup{}, hopHooks{before: true}, recreate{}, relocate{}, roll{}, soakAll{}, verify{}, finalize{}, remover{}, hopHooks{}}
}

// The names of the kinds.
const (
	KindPreflight v1alpha1.StepKind = "Preflight"
	KindNeed      v1alpha1.StepKind = "Need"
	KindBackup    v1alpha1.StepKind = "Backup"
	KindBefore    v1alpha1.StepKind = "Before"
	KindAfter     v1alpha1.StepKind = "After"
	KindSoak      v1alpha1.StepKind = "Soak"
	KindVerify    v1alpha1.StepKind = "Verify"
	KindFinalize  v1alpha1.StepKind = "Finalize"
)

// undoable is for kinds that leave nothing behind: going back passes them.
type undoable struct{}

func (undoable) Begin(*Scene, *v1alpha1.StepStatus) Move                { return Done() }
func (undoable) Undo(*Scene, *v1alpha1.StepStatus) Move                 { return Done() }
func (undoable) Reversible(*Scene, *v1alpha1.StepStatus) (bool, string) { return true, "" }

// preflight finds what it can before it costs a member: every machine has what the hop's version needs, and the
// platform shows all members.
type preflight struct{ undoable }

func (preflight) Name() v1alpha1.StepKind { return KindPreflight }

func (preflight) Steps(h *HopPlan) []Planned {
	return []Planned{{Place: PlacePreflight, Name: "preflight", Seconds: 1, Waits: []string{"the program of " + h.Hop.To + " on every machine", "all members seen"}}}
}

func (preflight) Look(s *Scene, st *v1alpha1.StepStatus) Move {
	for _, c := range s.sys.Components() {
		if m := s.prepare(c.Name()); m.Kind != MoveDone {
			return m
		}
	}
	if !s.in.Look.Complete {
		return WaitFirmly("platform", "look", "the list of members is not complete")
	}
	return s.saysVersions()
}

// noVersion is said of a member that serves and does not tell what it runs: whether it was replaced could never be told.
const noVersion = "it does not say which version it runs"

// saysVersions waits for every member that serves to say its version, before one is touched that could not be judged afterwards.
func (s *Scene) saysVersions() Move {
	for _, c := range s.sys.Components() {
		for _, f := range s.group(c.Name()).facts {
			if f.expected && f.ready == system.Yes && f.version == "" && !s.Overridden("version") {
				return Wait("member "+f.View.Name, "version", noVersion)
			}
		}
	}
	return Done()
}

const prepareTries = 3

// prepare gets ready what new processes of a component need. It is tried some times: a download may fail. A person may pass what was begun and does not end: one
// machine that is full keeps no member from the others.
func (s *Scene) prepare(component string) Move {
	rev, version := s.wanted(component)
	out := s.in.Look.Prepared[rev]
	if out.Phase == Succeeded {
		return Done()
	}
	what, key := "program of "+component+" "+version, "prepare/"+component+"/"+rev
	r := s.ref(key)
	if r == nil {
		s.step.Runs = append(s.step.Runs, v1alpha1.RunRef{Key: key})
		r = s.ref(key)
	}
	i := v1alpha1.Intent{ID: r.ID, Act: v1alpha1.ActPrepare, Component: component, Revision: rev, Version: version, Why: "get ready what " + version + " needs"}
	switch {
	case r.Tries == 0:
	case s.Overridden("prepared"):
		return Done()
	case r.Failed == "" && out.Phase == NotBegun:
		return Do(i)
	case r.Failed == "" && out.Phase == Underway:
		return Wait(what, "prepared", "under way. "+out.Message)
	case r.Failed == "":
		r.Failed = out.Phase.String() + ". " + out.Message
		r.After.Duration = s.Clock() + retryPause(r.Tries)
	}
	switch {
	case r.Tries >= prepareTries:
		return Fail(v1alpha1.FaultEnvironment, what, "NotPrepared", r.Failed)
	case r.Tries > 0 && s.Clock() < r.After.Duration:
		return Wait(what, "prepared", "is tried again soon: "+r.Failed)
	}
	r.ID, r.Tries, r.Failed = s.NewID(), r.Tries+1, ""
	i.ID = r.ID
	return Do(i)
}

// needs waits for the named rules that an edge demands before its first disruption, and brings them about.
type needs struct{ undoable }

func (needs) Name() v1alpha1.StepKind { return KindNeed }

func (needs) Steps(h *HopPlan) []Planned {
	var out []Planned
	for _, n := range h.Edge.Needs {
		out = append(out, Planned{Place: PlaceNeeds, Name: "need " + n, Arg: n, Component: componentOr(h.System, h.System.Need(n).Component()), Seconds: 10, Waits: []string{n}})
	}
	return out
}

func componentOr(sys *system.System, name string) string {
	if name == "" {
		return sys.Components()[0].Name()
	}
	return name
}

func (needs) Look(s *Scene, st *v1alpha1.StepStatus) Move {
	r := s.sys.Need(st.Arg)
	if r == nil {
		return Fail(v1alpha1.FaultEnvironment, "need "+st.Arg, "UnknownNeed", "the System has no such need any more")
	}
	g := s.group(st.Component)
	if r.UsesThen() {
		if m := s.allAnswer(st, g); m.Kind != MoveDone {
			return m
		}
		s.keepThen(st, g)
	}
	sc := s.scope()
	sc.All, sc.Then = g.all, thenOf(st)
	var left leftover
	m := s.holds(r, "needs/"+st.Arg, g, &sc, &left)
	s.noteLeft(left)
	if m.Kind != MoveDone && r.Bring() != nil {
		return s.bring(r, system.NeedBringPath(st.Arg), g, m)
	}
	return m
}

// allAnswer waits until every wanted member is known to be ready, so that a comparison has a start for each.
func (s *Scene) allAnswer(st *v1alpha1.StepStatus, g *group) Move {
	for _, f := range g.facts {
		if st.Then == "" && f.expected && f.ready != system.Yes && !s.Overridden("ready") {
			return Wait("member "+f.View.Name, "ready", f.why)
		}
	}
	return Done()
}

// takeBackup takes the backup of a hop. It is complete and proved before the first disruption.
type takeBackup struct{ undoable }

func (takeBackup) Name() v1alpha1.StepKind { return KindBackup }

func (takeBackup) Steps(h *HopPlan) []Planned {
	if h.System.API().Backup == nil || h.Attempt.Target.Spec.Backup == nil || h.Edge.Backup == v1alpha1.BackupNone || h.Attempt.Kind != v1alpha1.AttemptUpgrade {
		return nil
	}
	return []Planned{{Place: PlaceBackup, Name: "backup", Seconds: 3, Waits: []string{"the backup is complete and proved"}}}
}

const backupTries = 3

func (takeBackup) Look(s *Scene, st *v1alpha1.StepStatus) Move {
	hop := s.Hop()
	r := s.ref("backup")
	if r == nil {
		st.Runs = append(st.Runs, v1alpha1.RunRef{Key: "backup"})
		return s.beginBackup(s.ref("backup"))
	}
	out := s.in.Look.Backups[hop.Backup]
	rule := "backup"
	required := s.Edge().Backup == v1alpha1.BackupRequired
	if !required && s.Overridden(rule) {
		return Done()
	}
	switch {
	case r.Failed != "" || r.Tries == 0:
	case out.Phase == Succeeded:
		st.Message = hop.Backup
		s.event("BackedUp", "backup "+hop.Backup, out.Message, false)
		return Done()
	case out.Phase == NotBegun:
		return Do(backupIntent(s, r))
	case out.Phase == Underway:
		if out.Message != st.Message {
			st.Message = out.Message
			s.Progress()
		}
		m := Wait("backup "+hop.Backup, rule, "under way. "+out.Message)
		if required {
			m.Wait.Override = ""
		}
		return m
	default: // A backup of unknown outcome is not a backup: another one, under another name, harms nobody.
		r.Failed = out.Phase.String() + ". " + out.Message
		r.After.Duration = s.Clock() + retryPause(r.Tries)
	}
	if r.Tries >= backupTries {
		return Fail(v1alpha1.FaultEnvironment, "backup "+hop.Backup, "BackupFailed", r.Failed)
	}
	if s.Clock() < r.After.Duration {
		return WaitFirmly("backup "+hop.Backup, rule, "failed, is tried again soon: "+r.Failed)
	}
	return s.beginBackup(r)
}

func (s *Scene) beginBackup(r *v1alpha1.RunRef) Move {
	r.ID, r.Tries, r.Failed = s.NewID(), r.Tries+1, ""
	hop := s.Hop()
	hop.Backup = fmt.Sprintf("%s-%s-%s-a%d-%d", s.in.Cluster.Name, hop.From, hop.To, s.attempt.ID, r.ID)
	return Do(backupIntent(s, r))
}

func backupIntent(s *Scene, r *v1alpha1.RunRef) v1alpha1.Intent {
	hop := s.Hop()
	return v1alpha1.Intent{ID: r.ID, Act: v1alpha1.ActBackup, Name: hop.Backup, From: hop.From, Version: hop.To, Why: "before the hop to " + hop.To}
}

// hopHooks runs the hooks before or after a whole hop.
type hopHooks struct {
	undoable
	before bool
}

func (k hopHooks) Name() v1alpha1.StepKind {
	if k.before {
		return KindBefore
	}
	return KindAfter
}

func (k hopHooks) list(e *v1alpha1.Edge) ([]v1alpha1.Hook, string, Place) {
	if k.before {
		return e.Before, "before", PlaceBefore
	}
	return e.After, "after", PlaceAfter
}

// path of a hook of the edge.
func (k hopHooks) path(edge int) func(string) string {
	of := system.HopAfterPath
	if k.before {
		of = system.HopBeforePath
	}
	return func(hook string) string { return of(edge, hook) }
}

func (k hopHooks) Steps(h *HopPlan) []Planned {
	list, name, place := k.list(h.Edge)
	if len(list) == 0 {
		return nil
	}
	p := Planned{Place: place, Name: "hooks " + name, Seconds: float64(len(list)), Component: h.System.Components()[0].Name()}
	for _, hook := range list {
		p.Waits = append(p.Waits, "hook "+hook.Name)
	}
	return []Planned{p}
}

func (k hopHooks) Look(s *Scene, st *v1alpha1.StepStatus) Move {
	list, name, _ := k.list(s.Edge())
	for i := range list {
		g := s.group(componentOr(s.sys, list[i].Component))
		if m := s.hooks(list[i:i+1], k.path(int(s.Hop().Edge)), name, g, ""); m.Kind != MoveDone {
			return m
		}
	}
	return Done()
}

// reversible says whether the hop can still be left backwards.
func (s *Scene) reversible() (bool, string) {
	hop := s.Hop()
	if hop.Finalized && len(s.Edge().UndoAfter) == 0 && !s.surelyNotFinalized() {
		return false, "the hop from " + hop.From + " to " + hop.To + " is finalized, and its edge has no undoAfter"
	}
	return true, ""
}

// openWayBack does what makes a way back possible where the hop was finalized. Every step that disrupts members asks
// it before it goes back; the first one that does makes it true for the rest.
func (s *Scene) openWayBack() Move {
	hop := s.Hop()
	s.noteFinalized()
	if !hop.Finalized || hop.Reopened || s.surelyNotFinalized() {
		return Done()
	}
	if len(s.Edge().UndoAfter) == 0 {
		return Done() // see shut
	}
	if m := s.raiseNew(); m.Kind != MoveDone {
		return m
	}
	if m := s.named(s.Edge().UndoAfter, "make a way back possible"); m.Kind != MoveDone {
		return m
	}
	if s.finalizedAnswer() != system.No && !s.Overridden("way back") {
		// A good reply is not enough: etcd replies at once, and a member of 3.5 that is started before the cluster version is
		// down, some seconds later, does not serve.
		return Wait("hop "+hop.From+" to "+hop.To, "way back", "what opens it was done, and the members do not say yet that it is open")
	}
	hop.Reopened = true
	return Done()
}

// raiseNew starts members that do not run, with the version that the hop reached: no other can run before a way back is
// open, and somebody must be there to open it.
func (s *Scene) raiseNew() Move {
	for _, c := range s.sys.Components() {
		for _, f := range s.group(c.Name()).facts {
			if f.expected && f.State == ProcessAbsent && s.fits(f, true) && s.moving(c.Name()) == nil {
				return Do(startIntent(s, f, s.revisionAfter(c.Name()), s.Hop().To))
			}
		}
	}
	return Done()
}

// shut says that there is no way back any more: the members are all new, the software has finalized the hop, and nothing undoes that.
func (s *Scene) shut() bool {
	s.noteFinalized()
	ok, _ := s.reversible()
	return !ok && s.allNew()
}

// noteFinalized sees that no old member is left though nobody here took the last one, so that the software finalizes the hop.
func (s *Scene) noteFinalized() {
	hop := s.Hop()
	if hop.Finalized || hop.Reopened || s.Edge().Finalizes != v1alpha1.FinalizesWithLastMember || !s.allNew() {
		return
	}
	hop.Finalized = true
	s.event("Finalizing", "hop "+hop.From+" to "+hop.To, "the last member of "+hop.From+" is gone: the software finalizes the hop", true)
}

// allNew says that no member of the hop's start is left. Those that an earlier form of the System brought are new all the same.
func (s *Scene) allNew() bool {
	for _, c := range s.sys.Components() {
		old := s.revisionBefore(c.Name())
		for _, f := range s.group(c.Name()).facts {
			if f.expected && (f.Revision == "" || f.Revision == old || !s.fits(f, true)) { // one that is held has not begun
				return false
			}
		}
	}
	return true
}

// surelyNotFinalized says that the members themselves deny it. The hop counts as finalized from the intent to take the
// last old member on, but where its replacement never came up the software did not get that far. That may still change,
// so it is asked in each look. What Theseus finalizes may be under way, whatever the members say.
func (s *Scene) surelyNotFinalized() bool {
	if s.Edge().Finalizes != v1alpha1.FinalizesWithLastMember {
		return false
	}
	return s.oldRuns() || s.sys.Finalized(int(s.Hop().Edge)) != nil && s.finalizedAnswer() == system.No
}

// finalizedAnswer is what the members say of the hop. Where the edge has no rule, they say what is hoped for.
func (s *Scene) finalizedAnswer() system.Answer {
	r := s.sys.Finalized(int(s.Hop().Edge))
	if r == nil || s.Edge().Finalizes != v1alpha1.FinalizesWithLastMember {
		return system.No
	}
	sc := s.scope()
	sc.All = s.group(componentOr(s.sys, r.Component())).all
	answer, _ := r.Is(&sc)
	return answer
}

// oldRuns says that a member of the hop's start is ready: software that finalizes with its last member has not.
func (s *Scene) oldRuns() bool {
	if s.attempt.Base == nil {
		return false
	}
	for _, c := range s.sys.Components() {
		old := s.revisionBefore(c.Name())
		for _, f := range s.group(c.Name()).facts {
			if f.expected && f.ready == system.Yes && f.Revision == old {
				return true
			}
		}
	}
	return false
}

// named runs actions of the System by name, one after the other.
func (s *Scene) named(names []string, why string) Move {
	for _, n := range names {
		a, err := s.sys.Action(system.NamedActionPath(n))
		if err != nil {
			return Fail(v1alpha1.FaultEnvironment, "action "+n, "UnknownAction", err.Error())
		}
		e := errand{key: "action/" + n, path: system.NamedActionPath(n), action: a, group: s.group(componentOr(s.sys, a.Component)), retries: hookRetries, why: why, counts: true}
		if m := s.run(e); m.Kind != MoveDone {
			return m
		}
	}
	return Done()
}

// soakAll waits until the whole cluster has been ready and settled for the longest soak of its components.
type soakAll struct{ undoable }

func (soakAll) Name() v1alpha1.StepKind { return KindSoak }

func (soakAll) Steps(h *HopPlan) []Planned {
	if startsAll(h.Attempt.Kind) {
		return nil // nobody uses it yet
	}
	if len(h.System.Components()) == 1 && h.Edge.Strategy != v1alpha1.Recreate {
		return nil // the soak of the last member was the group's
	}
	longest := 0.0
	for _, c := range h.System.Components() {
		longest = max(longest, h.Soak(c.Name()))
	}
	return []Planned{{Place: PlaceSoak, Name: "soak", Seconds: longest, Waits: []string{"all members ready and settled for the soak"}}}
}

func (soakAll) Look(s *Scene, st *v1alpha1.StepStatus) Move {
	if m := s.allGood(); m.Kind != MoveDone {
		st.Since = nil
		return m
	}
	if st.Since == nil {
		c := s.attempt.Clock
		st.Since = &c
	}
	longest := s.healingSoak() / 2
	if left := longest - (s.Clock() - st.Since.Duration); left > 0 && !s.Overridden(soakRule) {
		return waitFor(left, "cluster", soakRule, fmt.Sprintf("stays ready and settled for %s", longest))
	}
	return Done()
}

// allGood waits for every member to be ready, at the wanted revision and version, and every group to have settled.
func (s *Scene) allGood() Move {
	for _, c := range s.sys.Components() {
		rev, version := s.wanted(c.Name())
		g := s.group(c.Name())
		s.noteProcesses(g.facts)
		for _, f := range g.facts {
			object := "member " + f.View.Name
			switch {
			case !f.expected:
				continue
			case f.Revision != "" && f.Revision != rev:
				return WaitFirmly(object, "revision", "it has another revision than the wanted one")
			case f.Broken != "" && f.Revision == rev:
				return Fail(v1alpha1.FaultMember, object, "MemberBroken", f.Broken)
			case s.unfit(f):
				return Wait(object, "volume", "it has no volume that was made for "+version)
			case f.State == ProcessAbsent && s.moving(c.Name()) == nil:
				return Do(startIntent(s, f, rev, version))
			case s.crashes(f) >= crashLimit && f.ready != system.Yes:
				return f.crashLoop()
			case f.ready != system.Yes && !s.Overridden("ready"):
				return Wait(object, "ready", f.lacks())
			}
			if m := s.runs(f, version); m.Kind != MoveDone {
				return m
			}
		}
		if m := s.settle(g); m.Kind != MoveDone {
			return m
		}
	}
	return Done()
}

// runs waits until a member says that it runs a version.
func (s *Scene) runs(f *fact, version string) Move {
	object := "member " + f.View.Name
	switch {
	case s.Overridden("version"):
	case f.version == "":
		return Wait(object, "version", noVersion)
	case !s.sys.SameVersion(f.version, version):
		return Fail(v1alpha1.FaultCheck, object, "WrongVersion", "it says that it runs "+f.version+", not "+version)
	}
	return Done()
}

// verify asks the rules of the edge once all members are replaced. A rule that does not hold in time is a reason to
// go back.
type verify struct{ undoable }

func (verify) Name() v1alpha1.StepKind { return KindVerify }

func (verify) Steps(h *HopPlan) []Planned {
	p := Planned{Place: PlaceVerify, Name: "verify", Waits: []string{"every member says " + h.Hop.To}}
	for _, r := range h.Edge.Verify {
		p.Waits = append(p.Waits, r.Rule)
	}
	return []Planned{p, {Place: PlaceCheck, Name: "check", Waits: []string{"every member ready, and all rules still hold"}}}
}

func (verify) Look(s *Scene, st *v1alpha1.StepStatus) Move {
	if m := s.allGood(); m.Kind != MoveDone {
		return m
	}
	if s.Hop().Edge < 0 {
		return Done()
	}
	for _, r := range s.sys.Verify(int(s.Hop().Edge)) {
		g := s.group(componentOr(s.sys, r.Component()))
		sc := s.scope()
		sc.All = g.all
		m := s.holds(r, "verify/"+r.Name(), g, &sc, nil)
		if m.Kind != MoveDone && r.Bring() != nil {
			return s.bring(r, system.VerifyBringPath(int(s.Hop().Edge), r.Name()), g, m)
		}
		if m.Kind != MoveDone {
			return m
		}
	}
	return Done()
}

// finalize makes a hop irreversible, or waits until the software is seen to have done so.
type finalize struct{}

func (finalize) Name() v1alpha1.StepKind { return KindFinalize }

func (finalize) Steps(h *HopPlan) []Planned {
	if startsAll(h.Attempt.Kind) {
		return nil
	}
	switch h.Edge.Finalizes {
	case v1alpha1.FinalizesTheseus:
		return []Planned{{Place: PlaceFinalize, Name: "finalize", Component: h.System.Components()[0].Name(), Seconds: 1, Irreversible: true, Waits: finalizeWaits(h)}}
	case v1alpha1.FinalizesWithLastMember:
		return []Planned{{Place: PlaceFinalize, Name: "finalized", Component: h.System.Components()[0].Name(), Seconds: 2, Waits: []string{"the software is seen to have finalized " + h.Hop.To}}}
	}
	return nil
}

func finalizeWaits(h *HopPlan) []string {
	if h.Last && h.Cluster.Spec.Upgrade.Finalize == v1alpha1.Manual {
		return []string{"a person's approval: finalize"}
	}
	return nil
}

func (finalize) Begin(s *Scene, st *v1alpha1.StepStatus) Move {
	if s.Edge().Finalizes != v1alpha1.FinalizesTheseus {
		return Done()
	}
	return s.approval()
}

func (finalize) Look(s *Scene, st *v1alpha1.StepStatus) Move {
	hop, edge := s.Hop(), s.Edge()
	if edge.Finalizes == v1alpha1.FinalizesTheseus {
		hop.Finalized = true
		if m := s.named(edge.Finalize, "finalize "+hop.To); m.Kind != MoveDone {
			return m
		}
	}
	if r := s.sys.Finalized(int(hop.Edge)); r != nil {
		g := s.group(componentOr(s.sys, r.Component()))
		sc := s.scope()
		sc.All = g.all
		if m := s.holds(r, "finalized", g, &sc, nil); m.Kind != MoveDone {
			return m
		}
	}
	return Done()
}

func (finalize) Undo(s *Scene, _ *v1alpha1.StepStatus) Move { return s.openWayBack() }

func (finalize) Reversible(s *Scene, _ *v1alpha1.StepStatus) (bool, string) { return s.reversible() }
