package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"theseus.dev/api/v1alpha1"
)

const aerospikeCluster = `
apiVersion: theseus.dev/v1alpha1
kind: Cluster
metadata: {name: NAME}
spec:
  system: aerospike
  version: VERSION
  components:
    aerospike:
      replicas: 3
      env: MEMBERS
  upgrade: {soak: 300ms, progressDeadline: 15s}
`

const aerospikeBackup = "  backup: {url: \"file://DIR/backups\"}\n"

func aerospike(t *testing.T, version, more string) *played {
	t.Helper()
	spec := strings.NewReplacer("MEMBERS", standinEnv("service"), "VERSION", version).Replace(aerospikeCluster) + more
	c := play(t, "aerospike", "3000", spec, "asinfo", "asbackup", "asrestore",
		"asd-4.0.0.4", "asd-4.1.0.6", "asd-4.2.0.3", "asd-4.2.0.4", "asd-4.2.0.10", "asd-4.3.0.2", "asd-4.3.0.10")
	c.up()
	return c
}

// marked leaves a file in the data folder of each member; unmarked are the members whose folder was emptied since.
func (c *played) marked() {
	c.Helper()
	for i := range 3 {
		if err := os.WriteFile(c.mark(i), nil, 0o600); err != nil {
			c.Fatal(err)
		}
	}
}

func (c *played) mark(i int) string {
	return c.path("home", c.name, "members", c.member(i), "data", "mark")
}

func (c *played) unmarked() (members int) {
	for i := range 3 {
		if _, err := os.Stat(c.mark(i)); errors.Is(err, os.ErrNotExist) {
			members++
		}
	}
	return members
}

// TestAerospikeDocument goes the document's way: no upgrade without a place for backups, only listed versions and paths, the backup first,
// the volumes made anew with 4.2 and only then, one member after the other, nothing lost.
func TestAerospikeDocument(t *testing.T) {
	t.Parallel()
	c := aerospike(t, "4.1.0.6", "")
	c.refuses("spec.backup: the hop from 4.1.0.6 to 4.2.0.10 requires a backup and there is no place for it", "upgrade", c.name, "--to", "4.2.0.10")
	c.write("cluster.yaml", c.text+strings.ReplaceAll(aerospikeBackup, "DIR", c.dir))
	c.must(0, "up", c.path("cluster.yaml"))
	c.refuses("is not listed", "upgrade", c.name, "--to", "4.2.0.6")
	c.refuses("is a downgrade", "upgrade", c.name, "--to", "4.0.0.4")
	c.refuses("it changes together with the version", "upgrade", c.name, "--to", "4.2.0.10", "--set=config=/etc/other")
	c.refuses("cannot change once the cluster was created", "upgrade", c.name, "--to", "4.2.0.10", "--set=replicationFactor=1")

	w := c.writes()
	c.marked()
	c.upgrade(0, "4.2.0.10")
	c.ended(v1alpha1.PhaseSucceeded, "4.2.0.10")
	c.tells([]string{"BackedUp backup " + c.attempt().Hops[0].Backup, "Stop aerospike-2", "Renew aerospike-2", "Stop aerospike-1", "Renew aerospike-1",
		"Stop aerospike-0", "Renew aerospike-0"}, "BackedUp", "Stop", "Renew")
	if n := c.unmarked(); n != 3 {
		t.Errorf("%d volumes were made anew, want 3", n)
	}
	if !strings.HasPrefix(c.attempt().Hops[0].Backup, c.name+"-4.1.0.6-4.2.0.10-") {
		t.Errorf("the backup is called %s, and 4.20.1.0 could be meant", c.attempt().Hops[0].Backup)
	}

	c.marked()
	c.upgrade(0, "4.3.0.2")
	c.ended(v1alpha1.PhaseSucceeded, "4.3.0.2")
	if n := c.unmarked(); n != 0 {
		t.Errorf("%d volumes were made anew, want none", n)
	}
	w.check()
	forgot := 0
	for name, n := range c.actions() {
		if strings.HasPrefix(name, "tip-clear.127.") {
			forgot += n
		}
	}
	if forgot < 6 { // those before a volume was emptied are gone with it
		t.Errorf("the others were told %d times to forget an address, want 6 at least", forgot)
	}
	if backups, _ := filepath.Glob(c.path("backups", "*", "*")); len(backups) < 2 {
		t.Errorf("there are the backups %v, want one of each upgrade", backups)
	}
}

// TestAerospikeMigrations: while a member has migrations left no other one goes; if they do not end the member goes back.
func TestAerospikeMigrations(t *testing.T) {
	t.Parallel()
	c := aerospike(t, "4.2.0.3", aerospikeBackup)
	c.control(`{"versions": {"4.2.0.4": {"neverSettled": true}}}`)
	c.upgrade(1, "4.2.0.4")
	c.ended(v1alpha1.PhaseRolledBack, "4.2.0.3")
	c.tells([]string{"Stop aerospike-2", "RollingBack ", "Stop aerospike-2"}, "Stop", "RollingBack")
	if f := c.attempt().Failure; f == nil || !strings.Contains(f.Message, "settled/no migrations") {
		t.Errorf("failure %+v, want it to speak of the migrations", f)
	}
}

// TestAerospikeBackupFails: nothing is touched.
func TestAerospikeBackupFails(t *testing.T) {
	t.Parallel()
	c := aerospike(t, "4.2.0.3", aerospikeBackup)
	if err := os.Remove(c.path("programs", "asbackup")); err != nil {
		t.Fatal(err)
	}
	c.must(1, "upgrade", c.name, "--to", "4.2.0.4")
	if a := c.attempt(); a.Phase != v1alpha1.PhasePaused || a.Disrupted || a.Failure == nil || a.Failure.Reason != "BackupFailed" {
		t.Errorf("%s, failure %+v, want it paused by the backup", a.Phase, a.Failure)
	}
	c.tells(nil, "Stop", "Configure")
	c.allAt("4.2.0.3")
}

// TestAerospikeVolumesBack: going back, the volumes of those that had gone forward are made anew once more; the others keep theirs.
func TestAerospikeVolumesBack(t *testing.T) {
	t.Parallel()
	c := aerospike(t, "4.1.0.6", aerospikeBackup)
	c.control(`{"members": {"NAME-aerospike-1@4.2.0.3": {"exitAtStart": 1}}}`)
	w := c.writes()
	c.marked()
	c.upgrade(1, "4.2.0.3")
	c.ended(v1alpha1.PhaseRolledBack, "4.1.0.6")
	c.tells([]string{"Renew aerospike-2", "Renew aerospike-1", "RollingBack ", "Renew aerospike-1", "Renew aerospike-2"}, "Renew", "RollingBack")
	if n := c.unmarked(); n != 2 {
		t.Errorf("%d volumes were made anew, want 2", n)
	}
	w.check()
}

// beside is another cluster like this one, which is made from a backup of it: keys are written, checked, and backed up. The text is laid over its spec.
func (c *played) beside(more string) (other *played, backup string, keys map[string]string) {
	c.Helper()
	w := c.writes()
	w.check()
	r := c.must(0, "backup", c.name)
	backup, _, _ = strings.Cut(r.out, "  ")
	o := *c.cluster
	o.name = c.name + "-new"
	other = &played{cluster: &o, text: strings.Replace(c.text, "{name: "+c.name+"}", "{name: "+o.name+"}", 1) + more}
	c.write("new.yaml", other.text)
	c.Cleanup(func() {
		if _, err := os.Stat(c.path("home", o.name)); err == nil {
			other.must(0, "down", o.name)
		}
	})
	return other, backup, w.acked
}

// has wants all keys, from each member.
func (c *played) has(keys map[string]string) {
	c.Helper()
	for key, value := range keys {
		for i := range 3 {
			if got := c.get(i, key); got != value {
				c.Errorf("member %d has %q for %s, want %q", i, got, key, value)
			}
		}
	}
}

// loading is what the journal notes of a restore into the members.
func (c *played) loading() *v1alpha1.Loading {
	c.Helper()
	if _, err := os.Stat(c.path("home", c.name, "status.json")); err != nil {
		return nil
	}
	return c.object().Status.Loading
}

// refused wants a command to end with a code and to say words, one after the other.
func (c *played) refused(code int, words []string, args ...string) {
	c.Helper()
	r := c.must(code, args...)
	for _, w := range words {
		if !strings.Contains(r.err+r.out, w) {
			c.Errorf("theseus %s: got %s, want %q in it", strings.Join(args, " "), r, w)
		}
	}
}

// TestAerospikeRestore: a backup is written into the members of a new cluster when they are ready, once; one that does not fit fails with the program's words,
// and that cluster is no cluster to go on with.
func TestAerospikeRestore(t *testing.T) {
	t.Parallel()
	c := aerospike(t, "4.2.0.3", aerospikeBackup)
	other, backup, keys := c.beside("")
	c.refused(0, []string{"writing " + backup + " into " + other.name + " by way of " + other.member(0), "has the data of " + backup}, "restore", c.path("new.yaml"), "--from", backup)
	other.has(keys)
	if l := other.loading(); l != nil {
		t.Errorf("the journal still notes %+v", l)
	}
	other.upgrade(0, "4.2.0.4")
	other.has(keys)
	other.must(0, "down", other.name, "--delete-data", "--yes")

	c.write("new.yaml", other.text+"  options: {namespace: another}\n")
	again := "theseus down " + other.name + " --delete-data"
	c.refused(1, []string{"is no backup of namespace another", again, "then restore again"}, "restore", c.path("new.yaml"), "--from", backup)
	c.refused(0, []string{"restoring", "the data is not complete", "is no backup of namespace another"}, "status", other.name)
	c.refused(1, []string{"the data is not complete", again}, "upgrade", other.name, "--to", "4.2.0.4")
	other.allAt("4.2.0.3")
}

// TestAerospikeRestoreKilled: what was begun goes to its end and is seen by the next command; what was not is told, and done anew.
func TestAerospikeRestoreKilled(t *testing.T) {
	t.Parallel()
	c := aerospike(t, "4.2.0.3", aerospikeBackup)
	other, backup, keys := c.beside("")
	c.make("played")
	slow := fmt.Sprintf("#!/bin/sh\nwhile [ ! -e %s ]; do sleep 0.05; done\nexec %s \"$@\"\n", c.path("go"), c.path("played", "asrestore"))
	if err := errors.Join(os.Rename(c.path("programs", "asrestore"), c.path("played", "asrestore")), os.WriteFile(c.path("programs", "asrestore"), []byte(slow), 0o700)); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	kill := func(what string, when func() bool) {
		t.Helper()
		r := c.start(theseus, "restore", c.path("new.yaml"), "--from", backup)
		c.await(what, func() bool { return other.loading() != nil && when() })
		if err := r.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		c.wait(r)
	}

	c.control(`{"neverReady": true}`)
	kill("the members are started", func() bool { return other.object().Status.Attempt != nil })
	c.control("")
	c.refused(0, []string{"was cut off before anything was written"}, "status", other.name)
	c.refused(1, []string{"was cut off before anything was written", "theseus down " + other.name + " --delete-data"}, "up", c.path("new.yaml"))
	other.must(0, "down", other.name, "--delete-data", "--yes")

	kill("the program is started", func() bool {
		text, err := os.ReadFile(c.path("home", other.name, "restores", "restore", "progress"))
		return err == nil && strings.HasPrefix(string(text), "writing")
	})
	c.refused(4, []string{"is being written into the members: writing by way of " + other.member(0)}, "up", c.path("new.yaml"))
	c.write("go", "")
	c.await("it is written", func() bool { return !strings.Contains(c.must(0, "status", other.name).out, "restoring") })
	other.must(0, "up", c.path("new.yaml"))
	other.has(keys)
}
