package operator

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
)

// Metrics tell Prometheus what the status of each Cluster and Backup says. They are made from the cache when they are asked for, so that they
// cannot differ from it and cost nothing between. Only what is counted over time is kept, from the start of this process on.
type Metrics struct {
	reader client.Reader
	leads  <-chan struct{} // closed when this process works: of several operators one speaks, or sums would count each Cluster twice
	ended  *prometheus.CounterVec
}

// scrapePatience bounds a scrape: the cache answers at once, or not at all.
const scrapePatience = 5 * time.Second

var (
	perCluster   = []string{"namespace", "cluster"}
	clusterInfo  = describe("cluster_info", "1 for each Cluster, with its versions.", append(perCluster, "system", "version", "desired_version")...)
	members      = describe("cluster_members", "Members that the spec asks for.", perCluster...)
	membersReady = describe("cluster_members_ready", "Members that are ready, as the last look showed.", perCluster...)
	condition    = describe("cluster_condition", "1 if the condition is True, 0 if it is not.", append(perCluster, "condition", "reason")...)
	attempt      = describe("attempt_info", "1 for the attempt that runs or rests.", append(perCluster, "kind", "from", "to", "phase")...)
	attemptBegan = describe("attempt_start_time_seconds", "When the attempt that runs or rests began, in Unix time.", perCluster...)
	replaced     = describe("attempt_members_replaced", "Members that the attempt has replaced.", perCluster...)
	waiting      = describe("attempt_waiting_since_seconds", "Since when the attempt waits for this, in Unix time.", append(perCluster, "object", "rule")...)
	backups      = describe("backups", "Backups by how they ended.", append(perCluster, "state")...)
	backupMade   = describe("backup_last_success_time_seconds", "When the newest good backup was complete, in Unix time.", perCluster...)
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("theseus_"+name, help, labels, nil)
}

// NewMetrics reads Clusters and Backups from a cache, as soon as leads is closed. It is to be registered once.
func NewMetrics(cached client.Reader, leads <-chan struct{}) *Metrics {
	return &Metrics{reader: cached, leads: leads, ended: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "theseus_attempts_ended_total", Help: "Attempts that ended since this process began.",
	}, append(perCluster, "kind", "phase"))}
}

// Describe is part of prometheus.Collector.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{clusterInfo, members, membersReady, condition, attempt, attemptBegan, replaced, waiting, backups, backupMade} {
		out <- d
	}
	m.ended.Describe(out)
}

// Collect is part of prometheus.Collector. A cache that does not answer gives no metrics of Clusters, which an alert on their absence sees.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	select {
	case <-m.leads:
	default:
		return
	}
	m.ended.Collect(out)
	ctx, stop := context.WithTimeout(context.Background(), scrapePatience)
	defer stop()
	clusters, list := &v1alpha1.ClusterList{}, &v1alpha1.BackupList{}
	if m.reader.List(ctx, clusters) != nil || m.reader.List(ctx, list) != nil {
		return
	}
	for i := range clusters.Items {
		collectCluster(&clusters.Items[i], out)
	}
	collectBackups(list.Items, out)
}

func gauge(d *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func collectCluster(c *v1alpha1.Cluster, out chan<- prometheus.Metric) {
	st, key := &c.Status, []string{c.Namespace, c.Name}
	with := func(more ...string) []string { return append(key[:2:2], more...) }
	out <- gauge(clusterInfo, 1, with(c.Spec.System, st.CurrentVersion, c.Spec.Version)...)
	out <- gauge(members, float64(st.Replicas), key...)
	out <- gauge(membersReady, float64(st.ReadyReplicas), key...)
	for _, k := range st.Conditions {
		value := 0.0
		if k.Status == metav1.ConditionTrue {
			value = 1
		}
		out <- gauge(condition, value, with(k.Type, k.Reason)...)
	}
	a := st.Attempt
	if a == nil || a.Phase.Ended() {
		return
	}
	out <- gauge(attempt, 1, with(string(a.Kind), a.From, a.To, string(a.Phase))...)
	out <- gauge(attemptBegan, float64(a.Started.Unix()), key...)
	out <- gauge(replaced, float64(a.Replaced), key...)
	if w := a.WaitingFor; w != nil {
		out <- gauge(waiting, float64(w.Since.Unix()), with(w.Object, w.Rule)...)
	}
}

func collectBackups(list []v1alpha1.Backup, out chan<- prometheus.Metric) {
	type of struct{ namespace, cluster string }
	states, newest := map[of]map[string]float64{}, map[of]time.Time{}
	for i := range list {
		b := &list[i]
		key := of{b.Namespace, b.Spec.Cluster}
		if states[key] == nil {
			states[key] = map[string]float64{"finished": 0, "failed": 0, "underway": 0}
		}
		finished := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionFinished)
		switch {
		case finished != nil && finished.Status == metav1.ConditionTrue:
			states[key]["finished"]++
			if at := finished.LastTransitionTime.Time; at.After(newest[key]) {
				newest[key] = at
			}
		case meta.IsStatusConditionTrue(b.Status.Conditions, v1alpha1.ConditionFailed):
			states[key]["failed"]++
		default:
			states[key]["underway"]++
		}
	}
	for key, counts := range states {
		for state, n := range counts {
			out <- gauge(backups, n, key.namespace, key.cluster, state)
		}
		if at := newest[key]; !at.IsZero() {
			out <- gauge(backupMade, float64(at.Unix()), key.namespace, key.cluster)
		}
	}
}

// note counts an attempt that ended.
func (m *Metrics) note(c *v1alpha1.Cluster, a v1alpha1.AttemptSummary) {
	m.ended.WithLabelValues(c.Namespace, c.Name, string(a.Kind), string(a.Outcome)).Inc()
}

// forget lets go of what was counted for a Cluster that is gone.
func (m *Metrics) forget(key types.NamespacedName) {
	m.ended.DeletePartialMatch(prometheus.Labels{"namespace": key.Namespace, "cluster": key.Name})
}
