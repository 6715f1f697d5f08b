package operator

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/upgrade"
)

// Images are pulled on every node that may run a member before the first one goes, by a DaemonSet whose pods do nothing: a version whose image cannot be
// pulled then costs no member.

// pullLabel marks these DaemonSets and their pods with the revision.
const pullLabel = "theseus.dev/pull"

// Tools are this program in images of others: a container of this program's image copies it into a folder of the pod.
const (
	toolsContainer = "theseus"
	toolsVolume    = "theseus"
	toolsMount     = "/theseus-tools"
	toolsProgram   = toolsMount + "/theseus"
	// CopyCommand is the hidden subcommand that copies this program to a path, WaitCommand the one that waits for SIGTERM.
	CopyCommand = "__copy"
	WaitCommand = "__wait"
)

func (p *Platform) prepare(ctx context.Context, b *blueprint, i v1alpha1.Intent) error {
	t, err := b.template()
	if err != nil {
		return err
	}
	if p.Image == "" {
		return nil // see preparedOutcomes
	}
	set := p.pull(b, &t, i.ID)
	if err := p.forgetPulls(ctx, b.component.Name(), set.Name); err != nil {
		return err
	}
	if err := p.API.Create(ctx, set); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create DaemonSet %s: %w", set.Name, err)
	}
	return nil
}

// pull is a DaemonSet for the nodes that the template may run on.
func (p *Platform) pull(b *blueprint, t *corev1.PodTemplateSpec, id int64) *appsv1.DaemonSet {
	labels := map[string]string{managedByLabel: managerName, pullLabel: b.revision, "theseus.dev/pull-for": b.cluster.Name, componentLabel: b.component.Name()}
	all, grace, no := intstr.FromString("100%"), int64(1), false
	pod := corev1.PodSpec{
		NodeSelector: t.Spec.NodeSelector, Tolerations: t.Spec.Tolerations, ImagePullSecrets: t.Spec.ImagePullSecrets, SecurityContext: t.Spec.SecurityContext,
		ServiceAccountName: t.Spec.ServiceAccountName, AutomountServiceAccountToken: &no, RuntimeClassName: t.Spec.RuntimeClassName, // with the account come secrets for pulling
		TerminationGracePeriodSeconds: &grace,
		Containers:                    []corev1.Container{toolsHeld(p.Image)},
		Volumes:                       []corev1.Volume{emptyDir(toolsVolume)},
	}
	if t.Spec.Affinity != nil {
		pod.Affinity = &corev1.Affinity{NodeAffinity: t.Spec.Affinity.NodeAffinity}
	}
	for i, c := range slices.Concat(t.Spec.Containers, t.Spec.InitContainers) {
		if i >= len(t.Spec.Containers) {
			c.Name = fmt.Sprintf("init-%d", i-len(t.Spec.Containers))
		}
		pod.Containers = append(pod.Containers, corev1.Container{Name: c.Name, Image: c.Image, ImagePullPolicy: c.ImagePullPolicy, SecurityContext: c.SecurityContext,
			Command: []string{toolsProgram, WaitCommand}, VolumeMounts: toolsMounted()})
	}
	set := &appsv1.DaemonSet{ObjectMeta: b.meta(workloadName(b.cluster.Name, b.component.Name()) + "-pull-" + b.revision + "-" + strconv.FormatInt(id, 10)),
		Spec: appsv1.DaemonSetSpec{
			Selector:       &metav1.LabelSelector{MatchLabels: labels},
			Template:       corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod},
			UpdateStrategy: appsv1.DaemonSetUpdateStrategy{Type: appsv1.RollingUpdateDaemonSetStrategyType, RollingUpdate: &appsv1.RollingUpdateDaemonSet{MaxUnavailable: &all}},
		}}
	set.Labels = labels
	return set
}

// toolsFrom is the init container that brings this program into a pod.
func toolsFrom(image string) corev1.Container {
	c := ownContainer(image)
	c.Name, c.Command, c.VolumeMounts = toolsContainer, []string{"/theseus", CopyCommand, toolsProgram}, toolsMounted()
	return c
}

// ownContainer asks for no rights, as the restricted Pod Security Standard wants it of each container. As whom it runs is for the pod to say: that of the
// members, whose files it may have to read.
func ownContainer(image string) corev1.Container {
	no, yes := false, true
	return corev1.Container{Image: image, SecurityContext: &corev1.SecurityContext{
		AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}}}
}

// toolsHeld is a container that does the same for those that come after it in its pod: the kubelet starts one container after the other, and the next
// one when this hook has ended. It looks at init containers once a second, and members wait for this pod.
func toolsHeld(image string) corev1.Container {
	c := toolsFrom(image)
	copying := &corev1.ExecAction{Command: c.Command}
	c.Command, c.Lifecycle = []string{"/theseus", WaitCommand}, &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{Exec: copying}}
	return c
}

// inTurn is a pod of a pull as far as its containers had their turn: without the tools the others cannot start, and would be blamed for it.
func inTurn(pod *corev1.Pod) *corev1.Pod {
	tools := containerOf(pod, toolsContainer)
	if tools == nil || tools.State.Running != nil {
		return pod
	}
	pod = pod.DeepCopy()
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{*tools}
	return pod
}

func toolsMounted() []corev1.VolumeMount {
	return []corev1.VolumeMount{{Name: toolsVolume, MountPath: toolsMount}}
}

func emptyDir(name string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}
}

func (p *Platform) pulls(ctx context.Context) ([]appsv1.DaemonSet, error) {
	list := &appsv1.DaemonSetList{}
	err := p.Live.List(ctx, list, client.InNamespace(p.Key.Namespace), client.MatchingLabels{"theseus.dev/pull-for": p.Key.Name})
	return list.Items, err
}

// forgetPulls removes what pulled images for a component, or for all, but for one.
func (p *Platform) forgetPulls(ctx context.Context, component, but string) error {
	list, err := p.pulls(ctx)
	if err != nil {
		return err
	}
	for i := range list {
		if list[i].Name == but || component != "" && list[i].Labels[componentLabel] != component {
			continue
		}
		if err := p.API.Delete(ctx, &list[i], client.PropagationPolicy(metav1.DeletePropagationBackground)); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return nil
}

// preparedOutcomes says by revision how far the pulls are. They are looked at only where it matters.
func (p *Platform) preparedOutcomes(ctx context.Context, s runner.Scene) (map[string]upgrade.Outcome, error) {
	out := map[string]upgrade.Outcome{}
	a := s.Cluster.Status.Attempt
	if a != nil && a.Phase.Ended() { // one that ended before it configured all components leaves some
		return out, p.forgetPulls(ctx, "", "")
	}
	if a != nil && !unfinished(a, upgrade.KindPreflight) {
		return out, nil
	}
	if p.Image == "" {
		return p.unprepared(s), nil
	}
	adoptedAsIs(s, out)
	list, err := p.pulls(ctx)
	if err != nil {
		return nil, err
	}
	for i := range list {
		revision := list[i].Labels[pullLabel]
		if out[revision].Phase != upgrade.Succeeded {
			if out[revision], err = p.pulled(ctx, &list[i]); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// unprepared counts all as ready: an operator that was not told its own image has nothing to pull with.
func (p *Platform) unprepared(s runner.Scene) map[string]upgrade.Outcome {
	out := map[string]upgrade.Outcome{}
	if a := s.Cluster.Status.Attempt; a != nil && int(a.Hop) < len(a.Hops) {
		target := upgrade.TargetOf(s.Systems[a.Target.System.Hash], a)
		for _, c := range s.System.Components() {
			out[s.System.Revision(target, c.Name(), target.Spec.Version)] = upgrade.Outcome{Phase: upgrade.Succeeded, Message: "images are not pulled beforehand: --image is not set"}
		}
	}
	return out
}

// adoptedAsIs counts as ready what runs already and is only to be adopted.
func adoptedAsIs(s runner.Scene, out map[string]upgrade.Outcome) {
	a := s.Cluster.Status.Attempt
	if a == nil || a.Kind != v1alpha1.AttemptCreate {
		return
	}
	for _, c := range s.System.Components() {
		if a.Target.Spec.Components[c.Name()].Adopt != nil {
			out[s.System.Revision(&a.Target, c.Name(), a.To)] = upgrade.Outcome{Phase: upgrade.Succeeded, Message: "it runs already"}
		}
	}
}

// unfinished says that a step of this kind is neither done nor undone.
func unfinished(a *v1alpha1.Attempt, kind v1alpha1.StepKind) bool {
	for _, st := range a.Steps {
		if st.Kind == kind && st.Phase != v1alpha1.StepDone && st.Phase != v1alpha1.StepUndone {
			return true
		}
	}
	return false
}

// nowhere says of a component that there is no node for it: no pod is there that could say so.
func nowhere(set *appsv1.DaemonSet) string {
	by := "by its affinity, or by taints"
	if selector := set.Spec.Template.Spec.NodeSelector; len(selector) > 0 {
		by = "nodeSelector " + labels.FormatLabels(selector)
	}
	return fmt.Sprintf("there is no node on which it may run (%s): make a node fit, or correct spec.components.%s.pod", by, set.Labels[componentLabel])
}

func (p *Platform) pulled(ctx context.Context, set *appsv1.DaemonSet) (upgrade.Outcome, error) {
	st := set.Status
	if st.ObservedGeneration >= set.Generation && st.DesiredNumberScheduled > 0 && st.NumberReady >= st.DesiredNumberScheduled {
		return upgrade.Outcome{Phase: upgrade.Succeeded}, nil
	}
	pods := &corev1.PodList{}
	if err := p.Live.List(ctx, pods, client.InNamespace(set.Namespace), client.MatchingLabels(set.Spec.Selector.MatchLabels)); err != nil {
		return upgrade.Outcome{}, err
	}
	message := fmt.Sprintf("pulled on %d of %d nodes", st.NumberReady, st.DesiredNumberScheduled)
	if st.ObservedGeneration >= set.Generation && st.DesiredNumberScheduled == 0 {
		message = nowhere(set)
	}
	for i := range pods.Items {
		pod := inTurn(&pods.Items[i])
		if why := brokenBy(pod); why != "" {
			return upgrade.Outcome{Phase: upgrade.Failed, Message: "node " + pod.Spec.NodeName + ": " + why}, nil
		}
		if pod.Status.Phase == corev1.PodRunning {
			continue
		}
		if why := p.waits(ctx, pod); why != "" {
			message += "; " + joined(pod.Spec.NodeName, why)
		}
	}
	if len(pods.Items) < int(st.DesiredNumberScheduled) {
		if why := p.absent(ctx, set.Name, set.UID); why != "" {
			message += "; " + why
		}
	}
	return upgrade.Outcome{Phase: upgrade.Underway, Message: message}, nil
}
