package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/system"
)

// Library finds Systems: as objects of the cluster first, then those that are shipped. What a Cluster was rolled with is kept in a ConfigMap
// in its namespace, which goes with the last Cluster that refers to it.
type Library struct {
	API  client.Client
	Live client.Reader
	// Shipped finds a System that is built in.
	Shipped func(name string) (*system.System, error)
	// Cluster for which Systems are kept.
	Cluster types.NamespacedName
}

var _ runner.Library = (*Library)(nil)

const (
	systemKey       = "system.yaml"
	systemHashLabel = "theseus.dev/system"
)

// compiled keeps Systems by where they were found and by hash: compiling one costs milliseconds and a megabyte, and every pass of every Cluster asks.
var compiled sync.Map

func found(where string) *system.System {
	if s, ok := compiled.Load(where); ok {
		return s.(*system.System)
	}
	return nil
}

// keepFound keeps one of each content, whoever compiled it first.
func keepFound(where string, s *system.System) *system.System {
	first, _ := compiled.LoadOrStore(s.Hash(), s)
	compiled.Store(where, first)
	return first.(*system.System)
}

// Known is part of runner.Library.
func (l *Library) Known(ctx context.Context, name string) (*system.System, error) {
	object := &v1alpha1.System{}
	err := l.Live.Get(ctx, types.NamespacedName{Name: name}, object)
	if apierrors.IsNotFound(err) {
		return l.shipped(name)
	}
	if err != nil {
		return nil, err
	}
	where := string(object.UID) + "/" + object.ResourceVersion
	if s := found(where); s != nil {
		return s, nil
	}
	s, err := system.Compile(BareSystem(object))
	if err != nil {
		return nil, &runner.UnusableError{Name: name, Err: err}
	}
	return keepFound(where, s), nil
}

func (l *Library) shipped(name string) (*system.System, error) {
	where := "shipped/" + name
	if s := found(where); s != nil {
		return s, nil
	}
	s, err := l.Shipped(name)
	if err != nil {
		return nil, &runner.UnusableError{Name: name, Err: err}
	}
	return keepFound(where, s), nil
}

// see is See with the System of the Cluster, or that of its members where a person has to mend it first.
func (l *Library) see(ctx context.Context, c *v1alpha1.Cluster) error {
	sys, err := l.Known(ctx, c.Spec.System)
	if errors.As(err, new(*runner.UnusableError)) {
		kept := runner.References(&c.Status)
		if len(kept) == 0 {
			return nil
		}
		sys, err = l.Pinned(ctx, kept[0])
	}
	if err != nil {
		return err
	}
	return See(ctx, l.Live, sys, c)
}

// BareSystem leaves out what the API server added, so that the same content has the same hash everywhere.
func BareSystem(s *v1alpha1.System) *v1alpha1.System {
	return &v1alpha1.System{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.KindSystem},
		ObjectMeta: metav1.ObjectMeta{Name: s.Name},
		SystemSpec: *s.SystemSpec.DeepCopy(),
	}
}

func systemObjectName(hash string) string { return "theseus-system-" + hash[:min(16, len(hash))] }

// Keep is part of runner.Library. What is kept already is not written again.
func (l *Library) Keep(ctx context.Context, s *system.System) error {
	owner, err := l.owner(ctx)
	if err != nil {
		return err
	}
	have := &corev1.ConfigMap{}
	err = l.Live.Get(ctx, types.NamespacedName{Namespace: l.Cluster.Namespace, Name: systemObjectName(s.Hash())}, have)
	switch {
	case err == nil:
		return l.own(ctx, have, owner)
	case !apierrors.IsNotFound(err):
		return err
	}
	text, err := yaml.Marshal(s.Source())
	if err != nil {
		return fmt.Errorf("keep System %s: %w", s.Name(), err)
	}
	immutable := true
	err = l.API.Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: l.Cluster.Namespace, Name: systemObjectName(s.Hash()),
			Labels:          map[string]string{managedByLabel: managerName, systemHashLabel: s.Hash()[:min(63, len(s.Hash()))]},
			OwnerReferences: []metav1.OwnerReference{owner},
		},
		Data: map[string]string{systemKey: string(text)}, Immutable: &immutable,
	})
	if apierrors.IsAlreadyExists(err) { // by another Cluster, just now
		return l.Keep(ctx, s)
	}
	return err
}

func (l *Library) owner(ctx context.Context) (metav1.OwnerReference, error) {
	c := &v1alpha1.Cluster{}
	if err := l.Live.Get(ctx, l.Cluster, c); err != nil {
		return metav1.OwnerReference{}, err
	}
	return ownerOf(c), nil
}

// own adds this Cluster to those that refer to a kept System.
func (l *Library) own(ctx context.Context, have *corev1.ConfigMap, owner metav1.OwnerReference) error {
	if slices.ContainsFunc(have.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == owner.UID }) {
		return nil
	}
	next := have.DeepCopy()
	next.OwnerReferences = append(next.OwnerReferences, owner)
	return l.API.Patch(ctx, next, client.MergeFromWithOptions(have, client.MergeFromWithOptimisticLock{}))
}

// Pinned is part of runner.Library. What does not have the hash any more is refused: whoever can write ConfigMaps must not say what members run.
func (l *Library) Pinned(ctx context.Context, hash string) (*system.System, error) {
	if s := found(hash); s != nil {
		return s, nil
	}
	m := &corev1.ConfigMap{}
	key := types.NamespacedName{Namespace: l.Cluster.Namespace, Name: systemObjectName(hash)}
	if err := l.Live.Get(ctx, key, m); err != nil {
		return nil, fmt.Errorf("the System %s was not kept: %w", hash, err)
	}
	s, err := CompileKept(m.Data[systemKey], hash)
	if err != nil {
		return nil, fmt.Errorf("ConfigMap %s: %w", key, err)
	}
	return keepFound(hash, s), nil
}

// CompileKept compiles the text of a System that was kept, and refuses one that has another hash.
func CompileKept(text, hash string) (*system.System, error) {
	object := &v1alpha1.System{}
	if err := yaml.UnmarshalStrict([]byte(text), object); err != nil {
		return nil, err
	}
	s, err := system.CompileKept(object)
	if err != nil {
		return nil, err
	}
	if !strings.EqualFold(s.Hash(), hash) {
		return nil, fmt.Errorf("its content has the hash %s, not %s: it was changed since it was kept", s.Hash(), hash)
	}
	return s, nil
}
