package operator

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/backup"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// TestBackupOfAHop is made once, in the place of the attempt, and is kept as long as the policy says then.
func TestBackupOfAHop(t *testing.T) {
	c := kv()
	c.Spec.Upgrade.BackupTTL = &metav1.Duration{Duration: time.Hour}
	c.Status.Attempt = &v1alpha1.Attempt{ID: 3, Target: v1alpha1.Pinned{Spec: v1alpha1.ClusterSpec{Backup: &v1alpha1.BackupPlace{URL: "file:///b", Claim: "disk"}}}}
	api := fakeAPI(t)
	p := &Platform{API: api, Live: api, Key: key}
	for range 2 {
		if err := p.beginBackup(t.Context(), runner.Scene{Cluster: c}, v1alpha1.Intent{ID: 7, Name: "kv/2026_3.5_3.6", Version: "3.6.0"}); err != nil {
			t.Fatal(err)
		}
		c.Spec.Upgrade.BackupTTL = nil
	}
	b := &v1alpha1.Backup{}
	if err := api.Get(t.Context(), client.ObjectKey{Namespace: key.Namespace, Name: "kv-2026-3.5-3.6"}, b); err != nil {
		t.Fatal(err)
	}
	if b.Spec.TTL == nil || b.Spec.TTL.Duration != time.Hour || b.Spec.Place.Claim != "disk" || b.Spec.Attempt != "a3-7" || b.Spec.To != "3.6.0" {
		t.Errorf("the backup is %+v", b.Spec)
	}
}

// TestBackupOfAnotherCluster: a Backup outlives its Cluster, and one that is made anew gives its backups the same names. It must not pass for the new one's.
func TestBackupOfAnotherCluster(t *testing.T) {
	c := kv()
	c.Status.Attempt = &v1alpha1.Attempt{ID: 2, Phase: v1alpha1.PhaseRunning, Hops: []v1alpha1.HopStatus{{Backup: "kv-3.5-3.6-a2-7"}},
		Steps:  []v1alpha1.StepStatus{{Kind: upgrade.KindBackup}},
		Target: v1alpha1.Pinned{Spec: v1alpha1.ClusterSpec{Backup: &v1alpha1.BackupPlace{URL: "file:///b", Claim: "disk"}}}}
	api := fakeAPI(t)
	p := &Platform{API: api, Live: api, Key: key}
	i := v1alpha1.Intent{ID: 7, Name: "kv-3.5-3.6-a2-7", Version: "3.6.0"}
	if err := p.beginBackup(t.Context(), runner.Scene{Cluster: c}, i); err != nil {
		t.Fatal(err)
	}
	b := &v1alpha1.Backup{}
	if err := api.Get(t.Context(), client.ObjectKey{Namespace: key.Namespace, Name: i.Name}, b); err != nil {
		t.Fatal(err)
	}
	set(b, v1alpha1.ConditionFinished, metav1.ConditionTrue, "Proved", "checked")
	if err := api.Status().Update(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	for uid, want := range map[types.UID]upgrade.OutcomePhase{c.UID: upgrade.Succeeded, "made-anew": upgrade.Failed} {
		c.UID = uid
		if err := p.beginBackup(t.Context(), runner.Scene{Cluster: c}, i); err != nil {
			t.Fatal(err)
		}
		out, err := p.backupOutcomes(t.Context(), runner.Scene{Cluster: c})
		if err != nil || out[i.Name].Phase != want {
			t.Errorf("for Cluster %s: got %+v, %v; want %s", uid, out, err, want)
		}
	}
}

// TestNamesOfBackups: Backups that begin in one second, also those of Clusters of one name in other namespaces, share no name; one Backup has one name at a time.
func TestNamesOfBackups(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 890, time.UTC)
	seen := map[string]types.UID{}
	for _, uid := range []types.UID{"a", "b", "c"} {
		b := &v1alpha1.Backup{ObjectMeta: metav1.ObjectMeta{UID: uid}, Spec: v1alpha1.BackupSpec{Cluster: "kv", To: "3.6.0", Attempt: "a3-7"}}
		name := nameOf(b, "3.5.0", now)
		if other, taken := seen[name.String()]; taken {
			t.Errorf("%s and %s are both %s", uid, other, name)
		}
		seen[name.String()] = uid
		if again := nameOf(b, "3.5.0", now.Add(time.Microsecond)); again != name {
			t.Errorf("%s is %s, and then %s", uid, name, again)
		}
		if later := nameOf(b, "3.5.0", now.Add(time.Second)); later.String() <= name.String() {
			t.Errorf("%s is not after %s", later, name)
		}
		if parsed, err := backup.ParseName(name.String()); err != nil || parsed != name || !strings.HasPrefix(name.String(), "kv/20260304T050607.") || !strings.HasSuffix(name.String(), "_3.5.0_3.6.0_a3-7_auto") {
			t.Errorf("%s is read as %+v, %v", name, parsed, err)
		}
	}
	if name := nameOf(&v1alpha1.Backup{Spec: v1alpha1.BackupSpec{Cluster: "kv"}}, "3.5.0", now); name.Kind != backup.Manual || name.Validate() != nil {
		t.Errorf("one that a person asked for is %+v", name)
	}
}

// TestBackupThatCannotBegin says why, where who waits for it reads that, and says it once.
func TestBackupThatCannotBegin(t *testing.T) {
	b := &v1alpha1.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: "b"}}
	api := fakeAPI(t, b)
	why := errors.New("no ready member to take the backup from; kv-0: ca.crt holds no PEM certificate")
	versions := map[string]bool{}
	for range 2 {
		if err := api.Get(t.Context(), client.ObjectKeyFromObject(b), b); err != nil {
			t.Fatal(err)
		}
		if err := (&BackupReconciler{&Reconciler{API: api, Live: api}}).waits(t.Context(), b, why); !errors.Is(err, why) {
			t.Fatalf("got %v, want that it is tried again because of %v", err, why)
		}
		versions[b.ResourceVersion] = true
	}
	if got := backupOutcome(b); got.Phase != upgrade.Underway || got.Message != why.Error() {
		t.Errorf("the outcome is %+v, want that it waits because of %v", got, why)
	}
	if len(versions) != 1 {
		t.Errorf("the same reason was written %d times", len(versions))
	}
}

// TestBackupWithoutMembers: a Backup waits for a Cluster that was just applied too, or has no members yet; one that is gone is not waited for.
func TestBackupWithoutMembers(t *testing.T) {
	for _, test := range []struct {
		what, cluster, taken string
		age                  time.Duration
		waits                bool
		says                 string
	}{
		{what: "a Cluster that may come", cluster: "soon", waits: true, says: "there is no Cluster soon; it is waited for until "},
		{what: "a Cluster that does not come", cluster: "soon", age: clusterPatience, says: "there is no Cluster soon, and nothing of it was stored"},
		{what: "a Cluster that was upgraded, and is gone", cluster: "gone", taken: "its-uid", says: "there is no Cluster gone"},
		{what: "a Cluster that was upgraded, and is another one now", cluster: "kv", taken: "its-uid", says: "another one has its name"},
		{what: "a Cluster without members", cluster: "kv", age: time.Hour, waits: true, says: "cluster kv has no members yet"},
	} {
		b := &v1alpha1.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: "b", CreationTimestamp: metav1.NewTime(time.Now().Add(-test.age)), Annotations: map[string]string{takenForAnnotation: test.taken}},
			Spec: v1alpha1.BackupSpec{Cluster: test.cluster}}
		api := fakeAPI(t, b)
		var reasons []string
		r := &BackupReconciler{&Reconciler{API: api, Live: api, Events: told{reasons: &reasons}, Image: "lab.test/theseus:1"}}
		result, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(b)})
		fatal(t, err)
		fatal(t, api.Get(t.Context(), client.ObjectKeyFromObject(b), b))
		kind := v1alpha1.ConditionFailed
		if test.waits {
			kind = v1alpha1.ConditionStarted
		}
		c := meta.FindStatusCondition(b.Status.Conditions, kind)
		if c == nil || !strings.Contains(c.Message, test.says) || ended(b.Status.Conditions) == test.waits || (result.RequeueAfter > 0) != test.waits {
			t.Errorf("%s: the conditions are %+v and it is looked at again after %s; want %s with %q", test.what, b.Status.Conditions, result.RequeueAfter, kind, test.says)
		}
	}
}

// TestReferred: what a Backup stored stays as long as a Restore needs it, however that names it.
func TestReferred(t *testing.T) {
	b := taken().(*v1alpha1.Backup)
	from := func(url, name string) *v1alpha1.StoredBackup {
		return &v1alpha1.StoredBackup{Place: v1alpha1.BackupPlace{URL: url}, Name: name}
	}
	for _, test := range []struct {
		what string
		spec v1alpha1.RestoreSpec
		done bool
		want bool
	}{
		{"by its object", v1alpha1.RestoreSpec{Backup: "b"}, false, true},
		{"by where it is", v1alpha1.RestoreSpec{From: from(place().URL, stored)}, false, true},
		{"by where it is, and that is done", v1alpha1.RestoreSpec{From: from(place().URL, stored)}, true, false},
		{"another one of the place", v1alpha1.RestoreSpec{From: from(place().URL, "kv/20260304T050608Z_1.0.0___manual")}, false, false},
		{"one of another place", v1alpha1.RestoreSpec{From: from("s3://other", stored)}, false, false},
	} {
		x := restoreOf("r")
		x.Spec = test.spec
		if test.done {
			x.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionFinished, Status: metav1.ConditionTrue}}
		}
		api := fakeAPI(t, x)
		if got, err := (&BackupReconciler{&Reconciler{API: api, Live: api}}).referred(t.Context(), b); err != nil || got != test.want {
			t.Errorf("%s: got %v, %v; want %v", test.what, got, err, test.want)
		}
	}
}

// TestKeyTakenAway: a secret of another namespace may go, or be made anew, when its copy is there for the Job.
func TestKeyTakenAway(t *testing.T) {
	source := secret("team")
	base := fakeAPI(t, source)
	api := interceptor.NewClient(base, interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
		if slices.Contains(opts, client.CreateOption(client.DryRunAll)) && c.Get(ctx, client.ObjectKeyFromObject(o), &corev1.Secret{}) == nil {
			return apierrors.NewAlreadyExists(schema.GroupResource{Resource: "secrets"}, o.GetName()) // as an API server does
		}
		return c.Create(ctx, o, opts...)
	}})
	r := &Reconciler{API: api, Live: api}
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: "j"}}
	for range 2 {
		fatal(t, r.sustain(t.Context(), job, place(), "b-uid"))
	}
	fatal(t, base.Delete(t.Context(), source))
	if err := r.sustain(t.Context(), job, place(), "b-uid"); err != nil {
		t.Errorf("the Job has its copy: got %v", err)
	}
	if err := r.sustain(t.Context(), job, place(), "other-uid"); !errors.As(err, new(refusal)) || !strings.Contains(err.Error(), "create it") {
		t.Errorf("the Job has no copy: got %v", err)
	}
	if err := base.Get(t.Context(), client.ObjectKey{Namespace: key.Namespace, Name: copyName("other-uid")}, &corev1.Secret{}); !apierrors.IsNotFound(err) {
		t.Errorf("an empty copy: got %v", err)
	}
}

// TestWaitingBackup is woken by its Cluster, whose members may be ready now. What has begun or ended has its Job, or nothing, to wait for.
func TestWaitingBackup(t *testing.T) {
	backup := func(name, cluster string, status v1alpha1.BackupStatus) client.Object {
		return &v1alpha1.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: name}, Spec: v1alpha1.BackupSpec{Cluster: cluster}, Status: status}
	}
	now := metav1.Now()
	failed := v1alpha1.BackupStatus{Conditions: []metav1.Condition{{Type: v1alpha1.ConditionFailed, Status: metav1.ConditionTrue}}}
	api := fakeAPI(t, backup("waits", key.Name, v1alpha1.BackupStatus{}), backup("begun", key.Name, v1alpha1.BackupStatus{Started: &now}), backup("failed", key.Name, failed),
		backup("other", "other", v1alpha1.BackupStatus{}))
	r := &BackupReconciler{&Reconciler{API: api, Live: api}}
	got := r.waiting(t.Context(), kv())
	if len(got) != 1 || got[0].Name != "waits" {
		t.Errorf("woken are %v, want the one that waits", got)
	}
}

// TestLease is one for operators that look after the same namespaces, and another for others.
func TestLease(t *testing.T) {
	lease := func(namespaces ...string) string { o := &Options{Namespaces: namespaces}; return o.lease() }
	if lease("a", "b") != lease("b", "a", "b") {
		t.Error("the order of namespaces tells leases apart")
	}
	if lease() == lease("a") || lease("a") == lease("b") {
		t.Error("operators of different namespaces compete for one lease")
	}
}

// TestOrderOf: somebody who mutates Jobs may put variables and containers before ours.
func TestOrderOf(t *testing.T) {
	job := &batchv1.Job{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "proxy", Env: []corev1.EnvVar{{Name: OrderVariable, Value: "{}"}}},
		{Name: jobContainer, Env: []corev1.EnvVar{{Name: "HTTP_PROXY", Value: "http://proxy:3128"}, {Name: OrderVariable, Value: `{"url": "s3://b"}`}}}}}}}}
	order := BackupOrder{}
	if err := orderOf(job, jobContainer, &order); err != nil || order.URL != "s3://b" {
		t.Errorf("got %+v, %v", order, err)
	}
	if err := orderOf(job, restoreContainer, &order); err == nil {
		t.Error("a Job without an order has one")
	}
}

// TestBackupBesideALongerSystem: members run on a System that has fewer edges than the one with which the attempt was planned. A backup asks them by their own,
// and the edge of the hop is looked for where it was counted.
func TestBackupBesideALongerSystem(t *testing.T) {
	short := standin(t)
	source := short.Source().DeepCopy()
	source.Edges = append(source.Edges, v1alpha1.Edge{From: "2.1.x", To: "2.2.x", RecreateVolumes: []string{"standin"}})
	long, err := system.Compile(source)
	fatal(t, err)
	api := fakeAPI(t)
	r := &Reconciler{API: api, Live: api, Shipped: shipped}
	c := &v1alpha1.Cluster{}
	fatal(t, api.Get(t.Context(), key, c))
	for _, sys := range []*system.System{short, long} {
		fatal(t, (&Library{API: api, Live: api, Shipped: shipped, Cluster: key}).Keep(t.Context(), sys))
	}
	c.Status.Applied = &v1alpha1.Pinned{System: v1alpha1.SystemRef{Hash: short.Hash()}}
	edge := int32(len(long.API().Edges) - 1) //nolint:gosec // a handful
	c.Status.Attempt = &v1alpha1.Attempt{Phase: v1alpha1.PhaseRunning, Target: v1alpha1.Pinned{System: v1alpha1.SystemRef{Hash: long.Hash()}}, Hops: []v1alpha1.HopStatus{{Edge: edge}}}
	s, err := r.sceneOf(t.Context(), c)
	if err != nil || s.System.Hash() != short.Hash() {
		t.Fatalf("members are asked by %v, %v; want the System that they run on", s.System, err)
	}
	if !renews(s, "standin") {
		t.Error("the hop makes volumes anew, and the backup's look does not see that")
	}
}
