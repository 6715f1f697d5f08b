package e2e

import (
	"errors"
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
	c := play(t, "aerospike", "3000", spec, "asinfo", "asbackup",
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
