package operator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/upgrade"
)

// configure makes the objects of a component what the revision asks for. The services and the budget come first: a member may need its name
// at its first start.
func (p *Platform) configure(ctx context.Context, b *blueprint) error {
	t, err := b.template()
	if err != nil {
		return err
	}
	for _, o := range b.beside() {
		if err := p.ensure(ctx, b.cluster, o); err != nil {
			return fmt.Errorf("apply %T %s: %w", o, o.GetName(), err)
		}
	}
	want, err := b.workload(t)
	if err != nil {
		return err
	}
	return p.applyWorkload(ctx, b.cluster, want)
}

// beside are the objects of a component that do not make its pods.
func (b *blueprint) beside() []client.Object {
	return []client.Object{b.headless(), b.clientService(), b.budget()}
}

func (b *blueprint) meta(name string) metav1.ObjectMeta {
	controller, block := true, true
	return metav1.ObjectMeta{
		Namespace: b.cluster.Namespace, Name: name, Labels: labelsOf(b.system.Name(), b.cluster.Name, b.component.Name()),
		OwnerReferences: []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.KindCluster, Name: b.cluster.Name, UID: b.cluster.UID,
			Controller: &controller, BlockOwnerDeletion: &block}},
	}
}

func (b *blueprint) servicePorts() []corev1.ServicePort {
	ports := b.component.API().Ports
	var out []corev1.ServicePort
	for _, name := range slices.Sorted(maps.Keys(ports)) {
		out = append(out, corev1.ServicePort{Name: name, Port: ports[name], TargetPort: intstr.FromInt32(ports[name]), Protocol: corev1.ProtocolTCP})
	}
	return out
}

// headless gives each member its name, ready or not: a group has to find itself before it can be ready.
func (b *blueprint) headless() client.Object {
	return &corev1.Service{ObjectMeta: b.meta(workloadName(b.cluster.Name, b.component.Name())), Spec: corev1.ServiceSpec{
		ClusterIP: corev1.ClusterIPNone, PublishNotReadyAddresses: true, Selector: selectorOf(b.cluster.Name, b.component.Name()), Ports: b.servicePorts(),
	}}
}

func (b *blueprint) clientService() client.Object {
	return &corev1.Service{ObjectMeta: b.meta(clientServiceName(b.cluster.Name, b.component.Name())), Spec: corev1.ServiceSpec{
		Selector: selectorOf(b.cluster.Name, b.component.Name()), Ports: b.servicePorts(),
	}}
}

// budget keeps others from disrupting more members than the policy lets be away, or the eviction that the core permits beside one that is down would be
// refused; and it always allows one that does not serve, or a drained node would wait for ever.
func (b *blueprint) budget() client.Object {
	most, always := intstr.FromInt32(max(1, b.cluster.Spec.Upgrade.MaxUnavailable)), policyv1.AlwaysAllow
	return &policyv1.PodDisruptionBudget{ObjectMeta: b.meta(workloadName(b.cluster.Name, b.component.Name())), Spec: policyv1.PodDisruptionBudgetSpec{
		MaxUnavailable: &most, UnhealthyPodEvictionPolicy: &always, Selector: &metav1.LabelSelector{MatchLabels: selectorOf(b.cluster.Name, b.component.Name())},
	}}
}

// workload is what makes the pods.
func (b *blueprint) workload(t corev1.PodTemplateSpec) (client.Object, error) {
	if b.keeps() {
		return b.statefulSet(t)
	}
	return b.deployment(t), nil
}

// deployment lets Kubernetes replace the members: one comes before one goes, which waits until the new one has stayed ready for the soak; or all go before one
// comes where versions must not mix.
func (b *blueprint) deployment(t corev1.PodTemplateSpec) *appsv1.Deployment {
	replicas, history, none, one := b.replicas(), int32(2), intstr.FromInt32(0), intstr.FromInt32(1)
	strategy := appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{MaxUnavailable: &none, MaxSurge: &one}}
	settle := int32(math.Ceil(upgrade.Soak(&b.cluster.Spec.Upgrade, b.component).Seconds()))
	late := settle + 600 // by default 600, which a longer soak would not fit into
	if b.hold.alone {
		strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
	}
	return &appsv1.Deployment{ObjectMeta: b.meta(workloadName(b.cluster.Name, b.component.Name())), Spec: appsv1.DeploymentSpec{
		Replicas: &replicas, RevisionHistoryLimit: &history, Template: t,
		Selector: &metav1.LabelSelector{MatchLabels: selectorOf(b.cluster.Name, b.component.Name())},
		Strategy: strategy, MinReadySeconds: settle, ProgressDeadlineSeconds: &late,
	}}
}

func (b *blueprint) statefulSet(t corev1.PodTemplateSpec) (*appsv1.StatefulSet, error) {
	name, replicas := workloadName(b.cluster.Name, b.component.Name()), b.replicas()
	s := &appsv1.StatefulSet{ObjectMeta: b.meta(name), Spec: appsv1.StatefulSetSpec{
		Replicas: &replicas, ServiceName: name, Template: t,
		Selector:            &metav1.LabelSelector{MatchLabels: selectorOf(b.cluster.Name, b.component.Name())},
		PodManagementPolicy: appsv1.ParallelPodManagement, // after a power cut all members must come at once
		UpdateStrategy:      appsv1.StatefulSetUpdateStrategy{Type: appsv1.OnDeleteStatefulSetStrategyType},
		PersistentVolumeClaimRetentionPolicy: &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{
			WhenDeleted: appsv1.RetainPersistentVolumeClaimRetentionPolicyType, WhenScaled: appsv1.RetainPersistentVolumeClaimRetentionPolicyType},
	}}
	size := b.own().Storage
	if size == "" || !b.keeps() {
		return s, nil
	}
	quantity, err := resource.ParseQuantity(size)
	if err != nil {
		return nil, fmt.Errorf("spec.components.%s.storage: %w", b.component.Name(), err)
	}
	claim := corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: dataVolume, Labels: selectorOf(b.cluster.Name, b.component.Name())},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: quantity}},
		}}
	if class := b.own().StorageClass; class != "" {
		claim.Spec.StorageClassName = &class
	}
	s.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{claim}
	return s, nil
}

// ForeignError says that an object which the operator would make is somebody else's. Nothing was changed.
type ForeignError struct{ Kind, Name, Cluster string }

func (e *ForeignError) Error() string {
	return fmt.Sprintf("%s %s is there already and does not belong to cluster %s; delete it or give the cluster another name", e.Kind, e.Name, e.Cluster)
}

// ours says whether an object belongs to the Cluster that wants it.
func ours(have, want client.Object) error {
	wanted := want.GetOwnerReferences()[0]
	if o := metav1.GetControllerOf(have); o != nil && o.UID == wanted.UID {
		return nil
	}
	return &ForeignError{kindOf(have), have.GetName(), wanted.Name}
}

func kindOf(o client.Object) string { return fmt.Sprintf("%T", o)[len("*v1."):] }

// ensure makes an object, and makes it right where somebody changed it.
func (p *Platform) ensure(ctx context.Context, c *v1alpha1.Cluster, want client.Object) error {
	have := want.DeepCopyObject().(client.Object)
	err := p.Live.Get(ctx, client.ObjectKeyFromObject(want), have)
	missing := apierrors.IsNotFound(err)
	if err != nil && !missing {
		return err
	}
	if !missing {
		if err := ours(have, want); err != nil || derived(want, have) {
			return err
		}
	}
	if err := p.unsurpassed(ctx, c); err != nil {
		return err
	}
	if missing {
		return p.API.Create(ctx, want)
	}
	switch w := want.(type) {
	case *corev1.Service:
		h := have.(*corev1.Service)
		h.Spec.Ports, h.Spec.Selector, h.Spec.PublishNotReadyAddresses = w.Spec.Ports, w.Spec.Selector, w.Spec.PublishNotReadyAddresses
	case *policyv1.PodDisruptionBudget:
		have.(*policyv1.PodDisruptionBudget).Spec = w.Spec
	}
	return p.API.Update(ctx, have)
}

// derived says that all that is wanted is there, and nobody else is selected; what the API server, or somebody else, set besides does not count.
func derived(want, have client.Object) bool {
	switch w := want.(type) {
	case *corev1.Service:
		h := have.(*corev1.Service)
		return equality.Semantic.DeepDerivative(w.Spec, h.Spec) && len(w.Spec.Ports) == len(h.Spec.Ports) && maps.Equal(w.Spec.Selector, h.Spec.Selector) &&
			w.Spec.PublishNotReadyAddresses == h.Spec.PublishNotReadyAddresses
	case *policyv1.PodDisruptionBudget:
		h := have.(*policyv1.PodDisruptionBudget)
		return equality.Semantic.DeepDerivative(w.Spec, h.Spec) && equality.Semantic.DeepEqual(w.Spec.Selector, h.Spec.Selector)
	}
	return false
}

// applyWorkload writes the whole of what may be changed of a workload, and then notes the generation that this made. Without the note
// it does not count as configured, so that a crash in between, or somebody's edit, has it applied again. What counts as configured is not written, because
// another Theseus might make it otherwise, and would have Kubernetes replace the pods of a Deployment.
func (p *Platform) applyWorkload(ctx context.Context, c *v1alpha1.Cluster, want client.Object) error {
	fail := func(err error) error { return fmt.Errorf("apply workload %s: %w", want.GetName(), err) }
	if err := sign(want); err != nil {
		return err
	}
	have := want.DeepCopyObject().(client.Object)
	err := p.Live.Get(ctx, client.ObjectKeyFromObject(want), have)
	missing := apierrors.IsNotFound(err)
	if err == nil {
		err = ours(have, want)
	}
	switch {
	case err != nil && !missing:
		return fail(err)
	case !missing && stands(have, want):
		return nil
	case !missing && written(have, want):
		return p.note(ctx, have)
	}
	if err := p.unsurpassed(ctx, c); err != nil {
		return fail(err)
	}
	if missing {
		have = want
		err = p.API.Create(ctx, have)
	} else {
		overwrite(have, want)
		err = p.API.Update(ctx, have)
	}
	if err != nil {
		return fail(err)
	}
	return p.note(ctx, have)
}

// stands says that a workload counts as configured for the revision that is wanted, with the same hold on its pods.
func stands(have, want client.Object) bool {
	h, w := templateOf(have), templateOf(want)
	revision := appliedRevision(have, have.GetGeneration(), h)
	return revision != "" && revision == w.Annotations[revisionAnnotation] && holds(h) == holds(w) && holdIn(h.Annotations) == holdIn(w.Annotations)
}

func templateOf(workload client.Object) *corev1.PodTemplateSpec {
	switch w := workload.(type) {
	case *appsv1.StatefulSet:
		return &w.Spec.Template
	case *appsv1.Deployment:
		return &w.Spec.Template
	}
	return &corev1.PodTemplateSpec{}
}

// sign adds the sum of what is wanted, and of which revision that is, in the same write.
func sign(want client.Object) error {
	text, err := json.Marshal(want)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	want.SetAnnotations(merged(want.GetAnnotations(), map[string]string{sumAnnotation: hex.EncodeToString(sum[:8]), revisionAnnotation: templateOf(want).Annotations[revisionAnnotation]}))
	return nil
}

// written says that a workload was written as it is wanted, and is still so: a driver that ended before it could note this does not write again. What was
// noted and is another generation now was edited, if only by what somebody added to it.
func written(have, want client.Object) bool {
	noted, made := have.GetAnnotations()[appliedAnnotation], ""
	if noted != "" {
		made, _ = generationOf(have) // an error is none that was noted
	}
	if noted != made || have.GetAnnotations()[sumAnnotation] != want.GetAnnotations()[sumAnnotation] {
		return false
	}
	switch w := want.(type) {
	case *appsv1.StatefulSet:
		h := have.(*appsv1.StatefulSet)
		return *h.Spec.Replicas == *w.Spec.Replicas && equality.Semantic.DeepDerivative(w.Spec.Template, h.Spec.Template) && h.Spec.UpdateStrategy.Type == w.Spec.UpdateStrategy.Type
	case *appsv1.Deployment:
		h := have.(*appsv1.Deployment)
		return *h.Spec.Replicas == *w.Spec.Replicas && equality.Semantic.DeepDerivative(w.Spec.Template, h.Spec.Template)
	}
	return false
}

// overwrite takes over what can be changed of a workload. What was noted of it goes: that was of what it was before.
func overwrite(have, want client.Object) {
	have.SetLabels(merged(have.GetLabels(), want.GetLabels()))
	annotations := merged(have.GetAnnotations(), want.GetAnnotations())
	delete(annotations, appliedAnnotation)
	have.SetAnnotations(annotations)
	switch w := want.(type) {
	case *appsv1.StatefulSet:
		h := have.(*appsv1.StatefulSet)
		h.Spec.Replicas, h.Spec.Template, h.Spec.UpdateStrategy = w.Spec.Replicas, w.Spec.Template, w.Spec.UpdateStrategy
	case *appsv1.Deployment:
		h := have.(*appsv1.Deployment)
		h.Spec.Replicas, h.Spec.Template, h.Spec.Strategy = w.Spec.Replicas, w.Spec.Template, w.Spec.Strategy
		h.Spec.MinReadySeconds, h.Spec.ProgressDeadlineSeconds = w.Spec.MinReadySeconds, w.Spec.ProgressDeadlineSeconds
	}
}

// note writes down that the operator made this generation. It needs no lock: whoever edits in between makes another generation.
func (p *Platform) note(ctx context.Context, o client.Object) error {
	made, err := generationOf(o)
	if err != nil || o.GetAnnotations()[appliedAnnotation] == made {
		return err
	}
	before := o.DeepCopyObject().(client.Object)
	o.SetAnnotations(merged(o.GetAnnotations(), map[string]string{appliedAnnotation: made}))
	return p.API.Patch(ctx, o, client.MergeFrom(before))
}

// generationOf a workload changes with its spec, and with nothing else. The API server counts a Deployment's annotations too, so of that it is a sum of the
// spec as the API server has it. That it is paused changes nothing of what its pods are.
func generationOf(o client.Object) (string, error) {
	d, ok := o.(*appsv1.Deployment)
	if !ok {
		return strconv.FormatInt(o.GetGeneration(), 10), nil
	}
	spec := d.Spec
	spec.Paused = false
	text, err := json.Marshal(spec)
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8]), err
}

func merged(have, more map[string]string) map[string]string {
	out := maps.Clone(have)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, more)
	return out
}
