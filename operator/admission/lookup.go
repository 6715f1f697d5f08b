package admission

import (
	"context"
	"errors"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// Library finds Systems for one Cluster; runner.Library is one.
type Library interface {
	// Known is the System as it is known now under a name. Errors of package system say that there is none that can be used, and one that it
	// was not found that there is none; any other error means that nobody knows.
	Known(ctx context.Context, name string) (*system.System, error)
	// Pinned is the System with this hash.
	Pinned(ctx context.Context, hash string) (*system.System, error)
	// Wrote is the latest version that may have written to volumes which are there for the Cluster before it is created, empty where there are none.
	Wrote(ctx context.Context, sys *system.System) (string, error)
}

// lookup finds facts. It never takes a failed look-up for an answer.
type lookup struct {
	library func(cluster types.NamespacedName) Library
	live    client.Reader // what a single object is read with, secrets among them: nothing of them is kept
	cached  client.Reader // what lists are read with
}

func (l *lookup) cluster(ctx context.Context, old, new *v1alpha1.Cluster) *ClusterFacts {
	f := &ClusterFacts{}
	if !NeedsFacts(old, new) {
		return f
	}
	key := client.ObjectKeyFromObject(new)
	library := l.library(key)
	f.System = l.system(ctx, library, new.Spec.System)
	if old != nil {
		f.Pinned = map[string]*system.System{}
		for _, hash := range references(&old.Status) {
			s, err := library.Pinned(ctx, hash)
			if err != nil {
				f.PinnedErr = err
				continue
			}
			f.Pinned[hash] = s
		}
	} else {
		f.Others, f.OthersErr = l.others(ctx, new)
		if f.System.Value != nil {
			f.Wrote, f.WroteErr = library.Wrote(ctx, f.System.Value)
		}
	}
	if old == nil || old.Spec.Version != new.Spec.Version {
		f.Adopted = l.adopted(ctx, new)
	}
	f.Place = l.place(ctx, new.Namespace, new.Spec.Backup)
	f.Secrets = map[types.NamespacedName]Known[Secret]{}
	for _, u := range askingWith(&new.Spec) {
		if at := u.at(new.Namespace); f.Secrets[at] == (Known[Secret]{}) {
			f.Secrets[at] = l.secret(ctx, at)
		}
	}
	return f
}

func (l *lookup) system(ctx context.Context, library Library, name string) SystemFacts {
	f := SystemFacts{}
	if name == "" {
		return f
	}
	s, err := library.Known(ctx, name)
	switch {
	case err == nil:
		f.Value = s
	case apierrors.IsNotFound(err):
	case errors.As(err, new(system.Errors)):
		f.Broken = err
	default: // a connection fails in more ways than could be listed
		f.Err = err
	}
	return f
}

// others are the Clusters whose names may collide, with the components that their Systems have now.
func (l *lookup) others(ctx context.Context, self *v1alpha1.Cluster) ([]Other, error) {
	list := &v1alpha1.ClusterList{}
	if err := l.cached.List(ctx, list, client.InNamespace(self.Namespace)); err != nil {
		return nil, err
	}
	var others []Other
	for i := range list.Items {
		c := &list.Items[i]
		if !mayCollide(self.Name, c.Name) && !self.Spec.Adopts() && !c.Spec.Adopts() {
			continue
		}
		f := l.system(ctx, l.library(client.ObjectKeyFromObject(c)), c.Spec.System)
		if f.Err != nil {
			return nil, f.Err
		}
		if f.Value == nil {
			continue // it has no members that anybody could name
		}
		o := Other{Name: c.Name}
		for _, component := range f.Value.Components() {
			if a := c.Spec.Components[component.Name()].Adopt; a != nil {
				o.Adopts = append(o.Adopts, a.StatefulSet)
				o.Adopts = append(o.Adopts, movedTo(&c.Status, component.Name())...)
			} else {
				o.Components = append(o.Components, component.Name())
			}
		}
		others = append(others, o)
	}
	return others, nil
}

func (l *lookup) place(ctx context.Context, namespace string, place *v1alpha1.BackupPlace) PlaceFacts {
	f := PlaceFacts{}
	if place == nil {
		return f
	}
	if ref := place.Secret; ref != nil && ref.Name != "" {
		f.Secret = l.secret(ctx, types.NamespacedName{Namespace: ref.In(namespace), Name: ref.Name})
	}
	if place.Claim != "" {
		claim := get[corev1.PersistentVolumeClaim](ctx, l.live, namespace, place.Claim)
		f.Claim.Err = claim.Err
		if claim.Value != nil {
			f.Claim.Value = &struct{}{}
		}
	}
	return f
}

func (l *lookup) secret(ctx context.Context, at types.NamespacedName) Known[Secret] {
	found := get[corev1.Secret](ctx, l.live, at.Namespace, at.Name)
	if found.Value == nil {
		return Known[Secret]{Err: found.Err}
	}
	return Known[Secret]{Value: &Secret{Keys: slices.Sorted(maps.Keys(found.Value.Data)), GrantedTo: found.Value.Annotations[v1alpha1.GrantAnnotation]}}
}

func (l *lookup) backup(ctx context.Context, b *v1alpha1.Backup) *BackupFacts {
	f := &BackupFacts{Cluster: get[v1alpha1.Cluster](ctx, l.live, b.Namespace, b.Spec.Cluster)}
	c := f.Cluster.Value
	f.Place = l.place(ctx, b.Namespace, placeOf(b, c))
	if c != nil {
		f.System = l.system(ctx, l.library(client.ObjectKeyFromObject(c)), c.Spec.System)
	}
	return f
}

func (l *lookup) restore(ctx context.Context, r *v1alpha1.Restore) *RestoreFacts {
	f := &RestoreFacts{Cluster: get[v1alpha1.Cluster](ctx, l.live, r.Namespace, r.Spec.Cluster)}
	if r.Spec.From != nil {
		f.Place = l.place(ctx, r.Namespace, &r.Spec.From.Place)
	} else {
		f.Backup = get[v1alpha1.Backup](ctx, l.live, r.Namespace, r.Spec.Backup)
	}
	if b := f.Backup.Value; b != nil && b.Status.System != nil {
		f.System = l.system(ctx, l.library(types.NamespacedName{Namespace: r.Namespace, Name: b.Spec.Cluster}), b.Status.System.Name)
	}
	list := &v1alpha1.RestoreList{}
	if err := l.cached.List(ctx, list, client.InNamespace(r.Namespace)); err != nil {
		f.Others.Err = err
	} else {
		f.Others.Value = &list.Items
	}
	return f
}

// get reads one object. That there is none is an answer; everything else that is no object is not.
func get[T any, P interface {
	*T
	client.Object
}](ctx context.Context, reader client.Reader, namespace, name string) Known[T] {
	object := P(new(T))
	err := reader.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, object)
	switch {
	case err == nil:
		return Known[T]{Value: (*T)(object)}
	case apierrors.IsNotFound(err):
		return Known[T]{}
	}
	return Known[T]{Err: err}
}

// movedTo are the StatefulSets that members of an adopted component moved to, or do so now.
func movedTo(st *v1alpha1.ClusterStatus, component string) (names []string) {
	if begun := st.Begun(); begun != nil && begun.Components[component].Adopt != nil {
		names = append(names, begun.Components[component].Adopt.Workload())
	}
	if m := st.Moving(component); m != nil {
		names = append(names, m.To)
	}
	return names
}
