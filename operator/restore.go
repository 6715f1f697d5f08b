package operator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/backup"
	"theseus.dev/runner"
	"theseus.dev/system"
)

// A Restore gets a backup into a new Cluster: as its System says by filling volumes, which is told here, or by writing into members (restore_load.go).
//
// It fills the volumes of a Cluster before its first member starts: it makes the claims that the StatefulSet would make, and a Job for each
// that puts the data in. The claims carry a mark until all are filled. As long as there is such a Restore, or such a mark, the Cluster is held; that
// is one condition in its status, written on the resource version, so that a driver that is about to begin meets a conflict.

const (
	// RestoreCommand is the hidden subcommand with which a Job fills the volume of a member, or writes into one that runs.
	RestoreCommand   = "__restore-member"
	restoreContainer = "restore"

	// restoringAnnotation on a claim is the UID of the Restore that fills it.
	restoringAnnotation = "theseus.dev/restoring"
	restoreLabel        = "theseus.dev/restore-of"

	// restoreLater is when a Restore that waits looks again, if nothing wakes it.
	restoreLater = 10 * time.Second
)

// RestoreOrder is what a Job needs to know.
type RestoreOrder struct {
	// ID is written beside the data when it is whole: a Job that is done again with the same id does nothing.
	ID     string               `json:"id"`
	URL    string               `json:"url"`
	Key    string               `json:"key,omitempty"`
	Name   string               `json:"name"`
	System v1alpha1.SystemRef   `json:"system"`
	Spec   v1alpha1.ClusterSpec `json:"spec"`
	// Volume is where the volume of the member is mounted; empty where the member runs, and is written to.
	Volume  string           `json:"volume,omitempty"`
	Cluster string           `json:"cluster"`
	Member  system.Member    `json:"member"`
	All     []*system.Member `json:"all"`
}

// RestoreResult is the termination message of a Job.
type RestoreResult struct {
	Name  string `json:"name,omitempty"`
	Error string `json:"error,omitempty"`
}

// RestoreReconciler does Restores.
type RestoreReconciler struct{ *Reconciler }

// SetupWithManager registers the reconciler. A Backup that ends and a Cluster that is made wake the Restores that wait for them.
func (r *RestoreReconciler) SetupWithManager(m ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(m).For(&v1alpha1.Restore{}).Owns(&batchv1.Job{}).
		Watches(&v1alpha1.Backup{}, handler.EnqueueRequestsFromMapFunc(r.waiting)).
		Watches(&v1alpha1.Cluster{}, handler.EnqueueRequestsFromMapFunc(r.waiting)).
		WithOptions(controller.Options{RateLimiter: retries()}).Complete(r)
}

func (r *RestoreReconciler) waiting(ctx context.Context, o client.Object) []reconcile.Request {
	list := &v1alpha1.RestoreList{}
	if r.API.List(ctx, list, client.InNamespace(o.GetNamespace())) != nil {
		return nil // they look again by themselves
	}
	var requests []reconcile.Request
	for i := range list.Items {
		x := &list.Items[i]
		if !ended(x.Status.Conditions) && (x.Spec.Backup == o.GetName() || x.Spec.Cluster == o.GetName()) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(x)})
		}
	}
	return requests
}

// waits is why a Restore cannot go on yet. It goes on by itself.
type waits struct{ error }

// Reconcile brings a Restore further. Each write can be repeated, and none is needed to know what the next one is.
func (r *RestoreReconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	x := &v1alpha1.Restore{}
	if err := r.Live.Get(ctx, req.NamespacedName, x); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if x.DeletionTimestamp != nil {
		return reconcile.Result{}, nil
	}
	f := &filling{RestoreReconciler: r, restore: x}
	if ended(x.Status.Conditions) {
		return reconcile.Result{}, f.dismiss(ctx)
	}
	err := f.step(ctx)
	switch {
	case errors.As(err, new(refusal)):
		return reconcile.Result{}, f.end(ctx, err)
	case errors.As(err, new(waits)):
		return reconcile.Result{RequeueAfter: restoreLater}, f.say(ctx, metav1.ConditionFalse, "Waiting", err.Error())
	case err == nil && !ended(x.Status.Conditions):
		return reconcile.Result{RequeueAfter: restoreLater}, nil // a pod that cannot run wakes nobody
	}
	return reconcile.Result{}, err
}

// filling is one Restore in one reconciliation.
type filling struct {
	*RestoreReconciler
	restore *v1alpha1.Restore
	place   *v1alpha1.BackupPlace
	name    backup.Name // in its place
	cluster *v1alpha1.Cluster
	system  *system.System
	print   *blueprint
}

func (f *filling) step(ctx context.Context) error {
	if err := f.find(ctx); err != nil {
		return err
	}
	switch members := f.system.API().Restore.Into == v1alpha1.IntoMembers; {
	case members:
		return f.load(ctx)
	case f.reserved():
		return refusal{fmt.Errorf("system %s does not restore into members any more", f.system.Name())}
	}
	return f.fillAll(ctx)
}

// fillAll fills the volumes of all members, which have not started.
func (f *filling) fillAll(ctx context.Context) error {
	if err := f.claim(ctx); err != nil {
		return err
	}
	members, err := f.print.views()
	if err != nil {
		return waits{err}
	}
	sum := sumOf(&f.cluster.Spec, members)
	if err := f.unchanged(sum); err != nil {
		return err
	}
	if f.restore.Status.Sum != "" && len(f.restore.Status.Members) >= len(members) {
		return f.finish(ctx)
	}
	if err := f.source(ctx); err != nil {
		return err
	}
	t, err := f.print.template()
	if err != nil {
		return waits{err}
	}
	set, err := f.print.statefulSet(t)
	if err != nil {
		return waits{err}
	}
	if len(set.Spec.VolumeClaimTemplates) == 0 {
		return refusal{fmt.Errorf("the members of component %s have no volumes: set spec.components.%s.storage of Cluster %s", f.print.component.Name(), f.print.component.Name(), f.cluster.Name)}
	}
	for i, m := range members { // all claims before the first byte
		if err := f.volume(ctx, set.Spec.VolumeClaimTemplates[0], m.Name); err != nil {
			return fmt.Errorf("member %d: %w", i, err)
		}
	}
	if err := (&Library{API: f.API, Live: f.Live, Shipped: f.Shipped, Cluster: client.ObjectKeyFromObject(f.cluster)}).Keep(ctx, f.system); err != nil {
		return err
	}
	if err := f.begun(ctx, sum, f.filled(0, len(members))); err != nil {
		return err
	}
	return f.fill(ctx, &t, members)
}

// sumOf is that of all that decides what is put into the volumes: version, options, and which members there are under which addresses.
func sumOf(spec *v1alpha1.ClusterSpec, members []*system.Member) string {
	text, err := json.Marshal([]any{spec.System, spec.Version, spec.Options, members})
	if err != nil {
		panic(err) // texts and numbers always marshal
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// unchanged refuses to go on for another cluster than the one for which the first volumes were filled: members would not know each other.
func (f *filling) unchanged(sum string) error {
	if had := f.restore.Status.Sum; had == "" || had == sum {
		return nil
	}
	return refusal{fmt.Errorf("version, options, or the members of Cluster %s (how many, and under which addresses) were changed after its volumes were begun to be filled, and these would not fit together: make another Restore into it, which fills all of them anew",
		f.cluster.Name)}
}

// begun writes down, before the first Job works, for what it restores and from what.
func (f *filling) begun(ctx context.Context, sum, progress string) error {
	st := &f.restore.Status
	if st.Sum != "" {
		return nil
	}
	now, taken := metav1.Now(), metav1.NewTime(f.name.Time.Truncate(time.Second))
	st.Sum, st.Started, st.Name, st.Version, st.Taken = sum, &now, f.name.String(), f.name.From, &taken
	if err := f.sayIf(ctx, true, metav1.ConditionTrue, "JobsCreated", progress); err != nil {
		return err
	}
	f.Events.Eventf(f.restore, nil, corev1.EventTypeNormal, "RestoreStarted", "Restore", "%s into Cluster %s", st.Name, f.cluster.Name)
	return nil
}

func (f *filling) filled(n, of int) string {
	return fmt.Sprintf("%d of %d volumes of Cluster %s are filled", n, of, f.cluster.Name)
}

// find looks up what is to be filled, and how.
func (f *filling) find(ctx context.Context) error {
	x, c := f.restore, &v1alpha1.Cluster{}
	err := f.Live.Get(ctx, types.NamespacedName{Namespace: x.Namespace, Name: x.Spec.Cluster}, c)
	switch {
	case apierrors.IsNotFound(err) && x.Status.ClusterUID != "":
		return refusal{fmt.Errorf("the Cluster %s that it was for is gone", x.Spec.Cluster)}
	case apierrors.IsNotFound(err):
		return waits{fmt.Errorf("there is no Cluster %s yet: make it", x.Spec.Cluster)}
	case err != nil:
		return err
	}
	sys, err := f.systemOf(ctx, c)
	if err != nil {
		return waits{fmt.Errorf("system %s of Cluster %s: %w", c.Spec.System, c.Name, err)}
	}
	method := sys.API().Restore
	if method == nil {
		return refusal{fmt.Errorf("system %s does not say how a backup is restored", sys.Name())}
	}
	component := sys.Components()[0]
	if method.Component != "" {
		component = sys.Component(method.Component)
	}
	if !stateful(component) {
		return refusal{fmt.Errorf("component %s of System %s keeps no data", component.Name(), sys.Name())}
	}
	if f.Image == "" {
		return refusal{errors.New("the operator was not told its own image, which restores backups; set --image")}
	}
	f.cluster, f.system = c, sys
	f.print = &blueprint{cluster: c, system: sys, component: component, spec: &c.Spec, version: c.Spec.Version}
	return nil
}

// systemOf is the System that the members of a Cluster run on, or before there are any the one that it names.
func (f *filling) systemOf(ctx context.Context, c *v1alpha1.Cluster) (*system.System, error) {
	l := &Library{API: f.API, Live: f.Live, Shipped: f.Shipped, Cluster: client.ObjectKeyFromObject(c)}
	if pinned := runner.References(&c.Status); len(pinned) > 0 {
		return l.Pinned(ctx, pinned[0])
	}
	return l.Known(ctx, c.Spec.System)
}

// source finds the backup: in a Backup that has ended well, or as it is named. Its name says who wrote it, and when.
func (f *filling) source(ctx context.Context) error {
	place, name, err := f.stored(ctx)
	if err != nil {
		return err
	}
	f.place = place
	if f.name, err = backup.ParseName(name); err != nil {
		return refusal{fmt.Errorf("%w: give the name that status.name of its Backup had", err)}
	}
	return f.mayRead(f.name.From)
}

func (f *filling) stored(ctx context.Context) (*v1alpha1.BackupPlace, string, error) {
	x := f.restore
	if from := x.Spec.From; from != nil {
		return &from.Place, from.Name, nil
	}
	b := &v1alpha1.Backup{}
	err := f.Live.Get(ctx, types.NamespacedName{Namespace: x.Namespace, Name: x.Spec.Backup}, b)
	switch failed := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionFailed); {
	case apierrors.IsNotFound(err):
		return nil, "", refusal{fmt.Errorf("there is no Backup %s: name one that is there, or say with spec.from where it is stored", x.Spec.Backup)}
	case err != nil:
		return nil, "", err
	case failed != nil && failed.Status == metav1.ConditionTrue:
		return nil, "", refusal{fmt.Errorf("the Backup %s failed: %s", b.Name, failed.Message)}
	case !meta.IsStatusConditionTrue(b.Status.Conditions, v1alpha1.ConditionFinished) || b.Status.Place == nil:
		return nil, "", waits{fmt.Errorf("the Backup %s has not finished yet", b.Name)}
	}
	return b.Status.Place, b.Status.Name, nil
}

// mayRead waits where a later version wrote the data than the one that is to read it: the manifest of a cluster often says the version at which it
// was made, and not the one that it was upgraded to. For members that run it is too late.
func (f *filling) mayRead(wrote string) error {
	const older = "%s wrote the backup, and Cluster %s is to run %s, which is older and need not be able to read it"
	c := f.cluster
	if p := c.Status.Applied; p != nil && f.system.Compare(p.Spec.Version, wrote) < 0 {
		return refusal{fmt.Errorf(older, wrote, c.Name, p.Spec.Version)}
	}
	if v := c.Spec.Version; c.Status.Applied == nil && f.system.Compare(v, wrote) < 0 {
		return waits{fmt.Errorf(older+": set its spec.version to %s", wrote, c.Name, v, wrote)}
	}
	return nil
}

// fresh says that a Cluster never had members.
func fresh(c *v1alpha1.Cluster) bool {
	return c.Status.Attempt == nil && c.Status.Applied == nil && len(c.Status.Attempts) == 0
}

// claim holds the Cluster, or finds that it is too late for that.
func (f *filling) claim(ctx context.Context) error {
	c := f.cluster
	if !fresh(c) {
		return refusal{fmt.Errorf("the Cluster %s has members already, and a restore never goes over a cluster that runs: name one that is not there yet, and make it after the Restore", c.Name)}
	}
	if meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.ConditionRestoring) {
		return nil
	}
	setHeld(c, heldBy(f.restore))
	return f.API.Status().Update(ctx, c)
}

// volume makes the claim of a member, marked. One that is there without a mark may hold data and is left alone; the mark of a Restore that
// ended without success is taken over.
func (f *filling) volume(ctx context.Context, like corev1.PersistentVolumeClaim, member string) error {
	want := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: f.cluster.Namespace, Name: claimName(member), Labels: maps.Clone(like.Labels),
		Annotations: map[string]string{restoringAnnotation: string(f.restore.UID)}}, Spec: *like.Spec.DeepCopy()}
	have := &corev1.PersistentVolumeClaim{}
	err := f.Live.Get(ctx, client.ObjectKeyFromObject(want), have)
	if apierrors.IsNotFound(err) {
		return f.API.Create(ctx, want)
	}
	if err != nil {
		return err
	}
	mark := have.Annotations[restoringAnnotation]
	switch {
	case mark == string(f.restore.UID):
		return nil
	case have.DeletionTimestamp != nil || mark == "":
		return leftover(have)
	}
	if err := f.abandoned(ctx, mark); err != nil {
		return err
	}
	before := have.DeepCopy()
	have.Annotations[restoringAnnotation] = string(f.restore.UID)
	return f.API.Patch(ctx, have, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
}

// leftover is why a Restore does not go on with a volume that was there before it: it goes, or may hold data.
func leftover(claim *corev1.PersistentVolumeClaim) error {
	if claim.DeletionTimestamp != nil {
		return waits{fmt.Errorf("volume %s is being deleted", claim.Name)}
	}
	return refusal{fmt.Errorf("volume %s is there already and may hold data, and nothing is overwritten: delete it, or name another cluster", claim.Name)}
}

// abandoned says whether a Restore that began to fill a volume will not go on.
func (f *filling) abandoned(ctx context.Context, uid string) error {
	list := &v1alpha1.RestoreList{}
	if err := f.Live.List(ctx, list, client.InNamespace(f.restore.Namespace)); err != nil {
		return err
	}
	for i := range list.Items {
		if o := &list.Items[i]; string(o.UID) == uid && !ended(o.Status.Conditions) {
			return refusal{fmt.Errorf("the Restore %s goes into Cluster %s already", o.Name, f.cluster.Name)}
		}
	}
	jobs := &batchv1.JobList{}
	if err := f.Live.List(ctx, jobs, client.InNamespace(f.restore.Namespace), client.MatchingLabels{restoreLabel: f.cluster.Name}); err != nil {
		return err
	}
	for i := range jobs.Items {
		if o := metav1.GetControllerOf(&jobs.Items[i]); o != nil && string(o.UID) == uid && !finished(&jobs.Items[i]) {
			return waits{fmt.Errorf("the Job %s of Restore %s, which failed, has not ended; delete that Restore if it cannot", jobs.Items[i].Name, o.Name)}
		}
	}
	return nil
}

// fill makes a Job for each member, and follows them to their ends.
func (f *filling) fill(ctx context.Context, t *corev1.PodTemplateSpec, members []*system.Member) error {
	var filled []string
	hindrance := ""
	for i, m := range members {
		job := &batchv1.Job{}
		err := f.Live.Get(ctx, types.NamespacedName{Namespace: f.restore.Namespace, Name: f.jobName(i)}, job)
		switch {
		case apierrors.IsNotFound(err):
			if err := f.begin(ctx, t, i, members); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		case !finished(job):
			why, err := jobHindrance(ctx, f.Live, job)
			if err := errors.Join(err, f.sustain(ctx, job, f.place, f.copyOwner(i))); err != nil {
				return err
			}
			if hindrance == "" && why != "" {
				hindrance = m.Name + ": " + why
			}
			continue
		}
		if !succeeded(job) {
			return f.broken(ctx, m.Name, job)
		}
		filled = append(filled, m.Name)
	}
	return f.note(ctx, filled, len(members), hindrance)
}

// broken says why a Job failed.
func (f *filling) broken(ctx context.Context, member string, job *batchv1.Job) error {
	message, how, err := messageOf(ctx, f.Live, job, restoreContainer)
	if err != nil {
		return err
	}
	r := RestoreResult{}
	if json.Unmarshal([]byte(message), &r) == nil && r.Error != "" {
		return refusal{fmt.Errorf("member %s: %s", member, r.Error)}
	}
	return refusal{fmt.Errorf("member %s: %s", member, joined(how, message))}
}

func (f *filling) jobName(ordinal int) string {
	return fmt.Sprintf("%s-%d", jobName("restore", f.restore.UID), ordinal)
}

func (f *filling) copyOwner(ordinal int) types.UID {
	return types.UID(fmt.Sprintf("%s-%d", f.restore.UID, ordinal))
}

func (f *filling) begin(ctx context.Context, t *corev1.PodTemplateSpec, ordinal int, members []*system.Member) error {
	m := members[ordinal]
	pod, command := inMembersImage(f.Image, t, f.system, RestoreCommand)
	pod.Volumes = append(pod.Volumes, corev1.Volume{Name: dataVolume, VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claimName(m.Name)}}})
	pod.Containers[0].VolumeMounts = append(pod.Containers[0].VolumeMounts, corev1.VolumeMount{Name: dataVolume, MountPath: dataMount})
	labels := map[string]string{restoreLabel: f.cluster.Name}
	pod.Affinity = apart(labels) // where a volume is bound when its first pod comes, the members' nodes are chosen here
	job, err := jobOf(f.restore.Namespace, pod, work{name: f.jobName(ordinal), container: restoreContainer, labels: labels, owner: ownedBy(v1alpha1.KindRestore, f.restore), command: command,
		place: f.place, uid: f.copyOwner(ordinal), tries: 2, order: RestoreOrder{ID: string(f.restore.UID), URL: f.place.URL, Key: keyFile(f.place), Name: f.name.String(),
			System: v1alpha1.SystemRef{Name: f.system.Name(), Hash: f.system.Hash()}, Spec: f.cluster.Spec, Volume: dataMount, Cluster: f.cluster.Name, Member: *m, All: members}})
	if err != nil {
		return err
	}
	return f.beginWork(ctx, job, f.place)
}

// note writes down how far it is. With the last member it goes on to the end in the next reconciliation, which this write brings about.
func (f *filling) note(ctx context.Context, filled []string, of int, hindrance string) error {
	st := &f.restore.Status
	changed := !slices.Equal(st.Members, filled)
	st.Members = filled
	return f.sayIf(ctx, changed, metav1.ConditionTrue, "JobsCreated", joined(f.filled(len(filled), of), hindrance))
}

// finish takes the marks off, and then ends. All members were noted before: a claim without a mark is not taken for somebody else's any more.
func (f *filling) finish(ctx context.Context) error {
	if c := f.cluster; c.Status.Filled != f.restore.Status.Version {
		c.Status.Filled = f.restore.Status.Version
		if err := f.API.Status().Update(ctx, c); err != nil {
			return err
		}
	}
	for _, member := range f.restore.Status.Members {
		have := &corev1.PersistentVolumeClaim{}
		err := f.Live.Get(ctx, types.NamespacedName{Namespace: f.cluster.Namespace, Name: claimName(member)}, have)
		if apierrors.IsNotFound(err) {
			return refusal{fmt.Errorf("volume %s is gone after it was filled", claimName(member))}
		}
		if err != nil {
			return err
		}
		if !HalfFilled(have) {
			continue
		}
		before := have.DeepCopy()
		delete(have.Annotations, restoringAnnotation)
		if err := f.API.Patch(ctx, have, client.MergeFrom(before)); err != nil {
			return err
		}
	}
	return f.finished(ctx, "Filled", "the volumes of Cluster "+f.cluster.Name)
}

// finished ends well, and says which data is where.
func (f *filling) finished(ctx context.Context, reason, where string) error {
	now := metav1.Now()
	f.restore.Status.Finished = &now
	report := f.report(where, now.Time)
	f.condition(v1alpha1.ConditionFinished, metav1.ConditionTrue, reason, report)
	if err := f.write(ctx); err != nil {
		return err
	}
	f.Events.Eventf(f.restore, nil, corev1.EventTypeNormal, "RestoreFinished", "Restore", "%s", report)
	return nil
}

// write stores the status, with what kstatus reads.
func (f *filling) write(ctx context.Context) error {
	st := &f.restore.Status
	st.ObservedGeneration = f.restore.Generation
	settle(&st.Conditions, f.restore.Generation)
	return f.API.Status().Update(ctx, f.restore)
}

// report says what is in the data, and what may be missing.
func (f *filling) report(where string, now time.Time) string {
	st := &f.restore.Status
	text := fmt.Sprintf("%s have the data of %s", where, st.Name)
	text += fmt.Sprintf(", taken at %s; it is %s old, and what was written later and acknowledged may be missing", st.Taken.UTC().Format(time.RFC3339), now.Sub(st.Taken.Time).Round(time.Second))
	if st.Version != f.cluster.Spec.Version {
		text += fmt.Sprintf("; %s wrote it, and the Cluster runs %s", st.Version, f.cluster.Spec.Version)
	}
	return text
}

func (f *filling) end(ctx context.Context, why error) error {
	if f.restore.Status.ClusterUID != "" {
		if err := f.stop(ctx); err != nil {
			return err
		}
	}
	if f.reserved() {
		why = fmt.Errorf("the data of Cluster %s is not complete: delete it with its volumes, and make it and a Restore anew; %w", f.cluster.Name, why)
	}
	now := metav1.Now()
	f.restore.Status.Finished = &now
	f.condition(v1alpha1.ConditionFailed, metav1.ConditionTrue, "Failed", why.Error())
	if err := f.write(ctx); err != nil {
		return err
	}
	f.Events.Eventf(f.restore, nil, corev1.EventTypeWarning, "RestoreFailed", "Restore", "%s", bounded(why.Error()))
	return nil
}

func (f *filling) condition(kind string, status metav1.ConditionStatus, reason, message string) bool {
	return meta.SetStatusCondition(&f.restore.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: bounded(message), ObservedGeneration: f.restore.Generation})
}

// say writes the condition Started, if it is another than before.
func (f *filling) say(ctx context.Context, status metav1.ConditionStatus, reason, message string) error {
	return f.sayIf(ctx, false, status, reason, message)
}

func (f *filling) sayIf(ctx context.Context, changed bool, status metav1.ConditionStatus, reason, message string) error {
	if !f.condition(v1alpha1.ConditionStarted, status, reason, message) && !changed {
		return nil
	}
	return f.write(ctx)
}

// dismiss deletes the Jobs of a Restore that has ended, where they had copies of a secret.
func (f *filling) dismiss(ctx context.Context) error {
	jobs := &batchv1.JobList{}
	if err := f.Live.List(ctx, jobs, client.InNamespace(f.restore.Namespace), client.MatchingLabels{restoreLabel: f.restore.Spec.Cluster}); err != nil {
		return err
	}
	for i := range jobs.Items {
		if o := metav1.GetControllerOf(&jobs.Items[i]); o == nil || o.UID != f.restore.UID {
			continue
		}
		if err := f.Reconciler.dismiss(ctx, &jobs.Items[i]); err != nil {
			return err
		}
	}
	return nil
}
