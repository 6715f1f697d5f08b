package operator

import (
	"context"
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// What somebody else deletes or edits of what was made for a component wakes its Cluster, is seen by the look, and is put right by a Configure of the core. The
// watch holds no more of Services and budgets than their metadata. They are read live once, and again only where that metadata, or what is wanted, is another one.

// right is an object that was found to be as wanted.
type right struct {
	want client.Object
	mark string // of what is watched
}

// gone and strayed say what became of an object.
func gone(o client.Object) string    { return kindOf(o) + " " + o.GetName() + " is gone" }
func strayed(o client.Object) string { return kindOf(o) + " " + o.GetName() + " is not as wanted" }

// changeOf a workload that is there: it is another generation than the operator made. Somebody else's is nobody's to put right, and what is being deleted comes anew.
func changeOf(c *v1alpha1.Cluster, w client.Object) upgrade.Change {
	owner := metav1.GetControllerOf(w)
	made, err := generationOf(w)
	if owner == nil || owner.UID != c.UID || w.GetDeletionTimestamp() != nil || err != nil || w.GetAnnotations()[appliedAnnotation] == made {
		return upgrade.Change{}
	}
	return upgrade.Change{What: strayed(w), Revision: w.GetAnnotations()[revisionAnnotation]}
}

// changedBeside says what is not as wanted beside a workload that is: Services, the budget.
func (p *Platform) changedBeside(ctx context.Context, s runner.Scene, c *system.Component, revision string) (upgrade.Change, error) {
	pinned := upgrade.PinnedOf(&s.Cluster.Status, s.Systems, v1alpha1.Intent{Component: c.Name(), Revision: revision})
	if pinned == nil {
		return upgrade.Change{}, nil // made from what nobody knows any more
	}
	sys := s.Systems[pinned.System.Hash]
	b := &blueprint{cluster: s.Cluster, system: sys, component: sys.Component(c.Name()), spec: &pinned.Spec}
	what := ""
	for _, want := range b.beside() {
		one, err := p.astray(ctx, want)
		if err != nil {
			return upgrade.Change{}, fmt.Errorf("look at %s %s: %w", kindOf(want), want.GetName(), err)
		}
		if what != "" && one != "" {
			what += ", "
		}
		what += one
	}
	return upgrade.Change{What: what, Revision: revision}, nil
}

func (p *Platform) astray(ctx context.Context, want client.Object) (string, error) {
	mark, err := p.markOf(ctx, want)
	if err != nil {
		return "", err
	}
	name := kindOf(want) + " " + want.GetName()
	if r, known := p.right[name]; known && mark != "" && r.mark == mark && equality.Semantic.DeepEqual(r.want, want) {
		return "", nil
	}
	have := want.DeepCopyObject().(client.Object)
	err = p.Live.Get(ctx, client.ObjectKeyFromObject(want), have)
	switch {
	case apierrors.IsNotFound(err):
		return gone(want), nil
	case err != nil:
		return "", err
	case ours(have, want) == nil && have.GetDeletionTimestamp() == nil && !derived(want, have):
		return strayed(want), nil
	}
	if p.right == nil {
		p.right = map[string]right{}
	}
	p.right[name] = right{want, mark} // read before the object, so that it is never newer
	return "", nil
}

// markOf is another one after each edit of an object, as far as the watch has seen; empty where it has seen none.
func (p *Platform) markOf(ctx context.Context, o client.Object) (string, error) {
	kind, err := p.API.GroupVersionKindFor(o)
	if err != nil {
		return "", err
	}
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(kind)
	if err := p.API.Get(ctx, client.ObjectKeyFromObject(o), m); err != nil {
		return "", client.IgnoreNotFound(err)
	}
	if m.Generation > 0 { // the status of a budget changes all the time
		return string(m.UID) + "/" + strconv.FormatInt(m.Generation, 10), nil
	}
	return string(m.UID) + "/" + m.ResourceVersion, nil
}

// unsurpassed fails where somebody else decided something since the Cluster was loaded that is acted on: an operator that stalled between deciding and acting is
// not to write over what another one has written. It is asked after what is to be written was read, and before a write that is conditional on that: who decided
// later wrote either before it was read, and is seen here, or makes that write fail, or writes after it.
func (p *Platform) unsurpassed(ctx context.Context, c *v1alpha1.Cluster) error {
	now := &v1alpha1.Cluster{}
	if err := p.Live.Get(ctx, p.Key, now); err != nil {
		return err
	}
	switch {
	case now.UID != c.UID || now.DeletionTimestamp != nil:
		return fmt.Errorf("the Cluster %s is deleted, and nothing is made for it any more: %w", c.Name, runner.ErrConflict)
	case now.Status.Acts != c.Status.Acts:
		return fmt.Errorf("act %d was decided on, and act %d by somebody else since: %w", c.Status.Acts, now.Status.Acts, runner.ErrConflict)
	}
	return nil
}
