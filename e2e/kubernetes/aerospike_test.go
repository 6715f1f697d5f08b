//go:build linux

package kubernetes

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"theseus.dev/api/v1alpha1"
)

const aerospikeCluster = `
apiVersion: theseus.dev/v1alpha1
kind: Cluster
metadata: {name: as}
spec:
  system: aerospike
  version: 4.1.0.6
  components:
    aerospike:
      replicas: 2
      storage: 10Mi
      image: "lab.test/aerospike:${version}"PLAYED
  upgrade: {soak: 300ms, progressDeadline: 8m}
`

const aerospikePeers = "${all.map(x, x.name + '=' + x.host + ':' + string(x.port.service)).join(',')}"

var aerospikePrograms = []string{"/usr/bin/asd", "/usr/bin/asinfo", "/usr/bin/asbackup", "/usr/bin/asrestore", "/bin/grep"}

// TestAerospike goes the way of the Aerospike operator's document "Upgrading Clusters" with the shipped System and the chart's rights: no upgrade without a place for
// backups, only listed versions and paths; the backup first; volumes made anew with 4.2 and only then, one member after the other; migrations waited for; the others
// told to forget a member. Two members, as there. Questions and actions run asinfo in the pods.
func TestAerospike(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	loadTheseus(t)
	loadPlayed(t, "aerospike", "asd", aerospikePrograms, []string{"4.1.0.6", "4.2.0.10", "4.3.0.2"})
	c.installChart()
	c.knobs("aerospike", `{"members": {"as-aerospike-1@4.3.0.2": {"settledAfter": "20s"}}}`) // longer than questions by exec take on a busy machine
	c.apply(backupClaim)
	c.applyAdmitted(aerospikeCluster, "PLAYED", playedBy("aerospike", aerospikePeers, "service"))
	c.await("as", "runs 4.1.0.6", settledAt("4.1.0.6"))

	c.refuses("as", `{"spec": {"version": "4.2.0.10"}}`, "spec.backup: the hop from 4.1.0.6 to 4.2.0.10 requires a backup and there is no place for it")
	before := c.uids()
	c.edit("as", `{"spec": {"backup": {"url": "file:///backups", "claim": "backups"}}}`) // restarts nobody: see below
	c.refuses("as", `{"spec": {"version": "4.2.0.6"}}`, "is not listed")
	c.refuses("as", `{"spec": {"version": "4.0.0.4"}}`, "is a downgrade")
	c.refuses("as", `{"spec": {"version": "4.2.0.10", "options": {"config": "/etc/other"}}}`, "changes together with spec.version")
	c.refuses("as", `{"spec": {"version": "4.2.0.10", "components": {"aerospike": {"replicas": 5}}}}`, "spec.components.aerospike: changes together with spec.version")
	c.refuses("as", `{"spec": {"options": {"replicationFactor": "1"}}}`, "replicationFactor")
	written := c.write20()
	if now := c.uids(); !slices.Equal(now, before) {
		t.Errorf("pods and claims are %v, and were %v before anything was allowed", now, before)
	}

	f := c.film("as")
	c.upgradeTo("as", "4.2.0.10")
	as := c.await("as", "runs 4.2.0.10", settledAt("4.2.0.10"))
	c.ended(as, v1alpha1.PhaseSucceeded)
	c.contains("the journal", eventsOf(as, "AttemptStarted", "Backup", "BackedUp", "Stop", "Renew", "MemberReplaced", "AttemptSucceeded"),
		"AttemptStarted", "Backup step backup", "Stop aerospike-1", "Renew aerospike-1", "MemberReplaced aerospike-1",
		"Stop aerospike-0", "Renew aerospike-0", "MemberReplaced aerospike-0", "AttemptSucceeded")
	c.contains("Upgrading", f.shows(condition(v1alpha1.ConditionUpgrading)), "UpdatingAerospike: 0 of 2 members updated", "UpdatingAerospike: 1 of 2 members updated")
	for _, uid := range c.uids() {
		if slices.Contains(before, uid) {
			t.Errorf("%s is there still: a volume was not made anew", uid)
		}
	}
	c.readBack("as", written)
	c.backupsCameFirst(as)
	c.provedBackup(as, "as-4.1.0.6-4.2.0.10-a")
	c.eventually("no pod waits for the operator any more", func(ctx context.Context) error {
		w, err := c.AppsV1().StatefulSets(c.namespace).Get(ctx, "as-aerospike", metav1.GetOptions{})
		if err == nil && len(w.Spec.Template.Spec.SchedulingGates) > 0 {
			err = fmt.Errorf("the template has the gates %v", w.Spec.Template.Spec.SchedulingGates)
		}
		return err
	})

	claims := c.claims()
	c.upgradeTo("as", "4.3.0.2")
	as = c.await("as", "runs 4.3.0.2", settledAt("4.3.0.2"))
	c.ended(as, v1alpha1.PhaseSucceeded)
	if now := c.claims(); !slices.Equal(now, claims) {
		t.Errorf("the claims are %v, and were %v: this hop makes none anew", now, claims)
	}
	if waits := f.shows(waitingFor); !slices.ContainsFunc(waits, func(w string) bool { return strings.HasSuffix(w, "settled/no migrations, with some left") }) {
		t.Errorf("nobody waited for migrations: %q", waits)
	}
	c.readBack("as", written)
	c.provedBackup(as, "as-4.2.0.10-4.3.0.2-a")
	if n := c.forgot(); n < 2 {
		t.Errorf("the others were told %d times to forget an address, want 2 at least", n)
	}
	c.hears("as", "AttemptStarted", "AttemptSucceeded", "BackedUp", "MemberReplaced", "Renew")
	c.refuses("as", `{"spec": {"version": "4.2.0.10"}}`, "is a downgrade")
}

// TestAerospikeRestore takes a backup and restores it into a Cluster beside the old one, which starts without data and counts as incomplete until all of it was written
// into its members.
func TestAerospikeRestore(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	loadTheseus(t)
	loadPlayed(t, "aerospike", "asd", aerospikePrograms, []string{"4.3.0.2"})
	c.installChart()
	c.knobs("aerospike", "{}")
	c.apply(backupClaim)
	played := playedBy("aerospike", aerospikePeers, "service")
	c.applyAdmitted(aerospikeCluster, "4.1.0.6", "4.3.0.2", "PLAYED", played+"\n  backup: {url: 'file:///backups', claim: backups}")
	c.await("as", "runs 4.3.0.2", settledAt("4.3.0.2"))
	written := c.write20()
	c.apply("{apiVersion: theseus.dev/v1alpha1, kind: Backup, metadata: {name: b}, spec: {cluster: as}}")
	b := c.backup("b")
	c.apply("{apiVersion: theseus.dev/v1alpha1, kind: Restore, metadata: {name: r}, spec: {backup: b, cluster: as2}}")
	c.apply(aerospikeCluster, "{name: as}", "{name: as2}", "4.1.0.6", "4.3.0.2", "PLAYED", played)
	f := c.film("as2")
	c.await("as2", "has its members, who are asked by programs that take their time", settledAt("4.3.0.2"))
	r := c.restore("r", v1alpha1.ConditionFinished)
	if r.Status.Name != b.Status.Name || len(r.Status.Members) != 2 || r.Status.ClusterUID == "" {
		t.Errorf("the status of the restore is %+v", r.Status)
	}
	as2 := c.await("as2", "is whole", func(o *v1alpha1.Cluster) bool {
		return o.Status.Loading == nil && meta.IsStatusConditionFalse(o.Status.Conditions, v1alpha1.ConditionReconciling)
	})
	if meta.FindStatusCondition(as2.Status.Conditions, v1alpha1.ConditionRestoring) != nil {
		t.Errorf("it is still restored: %+v", as2.Status.Conditions)
	}
	c.contains("Restoring", f.shows(condition(v1alpha1.ConditionRestoring)), "Restoring: restore r is to write into the members once all of them are ready: they have no data yet")
	c.readBack("as2", written)
}

// waitingFor is who waits for which rule.
func waitingFor(st *v1alpha1.ClusterStatus) string {
	if st.Attempt == nil || st.Attempt.WaitingFor == nil {
		return ""
	}
	w := st.Attempt.WaitingFor
	text := w.Object + ": " + w.Rule
	if w.Left != "" {
		text += ", with some left"
	}
	return text
}

// uids are those of the members' pods and claims.
func (c *cluster) uids() []types.UID {
	c.t.Helper()
	pods, err := c.CoreV1().Pods(c.namespace).List(c.t.Context(), metav1.ListOptions{LabelSelector: "theseus.dev/cluster=as"})
	must(c.t, err)
	uids := c.claims()
	for _, p := range pods.Items {
		uids = append(uids, p.UID)
	}
	slices.Sort(uids)
	return uids
}

func (c *cluster) claims() (uids []types.UID) {
	c.t.Helper()
	claims, err := c.CoreV1().PersistentVolumeClaims(c.namespace).List(c.t.Context(), metav1.ListOptions{LabelSelector: "theseus.dev/cluster=as"})
	must(c.t, err)
	for _, claim := range claims.Items {
		uids = append(uids, claim.UID)
	}
	slices.Sort(uids)
	return uids
}

// write20 writes keys, and returns them with their values.
func (c *cluster) write20() map[string]string {
	c.t.Helper()
	p, err := c.pod("as-aerospike-0")
	must(c.t, err)
	written := map[string]string{}
	for i := range 20 {
		key, value := fmt.Sprintf("key-%d", i), fmt.Sprintf("value %d", i*i)
		c.eventually(key+" is written", func(ctx context.Context) error {
			q, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+net.JoinHostPort(p.Status.PodIP, "3000")+"/kv/"+key, strings.NewReader(value))
			must(c.t, err)
			return answer(http.DefaultClient, q, nil)
		})
		written[key] = value
	}
	return written
}

// readBack wants all of it from a majority, by way of each member of a Cluster.
func (c *cluster) readBack(name string, written map[string]string) {
	c.t.Helper()
	for i := range 2 {
		kept := struct {
			Keys map[string]string `json:"keys"`
		}{}
		c.askMember(fmt.Sprintf("%s-aerospike-%d", name, i), "3000", "/backup", &kept)
		for key, value := range written {
			if kept.Keys[key] != value {
				c.t.Errorf("member %d has %q for %s, want %q", i, kept.Keys[key], key, value)
			}
		}
	}
}

// provedBackup wants the backup of the last hop to be there under its name, started and finished.
func (c *cluster) provedBackup(as *v1alpha1.Cluster, name string) {
	c.t.Helper()
	journal := as.Status.Attempt.Hops[0].Backup
	if !strings.HasPrefix(journal, name) || !meta.IsStatusConditionTrue(as.Status.Conditions, v1alpha1.ConditionBackedUp) {
		c.t.Errorf("the backup is %q, want %s…, and the condition BackedUp", journal, name)
	}
	object, err := c.any.Resource(backups).Namespace(c.namespace).Get(c.t.Context(), journal, metav1.GetOptions{})
	must(c.t, err)
	b := v1alpha1.Backup{}
	must(c.t, runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &b))
	for _, kind := range []string{v1alpha1.ConditionStarted, v1alpha1.ConditionFinished} {
		if !meta.IsStatusConditionTrue(b.Status.Conditions, kind) {
			c.t.Errorf("backup %s is not %s: %+v", b.Name, kind, b.Status)
		}
	}
}

// forgot is how often members were told to forget another one's address, as far as it is on their volumes.
func (c *cluster) forgot() (n int) {
	c.t.Helper()
	for i := range 2 {
		status := struct {
			Actions map[string]int `json:"actions"`
		}{}
		c.askMember(fmt.Sprintf("as-aerospike-%d", i), "3000", "/status", &status)
		for name, times := range status.Actions {
			if strings.HasPrefix(name, "tip-clear.") {
				n += times
			}
		}
	}
	return n
}
