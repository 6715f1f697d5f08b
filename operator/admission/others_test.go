package admission

import (
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

func known[T any](v T) Known[T] { return Known[T]{Value: &v} }

func checkVerdict(t *testing.T, v Verdict, want, warns string) {
	t.Helper()
	if want == "" && !v.Allowed() || want != "" && (len(v.Problems) != 1 || !strings.Contains(v.Message(), want)) {
		t.Errorf("got %q, want %q", v.Message(), want)
	}
	if got := strings.Join(v.Warnings, "\n"); !strings.Contains(got, warns) {
		t.Errorf("got the warnings %q, want %q", got, warns)
	}
}

func TestSystems(t *testing.T) {
	for _, test := range []struct{ name, from, to, want string }{
		{"good", "", "", ""},
		{"expression", "ready: m.h.json.ok", "ready: m.h.json.ok ==", "components.store.ready:"},
		{"service", "name: proxy", "name: store-client", `components.1.name: "store-client" would share a service with the clients of component store`},
		{"edge", "to: 3.7.x", "to: 9.9.z", "edges.2.to:"},
	} {
		t.Run(test.name, func(t *testing.T) {
			object := &v1alpha1.System{}
			if err := yaml.UnmarshalStrict([]byte(strings.Replace(store, test.from, test.to, 1)), object); err != nil {
				t.Fatal(err)
			}
			object.UID, object.ResourceVersion = "u", "7"
			v := CheckSystem(object)
			checkVerdict(t, v, test.want, "")
		})
	}
}

func TestBackups(t *testing.T) {
	sys := compile(t, store)
	bare := compile(t, strings.NewReplacer("backup: {run: [dump]}", "", "restore: {run: [load]}", "", ", backup: Required", "").Replace(store))
	lost := errors.New("connection refused")
	for _, test := range []struct {
		name  string
		spec  v1alpha1.BackupSpec
		facts func(*BackupFacts)
		want  string
		warns string
	}{
		{name: "place of the cluster"},
		{name: "own place", spec: v1alpha1.BackupSpec{Place: &v1alpha1.BackupPlace{URL: "s3://other/kv"}}, facts: func(f *BackupFacts) { f.Cluster.Value.Spec.Backup = nil }},
		{name: "no place", facts: func(f *BackupFacts) { f.Cluster.Value.Spec.Backup = nil }, want: "spec.place: is missing, and cluster kv has no spec.backup"},
		{name: "place is no URL", spec: v1alpha1.BackupSpec{Place: &v1alpha1.BackupPlace{URL: "bucket"}}, want: `spec.place.url: "bucket" is not a URL`},
		{name: "no claim", spec: v1alpha1.BackupSpec{Place: &v1alpha1.BackupPlace{URL: "file:///b"}}, want: "spec.place.claim: is missing"},
		{name: "no cluster", facts: func(f *BackupFacts) { f.Cluster = Known[v1alpha1.Cluster]{} }, warns: `spec.cluster: "kv" is no Cluster in namespace prod yet`},
		{name: "no cluster, and a place that is none", spec: v1alpha1.BackupSpec{Place: &v1alpha1.BackupPlace{URL: "bucket"}}, facts: func(f *BackupFacts) { f.Cluster = Known[v1alpha1.Cluster]{} }, want: `spec.place.url: "bucket" is not a URL`},
		{name: "cluster is not known", facts: func(f *BackupFacts) { f.Cluster = Known[v1alpha1.Cluster]{Err: lost} }, want: "Cluster prod/kv is not known now: connection refused"},
		{name: "no secret", facts: func(f *BackupFacts) { f.Place.Secret.Value = nil }, want: `cluster kv, spec.backup.secret.name: "cloud" is no secret`},
		{name: "System cannot", facts: func(f *BackupFacts) { f.System.Value = bare }, want: "cannot be backed up: System store does not say how"},
		{name: "ttl", spec: v1alpha1.BackupSpec{TTL: &metav1.Duration{Duration: time.Second}}, want: `spec.ttl: "1s" is less than a minute`},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := &v1alpha1.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "b"}, Spec: test.spec}
			b.Spec.Cluster = "kv"
			f := &BackupFacts{Cluster: known(*kv(s3)), System: SystemFacts{Known: Known[system.System]{Value: sys}}}
			f.Place.Secret.Value = &Secret{Keys: []string{"key.json"}}
			if test.facts != nil {
				test.facts(f)
			}
			checkVerdict(t, CheckBackup(b, f), test.want, test.warns)
		})
	}
}

func TestRestores(t *testing.T) {
	sys := compile(t, store)
	bare := compile(t, strings.Replace(store, "restore: {run: [load]}", "", 1))
	lost := errors.New("connection refused")
	set := func(condition string) func(*RestoreFacts) {
		return func(f *RestoreFacts) {
			f.Backup.Value.Status.Conditions = []metav1.Condition{{Type: condition, Status: metav1.ConditionTrue}}
		}
	}
	for _, test := range []struct {
		name  string
		facts func(*RestoreFacts)
		want  string
		warns string
	}{
		{name: "new cluster"},
		{name: "cluster without members", facts: func(f *RestoreFacts) { f.Cluster = known(*kv()) }},
		{name: "cluster with members", facts: func(f *RestoreFacts) { c := kv(); applied(t)(&c.Status); f.Cluster = known(*c) }, want: `spec.cluster: "kv" has members already, and a restore never goes over a cluster that runs`},
		{name: "cluster that is being made", facts: func(f *RestoreFacts) {
			c := kv()
			c.Status.Members.Unready = []string{"kv-store-0"}
			f.Cluster = known(*c)
		}, want: "has members already"},
		{name: "cluster of another System", facts: func(f *RestoreFacts) { f.Cluster = known(*kv(func(s *specs) { s.System = "other" })) }, want: "is of System other, and the backup of store"},
		{name: "cluster is not known", facts: func(f *RestoreFacts) { f.Cluster = Known[v1alpha1.Cluster]{Err: lost} }, want: "Cluster prod/kv2 is not known now"},
		{name: "no backup", facts: func(f *RestoreFacts) { f.Backup = Known[v1alpha1.Backup]{} }, want: `spec.backup: "b" is no Backup in namespace prod`},
		{name: "backup is not known", facts: func(f *RestoreFacts) { f.Backup = Known[v1alpha1.Backup]{Err: lost} }, want: "Backup prod/b is not known now"},
		{name: "backup failed", facts: set(v1alpha1.ConditionFailed), want: `spec.backup: "b" failed: there is nothing to restore`},
		{name: "backup is under way", facts: set("Started"), warns: "is not finished; the restore waits for it"},
		{name: "System cannot", facts: func(f *RestoreFacts) { f.System.Value = bare }, want: "cannot be restored: System store does not say how"},
		{name: "another restore", facts: func(f *RestoreFacts) {
			f.Others = known([]v1alpha1.Restore{{ObjectMeta: metav1.ObjectMeta{Name: "first"}, Spec: v1alpha1.RestoreSpec{Cluster: "kv2"}}})
		}, want: "is what Restore first goes into"},
		{name: "another restore that failed", facts: func(f *RestoreFacts) {
			r := v1alpha1.Restore{ObjectMeta: metav1.ObjectMeta{Name: "first"}, Spec: v1alpha1.RestoreSpec{Cluster: "kv2"}}
			r.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionFailed, Status: metav1.ConditionTrue}}
			f.Others = known([]v1alpha1.Restore{r})
		}},
		{name: "other restores are not known", facts: func(f *RestoreFacts) { f.Others = Known[[]v1alpha1.Restore]{Err: lost} }, want: "another Restore goes into it is not known now"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &v1alpha1.Restore{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "r"}, Spec: v1alpha1.RestoreSpec{Backup: "b", Cluster: "kv2"}}
			f := &RestoreFacts{System: SystemFacts{Known: Known[system.System]{Value: sys}}}
			f.Backup = known(v1alpha1.Backup{ObjectMeta: metav1.ObjectMeta{Name: "b"}, Spec: v1alpha1.BackupSpec{Cluster: "kv"},
				Status: v1alpha1.BackupStatus{System: &v1alpha1.SystemRef{Name: "store"}, Conditions: []metav1.Condition{{Type: v1alpha1.ConditionFinished, Status: metav1.ConditionTrue}}}})
			if test.facts != nil {
				test.facts(f)
			}
			checkVerdict(t, CheckRestore(r, f), test.want, test.warns)
		})
	}
}

// TestRestoresFromPlaces names what is stored, and no Backup.
func TestRestoresFromPlaces(t *testing.T) {
	for _, test := range []struct {
		name, want string
		place      v1alpha1.BackupPlace
		facts      RestoreFacts
	}{
		{name: "bucket", place: v1alpha1.BackupPlace{URL: "s3://bucket/kv"}},
		{name: "no bucket", place: v1alpha1.BackupPlace{URL: "s3:///kv"}, want: "spec.from.place.url: \"s3:///kv\" names no host or bucket"},
		{name: "no claim", place: v1alpha1.BackupPlace{URL: "file:///b"}, want: "spec.from.place.claim: is missing"},
		{name: "no secret", place: v1alpha1.BackupPlace{URL: "s3://bucket/kv", Secret: &v1alpha1.SecretKey{Name: "cloud"}}, want: `spec.from.place.secret.name: "cloud" is no secret`},
		{name: "no grant", place: v1alpha1.BackupPlace{URL: "s3://bucket/kv", Secret: &v1alpha1.SecretKey{Name: "cloud", Namespace: "ops"}},
			facts: RestoreFacts{Place: PlaceFacts{Secret: known(Secret{Keys: []string{"key.json"}})}}, want: `spec.from.place.secret.namespace: "ops" does not grant its secret cloud`},
		{name: "cluster with members", place: v1alpha1.BackupPlace{URL: "s3://bucket/kv"}, facts: RestoreFacts{Cluster: known(func() v1alpha1.Cluster { c := kv(); applied(t)(&c.Status); return *c }())},
			want: "has members already"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &v1alpha1.Restore{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "r"}, Spec: v1alpha1.RestoreSpec{From: &v1alpha1.StoredBackup{Place: test.place, Name: "n"}, Cluster: "kv2"}}
			checkVerdict(t, CheckRestore(r, &test.facts), test.want, "")
		})
	}
}
