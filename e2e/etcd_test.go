package e2e

import (
	"slices"
	"strings"
	"testing"

	"theseus.dev/api/v1alpha1"
)

// TestEtcdTwoHops goes over two minors with clients at work, a backup before each hop, and each leader handed over.
func TestEtcdTwoHops(t *testing.T) {
	t.Parallel()
	c := newEtcd(t, etcdSetup{version: etcd35, upgrade: "soak: 1s"})
	c.up()
	c.runs(etcd35, "3.5.0")
	w := c.clients()
	c.must(0, "upgrade", c.name, "--to", etcd37)
	c.runs(etcd37, "3.7.0")
	w.check()
	c.alone()
	if got := c.backups("Complete"); len(got) != 2 || !strings.Contains(got[0], "_"+etcd35+"_"+etcd36+"_") || !strings.Contains(got[1], "_"+etcd36+"_"+etcd37+"_") {
		t.Errorf("complete backups: %q, want one before each hop", got)
	}
	if got := c.events("Run", handsOver); len(got) < 2 {
		t.Errorf("%d handovers, want one in each hop at least\n%s", len(got), c.story())
	}
}

// TestEtcdFreshSnapshot goes back to back to 3.7. Without needs: [freshSnapshot] the first member of 3.7 dies on what 3.5 wrote to the
// log; with it none does.
//
// The log must have something of 3.5 behind the last snapshot. A young cluster may not: 3.6 takes a snapshot by itself where it
// reads the log from its beginning. So there is a snapshot first, and then members of 3.5 start and announce themselves.
func TestEtcdFreshSnapshot(t *testing.T) {
	t.Parallel()
	c := newEtcd(t, etcdSetup{version: etcd35, upgrade: "soak: 1s", options: `snapshotCount: "500"`,
		system: func(s *v1alpha1.System) { s.Edges[edgeTo37].Needs = []string{"noDowngrade"} }})
	c.up()
	c.keeps("k", 510)
	c.must(0, "restart", c.name)
	c.must(1, "upgrade", c.name, "--to", etcd37)
	c.ended(v1alpha1.PhaseRolledBack, etcd36, "CrashLoop")
	stopped := c.objects("Stop", "replace it by "+etcd37)
	if len(stopped) != 1 {
		t.Fatalf("stopped for %s: %q, want one\n%s", etcd37, stopped, c.story())
	}
	if log := c.log(ordinal(stopped[0]), 0); !strings.Contains(log, "cannot parse invalid wire-format data") {
		t.Errorf("%s died of something else", stopped[0])
	}
	c.has(0, "k", 510)

	c.system(nil)
	c.must(0, "upgrade", c.name, "--to", etcd37)
	c.ended(v1alpha1.PhaseSucceeded, etcd37, "")
	c.has(0, "k", 510)
}

// TestEtcdSoak takes a release that answers that it is healthy, and dies four seconds later. As shipped, one member shows it;
// without a soak it has passed by then, and the next one is taken.
func TestEtcdSoak(t *testing.T) {
	t.Parallel()
	c := newEtcd(t, etcdSetup{version: etcd37})
	c.up()
	w := c.clients()
	c.must(1, "upgrade", c.name, "--to", etcdBroken)
	c.ended(v1alpha1.PhaseRolledBack, etcd37, "CrashLoop")
	w.check()
	if stopped := c.objects("Stop", "replace it by "+etcdBroken); len(stopped) != 1 {
		t.Errorf("stopped for %s: %q, want one\n%s", etcdBroken, stopped, c.story())
	}
	if passed := c.objects("MemberReplaced", "runs "+etcdBroken); len(passed) != 0 {
		t.Errorf("%q passed all checks with %s\n%s", passed, etcdBroken, c.story())
	}

	c.system(func(s *v1alpha1.System) { s.Components[0].Soak.Duration = 0 })
	c.theseus("upgrade", c.name, "--to", etcdBroken)
	if passed := c.objects("MemberReplaced", "runs "+etcdBroken); len(passed) == 0 {
		t.Errorf("without a soak the broken release was found out all the same\n%s", c.story())
	}
	if stopped := c.objects("Stop", "replace it by "+etcdBroken); len(stopped) < 2 {
		t.Errorf("without a soak the broken release took %q only\n%s", stopped, c.story())
	}
}

// TestEtcdApproval waits for a person before the last member of 3.5 goes, because the cluster version rises with it.
func TestEtcdApproval(t *testing.T) {
	t.Parallel()
	c := newEtcd(t, etcdSetup{version: etcd35, upgrade: "soak: 500ms, finalize: Manual", options: `snapshotCount: "1000"`})
	c.up()
	c.keeps("k", 20)
	c.must(4, "upgrade", c.name, "--to", etcd36)
	c.waitsForApproval()
	c.must(0, "rollback", c.name)
	c.ended(v1alpha1.PhaseRolledBack, etcd35, "")
	if c.events("Run", opensWayBack) != nil {
		t.Errorf("the way back was opened, and it was not shut\n%s", c.story())
	}

	c.must(4, "upgrade", c.name, "--to", etcd36)
	c.waitsForApproval()
	c.must(0, "finalize", c.name)
	c.ended(v1alpha1.PhaseSucceeded, etcd36, "")

	// Not told who finalizes, nobody is asked.
	c.system(func(s *v1alpha1.System) {
		e := &s.Edges[edgeTo37]
		e.Finalizes, e.Finalized, e.UndoAfter = v1alpha1.FinalizesNobody, "", nil
	})
	c.must(0, "upgrade", c.name, "--to", etcd37)
	c.runs(etcd37, "3.7.0")
	c.has(0, "k", 20)
}

func (c *etcdCluster) waitsForApproval() {
	c.Helper()
	if w := c.attempt().WaitingFor; w == nil || w.Rule != "approval" {
		c.Fatalf("waits for %+v, want an approval\n%s", w, c.story())
	}
	var run []string
	for i := range 3 {
		v := c.versions(i)
		run = append(run, v.Etcdserver)
		if v.Etcdcluster != "3.5.0" {
			c.Errorf("the cluster version is %s, want 3.5.0", v.Etcdcluster)
		}
	}
	if slices.Sort(run); !slices.Equal(run, []string{etcd35, etcd36, etcd36}) {
		c.Errorf("the members run %q, want the last one at %s", run, etcd35)
	}
}

// neverVerified lets a hop fail when all is done.
func neverVerified(s *v1alpha1.System) {
	s.Edges[edgeTo36].Verify = []v1alpha1.Rule{{Rule: "never", Is: "all.exists(x, x.versions.json.etcdserver == 'never')"}}
}

// TestEtcdUndoAfter fails when every member runs 3.6 and the cluster version has risen. As shipped, the way back is opened by a
// downgrade; without undoAfter there is none.
func TestEtcdUndoAfter(t *testing.T) {
	t.Parallel()
	c := newEtcd(t, etcdSetup{version: etcd35, upgrade: "soak: 500ms, progressDeadline: 25s", system: neverVerified})
	c.up()
	w := c.clients()
	c.must(1, "upgrade", c.name, "--to", etcd36)
	c.ended(v1alpha1.PhaseRolledBack, etcd35, "ProgressDeadlineExceeded")
	c.openedBefore()

	// At once, so that etcd still has the downgrade under way: with that the cluster version would not rise.
	c.system(func(s *v1alpha1.System) { neverVerified(s); s.Edges[edgeTo36].UndoAfter = nil })
	c.must(1, "upgrade", c.name, "--to", etcd36)
	t.Logf("asked %d times whether a downgrade is under way", len(c.events("Run", "hook noDowngrade")))
	c.rests(v1alpha1.PhasePaused, "ProgressDeadlineExceeded")
	if why := c.attempt().Rest; !strings.Contains(why, "there is no way back") || !strings.Contains(why, "undoAfter") {
		t.Errorf("rests because %q, want a word on the missing way back", why)
	}
	c.runs(etcd36, "3.6.0")
	c.adopt()
	c.must(0, "resume", c.name)
	c.ended(v1alpha1.PhaseSucceeded, etcd36, "")
	w.check()
}

// openedBefore checks that the downgrade came before the first member went back.
func (c *etcdCluster) openedBefore() {
	c.Helper()
	opened := false
	for _, e := range c.object().Status.Events {
		switch {
		case e.Reason == "Run" && strings.Contains(e.Message, opensWayBack):
			opened = true
		case e.Reason == "Stop" && strings.Contains(e.Message, "replace it by "+etcd35) && !opened:
			c.Errorf("%s went back before the way was open\n%s", e.Object, c.story())
		}
	}
	if !opened {
		c.Errorf("the way back was never opened\n%s", c.story())
	}
}

// TestEtcdHandover replaces the members one by one. A handover that fails leaves the leader in peace; as shipped, the leader is
// none any more when it is asked to end; without a handover it is just taken down.
func TestEtcdHandover(t *testing.T) {
	t.Parallel()
	wrongPath := func(s *v1alpha1.System) { s.Components[0].Roles[1].Handover.Post = ":client/v3/no-such-path" }
	c := newEtcd(t, etcdSetup{version: etcd36, upgrade: "soak: 500ms", options: `snapshotCount: "1000", election: "3000"`, system: wrongPath})
	c.up()
	w := c.clients()
	leader := c.leads()
	_, process := c.processes(leader)
	c.must(1, "restart", c.name)
	c.rests(v1alpha1.PhasePaused, "ActionFailed")
	if _, now := c.processes(leader); now != process || c.leads() != leader {
		t.Errorf("the leader was %s with process %d; now %s leads, and that process is %d\n%s", c.member(leader), process, c.member(c.leads()), now, c.story())
	}

	before := len(c.log(leader, 0))
	c.adopt()
	c.must(0, "resume", c.name)
	c.ended(v1alpha1.PhaseSucceeded, etcd36, "")
	if !c.gaveAway(leader, before) {
		t.Errorf("%s was asked to end while it led\n%s", c.member(leader), c.story())
	}
	w.check()

	// A restart would keep the System that the members were rolled with.
	c.system(func(s *v1alpha1.System) {
		s.Components[0].Roles[1].Handover, s.Components[0].Roles[1].HandoverOnlyTo = nil, ""
	})
	leader = c.leads()
	before = len(c.log(leader, 0))
	c.must(0, "upgrade", c.name, "--to", etcd37)
	if c.gaveAway(leader, before) {
		t.Errorf("%s gave its role away, and nobody told it to\n%s", c.member(leader), c.story())
	}
}

// gaveAway says whether a member's log has the end of its leadership before the signal to end. etcd tries to give it away by
// itself then, too late to be seen to.
func (c *etcdCluster) gaveAway(member, since int) bool {
	c.Helper()
	log, _, ended := strings.Cut(c.log(member, since), "received signal; shutting down")
	if !ended {
		c.Fatalf("%s was not asked to end", c.member(member))
	}
	return strings.Contains(log, "became follower at term")
}

// ordinal of a member, from the object of an event.
func ordinal(object string) int { return int(object[len(object)-1] - '0') }
