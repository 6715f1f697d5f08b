package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/backup"
)

// Every story is told once to count the writes that the operator makes, and then again for each of them, killed before it and after it: what a new operator makes
// of that must end as the story does.

// world is an API server with what the rest of Kubernetes does: Jobs are run, and what belongs to something that is gone goes.
type world struct {
	*testing.T
	api  client.WithWatch
	uids int
	// fails says of which Jobs the pods fail.
	fails func(*batchv1.Job) bool
	// podless says that the pods of Jobs are gone before anybody reads them.
	podless bool
	// ran are the orders of all Jobs that were run.
	ran []string
	// after each round.
	invariant func(*world)

	writes, killAt int
	killAfter      bool
	dead           bool

	// conflicts says that each write of a status meets a conflict first; refused are those that did.
	conflicts bool
	refused   map[string]bool
	// told are the reasons of events.
	told []string
}

var errKilled = errors.New("the operator was killed")

// write is one write of the operator.
func (w *world) write(do func() error) error {
	if w.dead {
		return errKilled
	}
	w.writes++
	if w.writes != w.killAt {
		return do()
	}
	w.dead = true
	if w.killAfter {
		if err := do(); err != nil {
			w.Fatalf("write %d: %v", w.writes, err)
		}
	}
	return errKilled
}

// operator is a new one, with nothing in mind.
func (w *world) operator() *Reconciler {
	w.dead = false
	writes := interceptor.NewClient(w.api, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return w.write(func() error { w.born(o); return c.Create(ctx, o, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return w.write(func() error { return c.Delete(ctx, o, opts...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			return w.write(func() error { return c.Update(ctx, o, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			return w.write(func() error { return c.Patch(ctx, o, p, opts...) })
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			at := fmt.Sprintf("%T %s %s", o, o.GetName(), o.GetResourceVersion())
			if w.conflicts && !w.refused[at] {
				w.refused[at] = true
				return apierrors.NewConflict(schema.GroupResource{Resource: sub}, o.GetName(), errors.New("somebody was faster"))
			}
			return w.write(func() error { return c.SubResource(sub).Update(ctx, o, opts...) })
		},
	})
	return &Reconciler{API: writes, Live: w.api, Events: told{reasons: &w.told}, Shipped: shipped, Image: "lab.test/theseus:1", Identity: "test"}
}

func (w *world) born(o client.Object) {
	if o.GetUID() == "" {
		w.uids++
		o.SetUID(types.UID(fmt.Sprintf("uid-%d", w.uids)))
	}
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// turn is what the rest of Kubernetes does between two rounds.
func (w *world) turn() {
	w.Helper()
	jobs := &batchv1.JobList{}
	w.must(w.api.List(w.Context(), jobs))
	for i := range jobs.Items {
		if job := &jobs.Items[i]; !finished(job) && !suspended(job) && w.mounted(job) {
			w.run(job)
		}
	}
	w.collect()
}

// mounted says whether all that a pod mounts is there.
func (w *world) mounted(job *batchv1.Job) bool {
	for _, v := range job.Spec.Template.Spec.Volumes {
		var o client.Object
		switch key := (client.ObjectKey{Namespace: job.Namespace}); {
		case v.Secret != nil:
			key.Name, o = v.Secret.SecretName, &corev1.Secret{}
			if err := w.api.Get(w.Context(), key, o); err != nil {
				return false
			}
		case v.PersistentVolumeClaim != nil:
			key.Name, o = v.PersistentVolumeClaim.ClaimName, &corev1.PersistentVolumeClaim{}
			if err := w.api.Get(w.Context(), key, o); err != nil {
				return false
			}
		}
	}
	return true
}

func (w *world) run(job *batchv1.Job) {
	w.Helper()
	c := job.Spec.Template.Spec.Containers[0]
	w.ran = append(w.ran, c.Name+" "+c.Env[0].Value)
	end, message := batchv1.JobComplete, `{"outcome": "succeeded"}`
	if c.Name != runContainer {
		message = fmt.Sprintf(`{"name": %q, "bytes": 5, "sha256": "abc"}`, nameIn(w.T, c.Env[0].Value))
	}
	if w.fails != nil && w.fails(job) {
		end, message = batchv1.JobFailed, `{"error": "it was to fail"}`
	}
	if !w.podless {
		w.put(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: job.Namespace, Name: job.Name + "-pod", Labels: map[string]string{batchv1.JobNameLabel: job.Name},
			OwnerReferences: []metav1.OwnerReference{{Kind: "Job", Name: job.Name, UID: job.UID}}},
			Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: c.Name, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: message}}}}}})
	}
	job.Status.Conditions = append(job.Status.Conditions, batchv1.JobCondition{Type: end, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()})
	w.must(w.api.Status().Update(w.Context(), job))
}

// nameIn is the name of the backup that an order is about.
func nameIn(t *testing.T, order string) string {
	t.Helper()
	o := struct{ Name json.RawMessage }{}
	fatal(t, json.Unmarshal([]byte(order), &o))
	text, name := "", backup.Name{}
	if json.Unmarshal(o.Name, &text) == nil {
		return text
	}
	fatal(t, json.Unmarshal(o.Name, &name))
	return name.String()
}

// collect deletes what has an owner that is gone.
func (w *world) collect() {
	w.Helper()
	for again := true; again; {
		again = false
		uids := map[types.UID]bool{}
		var all []client.Object
		for _, list := range []client.ObjectList{&v1alpha1.BackupList{}, &v1alpha1.RestoreList{}, &v1alpha1.ClusterList{}, &batchv1.JobList{}, &corev1.SecretList{}, &corev1.PodList{}} {
			w.must(w.api.List(w.Context(), list))
			w.must(meta.EachListItem(list, func(o runtime.Object) error {
				object := o.(client.Object)
				uids[object.GetUID()] = true
				all = append(all, object)
				return nil
			}))
		}
		for _, o := range all {
			owners := o.GetOwnerReferences()
			if len(owners) > 0 && !slices.ContainsFunc(owners, func(r metav1.OwnerReference) bool { return uids[r.UID] }) {
				w.must(client.IgnoreNotFound(w.api.Delete(w.Context(), o)))
				again = true
			}
		}
	}
}

// play lets operators and Kubernetes take turns until nothing changes any more. A killed operator is followed by a new one.
func (w *world) play() {
	w.Helper()
	r := w.operator()
	last := ""
	for range 60 {
		if w.dead {
			r = w.operator()
		}
		refused := len(w.refused)
		w.round(r)
		w.wantHonest()
		if w.invariant != nil {
			w.invariant(w)
		}
		w.turn()
		now := w.shape()
		if now == last && !w.dead && refused == len(w.refused) {
			return
		}
		last = now
	}
	w.Fatalf("it goes on for ever; there is\n%s", last)
}

func (w *world) round(r *Reconciler) {
	w.Helper()
	for _, x := range []struct {
		list client.ObjectList
		do   func(context.Context, reconcile.Request) (reconcile.Result, error)
	}{{&v1alpha1.BackupList{}, (&BackupReconciler{r}).Reconcile}, {&v1alpha1.RestoreList{}, (&RestoreReconciler{r}).Reconcile}, {&v1alpha1.ClusterList{}, r.holdOnly}} {
		w.must(w.api.List(w.Context(), x.list))
		w.must(meta.EachListItem(x.list, func(o runtime.Object) error {
			_, err := x.do(w.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o.(client.Object))})
			if err != nil && !errors.Is(err, errKilled) && !apierrors.IsConflict(err) {
				w.Fatal(err)
			}
			return nil
		}))
	}
}

// holdOnly is the part of a Cluster's reconciliation that Restores are about.
func (r *Reconciler) holdOnly(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	_, err := r.hold(ctx, req.NamespacedName)
	return reconcile.Result{}, err
}

// shape is all that there is, in a form that can be compared.
func (w *world) shape() string {
	w.Helper()
	var lines []string
	for _, list := range []client.ObjectList{&v1alpha1.BackupList{}, &v1alpha1.RestoreList{}, &v1alpha1.ClusterList{}, &batchv1.JobList{}, &corev1.SecretList{}, &corev1.PersistentVolumeClaimList{}} {
		w.must(w.api.List(w.Context(), list))
		w.must(meta.EachListItem(list, func(o runtime.Object) error {
			object := o.(client.Object)
			lines = append(lines, fmt.Sprintf("%T %s %s", o, object.GetName(), object.GetResourceVersion()))
			return nil
		}))
	}
	return strings.Join(lines, "\n")
}

// answering is where a member of kv answers: an address of this process alone.
var answering = fmt.Sprintf("127.7.%d.%d", os.Getpid()>>8&0xff, max(1, os.Getpid()&0xff))

// stored is what the backup of stories is called that was taken before.
const stored = "kv/20260304T050607Z_1.0.0___manual"

// answer answers for a member as the stand-in does.
func answer(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", answering+":7000")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"health": "true", "ready": true, "version": "1.0.0", "role": "leader", "leader": "kv-standin-0", "settled": true, "left": 0}`)
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
}

const elsewhere = "ops"

// story begins with objects, and ends as it says.
type story struct {
	objects   func(w *world) []client.Object
	fails     func(*batchv1.Job) bool
	invariant func(*world)
	end       func(*world)
}

var stories = map[string]story{
	"a backup with a key from elsewhere, whose time is over": {
		objects: func(*world) []client.Object {
			return []client.Object{secret("team"), running(), pod(), backupOf(metav1.Duration{Duration: time.Second})}
		},
		end: func(w *world) {
			w.wantGone(&v1alpha1.Backup{}, "b")
			w.wantNothing(&batchv1.JobList{})
			w.wantSecrets("cloud")
			w.wantRan("backup", 1)
			w.wantRan("forget", 1)
		},
	},
	"two backups of one second, of which the time of one is over": {
		objects: func(*world) []client.Object {
			short := backupOf(metav1.Duration{Duration: time.Second}).(*v1alpha1.Backup)
			short.Name, short.UID = "short", "short-uid"
			return []client.Object{secret("team"), running(), pod(), backupOf(metav1.Duration{}), short}
		},
		end: func(w *world) {
			w.wantGone(&v1alpha1.Backup{}, "short")
			w.wantBackup(v1alpha1.ConditionFinished, "5 bytes")
			w.wantRan("backup", 2)
			w.wantRan("forget", 1)
			kept := &v1alpha1.Backup{}
			w.must(w.api.Get(w.Context(), client.ObjectKey{Namespace: key.Namespace, Name: "b"}, kept))
			names := map[string]int{}
			for _, ran := range w.ran {
				what, order, _ := strings.Cut(ran, " ")
				name := nameIn(w.T, order)
				if names[name]++; what == "forget" && (name == kept.Status.Name || names[name] != 2) {
					w.Errorf("%s was deleted, and %s is to be kept; stored were %v", name, kept.Status.Name, names)
				}
			}
		},
	},
	"a backup that is kept": {
		objects: func(*world) []client.Object {
			return []client.Object{secret("team"), running(), pod(), backupOf(metav1.Duration{})}
		},
		end: func(w *world) {
			w.wantBackup(v1alpha1.ConditionFinished, "5 bytes")
			w.wantSecrets("cloud")
			w.wantRan("backup", 1)
		},
	},
	"a backup that fails": {
		objects: func(*world) []client.Object {
			return []client.Object{secret("team"), running(), pod(), backupOf(metav1.Duration{})}
		},
		fails: func(*batchv1.Job) bool { return true },
		end:   func(w *world) { w.wantBackup(v1alpha1.ConditionFailed, "it was to fail"); w.wantSecrets("cloud") },
	},
	"a backup that comes before its cluster": {
		objects: func(w *world) []client.Object {
			w.must(w.api.Delete(w.Context(), kv()))
			b := backupOf(metav1.Duration{})
			b.SetCreationTimestamp(metav1.Now())
			return []client.Object{secret("team"), pod(), b}
		},
		invariant: func(w *world) {
			c := running()
			if !apierrors.IsNotFound(w.api.Get(w.Context(), client.ObjectKeyFromObject(c), &v1alpha1.Cluster{})) || w.writes == 0 {
				return
			}
			w.wantBackupWaits("there is no Cluster kv; it is waited for until ")
			w.put(running())
		},
		end: func(w *world) { w.wantBackup(v1alpha1.ConditionFinished, "5 bytes"); w.wantRan("backup", 1) },
	},
	"a backup of a cluster that is gone, whose time is over": {
		objects: func(w *world) []client.Object {
			w.must(w.api.Delete(w.Context(), kv()))
			return []client.Object{secret("team"), backupOf(metav1.Duration{Duration: time.Second})}
		},
		end: func(w *world) { w.wantGone(&v1alpha1.Backup{}, "b"); w.wantRan("forget", 0) },
	},
	"a backup without a grant": {
		objects: func(*world) []client.Object {
			return []client.Object{secret("others, more"), running(), pod(), backupOf(metav1.Duration{})}
		},
		end: func(w *world) {
			w.wantBackup(v1alpha1.ConditionFailed, `annotate it with theseus.dev/granted-to: "team"`)
			w.wantSecrets("cloud")
			w.wantNothing(&batchv1.JobList{})
		},
	},
	"a restore": {
		objects:   func(*world) []client.Object { return []client.Object{secret("team"), taken(), empty(), restoreOf("r")} },
		invariant: heldUntilFinished,
		end: func(w *world) {
			x := w.wantRestore("r", v1alpha1.ConditionFinished, "may be missing")
			if len(x.Status.Members) != 2 || x.Status.Version != "1.0.0" || x.Status.Taken == nil || x.Status.Taken.UTC().Year() != 2026 {
				w.Errorf("its status is %+v", x.Status)
			}
			w.wantVolumes(2, "")
			w.wantSecrets("cloud")
			w.wantRan("restore", 2)
		},
	},
	"a restore of what is stored, of whose Jobs nothing is left to read": {
		objects: func(w *world) []client.Object {
			w.podless = true
			x := restoreOf("r")
			x.Spec.Backup, x.Spec.From = "", &v1alpha1.StoredBackup{Place: *place(), Name: stored}
			return []client.Object{secret("team"), empty(), x}
		},
		invariant: heldUntilFinished,
		end: func(w *world) {
			x := w.wantRestore("r", v1alpha1.ConditionFinished, "may be missing")
			if x.Status.Version != "1.0.0" || x.Status.Taken == nil || x.Status.Taken.UTC().Year() != 2026 {
				w.Errorf("its status is %+v", x.Status)
			}
			c := &v1alpha1.Cluster{}
			w.must(w.api.Get(w.Context(), client.ObjectKey{Namespace: key.Namespace, Name: "new"}, c))
			if c.Status.Filled != "1.0.0" {
				w.Errorf("the Cluster says that %q filled its volumes, want 1.0.0", c.Status.Filled)
			}
		},
	},
	"a restore whose cluster gets another number of members meanwhile, and the next one": {
		objects:   func(*world) []client.Object { return []client.Object{secret("team"), taken(), empty(), restoreOf("r")} },
		invariant: thirdMemberThenAnother,
		end: func(w *world) {
			w.wantRestore("r", v1alpha1.ConditionFailed, "make another Restore into it")
			w.wantRestore("r2", v1alpha1.ConditionFinished, "")
			w.wantVolumes(3, "")
			sizes := map[string]int{}
			for _, ran := range w.ran {
				o := RestoreOrder{}
				fatal(w.T, json.Unmarshal([]byte(strings.TrimPrefix(ran, restoreContainer+" ")), &o))
				if had := sizes[o.ID]; had != 0 && had != len(o.All) {
					w.Errorf("one Restore filled volumes for %d and for %d members", had, len(o.All))
				}
				sizes[o.ID] = len(o.All)
			}
		},
	},
	"a restore that fails, and holds its cluster": {
		objects:   func(*world) []client.Object { return []client.Object{secret("team"), taken(), empty(), restoreOf("r")} },
		fails:     func(job *batchv1.Job) bool { return strings.HasSuffix(job.Name, "-1") },
		invariant: heldUntilFinished,
		end: func(w *world) {
			w.wantRestore("r", v1alpha1.ConditionFailed, "member new-standin-1: it was to fail")
			c := &v1alpha1.Cluster{}
			w.must(w.api.Get(w.Context(), client.ObjectKey{Namespace: key.Namespace, Name: "new"}, c))
			wantCondition(w.T, c.Status.Conditions, v1alpha1.ConditionStalled, "Restore r, which was to fill its volumes, failed; make another one")
			w.wantVolumes(2, "r-uid")
			w.wantSecrets("cloud")
		},
	},
	"a restore over volumes of one that failed": {
		objects: func(*world) []client.Object {
			gone := restoreOf("gone")
			gone.Status = v1alpha1.RestoreStatus{Finished: &metav1.Time{Time: time.Now()}, Conditions: []metav1.Condition{{Type: v1alpha1.ConditionFailed, Status: metav1.ConditionTrue}}}
			return []client.Object{secret("team"), taken(), empty(), gone, volume("new-standin-0", "gone-uid"), restoreOf("r")}
		},
		end: func(w *world) {
			w.wantRestore("r", v1alpha1.ConditionFinished, "")
			w.wantVolumes(2, "")
		},
	},
	"a restore over a volume with data": {
		objects: func(*world) []client.Object {
			return []client.Object{secret("team"), taken(), empty(), volume("new-standin-1", ""), restoreOf("r")}
		},
		invariant: heldUntilFinished,
		end: func(w *world) {
			w.wantRestore("r", v1alpha1.ConditionFailed, "volume data-new-standin-1 is there already")
			w.wantRan("restore", 0)
		},
	},
}

func allStories() map[string]story {
	all := maps.Clone(stories)
	maps.Copy(all, loads)
	return all
}

func TestKilledAtEachWrite(t *testing.T) {
	answer(t)
	for name, story := range allStories() {
		t.Run(name, func(t *testing.T) {
			tell := func(t *testing.T, killAt int, after bool) int {
				w := &world{T: t, api: fakeAPI(t), fails: story.fails, invariant: story.invariant, killAt: killAt, killAfter: after}
				for _, o := range story.objects(w) {
					w.put(o)
				}
				w.play()
				story.end(w)
				return w.writes
			}
			writes := tell(t, 0, false)
			if writes == 0 {
				t.Fatal("the operator wrote nothing")
			}
			for at := 1; at <= writes; at++ {
				for _, after := range []bool{false, true} {
					t.Run(fmt.Sprintf("write %d, killed after it %v", at, after), func(t *testing.T) { tell(t, at, after) })
				}
			}
		})
	}
}

// put makes an object with its status.
func (w *world) put(o client.Object) {
	w.Helper()
	w.born(o)
	status := o.DeepCopyObject().(client.Object)
	err := w.api.Create(w.Context(), o)
	if apierrors.IsAlreadyExists(err) {
		w.must(w.api.Get(w.Context(), client.ObjectKeyFromObject(o), o))
	} else {
		w.must(err)
	}
	status.SetResourceVersion(o.GetResourceVersion())
	switch o.(type) {
	case *v1alpha1.Cluster, *v1alpha1.Backup, *v1alpha1.Restore, *corev1.Pod:
		w.must(w.api.Status().Update(w.Context(), status))
	}
}

func secret(granted string) client.Object {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: elsewhere, Name: "cloud", Annotations: map[string]string{v1alpha1.GrantAnnotation: granted}}, Data: map[string][]byte{"key.json": []byte("hush")}}
}

func place() *v1alpha1.BackupPlace {
	return &v1alpha1.BackupPlace{URL: "s3://bucket/kv?region=eu", Secret: &v1alpha1.SecretKey{Namespace: elsewhere, Name: "cloud"}}
}

// running is kv with a member that answers.
func running() client.Object {
	c := kv()
	sys, err := shipped("standin")
	if err != nil {
		panic(err)
	}
	compiled.Store(sys.Hash(), sys)
	c.Status.Applied = &v1alpha1.Pinned{System: v1alpha1.SystemRef{Name: "standin", Hash: sys.Hash()}, Spec: c.Spec}
	return c
}

// pod is the member that answers.
func pod() client.Object {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: "kv-standin-0", UID: "pod-uid", Labels: selectorOf("kv", "standin"), Annotations: map[string]string{versionAnnotation: "1.0.0"}},
		Status: corev1.PodStatus{PodIP: answering, ContainerStatuses: []corev1.ContainerStatus{{Name: "standin", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}}}
}

func backupOf(ttl metav1.Duration) client.Object {
	return &v1alpha1.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: "b", UID: "b-uid", Generation: 1, CreationTimestamp: metav1.NewTime(time.Now().Add(-time.Hour))},
		Spec: v1alpha1.BackupSpec{Cluster: key.Name, Place: place(), TTL: &ttl}}
}

// taken is a Backup that has ended.
func taken() client.Object {
	b := backupOf(metav1.Duration{}).(*v1alpha1.Backup)
	b.Status = v1alpha1.BackupStatus{Place: place(), Name: stored, Conditions: []metav1.Condition{{Type: v1alpha1.ConditionFinished, Status: metav1.ConditionTrue}}}
	return b
}

// empty is a Cluster that never had members.
func empty() client.Object {
	c := kv()
	c.Name, c.UID = "new", "new-uid"
	own := c.Spec.Components["standin"]
	two := int32(2)
	own.Storage, own.Replicas = "1Gi", &two
	c.Spec.Components["standin"] = own
	return c
}

func restoreOf(name string) *v1alpha1.Restore {
	return &v1alpha1.Restore{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: name, UID: types.UID(name + "-uid"), Generation: 1}, Spec: v1alpha1.RestoreSpec{Backup: "b", Cluster: "new"}}
}

func volume(member, mark string) client.Object {
	v := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: "data-" + member, Labels: selectorOf("new", "standin")}}
	if mark != "" {
		v.Annotations = map[string]string{restoringAnnotation: mark}
	}
	return v
}

// heldUntilFinished wants that no driver can begin with the Cluster before its Restore has finished, once the Restore has touched anything.
func heldUntilFinished(w *world) {
	w.Helper()
	jobs := &batchv1.JobList{}
	w.must(w.api.List(w.Context(), jobs))
	claims := &corev1.PersistentVolumeClaimList{}
	w.must(w.api.List(w.Context(), claims))
	x := &v1alpha1.Restore{}
	w.must(w.api.Get(w.Context(), client.ObjectKey{Namespace: key.Namespace, Name: "r"}, x))
	if len(jobs.Items) == 0 || meta.IsStatusConditionTrue(x.Status.Conditions, v1alpha1.ConditionFinished) {
		return
	}
	s := &State{API: w.api, Live: w.api, Key: client.ObjectKey{Namespace: key.Namespace, Name: "new"}}
	if _, _, err := s.Load(w.Context()); !errors.As(err, new(*heldError)) {
		w.Errorf("a driver may begin with a cluster whose volumes are being filled: %v", err)
	}
}

// wantHonest wants each status that was written to say to kstatus whether to go on waiting.
func (w *world) wantHonest() {
	w.Helper()
	honest := func(name string, generation, observed int64, list []metav1.Condition) {
		w.Helper()
		if observed == 0 {
			return // as it was made
		}
		failed := meta.IsStatusConditionTrue(list, v1alpha1.ConditionFailed)
		for kind, want := range map[string]bool{v1alpha1.ConditionReconciling: !ended(list), v1alpha1.ConditionStalled: failed} {
			if c := meta.FindStatusCondition(list, kind); c == nil || (c.Status == metav1.ConditionTrue) != want || c.Message == "" {
				w.Errorf("%s: %s is %+v, want %v beside %+v", name, kind, c, want, list)
			}
		}
		for _, c := range list {
			if observed != generation || c.ObservedGeneration != generation {
				w.Errorf("%s: the status is of generation %d, its condition %s of %d, and the spec of %d", name, observed, c.Type, c.ObservedGeneration, generation)
			}
		}
	}
	backups, restores := &v1alpha1.BackupList{}, &v1alpha1.RestoreList{}
	w.must(w.api.List(w.Context(), backups))
	w.must(w.api.List(w.Context(), restores))
	for _, b := range backups.Items {
		honest("Backup "+b.Name, b.Generation, b.Status.ObservedGeneration, b.Status.Conditions)
	}
	for _, x := range restores.Items {
		honest("Restore "+x.Name, x.Generation, x.Status.ObservedGeneration, x.Status.Conditions)
	}
}

// TestToldOnce: an event speaks of what was written, and is told once, also where a write has to be tried again.
func TestToldOnce(t *testing.T) {
	answer(t)
	for name, want := range map[string]string{
		"a backup that is kept":                       "BackupStarted BackupFinished",
		"a backup that fails":                         "BackupStarted BackupFailed",
		"a backup without a grant":                    "BackupFailed",
		"a restore":                                   "RestoreStarted RestoreFinished",
		"a restore that fails, and holds its cluster": "RestoreStarted RestoreFailed",
		"a restore into members":                      "RestoreStarted RestoreFinished",
		"a restore into members that fails":           "RestoreStarted RestoreFailed",
	} {
		for _, conflicts := range []bool{false, true} {
			story := allStories()[name]
			w := &world{T: t, api: fakeAPI(t), fails: story.fails, invariant: story.invariant, conflicts: conflicts, refused: map[string]bool{}}
			for _, o := range story.objects(w) {
				w.put(o)
			}
			w.play()
			story.end(w)
			if got := strings.Join(w.told, " "); got != want {
				t.Errorf("%s, with conflicts %v: told were %q, want %q", name, conflicts, got, want)
			}
		}
	}
}

// thirdMemberThenAnother gives the Cluster a third member as soon as the first volume is being filled, and makes another Restore when the first has failed.
func thirdMemberThenAnother(w *world) {
	w.Helper()
	jobs := &batchv1.JobList{}
	w.must(w.api.List(w.Context(), jobs))
	if len(jobs.Items) == 0 {
		return
	}
	c := &v1alpha1.Cluster{}
	w.must(w.api.Get(w.Context(), client.ObjectKey{Namespace: key.Namespace, Name: "new"}, c))
	if own, three := c.Spec.Components["standin"], int32(3); *own.Replicas != three {
		own.Replicas = &three
		c.Spec.Components["standin"] = own
		w.must(w.api.Update(w.Context(), c))
	}
	x := &v1alpha1.Restore{}
	w.must(w.api.Get(w.Context(), client.ObjectKey{Namespace: key.Namespace, Name: "r"}, x))
	if meta.IsStatusConditionTrue(x.Status.Conditions, v1alpha1.ConditionFailed) && apierrors.IsNotFound(w.api.Get(w.Context(), client.ObjectKey{Namespace: key.Namespace, Name: "r2"}, x)) {
		w.put(restoreOf("r2"))
	}
}

func (w *world) wantBackup(condition, message string) {
	w.Helper()
	b := &v1alpha1.Backup{}
	w.must(w.api.Get(w.Context(), client.ObjectKey{Namespace: key.Namespace, Name: "b"}, b))
	wantCondition(w.T, b.Status.Conditions, condition, message)
}

// wantBackupWaits wants the reason for which it has not begun, if it was written yet.
func (w *world) wantBackupWaits(message string) {
	w.Helper()
	b := &v1alpha1.Backup{}
	w.must(w.api.Get(w.Context(), client.ObjectKey{Namespace: key.Namespace, Name: "b"}, b))
	c := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionStarted)
	if ended(b.Status.Conditions) || c != nil && (c.Status != metav1.ConditionFalse || !strings.Contains(c.Message, message)) {
		w.Errorf("the conditions are %+v, want that it waits because %q", b.Status.Conditions, message)
	}
}

func (w *world) wantRestore(name, condition, message string) *v1alpha1.Restore {
	w.Helper()
	x := &v1alpha1.Restore{}
	w.must(w.api.Get(w.Context(), client.ObjectKey{Namespace: key.Namespace, Name: name}, x))
	wantCondition(w.T, x.Status.Conditions, condition, message)
	return x
}

func wantCondition(t *testing.T, list []metav1.Condition, kind, message string) {
	t.Helper()
	c := meta.FindStatusCondition(list, kind)
	if c == nil || c.Status != metav1.ConditionTrue || !strings.Contains(c.Message, message) {
		t.Errorf("the conditions are %+v, want %s with %q", list, kind, message)
	}
}

func (w *world) wantGone(o client.Object, name string) {
	w.Helper()
	if err := w.api.Get(w.Context(), client.ObjectKey{Namespace: key.Namespace, Name: name}, o); !apierrors.IsNotFound(err) {
		w.Errorf("%T %s: got %v, want it to be gone", o, name, err)
	}
}

func (w *world) wantNothing(list client.ObjectList) {
	w.Helper()
	w.must(w.api.List(w.Context(), list))
	if n := meta.LenList(list); n != 0 {
		w.Errorf("there are %d in %T, want none", n, list)
	}
}

// wantSecrets wants these and no copies.
func (w *world) wantSecrets(names ...string) {
	w.Helper()
	list := &corev1.SecretList{}
	w.must(w.api.List(w.Context(), list))
	var got []string
	for _, s := range list.Items {
		got = append(got, s.Name)
	}
	if !slices.Equal(got, names) {
		w.Errorf("the secrets are %q, want %q", got, names)
	}
}

// wantVolumes wants so many, each with this mark.
func (w *world) wantVolumes(n int, mark string) {
	w.Helper()
	list := &corev1.PersistentVolumeClaimList{}
	w.must(w.api.List(w.Context(), list))
	if len(list.Items) != n {
		w.Errorf("there are %d volumes, want %d", len(list.Items), n)
	}
	for _, v := range list.Items {
		if v.Annotations[restoringAnnotation] != mark {
			w.Errorf("volume %s has the mark %q, want %q", v.Name, v.Annotations[restoringAnnotation], mark)
		}
	}
	c := &v1alpha1.Cluster{}
	w.must(w.api.Get(w.Context(), client.ObjectKey{Namespace: key.Namespace, Name: "new"}, c))
	if held := refuseHeld(c) != nil; held != (mark != "") {
		w.Errorf("the cluster is held: %v, want %v", held, mark != "")
	}
}

// wantRan wants that many Jobs to have been run, none with the key in its order.
func (w *world) wantRan(container string, n int) {
	w.Helper()
	got := 0
	for _, order := range w.ran {
		if strings.HasPrefix(order, container+" ") {
			got++
		}
		if strings.Contains(order, "hush") {
			w.Errorf("an order holds the key: %s", order)
		}
	}
	if got != n {
		w.Errorf("%d Jobs %s were run, want %d", got, container, n)
	}
}
