package operator

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	applyapps "k8s.io/client-go/applyconfigurations/apps/v1"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// An adopted StatefulSet was made by somebody else. All that Theseus knows of it is read from it: its members from its pods, what a pod was made
// from out of the pod's ControllerRevision, and a changed template as a changed spec. It has no owner reference to the Cluster, and of its template
// nothing is written but, in mode Version, the image and a count of restarts.

const (
	// adoptedByAnnotation of a StatefulSet is the UID of the Cluster that adopted it: one workload, one Cluster. clusterLabel is its name.
	adoptedByAnnotation = "theseus.dev/adopted-by"
	// restartAnnotation of a template counts the restarts that people asked for.
	restartAnnotation = "theseus.dev/restart"
	// fieldManager owns what is applied to adopted StatefulSets.
	fieldManager = client.FieldOwner("theseus")
	// appVersionLabel is where charts write the version.
	appVersionLabel = "app.kubernetes.io/version"
)

// adopted is a StatefulSet that was there before.
type adopted struct {
	*appsv1.StatefulSet
	own       *v1alpha1.Adopt
	component *system.Component
	container string // empty where it cannot be told
}

// made is what a pod was made from.
type made struct {
	sum     string // of the template without what Theseus owns of it
	image   string
	restart int64
	version string // that the template says, if any
}

// revision is the core's word for it.
func (m *made) revision(mode v1alpha1.AdoptMode) string {
	if mode == v1alpha1.AdoptOrder {
		return system.AdoptedRevision(m.sum, "", 0)
	}
	return system.AdoptedRevision(m.sum, m.image, m.restart)
}

// adoptedSet reads the StatefulSet that a component adopts; nil if there is none.
func (p *Platform) adoptedSet(ctx context.Context, c *v1alpha1.Cluster, component *system.Component) (*adopted, error) {
	return readAdopted(ctx, p.Live, c, component)
}

func readAdopted(ctx context.Context, live client.Reader, c *v1alpha1.Cluster, component *system.Component) (*adopted, error) {
	return readSet(ctx, live, c, component, c.Spec.Components[component.Name()].Adopt.Workload())
}

// readSet reads a StatefulSet in which members of a component are that was adopted; nil if it is not there.
func readSet(ctx context.Context, live client.Reader, c *v1alpha1.Cluster, component *system.Component, name string) (*adopted, error) {
	own := c.Spec.Components[component.Name()].Adopt
	set := &appsv1.StatefulSet{}
	err := live.Get(ctx, types.NamespacedName{Namespace: c.Namespace, Name: name}, set)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read StatefulSet %s: %w", name, err)
	}
	return &adopted{set, own, component, ContainerOf(own, component.Name(), set.Spec.Template.Spec.Containers)}, nil
}

// ContainerOf is the name of the container that is the member: the one that adopt names, else the one that is called like the component, else the
// only one; empty where it cannot be told.
func ContainerOf(own *v1alpha1.Adopt, component string, list []corev1.Container) string {
	wanted := cmp.Or(own.Container, component)
	switch {
	case slices.ContainsFunc(list, func(c corev1.Container) bool { return c.Name == wanted }):
		return wanted
	case own.Container == "" && len(list) == 1:
		return list[0].Name
	}
	return ""
}

// readTemplate is what a pod of this template is made from.
func (a *adopted) readTemplate(sys *system.System, t *corev1.PodTemplateSpec) *made {
	m := &made{}
	bare := t.DeepCopy()
	for i := range bare.Spec.Containers {
		if c := &bare.Spec.Containers[i]; c.Name == a.container {
			m.image = c.Image
			if a.own.Mode == v1alpha1.AdoptVersion {
				c.Image = ""
			}
		}
	}
	if a.own.Mode == v1alpha1.AdoptVersion {
		m.restart, _ = strconv.ParseInt(bare.Annotations[restartAnnotation], 10, 64) // none is 0
		delete(bare.Annotations, restartAnnotation)
	}
	delete(bare.Annotations, madeLikeAnnotation)
	if len(bare.Annotations) == 0 {
		bare.Annotations = nil
	}
	text, err := json.Marshal(bare)
	if err != nil {
		panic(err) // it was read from JSON
	}
	sum := sha256.Sum256(text)
	m.sum, m.version = hex.EncodeToString(sum[:8]), VersionOf(sys, t, m.image)
	if as, like, _ := strings.Cut(t.Annotations[madeLikeAnnotation], "="); as == m.sum {
		m.sum = like // nobody has edited it since it was made like another one
	}
	return m
}

// VersionOf is the version that a pod template says: by the annotation theseus.dev/version, by the tag of the member's image, or by the label
// app.kubernetes.io/version; empty if none of them is a version of the System.
func VersionOf(sys *system.System, t *corev1.PodTemplateSpec, image string) string {
	for _, text := range []string{t.Annotations[versionAnnotation], tagOf(image), t.Labels[appVersionLabel]} {
		if v := versionIn(sys, text); v != "" {
			return v
		}
	}
	return ""
}

// tagOf an image: what follows the colon of its last part. A digest says nothing.
func tagOf(image string) string {
	name, _, _ := strings.Cut(image, "@")
	_, tag, _ := strings.Cut(name[strings.LastIndex(name, "/")+1:], ":")
	return tag
}

// versionIn finds a version in a tag: all of it, or a listed one that it begins with, or the number that it begins with. v3.5.35 and
// 3.5.35-debian-12-r1 are 3.5.35.
func versionIn(sys *system.System, text string) string {
	if len(text) > 1 && text[0] == 'v' {
		text = text[1:]
	}
	if text == "" || text[0] < '0' || text[0] > '9' {
		return ""
	}
	best := ""
	for _, v := range sys.Listed() {
		if sys.SameVersion(v, text) {
			return v
		}
		if rest, ok := strings.CutPrefix(text, v); ok && len(v) > len(best) && strings.ContainsAny(rest[:1], "-_+") {
			best = v
		}
	}
	number := text[:len(text)-len(strings.TrimLeft(text, "0123456789."))]
	for _, v := range []string{best, text, number} {
		if v != "" && sys.CheckVersion(v) == nil {
			return v
		}
	}
	return ""
}

// See fills in what the StatefulSets that a Cluster adopts say: sums of their templates, the number of members, and in mode Order the version. What
// cannot be seen stays as it was last.
func See(ctx context.Context, live client.Reader, sys *system.System, c *v1alpha1.Cluster) error {
	c.Spec.TakeSeen(&c.Status)
	for _, component := range sys.Components() {
		if c.Spec.Components[component.Name()].Adopt == nil {
			continue
		}
		a, err := readAdopted(ctx, live, c, component)
		if err != nil {
			return err
		}
		if a == nil || a.container == "" {
			continue
		}
		m := a.readTemplate(sys, &a.Spec.Template)
		c.Spec.See(component.Name(), m.sum, a.Spec.Replicas)
		if c.Spec.Foreign(component.Name()) && m.version != "" {
			c.Spec.Version = m.version
		}
	}
	return nil
}

// adoptedComponent adds the members of a component that is adopted, and what stands against doing anything to them.
func (p *Platform) adoptedComponent(ctx context.Context, s runner.Scene, c *system.Component, pods *corev1.PodList, look *upgrade.Look, hosts map[string]string) error {
	a, err := p.adoptedSet(ctx, s.Cluster, c)
	if err != nil {
		return err
	}
	if a == nil {
		own := s.Cluster.Spec.Components[c.Name()].Adopt
		look.Blocked[c.Name()] = own.Object() + " is not in namespace " + p.Key.Namespace + ": make it, or delete this Cluster"
		return nil
	}
	why, err := p.claim(ctx, s.Cluster, a)
	if err != nil {
		return err
	}
	live := a.readTemplate(s.System, &a.Spec.Template)
	if why = cmp.Or(why, p.unfit(s, a, live)); why != "" {
		look.Blocked[c.Name()] = why
	}
	if a.Status.ObservedGeneration >= a.Generation {
		look.Configured[c.Name()] = live.revision(a.own.Mode)
	}
	return p.adoptedMembers(ctx, s, a, pods, look, hosts)
}

func (p *Platform) adoptedMembers(ctx context.Context, s runner.Scene, a *adopted, pods *corev1.PodList, look *upgrade.Look, hosts map[string]string) error {
	list, err := podsLike(ctx, p.Live, a.StatefulSet)
	if err != nil {
		return err
	}
	pods.Items = append(pods.Items, list...)
	there := map[int]bool{}
	for i := range list {
		pod := &list[i]
		ordinal, ok := memberOf(a.StatefulSet, pod)
		if !ok {
			continue
		}
		there[ordinal] = true
		m, err := p.adoptedMember(ctx, s, a, pod, ordinal)
		if err != nil {
			return err
		}
		p.rooms[m.View.Name] = room{pod: pod.Name, container: a.container, uid: pod.UID}
		if pod.Status.PodIP != "" {
			hosts[m.View.Host] = pod.Status.PodIP
		}
		look.Members = append(look.Members, m)
	}
	for i := range int(*a.Spec.Replicas) {
		if !there[i] {
			m := upgrade.Member{View: a.view(i, nil), Workload: a.Name, State: upgrade.ProcessAbsent}
			m.Message = p.absent(ctx, m.View.Name, a.UID)
			look.Members = append(look.Members, m)
		}
	}
	return nil
}

func (p *Platform) adoptedMember(ctx context.Context, s runner.Scene, a *adopted, pod *corev1.Pod, ordinal int) (upgrade.Member, error) {
	m := p.member(ctx, a.view(ordinal, pod), a.container, pod)
	m.Workload = a.Name
	from, err := p.madeFrom(ctx, s, a, pod)
	if err != nil {
		return m, err
	}
	m.Revision = from.revision(a.own.Mode)
	if m.View.Version = from.version; m.View.Version == "" {
		m.View.Version = s.Cluster.Status.CurrentVersion
	}
	return m, nil
}

// view is a member as its pod and its StatefulSet show it: ports by their names, and where a template names none as the System says.
func (a *adopted) view(ordinal int, pod *corev1.Pod) system.Member {
	name := a.Name + "-" + strconv.Itoa(ordinal)
	m := system.Member{Name: name, Component: a.component.Name(), Ordinal: ordinal, Bind: "0.0.0.0", Port: map[string]int64{}}
	switch {
	case a.Spec.ServiceName != "":
		m.Host = name + "." + a.Spec.ServiceName + "." + a.Namespace + ".svc"
	case pod != nil:
		m.Host = pod.Status.PodIP
	}
	for port, n := range a.component.API().Ports {
		m.Port[port] = int64(n)
	}
	for _, c := range a.Spec.Template.Spec.Containers {
		for _, port := range c.Ports {
			if _, known := m.Port[port.Name]; known && c.Name == a.container {
				m.Port[port.Name] = int64(port.ContainerPort)
			}
		}
	}
	return m
}

// madeFrom reads the ControllerRevision of a pod, once: it never changes.
func (p *Platform) madeFrom(ctx context.Context, s runner.Scene, a *adopted, pod *corev1.Pod) (*made, error) {
	revision := &appsv1.ControllerRevision{}
	name := pod.Labels[appsv1.ControllerRevisionHashLabelKey]
	if m := p.made[pod.UID]; m != nil {
		return m, nil
	}
	err := p.Live.Get(ctx, types.NamespacedName{Namespace: a.Namespace, Name: name}, revision)
	if apierrors.IsNotFound(err) || name == "" {
		return &made{sum: "gone " + name}, nil // it is outdated, and nothing else is known
	}
	if err != nil {
		return nil, fmt.Errorf("read what pod %s was made from: %w", pod.Name, err)
	}
	data := struct {
		Spec struct {
			Template corev1.PodTemplateSpec `json:"template"`
		} `json:"spec"`
	}{}
	if err := json.Unmarshal(revision.Data.Raw, &data); err != nil {
		return nil, fmt.Errorf("read ControllerRevision %s: %w", name, err)
	}
	if p.made == nil {
		p.made = map[types.UID]*made{}
	}
	p.made[pod.UID] = a.readTemplate(s.System, &data.Spec.Template)
	return p.made[pod.UID], nil
}

// claim says on the StatefulSet whose it is, and sets its update strategy where that was allowed. It returns why it cannot be adopted.
func (p *Platform) claim(ctx context.Context, c *v1alpha1.Cluster, a *adopted) (string, error) {
	if o := metav1.GetControllerOf(a); o != nil && o.Kind == v1alpha1.KindCluster && strings.HasPrefix(o.APIVersion, v1alpha1.GroupVersion.Group+"/") {
		return fmt.Sprintf("%s was made by Cluster %s: name another one", a.own.Object(), o.Name), nil
	}
	other, err := p.claimant(ctx, c, a)
	if err != nil || other != "" {
		return other, err
	}
	before := a.DeepCopy()
	a.Labels = merged(a.Labels, map[string]string{clusterLabel: c.Name, componentLabel: a.component.Name()})
	a.Annotations = merged(a.Annotations, map[string]string{adoptedByAnnotation: string(c.UID)})
	if a.own.Allows(v1alpha1.SwitchToOnDelete) {
		a.Spec.UpdateStrategy = appsv1.StatefulSetUpdateStrategy{Type: appsv1.OnDeleteStatefulSetStrategyType}
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if text, err := client.MergeFrom(before).Data(a.StatefulSet); err != nil || string(text) == "{}" {
		return "", err
	}
	if err := p.API.Patch(ctx, a.StatefulSet, patch, fieldManager); err != nil {
		return "", fmt.Errorf("adopt %s: %w", a.own.Object(), err)
	}
	return "", nil
}

// claimant is another Cluster that adopted the StatefulSet and still does.
func (p *Platform) claimant(ctx context.Context, c *v1alpha1.Cluster, a *adopted) (string, error) {
	uid := a.Annotations[adoptedByAnnotation]
	if uid == "" || uid == string(c.UID) {
		return "", nil
	}
	other := &v1alpha1.Cluster{}
	err := p.Live.Get(ctx, types.NamespacedName{Namespace: a.Namespace, Name: a.Labels[clusterLabel]}, other)
	if apierrors.IsNotFound(err) || err == nil && string(other.UID) != uid {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s is adopted by Cluster %s: one workload belongs to one Cluster; delete that one, or name another StatefulSet", a.own.Object(), other.Name), nil
}

// unfit says what a person has to do to the StatefulSet before Theseus does anything.
func (p *Platform) unfit(s runner.Scene, a *adopted, live *made) string {
	name := "StatefulSet " + a.Name
	switch {
	case !stateful(a.component):
		return "members of " + a.component.Name() + " are pods of a Deployment: " + name + " cannot be adopted for it"
	case a.container == "":
		return fmt.Sprintf("%s has no container %s: set adopt.container to the one that is the member", name, cmp.Or(a.own.Container, a.component.Name()))
	case a.Spec.Ordinals != nil && a.Spec.Ordinals.Start != 0:
		return fmt.Sprintf("%s begins to count its pods at %d, and only those that begin at 0 can be adopted", name, a.Spec.Ordinals.Start)
	case *a.Spec.Replicas == 0 && s.Cluster.Status.Moving(a.component.Name()) == nil:
		return name + " has no replicas: scale it up"
	case a.Spec.UpdateStrategy.Type != appsv1.OnDeleteStatefulSetStrategyType:
		return fmt.Sprintf("the update strategy of %s is %s, with which Kubernetes replaces its pods without asking: kubectl -n %s patch statefulset %s --type=merge "+
			`-p '{"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}}', or let Theseus do it: add SwitchToOnDelete to spec.components.%s.adopt.allow`,
			name, a.Spec.UpdateStrategy.Type, a.Namespace, a.Name, a.component.Name())
	case a.own.Mode == v1alpha1.AdoptOrder && live.version == "":
		return fmt.Sprintf("the template of %s does not say its version: neither the tag of image %s nor the label %s is a version of %s; annotate the template with %s",
			name, live.image, appVersionLabel, s.System.Name(), versionAnnotation)
	case a.own.Mode == v1alpha1.AdoptVersion && s.Cluster.Status.Going() == nil:
		return a.otherImage(s, live)
	}
	if was := p.conflict[a.component.Name()]; was.version == a.ResourceVersion && !a.own.Allows(v1alpha1.TakeImage) {
		return was.why
	}
	return ""
}

// otherImage says that the spec names another image than the one that runs: adopting replaces nobody.
func (a *adopted) otherImage(s runner.Scene, live *made) string {
	spec := &s.Cluster.Spec
	image, err := s.System.ImageOf(a.component.Name(), spec, spec.Version)
	if err != nil {
		return err.Error()
	}
	if image == live.image {
		return ""
	}
	remedy := "set spec.version to what runs"
	if like := strings.Replace(live.image, spec.Version, "${version}", 1); like != live.image && !strings.Contains(like, "@") {
		remedy = fmt.Sprintf("set spec.components.%s.image to %q", a.component.Name(), like)
	} else if live.version != "" && live.version != spec.Version {
		remedy = "set spec.version to " + live.version + ", and upgrade when it is adopted"
	}
	return fmt.Sprintf("container %s of %s runs %s, and the image of version %s is %q: adopting replaces no member; %s", a.container, a.own.Object(), live.image, spec.Version, image, remedy)
}

// conflict is why an apply was refused, and for which resource version of the StatefulSet: another one is tried again.
type conflict struct{ version, why string }

// image is what the container of the member is to run.
func (b *blueprint) image() (string, error) {
	image, err := b.system.ImageOf(b.component.Name(), b.spec, b.version)
	if err != nil {
		err = fmt.Errorf("spec.components.%s.image: %w", b.component.Name(), err)
	}
	return image, err
}

// adoptedTemplate is the live template, in mode Version with the image and the restarts of the blueprint.
func (b *blueprint) adoptedTemplate() (corev1.PodTemplateSpec, error) {
	t := *b.adopted.Spec.Template.DeepCopy()
	if b.adopted.own.Mode == v1alpha1.AdoptOrder {
		return t, nil
	}
	image, err := b.image()
	if err != nil {
		return t, err
	}
	for i := range t.Spec.Containers {
		if t.Spec.Containers[i].Name == b.adopted.container {
			t.Spec.Containers[i].Image = image
		}
	}
	return t, nil
}

// configureAdopted applies the image, and nothing else, to the StatefulSet as it was read. What another field manager wrote is only taken where
// that was allowed.
func (p *Platform) configureAdopted(ctx context.Context, b *blueprint) error {
	a := b.adopted
	if a.own.Mode == v1alpha1.AdoptOrder {
		return fmt.Errorf("%s is not written in mode Order", a.own.Object())
	}
	if a.Spec.UpdateStrategy.Type != appsv1.OnDeleteStatefulSetStrategyType { // since the look: Kubernetes would replace all members by itself
		return fmt.Errorf("the update strategy of %s is %s, and not OnDelete any more", a.own.Object(), a.Spec.UpdateStrategy.Type)
	}
	image, err := b.image()
	if err != nil {
		return err
	}
	t := applycore.PodTemplateSpec().WithSpec(applycore.PodSpec().WithContainers(applycore.Container().WithName(a.container).WithImage(image)))
	if b.restart > 0 {
		t.WithAnnotations(map[string]string{restartAnnotation: strconv.FormatInt(b.restart, 10)})
	}
	want := applyapps.StatefulSet(a.Name, a.Namespace).WithResourceVersion(a.ResourceVersion).WithSpec(applyapps.StatefulSetSpec().WithTemplate(t))
	options := []client.ApplyOption{fieldManager}
	if b.cluster.Spec.Components[b.component.Name()].Adopt.Allows(v1alpha1.TakeImage) {
		options = append(options, client.ForceOwnership)
	}
	if err := p.unsurpassed(ctx, b.cluster); err != nil { // the StatefulSet was read before
		return err
	}
	err = p.API.Apply(ctx, want, options...)
	if conflicts := FieldConflicts(err); len(conflicts) > 0 && !slices.ContainsFunc(conflicts, func(c string) bool { return !strings.Contains(c, `"`+moverManager+`"`) }) {
		err = p.API.Apply(ctx, want, append(options, client.ForceOwnership)...) // it was written when the StatefulSet was made, by us
	}
	if conflicts := FieldConflicts(err); len(conflicts) > 0 {
		owners := strings.Join(conflicts, ", ")
		why := fmt.Sprintf("the image of container %s of %s is also written by another field manager (%s): leave it out of what that applies, or let Theseus take it: "+
			"add TakeImage to spec.components.%s.adopt.allow", a.container, a.own.Object(), owners, b.component.Name())
		if p.conflict == nil {
			p.conflict = map[string]conflict{}
		}
		p.conflict[b.component.Name()] = conflict{a.ResourceVersion, why}
		return errors.New(why)
	}
	if err != nil {
		return fmt.Errorf("apply the image %s to %s: %w", image, a.own.Object(), err)
	}
	return nil
}
