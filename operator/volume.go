package operator

import (
	"context"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
)

// A volume is made anew by deleting its claim: what is there under the claim's name then is another one. Before that a ConfigMap of the Cluster says which
// one is not wanted any more and what the next is called. From that write on it is certain; whoever comes after a crash ends it.

// renewal is what the ConfigMap says of one member's volume.
type renewal struct {
	// Name of every claim but one.
	Name string `json:"name"`
	// Not is the UID of the one that is to go, or is gone; its name was Was. Empty: there was none.
	Not types.UID `json:"not,omitempty"`
	Was string    `json:"was,omitempty"`
}

// nameOf a volume, "" if it was never renewed. While there is no claim it is still the one that was.
func (r renewal) nameOf(claim types.UID) string {
	if claim == "" || claim == r.Not {
		return r.Was
	}
	return r.Name
}

// volumes are those of all members, as one look shows them.
type volumes struct {
	claims   map[string]types.UID // by name of the claim
	renewals map[string]renewal   // by member
}

func (v volumes) name(member string) string {
	return v.renewals[member].nameOf(v.claims[claimName(member)])
}

func claimName(member string) string { return dataVolume + "-" + member }

func volumesName(cluster string) string { return cluster + "-theseus-volumes" }

func (p *Platform) volumesKey() types.NamespacedName {
	return types.NamespacedName{Namespace: p.Key.Namespace, Name: volumesName(p.Key.Name)}
}

// volumesOf are looked at where it matters: in a hop that makes those of a component anew, and as long as its pods are held at first.
func (p *Platform) volumesOf(ctx context.Context, c *v1alpha1.Cluster) (volumes, error) {
	v := volumes{claims: map[string]types.UID{}, renewals: map[string]renewal{}}
	claims, err := claimsOf(ctx, p.Live, p.Key)
	if err != nil {
		return v, err
	}
	for i := range claims {
		v.claims[claims[i].Name] = claims[i].UID
	}
	m := &corev1.ConfigMap{}
	if err := p.Live.Get(ctx, p.volumesKey(), m); err != nil {
		return v, client.IgnoreNotFound(err)
	}
	if !belongs(m, c) {
		return v, nil
	}
	for member, text := range m.Data {
		r := renewal{}
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			return v, fmt.Errorf("ConfigMap %s: what it says about %s: %w", m.Name, member, err)
		}
		v.renewals[member] = r
	}
	return v, nil
}

// renew makes the volume of a member anew that does not run: what was on it is gone. The same intent again does the next part of it, until the claim
// is another one: the claim is deleted, and then made, because the controller of the workload does not look for it while the pod is only held.
func (p *Platform) renew(ctx context.Context, s runner.Scene, i v1alpha1.Intent) error {
	fail := func(err error) error { return fmt.Errorf("renew the volume of %s: %w", i.Member, err) }
	pod := &corev1.Pod{}
	err := p.Live.Get(ctx, types.NamespacedName{Namespace: p.Key.Namespace, Name: i.Member}, pod)
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		return fail(err)
	case !held(pod):
		return nil
	}
	claim := &corev1.PersistentVolumeClaim{}
	err = p.Live.Get(ctx, types.NamespacedName{Namespace: p.Key.Namespace, Name: claimName(i.Member)}, claim)
	if client.IgnoreNotFound(err) != nil {
		return fail(err)
	}
	r, err := p.noteRenewal(ctx, s, i, claim.UID)
	switch {
	case err != nil:
		return fail(err)
	case r == nil:
		return nil // another one than was decided on
	case claim.UID == "":
		err = p.makeClaim(ctx, i)
	case claim.UID == r.Not && claim.DeletionTimestamp == nil:
		err = client.IgnoreNotFound(p.API.Delete(ctx, claim, client.Preconditions{UID: &claim.UID}))
	}
	if err != nil {
		return fail(err)
	}
	return nil
}

// noteRenewal makes the renewal certain. It returns nil where the volume is not the one that it is meant for.
func (p *Platform) noteRenewal(ctx context.Context, s runner.Scene, i v1alpha1.Intent, claim types.UID) (noted *renewal, err error) {
	err = p.changeMap(ctx, p.volumesKey(), s.Cluster, func(data map[string]string) bool {
		noted = nil
		r := renewal{}
		if text := data[i.Member]; text != "" && json.Unmarshal([]byte(text), &r) != nil {
			return false // the look says so
		}
		if r.Name == i.Name {
			noted = &r
			return false
		}
		if r.nameOf(claim) != i.Volume {
			return false
		}
		noted = &renewal{Name: i.Name, Not: claim, Was: i.Volume}
		data[i.Member] = encode(noted)
		return true
	})
	return noted, err
}

// makeClaim makes the claim of a member as its workload would.
func (p *Platform) makeClaim(ctx context.Context, i v1alpha1.Intent) error {
	w := &appsv1.StatefulSet{}
	if err := p.Live.Get(ctx, types.NamespacedName{Namespace: p.Key.Namespace, Name: workloadName(p.Key.Name, i.Component)}, w); err != nil {
		return err
	}
	for _, t := range w.Spec.VolumeClaimTemplates {
		if t.Name != dataVolume {
			continue
		}
		err := p.API.Create(ctx, &corev1.PersistentVolumeClaim{Spec: *t.Spec.DeepCopy(),
			ObjectMeta: metav1.ObjectMeta{Namespace: p.Key.Namespace, Name: claimName(i.Member), Labels: merged(t.Labels, w.Spec.Selector.MatchLabels),
				Annotations: merged(t.Annotations, map[string]string{wroteAnnotation: i.Version})}}) // who starts on it writes to it first
		if apierrors.IsAlreadyExists(err) { // the workload's controller made it
			return nil
		}
		return err
	}
	return fmt.Errorf("StatefulSet %s has no template of the claim %q", w.Name, dataVolume)
}

// checkVolumes refuses to begin a hop that makes volumes anew where members have none.
func checkVolumes(s runner.Scene, b *blueprint) error {
	if !renews(s, b.component.Name()) || b.keeps() && b.own().Storage != "" {
		return nil
	}
	return fmt.Errorf("spec.components.%s.storage: is missing, and the hop to %s makes volumes anew: without storage nobody could tell an old volume from a new one; "+
		"abort, and restore a backup into a new cluster with storage; nothing was changed", b.component.Name(), b.version)
}
