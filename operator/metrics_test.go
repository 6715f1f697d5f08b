package operator

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/upgrade"
)

func TestMetrics(t *testing.T) {
	at := metav1.NewTime(time.Unix(1_800_000_000, 0))
	under := &v1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "kv"}, Spec: v1alpha1.ClusterSpec{System: "etcd", Version: "3.6.0"}}
	under.Status = v1alpha1.ClusterStatus{CurrentVersion: "3.5.0", Replicas: 3, ReadyReplicas: 2,
		Conditions: []metav1.Condition{{Type: "Ready", Status: metav1.ConditionFalse, Reason: "SomeMembersNotReady"}, {Type: "Upgrading", Status: metav1.ConditionTrue, Reason: "UpdatingEtcd"}},
		Attempt: &v1alpha1.Attempt{ID: 7, Kind: v1alpha1.AttemptUpgrade, Phase: v1alpha1.PhaseRunning, From: "3.5.0", To: "3.6.0", Started: at, Replaced: 1,
			WaitingFor: &v1alpha1.WaitingFor{Object: "member kv-etcd-1", Rule: "ready", Since: at}}}
	idle := &v1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "old"}, Spec: v1alpha1.ClusterSpec{System: "etcd", Version: "3.5.0"}}
	idle.Status.Attempt = &v1alpha1.Attempt{ID: 3, Phase: v1alpha1.PhaseSucceeded}
	backup := func(name, condition string) *v1alpha1.Backup {
		b := &v1alpha1.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: name}, Spec: v1alpha1.BackupSpec{Cluster: "kv"}}
		if condition != "" {
			b.Status.Conditions = []metav1.Condition{{Type: condition, Status: metav1.ConditionTrue, LastTransitionTime: at}}
		}
		return b
	}
	scheme, err := Scheme()
	fatal(t, err)
	leads := make(chan struct{})
	m := NewMetrics(fake.NewClientBuilder().WithScheme(scheme).WithObjects(under, idle, backup("good", "Finished"), backup("bad", "Failed"), backup("new", "")).Build(), leads)
	r := &Reconciler{Metrics: m}
	r.tell(runner.Pass{Cluster: under, Decision: upgrade.Decision{Ended: []v1alpha1.AttemptSummary{{Kind: v1alpha1.AttemptUpgrade, Outcome: v1alpha1.PhaseSucceeded}}}})
	if got := exposed(t, m); got != "" {
		t.Errorf("one of several operators that does not work says\n%s", got)
	}
	close(leads)
	want := `
theseus_cluster_info{cluster="kv",desired_version="3.6.0",namespace="prod",system="etcd",version="3.5.0"} 1
theseus_cluster_info{cluster="old",desired_version="3.5.0",namespace="prod",system="etcd",version=""} 1
theseus_cluster_members{cluster="kv",namespace="prod"} 3
theseus_cluster_members{cluster="old",namespace="prod"} 0
theseus_cluster_members_ready{cluster="kv",namespace="prod"} 2
theseus_cluster_members_ready{cluster="old",namespace="prod"} 0
theseus_cluster_condition{cluster="kv",condition="Ready",namespace="prod",reason="SomeMembersNotReady"} 0
theseus_cluster_condition{cluster="kv",condition="Upgrading",namespace="prod",reason="UpdatingEtcd"} 1
theseus_attempt_info{cluster="kv",from="3.5.0",kind="Upgrade",namespace="prod",phase="Running",to="3.6.0"} 1
theseus_attempt_start_time_seconds{cluster="kv",namespace="prod"} 1.8e+09
theseus_attempt_members_replaced{cluster="kv",namespace="prod"} 1
theseus_attempt_waiting_since_seconds{cluster="kv",namespace="prod",object="member kv-etcd-1",rule="ready"} 1.8e+09
theseus_backups{cluster="kv",namespace="prod",state="failed"} 1
theseus_backups{cluster="kv",namespace="prod",state="finished"} 1
theseus_backups{cluster="kv",namespace="prod",state="underway"} 1
theseus_backup_last_success_time_seconds{cluster="kv",namespace="prod"} 1.8e+09
theseus_attempts_ended_total{cluster="kv",kind="Upgrade",namespace="prod",phase="Succeeded"} 1
`
	if got := exposed(t, m); got != sorted(want) {
		t.Errorf("got\n%s\nwant\n%s", got, sorted(want))
	}
	r.forget(client.ObjectKeyFromObject(under))
	if n := testutil.CollectAndCount(m.ended); n != 0 {
		t.Errorf("%d counts are left of a Cluster that is gone", n)
	}
}

// exposed is what Prometheus would read, without types and help.
func exposed(t *testing.T, m *Metrics) string {
	t.Helper()
	text, err := testutil.CollectAndFormat(m, expfmt.TypeTextPlain, described()...)
	fatal(t, err)
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			out.WriteString(line)
		}
	}
	return sorted(out.String())
}

// described are the names of all metrics.
func described() (names []string) {
	list := make(chan *prometheus.Desc, 50)
	NewMetrics(nil, nil).Describe(list)
	close(list)
	for d := range list {
		names = append(names, regexp.MustCompile(`fqName: "(\w+)"`).FindStringSubmatch(d.String())[1])
	}
	return names
}

// TestDashboard shows that the dashboard asks for nothing that is not there.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("../charts/theseus/dashboards/theseus.json")
	fatal(t, err)
	var board struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	fatal(t, json.Unmarshal(text, &board))
	known := map[string]bool{"controller_runtime_reconcile_total": true, "rest_client_requests_total": true}
	for _, name := range described() {
		known[name] = true
	}
	asked := 0
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			for _, name := range regexp.MustCompile(`\b(theseus|controller_runtime|rest_client)_\w+`).FindAllString(target.Expr, -1) {
				asked++
				if !known[name] {
					t.Errorf("%s asks for %s, which is not there", target.Expr, name)
				}
			}
		}
	}
	if asked < len(known) {
		t.Errorf("the dashboard asks for %d metrics, and there are %d", asked, len(known))
	}
}

func sorted(lines string) string {
	list := strings.Split(strings.TrimSpace(lines), "\n")
	slices.Sort(list)
	return strings.Join(list, "\n")
}
