package operator

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// Backups are taken, restored and forgotten by Jobs. Each has a name that follows from the UID of its object, so that it is made once; how it ended is
// the termination message of its container.

const (
	// OrderVariable holds what a Job is to do, as JSON. There is no secret in it.
	OrderVariable = "THESEUS_ORDER"
	// SystemFile is where a Job finds the System.
	SystemFile = "/theseus-system/" + systemKey
	// WorkFolder is where a Job keeps files while it works.
	WorkFolder = "/theseus-work"

	systemVolume = "theseus-system"
	workVolume   = "theseus-work"
	placeVolume  = "theseus-place"
	keyVolume    = "theseus-key"
	keyFolder    = "/theseus-key"
)

// work is one Job of a Backup, of a Restore, or of a run.
type work struct {
	name, container string
	labels          map[string]string
	owner           metav1.OwnerReference
	command         []string
	order           any
	place           *v1alpha1.BackupPlace // nil: it stores nothing
	// uid of the object for which the Job works, for the copy of a secret.
	uid types.UID
	// tries after the first one.
	tries int32
}

// inMembersImage is a pod in the image of the members, into which this program is brought from its own: the System's programs are there.
func inMembersImage(own string, t *corev1.PodTemplateSpec, sys *system.System, command string) (corev1.PodSpec, []string) {
	main := t.Spec.Containers[0]
	volumes, mounts := filesOf(t)
	return corev1.PodSpec{
		ImagePullSecrets: t.Spec.ImagePullSecrets, Tolerations: t.Spec.Tolerations, NodeSelector: t.Spec.NodeSelector,
		SecurityContext: t.Spec.SecurityContext, InitContainers: []corev1.Container{toolsFrom(own)},
		Volumes: append(volumes, emptyDir(toolsVolume), emptyDir(workVolume), corev1.Volume{Name: systemVolume, VolumeSource: corev1.VolumeSource{
			ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: systemObjectName(sys.Hash())}}}}),
		Containers: []corev1.Container{{Image: main.Image, ImagePullPolicy: main.ImagePullPolicy, SecurityContext: main.SecurityContext,
			VolumeMounts: append(append(mounts, toolsMounted()...), corev1.VolumeMount{Name: systemVolume, MountPath: "/theseus-system", ReadOnly: true},
				corev1.VolumeMount{Name: workVolume, MountPath: WorkFolder})}},
	}, []string{toolsProgram, command}
}

// filesOf are the files that an overlay gives the members, such as certificates: the System's programs need them too. Data is not among them.
func filesOf(t *corev1.PodTemplateSpec) (volumes []corev1.Volume, mounts []corev1.VolumeMount) {
	for _, v := range t.Spec.Volumes {
		if v.Secret == nil && v.ConfigMap == nil && v.Projected == nil && v.CSI == nil {
			continue
		}
		volumes = append(volumes, v)
		for _, m := range t.Spec.Containers[0].VolumeMounts {
			if m.Name == v.Name {
				mounts = append(mounts, m)
			}
		}
	}
	return volumes, mounts
}

// inOwnImage is a pod in the image of the operator, for what needs no program of the System's.
func (r *Reconciler) inOwnImage(command string) (corev1.PodSpec, []string) {
	yes := true
	return corev1.PodSpec{SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: &yes}, Containers: []corev1.Container{ownContainer(r.Image)}}, []string{"/theseus", command}
}

// jobOf is the Job of a pod that has one container, with order and place added.
func jobOf(namespace string, pod corev1.PodSpec, w work) (*batchv1.Job, error) {
	text, err := json.Marshal(w.order)
	if err != nil {
		return nil, err
	}
	pod.RestartPolicy = corev1.RestartPolicyNever
	c := &pod.Containers[0]
	c.Name, c.Command, c.TerminationMessagePolicy = w.container, w.command, corev1.TerminationMessageReadFile
	c.Env = []corev1.EnvVar{{Name: OrderVariable, Value: string(text)}}
	if err := mountPlace(&pod, namespace, w.place, w.uid); err != nil {
		return nil, err
	}
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: w.name, Labels: merged(w.labels, map[string]string{managedByLabel: managerName}), OwnerReferences: []metav1.OwnerReference{w.owner}},
		Spec:       batchv1.JobSpec{BackoffLimit: &w.tries, Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: w.labels}, Spec: pod}},
	}, nil
}

// A Job that must not be done twice is made suspended, noted somewhere else, and then let go: it never runs unnoted, and one that was noted and is gone may
// have run.
func suspend(job *batchv1.Job) {
	yes := true
	job.Spec.Suspend = &yes
}

func suspended(job *batchv1.Job) bool { return job.Spec.Suspend != nil && *job.Spec.Suspend }

func letGo(ctx context.Context, api client.Client, job *batchv1.Job) error {
	before, no := job.DeepCopy(), false
	job.Spec.Suspend = &no
	return api.Patch(ctx, job, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
}

// mountPlace gives a pod the volume and the key of a place.
func mountPlace(pod *corev1.PodSpec, namespace string, place *v1alpha1.BackupPlace, uid types.UID) error {
	if place == nil {
		return nil
	}
	c := &pod.Containers[0]
	if place.Claim != "" {
		u, err := url.Parse(place.URL)
		if err != nil {
			return refusal{err}
		}
		pod.Volumes = append(pod.Volumes, corev1.Volume{Name: placeVolume, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: place.Claim}}})
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: placeVolume, MountPath: u.Path})
	}
	ref := place.Secret
	if ref == nil {
		return nil
	}
	name := ref.Name
	if isForeign(namespace, ref) {
		name = copyName(uid)
	}
	pod.Volumes = append(pod.Volumes, corev1.Volume{Name: keyVolume, VolumeSource: corev1.VolumeSource{
		Secret: &corev1.SecretVolumeSource{SecretName: name, Items: []corev1.KeyToPath{{Key: ref.KeyName(), Path: v1alpha1.DefaultKey}}}}})
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: keyVolume, MountPath: keyFolder, ReadOnly: true})
	return nil
}

// keyFile is where a Job finds the key of a place, or empty.
func keyFile(place *v1alpha1.BackupPlace) string {
	if place.Secret == nil {
		return ""
	}
	return keyFolder + "/" + v1alpha1.DefaultKey
}

func isForeign(namespace string, ref *v1alpha1.SecretKey) bool {
	return ref != nil && ref.In(namespace) != namespace
}

// copyPrefix begins the names of copies of secrets.
const copyPrefix = "theseus-key-"

func copyName(uid types.UID) string { return jobName("key", uid) }

// beginWork makes a Job, once it is known that its key can be had.
func (r *Reconciler) beginWork(ctx context.Context, job *batchv1.Job, place *v1alpha1.BackupPlace) error {
	if _, err := r.keyFrom(ctx, job.Namespace, place.Secret); err != nil {
		return err
	}
	err := r.API.Create(ctx, job)
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// sustain makes the copy of a secret of another namespace, for which the pod of a Job waits. The Job owns the copy, so that it goes with it.
func (r *Reconciler) sustain(ctx context.Context, job *batchv1.Job, place *v1alpha1.BackupPlace, uid types.UID) error {
	if place == nil || !isForeign(job.Namespace, place.Secret) || finished(job) {
		return nil
	}
	immutable := true
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: job.Namespace, Name: copyName(uid), Labels: map[string]string{managedByLabel: managerName},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: batchv1.SchemeGroupVersion.String(), Kind: "Job", Name: job.Name, UID: job.UID}}},
		Immutable: &immutable,
	}
	value, err := r.keyFrom(ctx, job.Namespace, place.Secret)
	if err != nil {
		if apierrors.IsAlreadyExists(r.API.Create(ctx, secret, client.DryRunAll)) { // copies may be made and not read
			return nil // the Job has what it needs
		}
		return err
	}
	secret.Data = map[string][]byte{place.Secret.KeyName(): value}
	err = r.API.Create(ctx, secret)
	switch {
	case apierrors.IsAlreadyExists(err):
		return nil
	case apierrors.IsForbidden(err):
		return refusal{fmt.Errorf("the secret %s is in another namespace, and the operator may not make the copy that a Job needs: set rbac.copySecrets of the chart, or copy it into namespace %s yourself",
			place.Secret.Name, job.Namespace)}
	}
	return err
}

// keyFrom reads the key of a secret that is in another namespace and granted to this one. One in the same namespace is looked at as far as the operator
// may: the kubelet reads it. What is refused can be tried again after it was put right.
func (r *Reconciler) keyFrom(ctx context.Context, namespace string, ref *v1alpha1.SecretKey) ([]byte, error) {
	if ref == nil {
		return nil, nil
	}
	value, err := readKey(ctx, r.Live, namespace, ref)
	if apierrors.IsForbidden(err) && !isForeign(namespace, ref) {
		return nil, nil
	}
	return value, err
}

// readKey reads the value of a secret's key for an object of a namespace. Nothing of it is kept.
func readKey(ctx context.Context, live client.Reader, namespace string, ref *v1alpha1.SecretKey) ([]byte, error) {
	from := ref.In(namespace)
	secret := &corev1.Secret{}
	err := live.Get(ctx, types.NamespacedName{Namespace: from, Name: ref.Name}, secret)
	switch {
	case apierrors.IsForbidden(err):
		return nil, refusal{fmt.Errorf("the operator may not read secret %s/%s: add it to rbac.secretNames of the chart: %w", from, ref.Name, err)}
	case apierrors.IsNotFound(err):
		return nil, refusal{fmt.Errorf("there is no secret %s/%s: create it", from, ref.Name)}
	case err != nil:
		return nil, err
	}
	if from != namespace && !v1alpha1.Granted(secret.Annotations[v1alpha1.GrantAnnotation], namespace) {
		return nil, refusal{fmt.Errorf("secret %s/%s is not granted to namespace %s: annotate it with %s: %q", from, ref.Name, namespace, v1alpha1.GrantAnnotation, namespace)}
	}
	value, ok := secret.Data[ref.KeyName()]
	if !ok {
		return nil, refusal{fmt.Errorf("secret %s/%s has no key %s: name the one that it has where the secret is named", from, ref.Name, ref.KeyName())}
	}
	return value, nil
}

// dismiss deletes a Job for which a secret was copied, and with it the copy. The others stay, so that people can read their logs.
func (r *Reconciler) dismiss(ctx context.Context, job *batchv1.Job) error {
	copied := slices.ContainsFunc(job.Spec.Template.Spec.Volumes, func(v corev1.Volume) bool {
		return v.Secret != nil && strings.HasPrefix(v.Secret.SecretName, copyPrefix)
	})
	if !copied {
		return nil
	}
	return deleteJob(ctx, r.API, job)
}

// deleteJob deletes this Job and no other one of its name. Its pod is told to end.
func deleteJob(ctx context.Context, api client.Client, job *batchv1.Job) error {
	return client.IgnoreNotFound(api.Delete(ctx, job, client.PropagationPolicy(metav1.DeletePropagationBackground), client.Preconditions{UID: &job.UID}))
}

// ownedBy is the reference to the Backup or the Restore that a Job works for.
func ownedBy(kind string, o client.Object) metav1.OwnerReference {
	yes := true
	return metav1.OwnerReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: kind, Name: o.GetName(), UID: o.GetUID(), Controller: &yes, BlockOwnerDeletion: &yes}
}

// messageOf is what the container of a Job said at its end, and how it ended.
func messageOf(ctx context.Context, live client.Reader, job *batchv1.Job, container string) (message, how string, err error) {
	pods := &corev1.PodList{}
	if err := live.List(ctx, pods, client.InNamespace(job.Namespace), client.MatchingLabels{batchv1.JobNameLabel: job.Name}); err != nil {
		return "", "", err
	}
	slices.SortFunc(pods.Items, func(a, b corev1.Pod) int { return b.CreationTimestamp.Compare(a.CreationTimestamp.Time) })
	for i := range pods.Items {
		if st := containerOf(&pods.Items[i], container); st != nil && st.State.Terminated != nil {
			return st.State.Terminated.Message, ending(st.State.Terminated), nil
		}
	}
	for i := range pods.Items {
		if why := cmp.Or(brokenBy(&pods.Items[i]), pending(&pods.Items[i])); why != "" {
			return "", why, nil
		}
	}
	return "", "its pod is gone before it said how it went", nil
}

func succeeded(job *batchv1.Job) bool {
	return slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Type == batchv1.JobComplete && c.Status == corev1.ConditionTrue
	})
}

// orderOf reads what a Job is to do. Others may have put containers and variables beside ours.
func orderOf(job *batchv1.Job, container string, into any) error {
	for _, c := range job.Spec.Template.Spec.Containers {
		for _, v := range c.Env {
			if c.Name == container && v.Name == OrderVariable {
				return json.Unmarshal([]byte(v.Value), into)
			}
		}
	}
	return fmt.Errorf("job %s has no order in container %s", job.Name, container)
}
