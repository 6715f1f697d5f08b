package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/operator"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/systems"
	"theseus.dev/upgrade"
)

// object is a Cluster in Kubernetes.
type object struct {
	*namespace
	key   client.ObjectKey
	state *operator.State
	read  *v1alpha1.Cluster // as last read
	used  bool              // read was handed out
}

func (o *object) name() string { return o.key.Name }

func (o *object) complete() error { return nil }

func (o *object) driver() string { return theOperator }

// get reads the Cluster from the API server.
func (o *object) get(ctx context.Context) (*v1alpha1.Cluster, error) {
	c, err := o.state.Read(ctx)
	if apierrors.IsNotFound(err) {
		return nil, &noClusterError{name: o.key.Name, where: o.where}
	}
	if err != nil {
		return nil, o.problem(err)
	}
	c.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(v1alpha1.KindCluster))
	return c, nil
}

// load hands out what open or a list has read, once, and reads after that.
func (o *object) load(ctx context.Context) (*v1alpha1.Cluster, error) {
	if o.read != nil && !o.used {
		o.used = true
		return o.read, nil
	}
	c, err := o.get(ctx)
	if err != nil {
		return nil, err
	}
	o.read, o.used = c, true
	return c, nil
}

// poll reads once more, after a moment. While the API server does not answer, it is asked again and again, and that is said once.
func (o *object) poll(ctx context.Context, after time.Duration) (*v1alpha1.Cluster, error) {
	t := time.NewTimer(after)
	defer t.Stop()
	for told := false; ; told = true {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-t.C:
			t.Reset(watchEvery)
		}
		c, err := o.get(ctx)
		if err == nil {
			return c, nil
		}
		if ctx.Err() != nil || !passing(err) {
			return nil, errors.Join(ctx.Err(), err)
		}
		if !told {
			o.talkf("%v; trying again", err)
		}
	}
}

func (o *object) next(ctx context.Context) (*v1alpha1.Cluster, error) {
	for {
		c, err := o.poll(ctx, watchEvery)
		if err != nil {
			return nil, err
		}
		if o.read == nil || c.ResourceVersion != o.read.ResourceVersion {
			o.read, o.used = c, true
			return c, nil
		}
	}
}

// see reads what the adopted StatefulSets say now. Who may not read them gets what the operator last saw; foresee says so.
func (o *object) see(ctx context.Context, sys *system.System, c *v1alpha1.Cluster) error {
	if !c.Spec.Adopts() {
		return nil
	}
	err := operator.See(ctx, o.api, sys, c)
	if apierrors.IsForbidden(err) {
		return nil
	}
	return o.problem(err)
}

func (o *object) look(context.Context, runner.Scene) (upgrade.Look, error) {
	return upgrade.Look{}, errOutside
}

func (o *object) ask(ctx context.Context, r v1alpha1.Request) error {
	return o.written(o.state.Ask(ctx, r))
}

// edit patches the spec, or applies the file that it comes from.
func (o *object) edit(ctx context.Context, p *proposal) error {
	defer o.repeatWarnings()
	if p.file != nil {
		return o.apply(ctx, p.file, p.force)
	}
	return o.patchSpec(ctx, p)
}

// patchSpec writes what the proposal changes and nothing else, if nobody edited the spec since it was read.
func (o *object) patchSpec(ctx context.Context, p *proposal, more ...client.PatchOption) error {
	seen := p.cluster
	for {
		c, err := o.get(ctx)
		if err != nil {
			return err
		}
		if c.Generation != seen.Generation {
			return inputNext("look what it wants now: "+o.command("plan", o.key.Name), "%s: its spec was edited meanwhile", o.key.Name)
		}
		next := c.DeepCopy()
		next.Spec = *p.spec.DeepCopy()
		options := append([]client.PatchOption{client.FieldOwner(fieldManager)}, more...)
		err = o.api.Patch(ctx, next, client.MergeFromWithOptions(c, client.MergeFromWithOptimisticLock{}), options...)
		if apierrors.IsConflict(err) {
			continue // the operator writes its status often
		}
		return o.written(err)
	}
}

// repeatWarnings says what the API server warned of.
func (n *namespace) repeatWarnings() {
	for _, w := range n.heard.take() {
		n.talkf("warning: %s", w)
	}
}

// patience is how long the operator may take before a command wonders where it is.
const patience = 10 * time.Second

// drive watches what the operator does, until nothing is left to do without a person.
func (o *object) drive(ctx context.Context, begin func() error, watch func(runner.Pass)) (*v1alpha1.Cluster, error, error) {
	if err := begin(); err != nil {
		return nil, nil, err
	}
	c, err := o.poll(ctx, 0)
	taken, told := time.Now(), false
	for err == nil {
		watch(runner.Pass{Cluster: c})
		if rests, refusal := o.rests(c); rests {
			o.read, o.used = c, true
			return c, refusal, nil
		}
		if o.takenUp(c) { // what comes later has its own time: another person may ask meanwhile
			taken = time.Now()
		}
		if !told && time.Since(taken) > patience {
			o.talkf("%s", o.notTakenUp())
			told = true
		}
		c, err = o.poll(ctx, watchEvery)
	}
	return nil, nil, err
}

// takenUp says that the operator has seen spec and requests as they are.
func (o *object) takenUp(c *v1alpha1.Cluster) bool {
	waiting := operator.Waiting(c)
	return c.Status.ObservedGeneration >= c.Generation && len(waiting) == 0
}

// rests says that the operator has taken everything up and does nothing more by itself, and whether it refuses the spec.
func (o *object) rests(c *v1alpha1.Cluster) (rests bool, refusal error) {
	going := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionReconciling)
	if !o.takenUp(c) || going == nil || going.Status != metav1.ConditionFalse {
		return false, nil
	}
	held := meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.ConditionRestoring) // by a Restore that failed
	if s := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionStalled); s != nil && s.Status == metav1.ConditionTrue && (held || s.Reason == v1alpha1.ReasonRefused) {
		return true, errors.New(s.Message)
	}
	return true, nil
}

// clusterLibrary finds Systems as the operator does, as far as one may read them.
type clusterLibrary struct {
	*operator.Library
	object *object
}

func (o *object) library() runner.Library {
	return &clusterLibrary{&operator.Library{API: o.api, Live: o.api, Shipped: shipped, Cluster: o.key}, o}
}

func (n *namespace) systemObject(ctx context.Context, name string) (*v1alpha1.System, error) {
	s := &v1alpha1.System{}
	return s, n.api.Get(ctx, client.ObjectKey{Name: name}, s)
}

// shipped is a System that is built in.
func shipped(name string) (*system.System, error) {
	if slices.Contains(systems.List(), name) {
		return known(name)
	}
	errs := system.Errors{}
	errs.Add("spec.system", name, "no such System", "apply it first, or name one that is shipped: "+list(systems.List()))
	return nil, errs
}

func (l *clusterLibrary) Known(ctx context.Context, name string) (*system.System, error) {
	s, err := l.Library.Known(ctx, name)
	if apierrors.IsForbidden(err) {
		return shipped(name) // foresee says that it was not looked at
	}
	return s, l.object.problem(err)
}

// Pinned is the System that members were rolled with. Where one may not read what was kept, the one known now does if it is the same.
func (l *clusterLibrary) Pinned(ctx context.Context, hash string) (*system.System, error) {
	s, err := l.Library.Pinned(ctx, hash)
	if err == nil {
		return s, nil
	}
	if c := l.object.read; c != nil {
		if now, knownErr := l.Known(ctx, c.Spec.System); knownErr == nil && now.Hash() == hash {
			return now, nil
		}
	}
	return nil, inputNext("ask for the right to get configmaps in namespace "+l.object.namespace.name, "%s: %w", l.object.key.Name, err)
}

// foresee has the API server, and so the webhook, judge the proposal in a dry run.
func (n *namespace) foresee(ctx context.Context, p *proposal) (foresight, error) {
	o := n.object(p.name)
	s := foresight{unseen: []string{"the members themselves: they are asked by the operator, when it begins"}}
	keepers := n.keepersOf(p)
	s.warnings = append(s.warnings, keepers.warnings(p)...)
	if p.cluster != nil {
		s.warnings = append(s.warnings, unready(&p.cluster.Status)...)
	}
	if _, err := n.systemObject(ctx, p.spec.System); apierrors.IsForbidden(err) {
		s.unseen = append(s.unseen, "whether there is a System "+p.spec.System+" in the cluster: you may not read it; the one that is shipped was taken")
	}
	if p.cluster != nil && p.cluster.Spec.Adopts() {
		if err := operator.See(ctx, n.api, p.system, p.cluster.DeepCopy()); apierrors.IsForbidden(err) {
			s.unseen = append(s.unseen, "what "+sets(adoptedBy(p.cluster))+" says now: you may not read it; what the operator last saw was taken")
		}
	}
	err := error(nil)
	switch {
	case p.file != nil:
		err = n.foreseeFile(ctx, p, &s)
	case !equalSpecs(&p.cluster.Spec, p.spec):
		err = o.patchSpec(ctx, p, client.DryRunAll)
	}
	if is[*rightError](err) {
		s.unseen = append(s.unseen, "what the API server says to the edit: "+err.Error())
		err = nil
	}
	s.warnings = append(s.warnings, n.heard.take()...)
	return s, err
}

// foreseeFile has the objects of a file judged, but for a Cluster whose System in the file is not there yet.
func (n *namespace) foreseeFile(ctx context.Context, p *proposal, s *foresight) error {
	objects := slices.Clone(p.file.systems)
	why := ""
	if slices.ContainsFunc(objects, func(o client.Object) bool { return o.GetName() == p.file.cluster.Spec.System }) {
		why = n.unjudged(ctx, p.file.system)
	}
	if why != "" {
		s.unseen = append(s.unseen, why)
	} else {
		objects = append(objects, p.file.written)
	}
	return n.applyAll(ctx, objects, p.force, client.DryRunAll)
}

// unready says what the operator last saw of members that do not serve: it begins nothing before they do.
func unready(st *v1alpha1.ClusterStatus) []string {
	if st.ReadyReplicas >= st.Replicas {
		return nil
	}
	text := fmt.Sprintf("%d of %d members are ready", st.ReadyReplicas, st.Replicas)
	if why := unreadyBecause(st); why != "" {
		text += ": " + why
	}
	return []string{text}
}

// permit refuses another version where another tool keeps it and would set it back.
func (n *namespace) permit(_ context.Context, p *proposal) error {
	if p.file != nil || p.force || p.cluster.Spec.Version == p.spec.Version {
		return nil
	}
	k := n.keepersOf(p)
	if len(k.tools) > 0 {
		return inputNext("change it there; to edit it here all the same: --force", "spec.version of %s is kept by %s, which would set it back", p.name, list(k.tools))
	}
	for _, w := range k.warnings(p) {
		n.talkf("warning: %s", w)
	}
	return nil
}

// keepersOf are those who keep the version of a cluster that is there.
func (n *namespace) keepersOf(p *proposal) keepers {
	if p.cluster == nil {
		return keepers{}
	}
	return keepersOfVersion(slices.Clone(p.cluster.ManagedFields))
}
