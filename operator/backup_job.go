package operator

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
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
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// A Backup is taken by a Job whose pod has the image of the members and, brought in by an init container, this program, which runs the System's method
// there, stores what comes, and reads it back. How it ended is the termination message of the container.

const (
	// BackupCommand is the hidden subcommand that a Job runs. Its order is in the environment.
	BackupCommand = "__take-backup"
	// OrderVariable holds the BackupOrder as JSON. There is no secret in it.
	OrderVariable = "THESEUS_ORDER"
	// SystemFile is where a Job finds the System.
	SystemFile = "/theseus-system/" + systemKey
	// WorkFolder is where a Job keeps files while it works.
	WorkFolder = "/theseus-work"

	systemVolume = "theseus-system"
	workVolume   = "theseus-work"
	placeVolume  = "theseus-place"
	jobContainer = "backup"
)

// BackupOrder is what a Job needs to know.
type BackupOrder struct {
	Cluster string               `json:"cluster"`
	Attempt string               `json:"attempt,omitempty"`
	From    string               `json:"from"`
	To      string               `json:"to,omitempty"`
	Time    time.Time            `json:"time"`
	URL     string               `json:"url"`
	System  v1alpha1.SystemRef   `json:"system"`
	Spec    v1alpha1.ClusterSpec `json:"spec"`
	Member  system.Member        `json:"member"`
	All     []*system.Member     `json:"all"`
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

// SetupWithManager registers the reconciler.
func (r *BackupReconciler) SetupWithManager(m ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(m).For(&v1alpha1.Backup{}).Owns(&batchv1.Job{}).Complete(r)
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
		return r.expire(ctx, b)
	}
	job := &batchv1.Job{}
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: b.Namespace, Name: jobName("backup", b.UID)}, job)
	switch {
	case apierrors.IsNotFound(err):
		return reconcile.Result{}, r.begin(ctx, b)
	case err != nil:
		return reconcile.Result{}, err
	}
	return reconcile.Result{}, r.follow(ctx, b, job)
}

func ended(list []metav1.Condition) bool {
	return meta.IsStatusConditionTrue(list, v1alpha1.ConditionFinished) || meta.IsStatusConditionTrue(list, v1alpha1.ConditionFailed)
}

// jobName is fixed for an object and short enough for every label that is made of it.
func jobName(what string, uid types.UID) string {
	sum := sha256.Sum256([]byte(uid))
	return "theseus-" + what + "-" + hex.EncodeToString(sum[:8])
}

// expire deletes a Backup whose time is over.
func (r *BackupReconciler) expire(ctx context.Context, b *v1alpha1.Backup) (reconcile.Result, error) {
	if b.Spec.TTL == nil || b.Spec.TTL.Duration <= 0 {
		return reconcile.Result{}, nil
	}
	left := time.Until(b.CreationTimestamp.Add(b.Spec.TTL.Duration))
	if left > 0 {
		return reconcile.Result{RequeueAfter: left}, nil
	}
	return reconcile.Result{}, client.IgnoreNotFound(r.API.Delete(ctx, b, client.Preconditions{UID: &b.UID}))
}

// refusal is why a Backup can never be taken: trying again does not help.
type refusal struct{ error }

// begin makes the Job.
func (r *BackupReconciler) begin(ctx context.Context, b *v1alpha1.Backup) error {
	if b.Status.Started != nil {
		return r.end(ctx, b, BackupResult{Error: "its Job is gone before it said how it went"})
	}
	job, order, err := r.job(ctx, b)
	if errors.As(err, new(refusal)) {
		return r.end(ctx, b, BackupResult{Error: err.Error()})
	}
	if err != nil {
		return err
	}
	if err := r.API.Create(ctx, job); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return r.started(ctx, b, order)
}

func (r *BackupReconciler) started(ctx context.Context, b *v1alpha1.Backup, order *BackupOrder) error {
	now := metav1.NewTime(order.Time)
	b.Status.Started, b.Status.Version, b.Status.Place, b.Status.System = &now, order.From, placeOf(b, &order.Spec), &order.System
	set(b, v1alpha1.ConditionStarted, metav1.ConditionTrue, "JobCreated", "taken from "+order.Member.Name)
	r.Events.Eventf(b, nil, corev1.EventTypeNormal, "BackupStarted", "Backup", "taken from %s", order.Member.Name)
	return r.API.Status().Update(ctx, b)
}

func set(b *v1alpha1.Backup, kind string, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&b.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: bounded(message), ObservedGeneration: b.Generation})
}

func placeOf(b *v1alpha1.Backup, spec *v1alpha1.ClusterSpec) *v1alpha1.BackupPlace {
	if b.Spec.Place != nil {
		return b.Spec.Place
	}
	return spec.Backup
}

// job looks at the members and says who is asked, and how.
func (r *BackupReconciler) job(ctx context.Context, b *v1alpha1.Backup) (*batchv1.Job, *BackupOrder, error) {
	key := types.NamespacedName{Namespace: b.Namespace, Name: b.Spec.Cluster}
	c, scene, err := r.sceneOf(ctx, key)
	if err != nil {
		return nil, nil, err
	}
	if scene.System.API().Backup == nil {
		return nil, nil, refusal{fmt.Errorf("system %s does not say how a backup is taken", scene.System.Name())}
	}
	if r.Image == "" {
		return nil, nil, refusal{errors.New("the operator was not told its own image, which takes backups; set --image")}
	}
	p := r.platformFor(key)
	defer p.Close()
	look, err := p.Look(ctx, scene)
	if err != nil {
		return nil, nil, err
	}
	member, all, err := upgrade.BackupMember(scene.System, c, &look)
	if err != nil {
		return nil, nil, err // a member may become ready
	}
	order := &BackupOrder{Cluster: c.Name, Attempt: b.Spec.Attempt, From: member.Version, To: b.Spec.To, Time: time.Now().UTC().Truncate(time.Second),
		System: v1alpha1.SystemRef{Name: scene.System.Name(), Hash: scene.System.Hash()}, Spec: c.Spec, Member: member, All: all}
	place := placeOf(b, &c.Spec)
	if place == nil {
		return nil, nil, refusal{errors.New("there is no place for it: set spec.place, or spec.backup of the Cluster")}
	}
	order.URL = place.URL
	like, err := r.podLike(ctx, c, scene.System, order)
	if err != nil {
		return nil, nil, err
	}
	job, err := r.jobFor(b, c, scene.System, order, place, like)
	return job, order, err
}

// sceneOf is a Cluster with the System that its members run on.
func (r *Reconciler) sceneOf(ctx context.Context, key types.NamespacedName) (*v1alpha1.Cluster, runner.Scene, error) {
	c := &v1alpha1.Cluster{}
	if err := r.Live.Get(ctx, key, c); err != nil {
		return nil, runner.Scene{}, err
	}
	hashes := runner.References(&c.Status)
	if len(hashes) == 0 {
		return nil, runner.Scene{}, refusal{fmt.Errorf("cluster %s has no members yet", key.Name)}
	}
	l := &Library{API: r.API, Live: r.Live, Shipped: r.Shipped, Cluster: key}
	sys, err := l.Pinned(ctx, hashes[0])
	if err != nil {
		return nil, runner.Scene{}, err
	}
	if err := See(ctx, r.Live, sys, c); err != nil {
		return nil, runner.Scene{}, err
	}
	return c, runner.Scene{Cluster: c, System: sys, Systems: map[string]*system.System{sys.Hash(): sys}}, nil
}

// podLike is the pod of the member that a backup is taken from, with the container of the member first. An adopted one is read: its template may be
// of another version by now.
func (r *BackupReconciler) podLike(ctx context.Context, c *v1alpha1.Cluster, sys *system.System, order *BackupOrder) (*corev1.PodSpec, error) {
	comp := sys.Component(order.Member.Component)
	own := c.Spec.Components[comp.Name()].Adopt
	if own == nil {
		t, err := (&blueprint{cluster: c, system: sys, component: comp, spec: &c.Spec, version: order.Member.Version}).template()
		if err != nil {
			return nil, refusal{err}
		}
		return &t.Spec, nil
	}
	pod := &corev1.Pod{}
	if err := r.Live.Get(ctx, types.NamespacedName{Namespace: c.Namespace, Name: order.Member.Name}, pod); err != nil {
		return nil, err
	}
	name := ContainerOf(own, comp.Name(), pod.Spec.Containers)
	i := slices.IndexFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == name })
	if i < 0 {
		return nil, refusal{fmt.Errorf("pod %s has no container %s", pod.Name, cmp.Or(own.Container, comp.Name()))}
	}
	pod.Spec.Containers[0] = pod.Spec.Containers[i]
	return &pod.Spec, nil
}

func (r *BackupReconciler) jobFor(b *v1alpha1.Backup, c *v1alpha1.Cluster, sys *system.System, order *BackupOrder, place *v1alpha1.BackupPlace, like *corev1.PodSpec) (*batchv1.Job, error) {
	text, err := json.Marshal(order)
	if err != nil {
		return nil, err
	}
	main := like.Containers[0]
	work := corev1.Container{
		Name: jobContainer, Image: main.Image, ImagePullPolicy: main.ImagePullPolicy, SecurityContext: main.SecurityContext,
		Command: []string{toolsProgram, BackupCommand}, Env: []corev1.EnvVar{{Name: OrderVariable, Value: string(text)}},
		TerminationMessagePolicy: corev1.TerminationMessageReadFile,
		VolumeMounts: append(toolsMounted(), corev1.VolumeMount{Name: systemVolume, MountPath: "/theseus-system", ReadOnly: true},
			corev1.VolumeMount{Name: workVolume, MountPath: WorkFolder}),
	}
	pod := corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, ImagePullSecrets: like.ImagePullSecrets, Tolerations: like.Tolerations, NodeSelector: like.NodeSelector,
		SecurityContext: like.SecurityContext, InitContainers: []corev1.Container{toolsFrom(r.Image)},
		Volumes: []corev1.Volume{emptyDir(toolsVolume), emptyDir(workVolume), {Name: systemVolume, VolumeSource: corev1.VolumeSource{
			ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: systemObjectName(sys.Hash())}}}}},
	}
	if place.Claim != "" {
		u, err := url.Parse(place.URL)
		if err != nil {
			return nil, refusal{err}
		}
		pod.Volumes = append(pod.Volumes, corev1.Volume{Name: placeVolume, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: place.Claim}}})
		work.VolumeMounts = append(work.VolumeMounts, corev1.VolumeMount{Name: placeVolume, MountPath: u.Path})
	}
	pod.Containers = []corev1.Container{work}
	never, controller := int32(0), true
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: jobName("backup", b.UID), Labels: map[string]string{managedByLabel: managerName, "theseus.dev/backup-of": c.Name},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.KindBackup, Name: b.Name, UID: b.UID, Controller: &controller, BlockOwnerDeletion: &controller}}},
		Spec: batchv1.JobSpec{BackoffLimit: &never, Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"theseus.dev/backup-of": c.Name}}, Spec: pod}},
	}, nil
}

// follow reads how the Job ended.
func (r *BackupReconciler) follow(ctx context.Context, b *v1alpha1.Backup, job *batchv1.Job) error {
	if b.Status.Started == nil { // the Job was made, and the operator ended before it wrote that down
		order := &BackupOrder{}
		if err := json.Unmarshal([]byte(job.Spec.Template.Spec.Containers[0].Env[0].Value), order); err != nil {
			return err
		}
		return r.started(ctx, b, order)
	}
	if !finished(job) {
		return nil
	}
	pods := &corev1.PodList{}
	if err := r.Live.List(ctx, pods, client.InNamespace(b.Namespace), client.MatchingLabels{batchv1.JobNameLabel: job.Name}); err != nil {
		return err
	}
	return r.end(ctx, b, resultOf(pods.Items))
}

func finished(job *batchv1.Job) bool {
	for _, c := range job.Status.Conditions {
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}

func resultOf(pods []corev1.Pod) BackupResult {
	for i := range pods {
		st := containerOf(&pods[i], jobContainer)
		if st == nil || st.State.Terminated == nil {
			continue
		}
		result := BackupResult{}
		if json.Unmarshal([]byte(st.State.Terminated.Message), &result) == nil && (result.Error != "" || result.Name != "") {
			return result
		}
		return BackupResult{Error: joined(ending(st.State.Terminated), st.State.Terminated.Message)}
	}
	for i := range pods {
		if why := cmp.Or(brokenBy(&pods[i]), pending(&pods[i])); why != "" {
			return BackupResult{Error: why}
		}
	}
	return BackupResult{Error: "its pod is gone before it said how it went"}
}

func (r *BackupReconciler) end(ctx context.Context, b *v1alpha1.Backup, result BackupResult) error {
	now := metav1.Now()
	b.Status.Finished = &now
	if result.Error != "" {
		set(b, v1alpha1.ConditionFailed, metav1.ConditionTrue, "JobFailed", result.Error)
		r.Events.Eventf(b, nil, corev1.EventTypeWarning, "BackupFailed", "Backup", "%s", bounded(result.Error))
		return r.API.Status().Update(ctx, b)
	}
	b.Status.Name, b.Status.Bytes, b.Status.SHA256, b.Status.Check = result.Name, result.Bytes, result.SHA256, result.Check
	set(b, v1alpha1.ConditionFinished, metav1.ConditionTrue, "Proved", fmt.Sprintf("%d bytes in %s, checked", result.Bytes, result.Name))
	r.Events.Eventf(b, nil, corev1.EventTypeNormal, "BackupFinished", "Backup", "%d bytes, checked", result.Bytes)
	return r.API.Status().Update(ctx, b)
}
