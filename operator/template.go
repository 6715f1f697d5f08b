package operator

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

const (
	// memberVariable is what Kubernetes fills in for the member's own name: all pods of a workload share one template.
	memberVariable = "THESEUS_MEMBER"
	symbol         = "$(" + memberVariable + ")"
	// addressVariable is the pod's address, for members that have no name of their own to be reached by.
	addressVariable = "THESEUS_ADDRESS"
	addressSymbol   = "$(" + addressVariable + ")"

	dataVolume = "data"
	dataMount  = "/var/lib/theseus"

	defaultGrace = 30 * time.Second
)

// dataOf is the data folder of a member, as it sees it: below the mount, because the root of a volume may hold what is not the member's.
func dataOf(component string) string { return dataMount + "/" + component }

// blueprint is what the pods of one revision of a component are made from.
type blueprint struct {
	cluster   *v1alpha1.Cluster
	system    *system.System
	component *system.Component
	spec      *v1alpha1.ClusterSpec // pinned
	restart   int64                 // pinned
	revision  string
	version   string
	hold      hold
	adopted   *adopted // nil for what the operator makes
}

func (b *blueprint) own() v1alpha1.ComponentSpec { return b.spec.Components[b.component.Name()] }

func (b *blueprint) replicas() int32 {
	return int32(upgrade.Replicas(b.spec, b.component)) //nolint:gosec // validated: at most 99
}

// views are the members as expressions see them before they run.
func (b *blueprint) views() ([]*system.Member, error) {
	views := make([]*system.Member, b.replicas())
	for i := range views {
		views[i] = b.view(memberName(b.cluster.Name, b.component.Name(), i), i)
	}
	return views, b.secure(views...)
}

func (b *blueprint) view(name string, ordinal int) *system.Member {
	c := b.component
	m := &system.Member{Name: name, Component: c.Name(), Ordinal: ordinal, Host: hostOf(name, b.cluster.Name, c.Name(), b.cluster.Namespace),
		Bind: "0.0.0.0", Data: dataOf(c.Name()), Version: b.version, Port: map[string]int64{}}
	switch {
	case b.keeps():
	case name == symbol:
		m.Host = addressSymbol
	default: // for the others there is the service
		m.Host = clientServiceName(b.cluster.Name, c.Name()) + "." + b.cluster.Namespace + ".svc"
	}
	for port, n := range c.API().Ports {
		m.Port[port] = int64(n)
	}
	return m
}

// process is how a member is started: for a member without a number, whose name Kubernetes fills in. That this gives every member what
// the System means is checked for each.
func (b *blueprint) process() (system.Process, error) {
	all, err := b.views()
	one := b.view(symbol, 0)
	if err == nil {
		err = b.secure(one)
	}
	if err != nil {
		return system.Process{}, err
	}
	shared, err := b.processOf(one, all)
	if err != nil || !b.keeps() { // pods of a Deployment have no numbers to differ by
		return shared, err
	}
	for _, m := range all {
		own, err := b.processOf(m, all)
		if err != nil {
			return shared, err
		}
		if what := differs(m.Name, shared, own); what != "" {
			return shared, fmt.Errorf("components.%s: %s gives member %s something that a shared pod template cannot say; make it of m.name and m.host alone, and of all in full",
				b.component.Name(), what, m.Name)
		}
	}
	return shared, nil
}

func (b *blueprint) processOf(m *system.Member, all []*system.Member) (system.Process, error) {
	return b.system.Process(b.component.Name(), b.spec, &system.Scope{Cluster: b.cluster.Name, Version: b.version, M: m, All: all})
}

// differs compares what Kubernetes will make of the shared process with what a member should get.
func differs(member string, shared, own system.Process) string {
	fill := func(text string) string { return strings.ReplaceAll(text, symbol, member) }
	if len(shared.Args) != len(own.Args) {
		return "start"
	}
	for i := range own.Args {
		if fill(shared.Args[i]) != own.Args[i] {
			return fmt.Sprintf("start (%q)", own.Args[i])
		}
	}
	for name, value := range own.Env {
		if fill(shared.Env[name]) != value {
			return "env." + name
		}
	}
	return ""
}

// literal protects a text from what Kubernetes would fill in, but for our own symbol.
func literal(text string) string {
	for _, ours := range []string{symbol, addressSymbol} {
		text = strings.ReplaceAll(text, ours, "\x00"+ours[2:])
	}
	return strings.ReplaceAll(strings.ReplaceAll(text, "$(", "$$("), "\x00", "$(")
}

// template is the pod template: ours, then the System's overlay, then the Cluster's, then what must be ours.
func (b *blueprint) template() (corev1.PodTemplateSpec, error) {
	if b.adopted != nil {
		return b.adoptedTemplate()
	}
	p, err := b.process()
	if err != nil {
		return corev1.PodTemplateSpec{}, err
	}
	if p.Image == "" {
		return corev1.PodTemplateSpec{}, fmt.Errorf("system %s names no image of version %s: set versions.image there, or spec.components.%s.image", b.system.Name(), b.version, b.component.Name())
	}
	systems, err := b.system.Overlay(b.component.Name(), b.spec, b.cluster.Name, b.version)
	if err != nil {
		return corev1.PodTemplateSpec{}, err
	}
	t := b.plain(p)
	for _, overlay := range []struct {
		where string
		patch *runtime.RawExtension
	}{{"the System's components." + b.component.Name() + ".pod", systems}, {"spec.components." + b.component.Name() + ".pod", b.own().Pod}} {
		if t, err = lay(t, overlay.patch); err != nil {
			return t, fmt.Errorf("%s: %w", overlay.where, err)
		}
	}
	b.brand(&t)
	return t, nil
}

func lay(t corev1.PodTemplateSpec, patch *runtime.RawExtension) (corev1.PodTemplateSpec, error) {
	if patch == nil || len(patch.Raw) == 0 {
		return t, nil
	}
	text, err := json.Marshal(t)
	if err != nil {
		return t, err
	}
	merged, err := strategicpatch.StrategicMergePatch(text, patch.Raw, corev1.PodTemplateSpec{})
	if err != nil {
		return t, err
	}
	out := corev1.PodTemplateSpec{}
	return out, json.Unmarshal(merged, &out)
}

func (b *blueprint) plain(p system.Process) corev1.PodTemplateSpec {
	c := b.component
	member := corev1.Container{Name: c.Name(), Image: p.Image, Command: []string{c.API().Start[0]}}
	for _, arg := range p.Args {
		member.Args = append(member.Args, literal(arg))
	}
	member.Env = []corev1.EnvVar{fromField(memberVariable, "metadata.name")}
	if !b.keeps() {
		member.Env = append(member.Env, fromField(addressVariable, "status.podIP"))
	}
	for _, name := range slices.Sorted(maps.Keys(p.Env)) {
		member.Env = append(member.Env, corev1.EnvVar{Name: name, Value: literal(p.Env[name])})
	}
	for _, port := range slices.Sorted(maps.Keys(c.API().Ports)) {
		member.Ports = append(member.Ports, corev1.ContainerPort{Name: port, ContainerPort: c.API().Ports[port], Protocol: corev1.ProtocolTCP})
	}
	grace := seconds(c.API().Stop)
	t := corev1.PodTemplateSpec{Spec: corev1.PodSpec{TerminationGracePeriodSeconds: &grace, Affinity: apart(selectorOf(b.cluster.Name, c.Name()))}}
	if b.keeps() {
		member.VolumeMounts = []corev1.VolumeMount{{Name: dataVolume, MountPath: dataMount}}
		if b.own().Storage == "" {
			t.Spec.Volumes = []corev1.Volume{{Name: dataVolume, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
		}
	}
	t.Spec.Containers = []corev1.Container{member}
	return t
}

func fromField(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path}}}
}

// keeps says that members have data and names of their own: they are pods of a StatefulSet. The others are pods of a Deployment.
func (b *blueprint) keeps() bool { return stateful(b.component) }

func stateful(c *system.Component) bool { return c.API().Workload != v1alpha1.WorkloadDeployment }

func seconds(s *v1alpha1.Stop) int64 {
	grace := defaultGrace
	if s != nil && s.Grace != nil {
		grace = s.Grace.Duration
	}
	return int64(math.Ceil(grace.Seconds()))
}

// apart asks for pods with these labels on nodes of their own, where there are enough.
func apart(labels map[string]string) *corev1.Affinity {
	return &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{
		Weight:          100,
		PodAffinityTerm: corev1.PodAffinityTerm{TopologyKey: corev1.LabelHostname, LabelSelector: &metav1.LabelSelector{MatchLabels: labels}},
	}}}}
}

// brand sets what no overlay may change.
func (b *blueprint) brand(t *corev1.PodTemplateSpec) {
	if t.Labels == nil {
		t.Labels = map[string]string{}
	}
	maps.Copy(t.Labels, labelsOf(b.system.Name(), b.cluster.Name, b.component.Name()))
	if t.Annotations == nil {
		t.Annotations = map[string]string{}
	}
	t.Annotations[revisionAnnotation] = b.revision
	t.Annotations[versionAnnotation] = b.version
	if b.keeps() {
		b.hold.brand(t)
	}
}
