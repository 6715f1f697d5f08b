package operator

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
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
	"theseus.dev/upgrade"
)

// A Backup is taken by a Job whose pod has the image of the members and, brought in by an init container, this program, which runs the System's method
// there, stores what comes, and reads it back.

const (
	// BackupCommand is the hidden subcommand that a Job runs. Its order is in the environment.
	BackupCommand = "__take-backup"

	jobContainer = "backup"

	// clusterPatience is how long after it was made a Backup waits for a Cluster that is not there: one file may apply both.
	clusterPatience = 10 * time.Minute
)

// BackupOrder is what a Job needs to know.
type BackupOrder struct {
	// Name under which it is stored.
	Name backup.Name `json:"name"`
	URL  string      `json:"url"`
	// Key is the file with the key of the place, if it has one.
	Key    string               `json:"key,omitempty"`
	System v1alpha1.SystemRef   `json:"system"`
	Spec   v1alpha1.ClusterSpec `json:"spec"`
	Member system.Member        `json:"member"`
	All    []*system.Member     `json:"all"`
}

// BackupResult is the termination message of a Job, at most 4 KiB.
type BackupResult struct {
	Name   string `json:"name,omitempty"`
	Bytes  int64  `json:"bytes,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	Check  string `json:"check,omitempty"`
	Error  string `json:"error,omitempty"`
}

// BackupReconciler takes Backups.
type BackupReconciler struct{ *Reconciler }

// SetupWithManager registers the reconciler. Members that do not answer keep only their own Backup waiting.
func (r *BackupReconciler) SetupWithManager(m ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(m).For(&v1alpha1.Backup{}).Owns(&batchv1.Job{}).
		Watches(&v1alpha1.Cluster{}, handler.EnqueueRequestsFromMapFunc(r.waiting)).
		WithOptions(controller.Options{MaxConcurrentReconciles: 8, RateLimiter: retries()}).Complete(r)
}

// waiting are the Backups of a Cluster that have not begun: a member that got ready may be asked now.
func (r *BackupReconciler) waiting(ctx context.Context, o client.Object) []reconcile.Request {
	list := &v1alpha1.BackupList{}
	if r.API.List(ctx, list, client.InNamespace(o.GetNamespace())) != nil {
		return nil // they look again by themselves
	}
	var requests []reconcile.Request
	for i := range list.Items {
		if b := &list.Items[i]; b.Spec.Cluster == o.GetName() && b.Status.Started == nil && !ended(b.Status.Conditions) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(b)})
		}
	}
	return requests
}

// Reconcile brings a Backup one write further. Each can be repeated: the Job has a fixed name, and its end is read from its pod.
func (r *BackupReconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	b := &v1alpha1.Backup{}
	if err := r.Live.Get(ctx, req.NamespacedName, b); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if b.DeletionTimestamp != nil {
		return reconcile.Result{}, nil
	}
	if ended(b.Status.Conditions) {
		return r.after(ctx, b)
	}
	err := r.step(ctx, b)
	if errors.As(err, new(refusal)) {
		err = r.end(ctx, b, BackupResult{Error: err.Error()})
	}
	if err == nil && !ended(b.Status.Conditions) {
		return reconcile.Result{RequeueAfter: lookNowAndThen}, nil // a pod that cannot run wakes nobody
	}
	return reconcile.Result{}, err
}

func (r *BackupReconciler) step(ctx context.Context, b *v1alpha1.Backup) error {
	job := &batchv1.Job{}
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: b.Namespace, Name: jobName("backup", b.UID)}, job)
	switch {
	case apierrors.IsNotFound(err):
		return r.begin(ctx, b)
	case err != nil:
		return err
	}
	return r.follow(ctx, b, job)
}

// after is what is left to do when a Backup has ended.
func (r *BackupReconciler) after(ctx context.Context, b *v1alpha1.Backup) (reconcile.Result, error) {
	job := &batchv1.Job{}
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: b.Namespace, Name: jobName("backup", b.UID)}, job)
	if err == nil {
		err = r.dismiss(ctx, job)
	}
	if client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, err
	}
	return r.expire(ctx, b)
}

func ended(list []metav1.Condition) bool {
	return meta.IsStatusConditionTrue(list, v1alpha1.ConditionFinished) || meta.IsStatusConditionTrue(list, v1alpha1.ConditionFailed)
}

// jobName is fixed for an object and short enough for every label that is made of it.
func jobName(what string, uid types.UID) string {
	sum := sha256.Sum256([]byte(uid))
	return "theseus-" + what + "-" + hex.EncodeToString(sum[:8])
}

// refusal is why a Backup can never be taken: trying again does not help.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// begin makes the Job.
func (r *BackupReconciler) begin(ctx context.Context, b *v1alpha1.Backup) error {
	if b.Status.Started != nil {
		return r.end(ctx, b, BackupResult{Error: "its Job is gone before it said how it went"})
	}
	job, order, err := r.job(ctx, b)
	if err == nil {
		err = r.beginWork(ctx, job, placeOf(b, &order.Spec))
	}
	if err != nil {
		return r.waits(ctx, b, err)
	}
	return nil // what was begun is read from the Job, which wakes this Backup
}

// waits says why a Backup cannot begin, which is tried again: an error soon, and what comes by itself now and then.
func (r *BackupReconciler) waits(ctx context.Context, b *v1alpha1.Backup, why error) error {
	if errors.As(why, new(refusal)) {
		return why
	}
	err := error(nil)
	if set(b, v1alpha1.ConditionStarted, metav1.ConditionFalse, "Waiting", why.Error()) {
		err = r.write(ctx, b)
	}
	if errors.As(why, new(waits)) {
		return err
	}
	return errors.Join(why, err)
}

func (r *BackupReconciler) started(ctx context.Context, b *v1alpha1.Backup, order *BackupOrder) error {
	st, at := &b.Status, metav1.NewTime(order.Name.Time.Truncate(time.Second))
	st.Started, st.Name, st.Version, st.Place, st.System = &at, order.Name.String(), order.Name.From, placeOf(b, &order.Spec), &order.System
	set(b, v1alpha1.ConditionStarted, metav1.ConditionTrue, "JobCreated", takenFrom(order))
	if err := r.write(ctx, b); err != nil {
		return err
	}
	r.Events.Eventf(b, nil, corev1.EventTypeNormal, "BackupStarted", "Backup", "%s", takenFrom(order))
	return nil
}

// write stores the status, with what kstatus reads.
func (r *BackupReconciler) write(ctx context.Context, b *v1alpha1.Backup) error {
	b.Status.ObservedGeneration = b.Generation
	settle(&b.Status.Conditions, b.Generation)
	return r.API.Status().Update(ctx, b)
}

// settle derives from the other conditions of a Backup or a Restore the two that say whether to go on waiting.
func settle(list *[]metav1.Condition, generation int64) {
	reconciling, stalled, from := metav1.ConditionTrue, metav1.ConditionFalse, meta.FindStatusCondition(*list, v1alpha1.ConditionStarted)
	for _, end := range []string{v1alpha1.ConditionFinished, v1alpha1.ConditionFailed} {
		if meta.IsStatusConditionTrue(*list, end) {
			reconciling, from = metav1.ConditionFalse, meta.FindStatusCondition(*list, end)
		}
	}
	if from.Type == v1alpha1.ConditionFailed {
		stalled = metav1.ConditionTrue
	}
	reason, message := from.Reason, from.Message // the list may be made anew
	meta.SetStatusCondition(list, metav1.Condition{Type: v1alpha1.ConditionReconciling, Status: reconciling, Reason: reason, Message: message, ObservedGeneration: generation})
	meta.SetStatusCondition(list, metav1.Condition{Type: v1alpha1.ConditionStalled, Status: stalled, Reason: reason, Message: message, ObservedGeneration: generation})
}

func set(b *v1alpha1.Backup, kind string, status metav1.ConditionStatus, reason, message string) (changed bool) {
	return meta.SetStatusCondition(&b.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: bounded(message), ObservedGeneration: b.Generation})
}

func placeOf(b *v1alpha1.Backup, spec *v1alpha1.ClusterSpec) *v1alpha1.BackupPlace {
	if b.Spec.Place != nil {
		return b.Spec.Place
	}
	return spec.Backup
}

// job looks at the members and says who is asked, and how.
func (r *BackupReconciler) job(ctx context.Context, b *v1alpha1.Backup) (*batchv1.Job, *BackupOrder, error) {
	c, err := r.clusterOf(ctx, b)
	if err != nil {
		return nil, nil, err
	}
	scene, err := r.sceneOf(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	if scene.System.API().Backup == nil {
		return nil, nil, refusal{fmt.Errorf("system %s does not say how a backup is taken", scene.System.Name())}
	}
	if r.Image == "" {
		return nil, nil, refusal{errors.New("the operator was not told its own image, which takes backups; set --image")}
	}
	p := r.platformFor(client.ObjectKeyFromObject(c))
	defer p.Close()
	look, err := p.Look(ctx, scene)
	if err != nil {
		return nil, nil, err
	}
	member, all, err := upgrade.BackupMember(scene.System, c, &look)
	if err != nil {
		return nil, nil, err // a member may become ready
	}
	name := nameOf(b, member.Version, time.Now())
	if err := name.Validate(); err != nil {
		return nil, nil, refusal{fmt.Errorf("it cannot be named: %w", err)}
	}
	order := &BackupOrder{Name: name,
		System: v1alpha1.SystemRef{Name: scene.System.Name(), Hash: scene.System.Hash()}, Spec: c.Spec, Member: member, All: all}
	place := placeOf(b, &c.Spec)
	if place == nil {
		return nil, nil, refusal{errors.New("there is no place for it: set spec.place, or spec.backup of the Cluster")}
	}
	order.URL, order.Key = place.URL, keyFile(place)
	job, err := r.jobFor(ctx, b, c, scene.System, order, place)
	return job, order, err
}

// nameOf is what a backup is called in its place. Others may put theirs there too: Backups of the same second, and Clusters of this name in other
// namespaces. So the time has seconds of the clock, and below them a number that follows from the UID.
func nameOf(b *v1alpha1.Backup, from string, now time.Time) backup.Name {
	sum := sha256.Sum256([]byte(b.UID))
	own := time.Duration(binary.BigEndian.Uint64(sum[:]) % uint64(time.Second)) //nolint:gosec // less than a second
	name := backup.Name{Cluster: b.Spec.Cluster, From: from, To: b.Spec.To, Attempt: b.Spec.Attempt, Kind: backup.Auto, Time: now.UTC().Truncate(time.Second).Add(own)}
	if name.Attempt == "" {
		name.Kind = backup.Manual
	}
	return name
}

// clusterOf is the Cluster of a Backup that has not begun. One that is not there may come with the same file a little later; where an upgrade asked for the
// Backup, it was there.
func (r *BackupReconciler) clusterOf(ctx context.Context, b *v1alpha1.Backup) (*v1alpha1.Cluster, error) {
	c, taken := &v1alpha1.Cluster{}, b.Annotations[takenForAnnotation]
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: b.Namespace, Name: b.Spec.Cluster}, c)
	switch until := b.CreationTimestamp.Add(clusterPatience); {
	case apierrors.IsNotFound(err) && taken == "" && time.Now().Before(until):
		return nil, waits{fmt.Errorf("there is no Cluster %s; it is waited for until %s", b.Spec.Cluster, until.UTC().Format(time.RFC3339))}
	case apierrors.IsNotFound(err):
		return nil, refusal{fmt.Errorf("there is no Cluster %s, and nothing of it was stored", b.Spec.Cluster)}
	case err != nil:
		return nil, err
	case taken != "" && taken != string(c.UID):
		return nil, refusal{fmt.Errorf("the Cluster %s whose upgrade asked for it is gone, and another one has its name; nothing was stored", c.Name)}
	}
	return c, nil
}

// sceneOf is a Cluster with the System that its members run on, and those beside that its status speaks of.
func (r *Reconciler) sceneOf(ctx context.Context, c *v1alpha1.Cluster) (runner.Scene, error) {
	hashes := runner.References(&c.Status)
	if len(hashes) == 0 {
		return runner.Scene{}, waits{fmt.Errorf("cluster %s has no members yet", c.Name)}
	}
	l := &Library{API: r.API, Live: r.Live, Shipped: r.Shipped, Cluster: client.ObjectKeyFromObject(c)}
	all := map[string]*system.System{}
	for _, hash := range hashes {
		sys, err := l.Pinned(ctx, hash)
		if err != nil {
			return runner.Scene{}, err
		}
		all[hash] = sys
	}
	sys := all[hashes[0]]
	if err := See(ctx, r.Live, sys, c); err != nil {
		return runner.Scene{}, err
	}
	return runner.Scene{Cluster: c, System: sys, Systems: all}, nil
}

// podLike is the pod of a member for which a Job works, with the container of the member first. An adopted one is read: its template may be
// of another version by now.
func podLike(ctx context.Context, live client.Reader, b *blueprint, member *system.Member) (*corev1.PodTemplateSpec, error) {
	own := b.own().Adopt
	if own == nil {
		t, err := b.template()
		if err != nil {
			return nil, refusal{err}
		}
		return &t, nil
	}
	pod := &corev1.Pod{}
	if err := live.Get(ctx, types.NamespacedName{Namespace: b.cluster.Namespace, Name: member.Name}, pod); err != nil {
		return nil, err
	}
	name := ContainerOf(own, b.component.Name(), pod.Spec.Containers)
	i := slices.IndexFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == name })
	if i < 0 {
		return nil, refusal{fmt.Errorf("pod %s has no container %s", pod.Name, cmp.Or(own.Container, b.component.Name()))}
	}
	pod.Spec.Containers[0] = pod.Spec.Containers[i]
	return &corev1.PodTemplateSpec{Spec: pod.Spec}, nil
}

func (r *BackupReconciler) jobFor(ctx context.Context, b *v1alpha1.Backup, c *v1alpha1.Cluster, sys *system.System, order *BackupOrder, place *v1alpha1.BackupPlace) (*batchv1.Job, error) {
	print := &blueprint{cluster: c, system: sys, component: sys.Component(order.Member.Component), spec: &c.Spec, version: order.Member.Version}
	like, err := podLike(ctx, r.Live, print, &order.Member)
	if err != nil {
		return nil, err
	}
	if err := print.secure(append(order.All, &order.Member)...); err != nil { // in the Job the files are those of the pods
		return nil, refusal{err}
	}
	pod, command := inMembersImage(r.Image, like, sys, BackupCommand)
	return jobOf(b.Namespace, pod, work{name: jobName("backup", b.UID), container: jobContainer, labels: map[string]string{"theseus.dev/backup-of": c.Name},
		owner: ownedBy(v1alpha1.KindBackup, b), command: command, order: order, place: place, uid: b.UID})
}

// follow reads how the Job ended.
func (r *BackupReconciler) follow(ctx context.Context, b *v1alpha1.Backup, job *batchv1.Job) error {
	order := &BackupOrder{}
	if err := orderOf(job, jobContainer, order); err != nil {
		return err
	}
	if b.Status.Started == nil { // the Job was made, and the operator ended before it wrote that down
		return r.started(ctx, b, order)
	}
	if !finished(job) {
		return errors.Join(r.sustain(ctx, job, b.Status.Place, b.UID), r.progress(ctx, b, job, order))
	}
	message, how, err := messageOf(ctx, r.Live, job, jobContainer)
	if err != nil {
		return err
	}
	return r.end(ctx, b, resultOf(message, how))
}

func takenFrom(order *BackupOrder) string { return "taken from " + order.Member.Name }

// progress says what keeps the Job's pod from running, for as long as something does.
func (r *BackupReconciler) progress(ctx context.Context, b *v1alpha1.Backup, job *batchv1.Job, order *BackupOrder) error {
	why, err := jobHindrance(ctx, r.Live, job)
	if err != nil || !set(b, v1alpha1.ConditionStarted, metav1.ConditionTrue, "JobCreated", joined(takenFrom(order), why)) {
		return err
	}
	return r.write(ctx, b)
}

func finished(job *batchv1.Job) bool {
	for _, c := range job.Status.Conditions {
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}

func resultOf(message, how string) BackupResult {
	result := BackupResult{}
	if json.Unmarshal([]byte(message), &result) == nil && (result.Error != "" || result.Name != "") {
		return result
	}
	return BackupResult{Error: joined(how, message)}
}

func (r *BackupReconciler) end(ctx context.Context, b *v1alpha1.Backup, result BackupResult) error {
	now := metav1.Now()
	b.Status.Finished = &now
	kind, reason, note := corev1.EventTypeNormal, "BackupFinished", fmt.Sprintf("%d bytes, checked", result.Bytes)
	if result.Error != "" {
		kind, reason, note = corev1.EventTypeWarning, "BackupFailed", bounded(result.Error)
		set(b, v1alpha1.ConditionFailed, metav1.ConditionTrue, "JobFailed", result.Error)
	} else {
		b.Status.Name, b.Status.Bytes, b.Status.SHA256, b.Status.Check = result.Name, result.Bytes, result.SHA256, result.Check
		set(b, v1alpha1.ConditionFinished, metav1.ConditionTrue, "Proved", fmt.Sprintf("%d bytes in %s, checked", result.Bytes, result.Name))
	}
	if err := r.write(ctx, b); err != nil {
		return err
	}
	r.Events.Eventf(b, nil, kind, reason, "Backup", "%s", note)
	return nil
}
