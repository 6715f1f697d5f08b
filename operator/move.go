package operator

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// The members of an adopted StatefulSet move to one with another name where an edge says so. The new one is made from the old one's template. Its
// pods have the same labels, so that the same Services and budgets select them, and one more, by which it selects them alone. The old one's selector,
// which nobody can change, selects them too; of pods that have an owner a StatefulSet touches only its own.

const (
	// workloadLabel of a pod is the StatefulSet that its members moved to.
	workloadLabel = "theseus.dev/workload"
	// madeLikeAnnotation of a template that was made from another one is SUM=LIKE: as long as its own sum is SUM nobody has edited it, and it counts
	// as the one with the sum LIKE. So the core, which plans with what it has seen, knows the revision of a template before it is made.
	madeLikeAnnotation = "theseus.dev/made-like"
	// moverManager is the field manager of the StatefulSets that are made for members to move to. It is not that of what is applied later: an apply
	// takes away what its manager wrote before and does not say again.
	moverManager = "theseus-move"
)

// movingComponent adds the members of both StatefulSets of a component whose members move, and what stands against it.
func (p *Platform) movingComponent(ctx context.Context, s runner.Scene, c *system.Component, pods *corev1.PodList, look *upgrade.Look, hosts map[string]string) error {
	m := s.Cluster.Status.Moving(c.Name())
	for _, name := range []string{m.From, m.To} {
		a, err := readSet(ctx, p.Live, s.Cluster, c, name)
		if err != nil {
			return err
		}
		if a == nil {
			continue
		}
		why := p.notOurs(s.Cluster, a)
		if name == m.From {
			if why, err = p.claim(ctx, s.Cluster, a); err != nil {
				return err
			}
		}
		if look.Workloads == nil {
			look.Workloads = map[string][]upgrade.Workload{}
		}
		live := a.readTemplate(s.System, &a.Spec.Template)
		w := upgrade.Workload{Name: name, Incarnation: incarnationOf(a.StatefulSet), Members: int(*a.Spec.Replicas)}
		if a.Status.ObservedGeneration >= a.Generation {
			w.Revision = live.revision(a.own.Mode)
			look.Configured[c.Name()] = w.Revision
		}
		if why == "" {
			why = p.unfit(s, a, live)
		}
		if why != "" {
			look.Blocked[c.Name()] = why
		}
		look.Workloads[c.Name()] = append(look.Workloads[c.Name()], w)
		if err := p.adoptedMembers(ctx, s, a, pods, look, hosts); err != nil {
			return err
		}
	}
	if len(look.Workloads[c.Name()]) == 0 {
		look.Blocked[c.Name()] = fmt.Sprintf("neither StatefulSet %s nor %s is in namespace %s any more: restore a backup into a new Cluster", m.From, m.To, p.Key.Namespace)
	}
	return nil
}

// incarnationOf changes with everything that anybody wants of a StatefulSet, and not with what its controller reports.
func incarnationOf(set *appsv1.StatefulSet) string {
	return string(set.UID) + "/" + strconv.FormatInt(set.Generation, 10)
}

// notOurs says why a StatefulSet is not one that this Cluster made for its members to move to.
func (p *Platform) notOurs(c *v1alpha1.Cluster, a *adopted) string {
	if a.Annotations[adoptedByAnnotation] == string(c.UID) && a.Labels[componentLabel] == a.component.Name() {
		return ""
	}
	return fmt.Sprintf("members of %s are to move to StatefulSet %s, which somebody else made: delete it, or set spec.version back", a.component.Name(), a.Name)
}

// makeMoved makes the StatefulSet that members move to, without any. One that is there and was made for them gets the template as it should be.
func (p *Platform) makeMoved(ctx context.Context, b *blueprint) error {
	m := b.cluster.Status.Moving(b.component.Name())
	if m == nil || b.adopted == nil || b.adopted.Name != m.From {
		return fmt.Errorf("make the StatefulSet that members of %s move to: the one that they leave is not there", b.component.Name())
	}
	want, err := b.movedSet(m)
	if err != nil {
		return err
	}
	have, err := readSet(ctx, p.Live, b.cluster, b.component, m.To)
	if err != nil {
		return err
	}
	if err := p.unsurpassed(ctx, b.cluster); err != nil {
		return err
	}
	if have == nil {
		if err := p.API.Create(ctx, want, client.FieldOwner(moverManager)); err != nil {
			return fmt.Errorf("make StatefulSet %s: %w", m.To, err)
		}
		return nil
	}
	if why := p.notOurs(b.cluster, have); why != "" {
		return fmt.Errorf("make StatefulSet %s: %s", m.To, why)
	}
	before := have.DeepCopy()
	have.Spec.Template, have.Spec.UpdateStrategy = want.Spec.Template, want.Spec.UpdateStrategy
	if equality.Semantic.DeepEqual(before.Spec, have.Spec) {
		return nil
	}
	if err := p.API.Patch(ctx, have.StatefulSet, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), client.FieldOwner(moverManager)); err != nil {
		return fmt.Errorf("give StatefulSet %s its template: %w", m.To, err)
	}
	return nil
}

// movedSet is the old StatefulSet under another name, with the image and some variables of the new version. What tools wrote on the old one to find
// it again is not taken over: it is not theirs. Neither is an owner, with which it would go.
func (b *blueprint) movedSet(m *v1alpha1.HopMove) (*appsv1.StatefulSet, error) {
	old := b.adopted
	t, err := b.movedTemplate(m)
	if err != nil {
		return nil, err
	}
	none := int32(0)
	set := &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: old.Namespace, Name: m.To,
			Labels:      map[string]string{clusterLabel: b.cluster.Name, componentLabel: b.component.Name()},
			Annotations: map[string]string{adoptedByAnnotation: string(b.cluster.UID)}},
		Spec: *old.Spec.DeepCopy(),
	}
	set.Spec.Replicas, set.Spec.Template = &none, t
	set.Spec.Selector.MatchLabels = merged(set.Spec.Selector.MatchLabels, map[string]string{workloadLabel: m.To})
	set.Spec.UpdateStrategy = appsv1.StatefulSetUpdateStrategy{Type: appsv1.OnDeleteStatefulSetStrategyType}
	for i := range set.Spec.VolumeClaimTemplates {
		set.Spec.VolumeClaimTemplates[i].Status = corev1.PersistentVolumeClaimStatus{}
	}
	return set, nil
}

func (b *blueprint) movedTemplate(m *v1alpha1.HopMove) (corev1.PodTemplateSpec, error) {
	t, err := b.adoptedTemplate()
	if err != nil {
		return t, err
	}
	t.Labels = merged(t.Labels, map[string]string{workloadLabel: m.To})
	if b.restart > 0 {
		t.Annotations = merged(t.Annotations, map[string]string{restartAnnotation: strconv.FormatInt(b.restart, 10)})
	}
	for i := range t.Spec.Containers {
		if c := &t.Spec.Containers[i]; c.Name == b.adopted.container {
			if err := b.movedEnv(m, c); err != nil {
				return t, err
			}
		}
	}
	sum := b.adopted.readTemplate(b.system, &t).sum
	t.Annotations = merged(t.Annotations, map[string]string{madeLikeAnnotation: sum + "=" + b.own().Adopt.Template})
	return t, nil
}

// movedEnv sets the variables that the edge names as the System says them. The member's own name is filled in by Kubernetes.
func (b *blueprint) movedEnv(m *v1alpha1.HopMove, c *corev1.Container) error {
	if len(m.Env) == 0 {
		return nil
	}
	view := b.adopted.view(0, nil)
	view.Host = strings.Replace(view.Host, view.Name, symbol, 1)
	view.Name, view.Version = symbol, b.version
	env, err := b.system.Env(b.component.Name(), m.Env, &system.Scope{Cluster: b.cluster.Name, Version: b.version, Options: b.system.Options(b.spec), M: &view})
	if err != nil {
		return fmt.Errorf("components.%s.env of StatefulSet %s: %w", b.component.Name(), m.To, err)
	}
	put(c, fromField(memberVariable, "metadata.name"))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		put(c, corev1.EnvVar{Name: name, Value: literal(env[name])})
	}
	return nil
}

func put(c *corev1.Container, v corev1.EnvVar) {
	if i := slices.IndexFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == v.Name }); i >= 0 {
		c.Env[i] = v
		return
	}
	c.Env = append(c.Env, v)
}

// scale gives a StatefulSet the number of members that it is to have after, if nothing was wanted of it since it was looked at. The write is
// conditional on what is read here, so that it comes in time or not at all.
func (p *Platform) scale(ctx context.Context, s runner.Scene, i v1alpha1.Intent) error {
	set, err := p.left(ctx, s, i)
	if err != nil || set == nil || *set.Spec.Replicas != i.Before {
		return err
	}
	if less := i.Before - i.After; less > 0 {
		if why := p.forbidden(ctx, set, less); why != "" {
			return fmt.Errorf("take %d members off StatefulSet %s: %s", less, set.Name, why)
		}
		if p.asker != nil {
			p.asker.Close() // as with a stop
		}
	}
	before := set.DeepCopy()
	set.Spec.Replicas = &i.After
	if err := p.API.Patch(ctx, set, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), fieldManager); err != nil {
		return fmt.Errorf("give StatefulSet %s %d members: %w", set.Name, i.After, err)
	}
	return nil
}

// left is the StatefulSet that an act is meant for, nil if it is not what it was any more.
func (p *Platform) left(ctx context.Context, s runner.Scene, i v1alpha1.Intent) (*appsv1.StatefulSet, error) {
	set := &appsv1.StatefulSet{}
	err := p.Live.Get(ctx, types.NamespacedName{Namespace: p.Key.Namespace, Name: i.Workload}, set)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read StatefulSet %s: %w", i.Workload, err)
	}
	if set.Annotations[adoptedByAnnotation] != string(s.Cluster.UID) || incarnationOf(set) != i.Incarnation {
		return nil, nil
	}
	return set, nil
}

// forbidden names the budgets that want more members than would be left. Kubernetes itself asks none when a StatefulSet shrinks. A share, and a
// number that may be unavailable, are counted of the members that are wanted, which are fewer then; a number that must be available is not.
func (p *Platform) forbidden(ctx context.Context, set *appsv1.StatefulSet, less int32) string {
	names, err := p.budgets(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: set.Namespace, Labels: set.Spec.Template.Labels}}, func(b *policyv1.PodDisruptionBudget) bool {
		least := b.Spec.MinAvailable
		return least != nil && least.Type == intstr.Int && b.Status.CurrentHealthy-less < least.IntVal
	})
	switch {
	case err != nil:
		return err.Error() // what nobody knows permits nothing
	case len(names) == 0:
		return ""
	}
	return "PodDisruptionBudget " + strings.Join(names, ", ") + " does not allow that"
}

// remove deletes a StatefulSet that has no members and is to have none, where the System says so with the claims of those that were in it. The claims go
// first: who comes after a crash still finds the StatefulSet, and ends it.
func (p *Platform) remove(ctx context.Context, s runner.Scene, i v1alpha1.Intent) error {
	set, err := p.left(ctx, s, i)
	if err != nil || set == nil || *set.Spec.Replicas != 0 || set.Status.Replicas != 0 {
		return err
	}
	m, c := s.Cluster.Status.Moving(i.Component), s.System.Component(i.Component)
	if m == nil || c == nil {
		return nil
	}
	if m.Claims == v1alpha1.DeleteClaims {
		if err := p.deleteClaims(ctx, set, upgrade.Replicas(&s.Cluster.Status.Attempt.Target.Spec, c)); err != nil {
			return fmt.Errorf("remove StatefulSet %s: %w", set.Name, err)
		}
	}
	err = p.API.Delete(ctx, set, client.Preconditions{UID: &set.UID, ResourceVersion: &set.ResourceVersion}, client.PropagationPolicy(metav1.DeletePropagationBackground))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("remove StatefulSet %s: %w", set.Name, err)
	}
	return nil
}

// deleteClaims deletes the claims that a StatefulSet made for its members, which have the labels of its selector. One of the same name that somebody else
// made stays.
func (p *Platform) deleteClaims(ctx context.Context, set *appsv1.StatefulSet, members int) error {
	selector, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
	if err != nil {
		return err
	}
	for _, t := range set.Spec.VolumeClaimTemplates {
		for n := range members {
			claim := &corev1.PersistentVolumeClaim{}
			err := p.Live.Get(ctx, client.ObjectKey{Namespace: set.Namespace, Name: t.Name + "-" + set.Name + "-" + strconv.Itoa(n)}, claim)
			if apierrors.IsNotFound(err) || err == nil && !selector.Matches(labels.Set(claim.Labels)) {
				continue
			}
			if err == nil {
				err = p.API.Delete(ctx, claim, client.Preconditions{UID: &claim.UID})
			}
			if client.IgnoreNotFound(err) != nil {
				return err
			}
		}
	}
	return nil
}
