package operator

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"theseus.dev/api/v1alpha1"
)

// TestRestoreIntoAnOlderVersion: a Restore waits for the version to be corrected before a member starts.
func TestRestoreIntoAnOlderVersion(t *testing.T) {
	f := &filling{restore: &v1alpha1.Restore{}, cluster: &v1alpha1.Cluster{}, system: standin(t)}
	f.cluster.Name, f.restore.Status.Version = "si2", "1.1.0"
	f.cluster.Spec.Version = "1.0.0"
	err := f.finish(t.Context())
	if !errors.As(err, new(waits)) || !strings.Contains(err.Error(), "set its spec.version to 1.1.0") || f.restore.Status.Finished != nil {
		t.Errorf("got %v, finished %v", err, f.restore.Status.Finished)
	}
	for _, version := range []string{"1.1.0", "1.2.0"} {
		if f.cluster.Spec.Version = version; f.mayRead("1.1.0") != nil {
			t.Errorf("version %s is refused", version)
		}
	}
}

// turns lets a Restore and its Jobs go on for some turns.
func (w *world) turns(r *Reconciler, n int) {
	w.Helper()
	for range n {
		_, err := (&RestoreReconciler{r}).Reconcile(w.Context(), reconcile.Request{NamespacedName: client.ObjectKey{Namespace: key.Namespace, Name: "r"}})
		w.must(err)
		w.turn()
	}
}

// TestRestoreOfAnEditedCluster: all volumes are filled for one group, or the Restore says that they are not.
func TestRestoreOfAnEditedCluster(t *testing.T) {
	answer(t)
	for what, edit := range map[string]func(*v1alpha1.Cluster){
		"members": func(c *v1alpha1.Cluster) {
			three, own := int32(3), c.Spec.Components["standin"]
			own.Replicas = &three
			c.Spec.Components["standin"] = own
		},
		"an option": func(c *v1alpha1.Cluster) { c.Spec.Options = map[string]string{"control": "/other"} },
	} {
		w := &world{T: t, api: fakeAPI(t)}
		for _, o := range []client.Object{secret("team"), taken(), empty(), restoreOf("r")} {
			w.put(o)
		}
		r := w.operator()
		w.turns(r, 1)
		c := &v1alpha1.Cluster{}
		w.must(w.api.Get(t.Context(), client.ObjectKey{Namespace: key.Namespace, Name: "new"}, c))
		edit(c)
		w.must(w.api.Update(t.Context(), c))
		w.turns(r, 5)
		x := w.wantRestore("r", v1alpha1.ConditionFailed, "was edited while its volumes were filled")
		if !meta.IsStatusConditionTrue(x.Status.Conditions, v1alpha1.ConditionStalled) {
			t.Errorf("%s: it failed and is not stalled: %+v", what, x.Status.Conditions)
		}
	}
}

// TestRestoreWithoutPods: who wrote the data, and when, is known though the pods that read it are gone.
func TestRestoreWithoutPods(t *testing.T) {
	w := &world{T: t, api: fakeAPI(t)}
	from := restoreOf("r")
	from.Spec.Backup, from.Spec.From = "", &v1alpha1.StoredBackup{Place: *place(), Name: "kv/20260304T050607.5Z_1.0.0___manual"}
	for _, o := range []client.Object{secret("team"), empty(), from} {
		w.put(o)
	}
	r := w.operator()
	for range 6 {
		w.turns(r, 1)
		jobs := &batchv1.JobList{}
		w.must(w.api.List(t.Context(), jobs))
		for _, j := range jobs.Items {
			gone := pod()
			gone.SetName(j.Name + "-pod")
			gone.SetUID("")
			w.must(client.IgnoreNotFound(w.api.Delete(t.Context(), gone)))
		}
	}
	x := w.wantRestore("r", v1alpha1.ConditionFinished, "taken at 2026-03-04T05:06:07Z")
	if x.Status.Version != "1.0.0" {
		t.Errorf("the version that wrote the data is %q", x.Status.Version)
	}
}

// TestAwaited: a Restore that failed holds the Cluster until one has ended well after it, whichever was made first.
func TestAwaited(t *testing.T) {
	at := func(s int) metav1.Time { return metav1.Date(2026, 3, 4, 5, 6, s, 0, time.UTC) }
	ended := func(name, condition string, made, ended int) v1alpha1.Restore {
		x, end := restoreOf(name), at(ended)
		x.CreationTimestamp, x.Status.Finished = at(made), &end
		x.Status.Conditions = []metav1.Condition{{Type: condition, Status: metav1.ConditionTrue}}
		return *x
	}
	older, refused := ended("older", v1alpha1.ConditionFinished, 1, 30), ended("refused", v1alpha1.ConditionFailed, 2, 3)
	if x := awaited([]v1alpha1.Restore{older, refused}, "new"); x != nil {
		t.Errorf("%s failed before the other one ended well, and holds the Cluster", x.Name)
	}
	later := ended("later", v1alpha1.ConditionFailed, 40, 50)
	if x := awaited([]v1alpha1.Restore{older, later}, "new"); x == nil {
		t.Error("one that failed after another ended well does not hold the Cluster")
	}
}

// TestHeldByAFailedRestore: the Cluster says that it failed, and that it waits for a person.
func TestHeldByAFailedRestore(t *testing.T) {
	w := &world{T: t, api: fakeAPI(t)}
	x := restoreOf("r")
	x.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionFailed, Status: metav1.ConditionTrue, Message: "no such backup"}}
	w.put(empty())
	w.put(x)
	at := types.NamespacedName{Namespace: key.Namespace, Name: "new"}
	held, err := w.operator().hold(t.Context(), at)
	c := &v1alpha1.Cluster{}
	w.must(w.api.Get(t.Context(), at, c))
	if err != nil || !held || c.Status.ObservedGeneration != c.Generation {
		t.Errorf("held is %v, %v, at generation %d", held, err, c.Status.ObservedGeneration)
	}
	wantCondition(t, c.Status.Conditions, v1alpha1.ConditionStalled, "Restore r failed: no such backup; make another one")
	if meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.ConditionReconciling) {
		t.Error("a Cluster that waits for a person is reconciling")
	}
}

// TestBackupNames: Backups that begin in one second do not share a name, and each is deleted by its own.
func TestBackupNames(t *testing.T) {
	answer(t)
	w := &world{T: t, api: fakeAPI(t)}
	second := backupOf(metav1.Duration{Duration: time.Second}).(*v1alpha1.Backup)
	second.Name, second.UID = "b2", "b2-uid"
	for _, o := range []client.Object{secret("team"), running(), pod(), backupOf(metav1.Duration{Duration: time.Second}), second} {
		w.put(o)
	}
	w.play()
	times := map[string]map[time.Time]bool{"backup": {}, "forget": {}}
	for _, ran := range w.ran {
		what, text, _ := strings.Cut(ran, " ")
		order := struct{ Time time.Time }{}
		w.must(json.Unmarshal([]byte(text), &order))
		times[what][order.Time] = true
	}
	for at := range times["backup"] {
		if !times["forget"][at] {
			t.Errorf("what was stored at %s is not deleted: %v", at, times["forget"])
		}
	}
	if len(times["backup"]) != 2 || len(times["forget"]) != 2 {
		t.Errorf("the times of two backups are %v", times)
	}
}

// TestBackupOfNoCluster waits for its Cluster, and not for ever.
func TestBackupOfNoCluster(t *testing.T) {
	for age, want := range map[time.Duration][2]string{0: {v1alpha1.ConditionReconciling, "not found"}, clusterWithin + time.Second: {v1alpha1.ConditionFailed, "there is no Cluster nobody"}} {
		w := &world{T: t, api: fakeAPI(t)}
		b := backupOf(metav1.Duration{}).(*v1alpha1.Backup)
		b.Spec.Cluster, b.CreationTimestamp = "nobody", metav1.NewTime(time.Now().Add(-age))
		w.put(b)
		_, _ = (&BackupReconciler{w.operator()}).Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(b)})
		w.wantBackup(want[0], want[1])
	}
}

// TestBackupAndRestoreTell: beginning and end are events, told after they are written, and kstatus can read how far they are.
func TestBackupAndRestoreTell(t *testing.T) {
	answer(t)
	var list []string
	w := &world{T: t, api: fakeAPI(t)}
	for _, o := range []client.Object{secret("team"), running(), pod(), backupOf(metav1.Duration{})} {
		w.put(o)
	}
	r := w.operator()
	r.Events = told{list: &list}
	for range 4 {
		w.round(r)
		w.turn()
	}
	b := &v1alpha1.Backup{}
	w.must(w.api.Get(t.Context(), client.ObjectKey{Namespace: key.Namespace, Name: "b"}, b))
	wantTold(t, list, "Normal BackupStarted: taken from kv-standin-0", "Normal BackupFinished: ")
	if meta.IsStatusConditionTrue(b.Status.Conditions, v1alpha1.ConditionReconciling) || meta.IsStatusConditionTrue(b.Status.Conditions, v1alpha1.ConditionStalled) {
		t.Errorf("a Backup that finished has the conditions %+v", b.Status.Conditions)
	}
	list = nil
	for _, o := range []client.Object{empty(), restoreOf("r")} {
		w.put(o)
	}
	w.turns(r, 5)
	wantTold(t, list, "Normal RestoreStarted: ", "Normal RestoreFinished: the volumes of Cluster new have the data of ")
}

// wantTold wants these events and no others, each by its beginning.
func wantTold(t *testing.T, list []string, want ...string) {
	t.Helper()
	if len(list) != len(want) {
		t.Fatalf("told were %q, want %q", list, want)
	}
	for i := range want {
		if !strings.HasPrefix(list[i], want[i]) {
			t.Errorf("told was %q, want %q", list[i], want[i])
		}
	}
}
