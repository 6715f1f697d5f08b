package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/operator"
	"theseus.dev/probe"
	"theseus.dev/probe/remote"
	"theseus.dev/system"
)

// reach measures from a pod beside the members.
func (o *object) reach(ctx context.Context, k *opened) (*reach, error) {
	pods, err := o.memberPods(ctx)
	if err != nil {
		return nil, err
	}
	c := k.system.Components()[0]
	port, err := clientPort(c)
	if err != nil {
		return nil, err
	}
	r := &reach{probed: probed{system: k.system.Name()}, resources: o.volumes, same: "names and volumes"}
	secret, scheme := "", "http"
	if files, speaks := k.cluster.Spec.Components[c.Name()].TLS[port]; speaks {
		if files.Secret == "" {
			return nil, inputErrorf("spec.components.%s.tls.%s.secret: is missing, and the probe needs what clients show; name a secret with ca.crt, tls.crt and tls.key", c.Name(), port)
		}
		secret, scheme = files.Secret, "https"
		r.secure(&files)
	}
	for i := range pods {
		if at := addressOf(pods[i].Pod); pods[i].Component == c.Name() && at != "" {
			r.endpoints = append(r.endpoints, fmt.Sprintf("%s://%s:%d", scheme, at, portOf(&pods[i], c, port)))
		}
	}
	if slices.Sort(r.endpoints); len(r.endpoints) == 0 {
		return nil, inputNext("look why: "+o.command("status", k.name), "%s has no members that run", k.name)
	}
	r.start = func(ctx context.Context, f probeFlags) (meter, error) {
		f.probed = r.probed
		return o.measure(ctx, secret, f)
	}
	return r, nil
}

// secure names the files of the secret with which the operator asks members too.
func (t *probed) secure(files *v1alpha1.TLSFiles) {
	t.cacert = secretFolder + "/ca.crt"
	if files.Cert != "" {
		t.cert, t.key = secretFolder+"/tls.crt", secretFolder+"/tls.key"
	}
	if files.ServerName != "" && !strings.Contains(files.ServerName, "${") {
		t.serverNames = []string{files.ServerName}
	}
}

// addressOf is the name by which pods of the same namespace reach a pod, which stays when the pod is another one; else its address now.
func addressOf(p *corev1.Pod) string {
	if p.Spec.Hostname != "" && p.Spec.Subdomain != "" {
		return p.Spec.Hostname + "." + p.Spec.Subdomain + "." + p.Namespace + ".svc"
	}
	return p.Status.PodIP
}

// portOf is the number of a port: as the member's container names it, or as the System does.
func portOf(pod *operator.MemberPod, c *system.Component, name string) int32 {
	for i := range pod.Spec.Containers {
		for _, p := range pod.Spec.Containers[i].Ports {
			if p.Name == name && pod.Spec.Containers[i].Name == pod.Container {
				return p.ContainerPort
			}
		}
	}
	return c.API().Ports[name]
}

// volumes are the members with the volumes that they use.
func (o *object) volumes(ctx context.Context) ([]resource, error) {
	pods, err := o.memberPods(ctx)
	if err != nil {
		return nil, err
	}
	var out []resource
	for i := range pods {
		r := resource{name: pods[i].Member}
		if r.data, err = o.claimsOf(ctx, pods[i].Pod); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// claimsOf names the claims that a pod mounts, each with what tells it from another one of the same name.
func (o *object) claimsOf(ctx context.Context, pod *corev1.Pod) (string, error) {
	var out []string
	for _, v := range pod.Spec.Volumes {
		if v.PersistentVolumeClaim == nil {
			continue
		}
		c := &corev1.PersistentVolumeClaim{}
		err := o.api.Get(ctx, client.ObjectKey{Namespace: pod.Namespace, Name: v.PersistentVolumeClaim.ClaimName}, c)
		if err != nil && !apierrors.IsNotFound(err) {
			return "", o.problem(err)
		}
		out = append(out, v.PersistentVolumeClaim.ClaimName+" "+string(c.UID))
	}
	return strings.Join(out, ", "), nil
}

// A probe in Kubernetes is a Job with one pod. The command that started it tells it what the operator does, through a port-forward, and takes its result the
// same way. When the command is gone, the probe ends by itself, and Kubernetes removes the Job.

const (
	probeName = "theseus-probe"
	// controlPort is listened at on the pod's loopback address: who may forward a port of the pod may speak to it.
	controlPort = 9911
	// probeKept is for how many seconds a Job that ended by itself stays, for its log.
	probeKept = 600
	// secretFolder is where the pod finds what it shows to members that speak TLS.
	secretFolder = "/tls"
	// startsWithin is how long a pod that has no reason not to start is waited for.
	startsWithin = 2 * time.Minute
)

// measure starts a probe in a pod.
func (o *object) measure(ctx context.Context, secret string, f probeFlags) (meter, error) {
	image, err := o.ownImage(ctx, f.image)
	if err != nil {
		return nil, err
	}
	job := probeJob(o.key, image, secret, f)
	if err := o.written(o.api.Create(ctx, job, client.FieldOwner(fieldManager))); err != nil {
		return nil, err
	}
	m := &elsewhere{remove: func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		err := o.api.Delete(ctx, job, client.Preconditions{UID: &job.UID}, client.PropagationPolicy(metav1.DeletePropagationBackground))
		if client.IgnoreNotFound(err) != nil {
			o.talkf("Job %s is left, and ends by itself: %v", job.Name, o.problem(err))
		}
	}}
	o.talkf("starting the probe, Job %s in %s", job.Name, image)
	pod, err := o.probePod(ctx, job)
	if err == nil {
		m.Conductor = remote.Conduct(context.WithoutCancel(ctx), o.clientOf(pod), "http://"+probeName, abandonedAfter)
		err = m.begun(ctx)
	}
	if err != nil {
		m.remove()
		return nil, err
	}
	return m, nil
}

// elsewhere is a probe in a pod.
type elsewhere struct {
	*remote.Conductor
	remove  func()
	removed bool
}

func (m *elsewhere) begun(ctx context.Context) error {
	select {
	case <-m.Sending():
		return nil
	case <-m.Ended():
		_, err := m.Conductor.Stop()
		return fmt.Errorf("start the probe: %w", err)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Stop takes the pod away when its result is here.
func (m *elsewhere) Stop() (*probe.Result, error) {
	r, err := m.Conductor.Stop()
	if !m.removed {
		m.removed = true
		m.remove()
	}
	return r, err
}

// clientOf speaks HTTP to a pod, whatever host is asked for.
func (n *namespace) clientOf(pod string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return n.forward(ctx, pod, controlPort) }}}
}

// ownImage is the image to measure with.
func (o *object) ownImage(ctx context.Context, asked string) (string, error) {
	if asked != "" {
		return asked, nil
	}
	pods := &corev1.PodList{}
	err := o.api.List(ctx, pods, client.MatchingLabels{"app.kubernetes.io/name": "theseus"})
	if err != nil && !apierrors.IsForbidden(err) {
		return "", o.problem(err)
	}
	image := ""
	for i := range pods.Items {
		own := operatorImage(&pods.Items[i])
		if own != "" && pods.Items[i].Status.Phase == corev1.PodRunning {
			return own, nil
		}
		image = cmp.Or(image, own)
	}
	if image != "" {
		return image, nil
	}
	return "", inputNext("name it: "+o.command("probe", o.key.Name, "--image", "IMAGE"), "--image: the image of the operator cannot be seen%s, and the probe needs one", because(err))
}

// operatorImage is the image of an operator's pod; empty for others that are called theseus.
func operatorImage(pod *corev1.Pod) string {
	for _, c := range pod.Spec.Containers {
		if c.Name == "theseus" && slices.Contains(slices.Concat(c.Command, c.Args), "operator") {
			return c.Image
		}
	}
	return ""
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return " (" + err.Error() + ")"
}

// probeJob is made of what the restricted Pod Security Standard asks for, so that any namespace takes it.
func probeJob(of client.ObjectKey, image, secret string, f probeFlags) *batchv1.Job {
	no, yes, retries, kept, user := false, true, int32(0), int32(probeKept), int64(65532)
	labels := map[string]string{"app.kubernetes.io/name": probeName, "app.kubernetes.io/managed-by": fieldManager}
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: of.Namespace, GenerateName: probeName + "-", Labels: labels},
		Spec: batchv1.JobSpec{BackoffLimit: &retries, TTLSecondsAfterFinished: &kept, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec: corev1.PodSpec{
				RestartPolicy: corev1.RestartPolicyNever, AutomountServiceAccountToken: &no, EnableServiceLinks: &no,
				SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: &yes, RunAsUser: &user, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
				Containers: []corev1.Container{{
					Name: "probe", Image: image, Command: []string{"/theseus"},
					Args:                     append([]string{"probe", "--control", fmt.Sprintf("127.0.0.1:%d", controlPort)}, f.flags()...),
					Resources:                corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: quantity.MustParse("100m"), corev1.ResourceMemory: quantity.MustParse("64Mi")}},
					SecurityContext:          &corev1.SecurityContext{AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
					TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
				}},
			},
		}},
	}
	if secret != "" {
		pod := &job.Spec.Template.Spec
		pod.Volumes = []corev1.Volume{{Name: "tls", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secret}}}}
		pod.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "tls", MountPath: secretFolder, ReadOnly: true}}
	}
	return job
}

// probePod waits until the pod of a Job runs.
func (o *object) probePod(ctx context.Context, job *batchv1.Job) (string, error) {
	most := time.NewTimer(startsWithin)
	defer most.Stop()
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		pod, why, forGood, err := o.probeState(ctx, job)
		switch {
		case err != nil:
			return "", err
		case why == "":
			return pod, nil
		case forGood:
			return "", notStarted(why)
		}
		select {
		case <-ctx.Done():
			return "", &exitError{code: exitFailed, err: fmt.Errorf("nothing was measured; the probe was still waiting: %s", why)}
		case <-most.C:
			return "", notStarted(why)
		case <-t.C:
		}
	}
}

func notStarted(why string) error {
	return &exitError{code: exitFailed, err: fmt.Errorf("the probe does not start: %s", why), next: "name an image of this release that the nodes can pull: --image"}
}

// probeState is the pod of a Job, or why it does not run.
func (o *object) probeState(ctx context.Context, job *batchv1.Job) (pod, why string, forGood bool, err error) {
	pods := &corev1.PodList{}
	err = o.api.List(ctx, pods, client.InNamespace(job.Namespace), client.MatchingLabels{batchv1.JobNameLabel: job.Name})
	switch {
	case err != nil && passing(err):
		return "", err.Error(), false, nil
	case err != nil:
		return "", "", false, o.problem(err)
	case len(pods.Items) == 0:
		return "", "it has no pod yet", false, nil
	case pods.Items[0].Status.Phase == corev1.PodRunning:
		return pods.Items[0].Name, "", false, nil
	}
	why, forGood = operator.Hindrance(&pods.Items[0])
	return "", cmp.Or(why, "its pod is "+strings.ToLower(string(pods.Items[0].Status.Phase))), forGood, nil
}
