//go:build linux

package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"theseus.dev/api/v1alpha1"
)

// TestCommandData probes a real etcd from outside while it is upgraded, and restores a backup of it into a new cluster, by commands alone.
func TestCommandData(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	versions := etcdVersions(t)
	loadTheseus(t)
	loadEtcd(t, versions["3.5"])
	loadEtcd(t, versions["3.6"])
	c.installChart()
	c.apply(backupClaim)
	p := &person{c: c, dir: t.TempDir()}
	file := func(name, version string) string {
		return strings.NewReplacer("{name: kv}", "{name: "+name+"}", "VERSION", version).Replace(etcdCluster)
	}
	p.write("kv.yaml", file("kv", versions["3.5"]))
	p.exits(0, "up", "kv.yaml").prints("kv runs " + versions["3.5"])
	p.exits(0, "status", "--all-namespaces").prints(c.namespace + " +kv +3")
	p.probed(versions["3.6"])

	for i := range 20 {
		c.put("kv-etcd-0", fmt.Sprintf("key-%d", i), fmt.Sprintf("value-%d", i))
	}
	b := &v1alpha1.Backup{}
	taken := p.exits(0, "backup", "kv", "--json")
	must(t, json.Unmarshal([]byte(taken.out), b))
	p.write("kv2.yaml", file("kv2", versions["3.6"]))
	p.exits(2, "restore", "kv2.yaml", "--from", "nothing").says("there is no such Backup", b.Name)
	p.exits(2, "restore", "kv.yaml", "--from", b.Name).says("nothing is restored over a cluster that exists")
	p.write("wrong.yaml", strings.Replace(file("kv2", versions["3.6"]), "8m", "-8m", 1))
	p.exits(2, "restore", "wrong.yaml", "--from", b.Name).says("progressDeadline")
	if _, err := c.get(t.Context(), "kv2"); err == nil || p.restores() != 0 {
		t.Fatalf("refused restores left %d Restores, or a Cluster", p.restores())
	}

	p.exits(1, "restore", "kv2.yaml", "--from", strings.Replace(b.Status.Name, "kv/", "kv9/", 1), "--url", "file:///backups").says("there is no such backup", "theseus down kv2 --delete-data")
	p.exits(0, "down", "kv2", "--delete-data", "--yes").prints("kv2 is deleted")
	p.exits(0, "restore", "kv2.yaml", "--from", b.Name).prints("kv2 runs "+versions["3.6"]+", 3 of 3").says("the volumes of Cluster kv2 have the data of "+b.Status.Name, "may be missing")
	for i := range 20 {
		if got := c.read("kv2-etcd-1", fmt.Sprintf("key-%d", i)); got != fmt.Sprintf("value-%d", i) {
			t.Errorf("key-%d of the new cluster is %q", i, got)
		}
	}
}

func (p *person) restores() int {
	p.c.t.Helper()
	list := v1alpha1.RestoreList{}
	out := p.c.mustKubectl("", "get", "restores.theseus.dev", "--output", "json")
	must(p.c.t, json.Unmarshal([]byte(out), &list))
	return len(list.Items)
}

// probed measures an upgrade from a pod beside the members: what was acknowledged is there, and the pod is not, afterwards.
func (p *person) probed(to string) {
	t := p.c.t
	t.Helper()
	p.exits(2, "probe", "kv", "--rate", "0").says("--rate 0")
	p.exits(2, "probe", "kv", "--deadline", "500ms").says("--deadline 500ms", "--try-timeout, 1s")
	p.exits(1, "probe", "kv", "--image", "lab.test/none:1").says("the probe does not start", "--image")
	cmd, out, talk := p.start(program(t), "probe", "kv", "--rate", "20", "--deadline", "30s", "--try-timeout", "5s", "--baseline", "6s", "--settle", "6s", "--out", "verdict", "--json")
	p.c.eventually("the probe measures", func(context.Context) error {
		if !strings.Contains(talk.String(), "start an upgrade") {
			return errors.New(talk.String())
		}
		return nil
	})
	p.exits(0, "upgrade", "kv", "--to", to)
	_ = cmd.Wait()
	verdict := struct {
		Outcome, Level string
		Facts          struct {
			SameResources struct{ Outcome, Why string } `json:"sameResources"`
		} `json:"facts"`
		Result struct {
			Windows []struct {
				Window   string
				Requests int64
			} `json:"windows"`
			Ledger struct {
				Acked, Lost, Wrong, Stale, KeepsakesGone int64
			} `json:"ledger"`
		} `json:"result"`
	}{}
	if err := json.Unmarshal(out.Bytes(), &verdict); err != nil {
		t.Fatalf("%v:\n%s", err, talk.String())
	}
	t.Logf("%s", talk.String())
	l := verdict.Result.Ledger
	if l.Acked == 0 || l.Lost+l.Wrong+l.Stale+l.KeepsakesGone > 0 || verdict.Facts.SameResources.Outcome != "pass" {
		t.Errorf("the ledger is %+v, and %+v", l, verdict.Facts.SameResources)
	}
	t.Logf("%s at %s", verdict.Outcome, verdict.Level)
	if windows := verdict.Result.Windows; len(windows) < 3 || windows[1].Window != "upgrade" || windows[1].Requests == 0 || verdict.Level == "" {
		t.Errorf("the windows are %+v, the level %q", windows, verdict.Level)
	}
	if jobs := p.c.mustKubectl("", "get", "jobs", "--selector=app.kubernetes.io/name=theseus-probe", "--output=name"); strings.TrimSpace(jobs) != "" {
		t.Errorf("the probe left %s", jobs)
	}
	_, err := os.Stat(filepath.Join(p.dir, "verdict", "report.html"))
	must(t, err)
}
