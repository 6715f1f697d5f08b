package operator

import (
	"context"
	"errors"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/backup"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// A Restore into members that run goes from write to write, and each can be repeated:
//
//	the Restore notes which Cluster it is for                status.clusterUID
//	the Cluster notes the Restore, and may start             status.loading
//	the Job is made when all members are ready, suspended
//	the Restore notes that there is one, and from what       status.started
//	the Cluster notes that it may have a part of the data    status.loading.begun
//	the Job is let go
//
// So a program that runs was noted on both sides before, and a Job that is gone then is not made again: nothing is ever written twice into a Cluster, or
// into another one of its name. What keeps the members as they are meanwhile is the core, as long as status.loading is there.

func (f *filling) load(ctx context.Context) error {
	if err := f.reserve(ctx); err != nil {
		return err
	}
	job := &batchv1.Job{}
	err := f.Live.Get(ctx, f.loadKey(), job)
	begun := f.restore.Status.Started != nil
	switch {
	case apierrors.IsNotFound(err) && begun:
		return refusal{errors.New("its Job is gone before it said how it went")}
	case apierrors.IsNotFound(err):
		return f.makeLoad(ctx)
	case err != nil:
		return err
	}
	order := &RestoreOrder{}
	if err := orderOf(job, restoreContainer, order); err != nil {
		return err
	}
	switch {
	case !begun:
		return f.noteLoad(ctx, order)
	case !finished(job):
		return f.letGo(ctx, job, order)
	case !succeeded(job):
		return f.broken(ctx, order.Member.Name, job)
	}
	for _, m := range order.All {
		f.restore.Status.Members = append(f.restore.Status.Members, m.Name)
	}
	return f.finished(ctx, "Loaded", "the members of Cluster "+f.cluster.Name)
}

func (f *filling) loadKey() types.NamespacedName {
	return types.NamespacedName{Namespace: f.restore.Namespace, Name: jobName("restore", f.restore.UID)}
}

// reserved says that the Cluster is noted for this Restore.
func (f *filling) reserved() bool {
	return f.cluster != nil && f.cluster.Status.Loading != nil && f.cluster.Status.Loading.UID == f.restore.UID
}

// reserve notes on both sides that this Restore, and no other one, writes into this Cluster, and no other one. The Cluster never had members before.
func (f *filling) reserve(ctx context.Context) error {
	c, st := f.cluster, &f.restore.Status
	switch l := c.Status.Loading; {
	case st.ClusterUID != "" && st.ClusterUID != c.UID:
		return refusal{fmt.Errorf("the Cluster %s that it was for is gone, and another one has its name", c.Name)}
	case f.reserved():
		return nil
	case l != nil:
		return refusal{fmt.Errorf("the Restore %s writes into the members of Cluster %s, or has tried to: name another cluster", l.Restore, c.Name)}
	case c.Spec.Adopts():
		return refusal{fmt.Errorf("the Cluster %s adopts members that may have data, and nothing is written over it: name a cluster without adopt", c.Name)}
	}
	if err := f.claim(ctx); err != nil {
		return err
	}
	if err := f.source(ctx); err != nil {
		return err
	}
	if err := f.unused(ctx); err != nil {
		return err
	}
	if st.ClusterUID == "" {
		st.ClusterUID = c.UID
		if err := f.sayIf(ctx, true, metav1.ConditionFalse, "Waiting", "the members of Cluster "+c.Name+" are started, without data"); err != nil {
			return err
		}
	}
	c.Status.Loading = &v1alpha1.Loading{Restore: f.restore.Name, UID: f.restore.UID}
	return f.API.Status().Update(ctx, c)
}

// unused refuses volumes that may hold data, and waits for pods of earlier Restores, which may still write to members of this name.
func (f *filling) unused(ctx context.Context) error {
	claims, err := claimsOf(ctx, f.Live, client.ObjectKeyFromObject(f.cluster))
	if err != nil {
		return err
	}
	if len(claims) > 0 {
		return leftover(&claims[0])
	}
	pods := &corev1.PodList{}
	if err := f.Live.List(ctx, pods, client.InNamespace(f.cluster.Namespace), client.MatchingLabels{restoreLabel: f.cluster.Name}); err != nil {
		return err
	}
	for i := range pods.Items {
		if p := &pods.Items[i]; p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
			return waits{fmt.Errorf("pod %s of another Restore into a Cluster %s has not ended", p.Name, f.cluster.Name)}
		}
	}
	return nil
}

// makeLoad makes the Job, once the first start has ended and all members are ready.
func (f *filling) makeLoad(ctx context.Context) error {
	member, all, err := f.members(ctx)
	if err != nil {
		return err
	}
	if err := f.source(ctx); err != nil {
		return err
	}
	job, err := f.loadJob(&RestoreOrder{ID: string(f.restore.UID), URL: f.place.URL, Key: keyFile(f.place), Name: f.name.String(),
		System: v1alpha1.SystemRef{Name: f.system.Name(), Hash: f.system.Hash()}, Spec: *f.print.spec, Cluster: f.cluster.Name, Member: member, All: all})
	if err != nil {
		return err
	}
	return f.beginWork(ctx, job, f.place)
}

// members are those of the component, with the one that is written to. All members of the Cluster are ready, and nothing is about to replace one.
func (f *filling) members(ctx context.Context) (member system.Member, all []*system.Member, err error) {
	c := f.cluster
	if a := c.Status.Attempt; c.Status.Applied == nil || a != nil && !a.Phase.Ended() {
		return member, nil, waits{fmt.Errorf("it writes into the members of Cluster %s once their start has ended%s", c.Name, obstacle(a))}
	}
	f.print.spec, f.print.version = &c.Status.Applied.Spec, c.Status.Applied.Spec.Version
	scene, err := f.sceneOf(ctx, c)
	if err != nil {
		return member, nil, err
	}
	p := f.platformFor(client.ObjectKeyFromObject(c))
	defer p.Close()
	look, err := p.Look(ctx, scene)
	if err != nil {
		return member, nil, err
	}
	member, all, err = upgrade.LoadMember(f.system, c, &look)
	if err != nil {
		return member, nil, waits{err}
	}
	if err := f.print.secure(append(all, &member)...); err != nil { // in the Job the files are those of the pods
		return member, nil, waits{err}
	}
	return member, all, nil
}

// obstacle is what an attempt waits for.
func obstacle(a *v1alpha1.Attempt) string {
	switch {
	case a == nil:
		return ""
	case a.Rest != "":
		return ", which rests: " + a.Rest
	case a.WaitingFor != nil:
		return ", which waits for " + a.WaitingFor.Rule + " of " + a.WaitingFor.Object
	}
	return ""
}

// loadJob is done once: it has no second try, and does not begin before it is let go.
func (f *filling) loadJob(order *RestoreOrder) (*batchv1.Job, error) {
	t, err := f.print.template()
	if err != nil {
		return nil, waits{err}
	}
	pod, command := inMembersImage(f.Image, &t, f.system, RestoreCommand)
	job, err := jobOf(f.restore.Namespace, pod, work{name: f.loadKey().Name, container: restoreContainer, labels: map[string]string{restoreLabel: f.cluster.Name},
		owner: ownedBy(v1alpha1.KindRestore, f.restore), command: command, order: order, place: f.place, uid: f.restore.UID})
	if err != nil {
		return nil, err
	}
	suspend(job)
	return job, nil
}

// noteLoad writes down that there is a Job, and from what it restores.
func (f *filling) noteLoad(ctx context.Context, order *RestoreOrder) (err error) {
	if f.name, err = backup.ParseName(order.Name); err != nil {
		return refusal{err}
	}
	return f.begun(ctx, sumOf(&order.Spec, order.All), loadingText(order))
}

func loadingText(order *RestoreOrder) string {
	return fmt.Sprintf("%s is written into Cluster %s by way of %s", order.Name, order.Cluster, order.Member.Name)
}

// letGo lets the Job work, after the Cluster has noted it, and says what keeps it from that.
func (f *filling) letGo(ctx context.Context, job *batchv1.Job, order *RestoreOrder) error {
	if f.cluster.Status.Loading.Begun == nil {
		if err := f.mayBegin(ctx, job, order); err != nil {
			return err
		}
		now := metav1.Now()
		f.cluster.Status.Loading.Begun = &now
		if err := f.API.Status().Update(ctx, f.cluster); err != nil {
			return err
		}
	}
	if suspended(job) {
		return letGo(ctx, f.API, job)
	}
	why, err := jobHindrance(ctx, f.Live, job)
	if err != nil {
		return err
	}
	return f.say(ctx, metav1.ConditionTrue, "JobsCreated", joined(loadingText(order), why))
}

// mayBegin looks once more whether the members are those for which the Job was made, and are ready, and gives it its key.
func (f *filling) mayBegin(ctx context.Context, job *batchv1.Job, order *RestoreOrder) error {
	_, all, err := f.members(ctx)
	if err != nil {
		return err
	}
	if sumOf(f.print.spec, all) != f.restore.Status.Sum {
		return refusal{fmt.Errorf("version, options or members of Cluster %s were changed after its Job was made", f.cluster.Name)}
	}
	if err := f.source(ctx); err != nil {
		return err
	}
	return f.sustain(ctx, job, f.place, f.restore.UID)
}

// stop takes away a Job that has not ended: what it would write into is another Cluster by now, or is not to get the data.
func (f *filling) stop(ctx context.Context) error {
	job := &batchv1.Job{}
	err := f.Live.Get(ctx, f.loadKey(), job)
	if err == nil && !finished(job) {
		return deleteJob(ctx, f.API, job)
	}
	return client.IgnoreNotFound(err)
}
