package operator

import (
	"context"
	"fmt"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"theseus.dev/api/v1alpha1"
)

// A Backup whose time is over goes in this order: what is stored, by a Job; then the object, and with it its Jobs. There is no finalizer: a
// Backup that is deleted by hand, or with its namespace, goes at once and leaves what is stored.

const (
	// ForgetCommand is the hidden subcommand with which a Job deletes what a Backup stored.
	ForgetCommand   = "__forget-backup"
	forgetContainer = "forget"

	// forgetAgain is when a Job that could not delete is tried again, and when it is looked whether a Backup is still referred to.
	forgetAgain = 10 * time.Minute
)

// ForgetOrder says what is deleted. What is not there any more counts as deleted.
type ForgetOrder struct {
	URL  string `json:"url"`
	Key  string `json:"key,omitempty"`
	Name string `json:"name"`
}

// expire brings a Backup that has ended one write nearer to its end, if its time is over.
func (r *BackupReconciler) expire(ctx context.Context, b *v1alpha1.Backup) (reconcile.Result, error) {
	if b.Spec.TTL == nil || b.Spec.TTL.Duration <= 0 {
		return reconcile.Result{}, nil
	}
	if left := time.Until(b.CreationTimestamp.Add(b.Spec.TTL.Duration)); left > 0 {
		return reconcile.Result{RequeueAfter: left}, nil
	}
	if needed, err := r.referred(ctx, b); err != nil || needed {
		return reconcile.Result{RequeueAfter: forgetAgain}, err
	}
	if b.Status.Name == "" || b.Status.Place == nil { // nothing was ever stored
		return reconcile.Result{}, r.remove(ctx, b)
	}
	job := &batchv1.Job{}
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: b.Namespace, Name: jobName("forget", b.UID)}, job)
	switch {
	case apierrors.IsNotFound(err):
		return reconcile.Result{}, r.forget(ctx, b)
	case err != nil:
		return reconcile.Result{}, err
	case succeeded(job):
		return reconcile.Result{}, r.remove(ctx, b)
	case finished(job):
		return r.forgetLater(ctx, b, job)
	}
	return reconcile.Result{RequeueAfter: forgetAgain}, r.sustain(ctx, job, b.Status.Place, copyOwner(b)) // a pod that cannot run wakes nobody
}

// copyOwner tells the copy of a secret for this Job from that of the Job which took the backup.
func copyOwner(b *v1alpha1.Backup) types.UID { return b.UID + "-forget" }

// referred says whether somebody may still need the backup: a Restore that has not ended, or an attempt that may go back to it.
func (r *BackupReconciler) referred(ctx context.Context, b *v1alpha1.Backup) (bool, error) {
	restores := &v1alpha1.RestoreList{}
	if err := r.Live.List(ctx, restores, client.InNamespace(b.Namespace)); err != nil {
		return false, err
	}
	for i := range restores.Items {
		if x := &restores.Items[i]; !ended(x.Status.Conditions) && (x.Spec.Backup == b.Name || refersTo(x, b)) {
			return true, nil
		}
	}
	c := &v1alpha1.Cluster{}
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: b.Namespace, Name: b.Spec.Cluster}, c)
	if apierrors.IsNotFound(err) || err == nil && (c.Status.Attempt == nil || c.Status.Attempt.Phase.Ended()) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, hop := range c.Status.Attempt.Hops {
		if hop.Backup != "" && backupObjectName(hop.Backup) == b.Name {
			return true, nil
		}
	}
	return false, nil
}

// refersTo says that a Restore names what a Backup stored.
func refersTo(x *v1alpha1.Restore, b *v1alpha1.Backup) bool {
	from, place := x.Spec.From, b.Status.Place
	return from != nil && place != nil && from.Name == b.Status.Name && strings.TrimSuffix(from.Place.URL, "/") == strings.TrimSuffix(place.URL, "/")
}

func (r *BackupReconciler) remove(ctx context.Context, b *v1alpha1.Backup) error {
	return client.IgnoreNotFound(r.API.Delete(ctx, b, client.Preconditions{UID: &b.UID}))
}

// forget makes the Job.
func (r *BackupReconciler) forget(ctx context.Context, b *v1alpha1.Backup) error {
	pod, command, err := r.forgetPod(ctx, b)
	if err != nil {
		return err
	}
	place := b.Status.Place
	job, err := jobOf(b.Namespace, pod, work{name: jobName("forget", b.UID), container: forgetContainer, owner: ownedBy(v1alpha1.KindBackup, b), command: command,
		place: place, uid: copyOwner(b), tries: 2, order: ForgetOrder{URL: place.URL, Key: keyFile(place), Name: b.Status.Name}})
	if err != nil {
		return err
	}
	if err := r.beginWork(ctx, job, place); err != nil {
		r.Events.Eventf(b, nil, corev1.EventTypeWarning, "BackupNotForgotten", "Forget", "%s", bounded(err.Error()))
		return err
	}
	return nil
}

// forgetPod is a pod that may delete: on a volume the user that wrote, which the Job that took the backup knows.
func (r *BackupReconciler) forgetPod(ctx context.Context, b *v1alpha1.Backup) (corev1.PodSpec, []string, error) {
	pod, command := r.inOwnImage(ForgetCommand)
	if b.Status.Place.Claim == "" {
		return pod, command, nil
	}
	job := &batchv1.Job{}
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: b.Namespace, Name: jobName("backup", b.UID)}, job)
	if apierrors.IsNotFound(err) {
		return pod, command, nil
	}
	if err != nil {
		return pod, nil, err
	}
	had := job.Spec.Template.Spec
	own := had.Containers[0]
	return corev1.PodSpec{
		ImagePullSecrets: had.ImagePullSecrets, Tolerations: had.Tolerations, NodeSelector: had.NodeSelector, SecurityContext: had.SecurityContext,
		InitContainers: []corev1.Container{toolsFrom(r.Image)}, Volumes: []corev1.Volume{emptyDir(toolsVolume)},
		Containers: []corev1.Container{{Image: own.Image, ImagePullPolicy: own.ImagePullPolicy, SecurityContext: own.SecurityContext, VolumeMounts: toolsMounted()}},
	}, []string{toolsProgram, ForgetCommand}, nil
}

// forgetLater says why it did not work, and lets it be tried again after a while.
func (r *BackupReconciler) forgetLater(ctx context.Context, b *v1alpha1.Backup, job *batchv1.Job) (reconcile.Result, error) {
	since := job.CreationTimestamp.Time
	for _, c := range job.Status.Conditions {
		since = c.LastTransitionTime.Time
	}
	if left := forgetAgain - time.Since(since); left > 0 {
		message, how, err := messageOf(ctx, r.Live, job, forgetContainer)
		if err != nil {
			return reconcile.Result{}, err
		}
		r.Events.Eventf(b, nil, corev1.EventTypeWarning, "BackupNotForgotten", "Forget", "%s", bounded(fmt.Sprintf("its time is over, and what is stored cannot be deleted: %s", joined(how, message))))
		return reconcile.Result{RequeueAfter: left}, nil
	}
	return reconcile.Result{RequeueAfter: time.Second}, deleteJob(ctx, r.API, job)
}
