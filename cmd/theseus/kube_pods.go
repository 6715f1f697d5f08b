package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/operator"
)

// logs prints what the container of a member wrote.
func (o *object) logs(ctx context.Context, to io.Writer, member string, lines int, follow bool) error {
	pods, err := o.memberPods(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(pods, func(p operator.MemberPod) bool { return p.Member == member })
	if i < 0 {
		return inputErrorf("member %s has no pod now", member)
	}
	tail := int64(lines)
	options := &corev1.PodLogOptions{Container: pods[i].Container, TailLines: &tail, Follow: follow}
	stream, err := o.pods.CoreV1().Pods(o.key.Namespace).GetLogs(pods[i].Name, options).Stream(ctx)
	if err != nil {
		return o.problem(err)
	}
	defer stream.Close()
	if _, err = io.Copy(to, stream); ctx.Err() != nil {
		return nil // who has seen enough has
	}
	return err
}

// memberPods are the pods of the members of the Cluster as it was last read.
func (o *object) memberPods(ctx context.Context) ([]operator.MemberPod, error) {
	c := o.read
	if c == nil {
		var err error
		if c, err = o.get(ctx); err != nil {
			return nil, err
		}
	}
	pods, err := operator.MemberPods(ctx, o.api, c)
	return pods, o.problem(err)
}

// members are the pods, under the names by which the others reach them. Where one may not list pods, none is shown.
func (o *object) members(ctx context.Context) []shownMember {
	pods, err := o.memberPods(ctx)
	if err != nil {
		o.talkf("the members are not shown: %v", err)
		return nil
	}
	var out []shownMember
	for _, p := range pods {
		m := shownMember{Name: p.Member, Component: p.Component, Address: addressOf(p.Pod), Process: strings.ToLower(string(p.Status.Phase))}
		for _, c := range p.Spec.Containers {
			for _, port := range c.Ports {
				if c.Name != p.Container || port.Name == "" {
					continue
				}
				if m.Ports == nil {
					m.Ports = map[string]int64{}
				}
				m.Ports[port.Name] = int64(port.ContainerPort)
			}
		}
		out = append(out, m)
	}
	return out
}

func (o *object) atStake(deleteData bool) string {
	what := "and delete its journal"
	if deleteData {
		what = "and delete its journal and ALL ITS DATA"
	}
	if theirs := adoptedBy(o.read); len(theirs) > 0 {
		return fmt.Sprintf("stop the members of %s (%s) but those of %s, which it adopted, %s?", o.key.Name, o.where, sets(theirs), what)
	}
	return fmt.Sprintf("stop all members of %s (%s) %s?", o.key.Name, o.where, what)
}

// adoptedBy are the StatefulSets that a Cluster adopted. They and their pods go on without it.
func adoptedBy(c *v1alpha1.Cluster) []string {
	var out []string
	for _, component := range slices.Sorted(maps.Keys(c.Spec.Components)) {
		out = append(out, operator.Adopted(c, component)...)
	}
	return out
}

func sets(names []string) string { return "StatefulSet " + strings.Join(names, ", StatefulSet ") }

// down deletes the Cluster and waits until its members are gone; then their volumes, if asked. Workloads that the Cluster does not own go on.
func (o *object) down(ctx context.Context, deleteData bool) (downed, error) {
	c, err := o.get(ctx)
	if err != nil {
		return downed{}, err
	}
	owned, err := o.ownedBy(ctx, c.UID)
	if err != nil {
		return downed{}, err
	}
	theirs := adoptedBy(c)
	if deleteData && len(theirs) > 0 && len(owned.uids) == 0 {
		return downed{}, inputNext("to let the Cluster go and leave them alone: "+o.command("down", o.key.Name),
			"--delete-data: the data of %s is that of %s, which it adopted, and not its to delete", o.key.Name, sets(theirs))
	}
	err = o.api.Delete(ctx, c, client.Preconditions{UID: &c.UID}, client.PropagationPolicy(metav1.DeletePropagationBackground))
	if err := o.written(client.IgnoreNotFound(err)); err != nil {
		return downed{}, err
	}
	if err := o.awaitGone(ctx, owned); err != nil {
		return downed{}, err
	}
	d := downed{Cluster: o.key.Name, Stopped: len(theirs) == 0, Deleted: deleteData, Left: theirs}
	switch {
	case deleteData:
		d.words = o.key.Name + " is deleted; its backups stay where they are"
		err = errors.Join(o.deleteRestores(ctx), o.deleteClaims(ctx, owned))
	case len(owned.uids) == 0 && len(theirs) > 0:
		d.words = o.key.Name + " is deleted"
	default:
		d.words = fmt.Sprintf("the members of %s are stopped; their volumes stay in %s%s", o.key.Name, o.where, writtenBy(c))
	}
	if len(theirs) > 0 {
		d.words += "; adopted, and left with members and volumes: " + sets(theirs)
	}
	for _, set := range theirs {
		d.next = append(d.next, o.giveBack(ctx, set)...)
	}
	return d, err
}

// writtenBy says which version a file has to name that brings the volumes up again: often it still says the one before an upgrade.
func writtenBy(c *v1alpha1.Cluster) string {
	version := operator.LastWrote(&c.Status)
	if version == "" {
		return ""
	}
	return ", for a cluster of this name at version " + version
}

// giveBack says how a StatefulSet that was adopted is again as Kubernetes rolls it, where it is not: nobody replaces its members any more. One that
// may not be read is as adopting wants it.
func (o *object) giveBack(ctx context.Context, name string) []string {
	set := &appsv1.StatefulSet{}
	err := o.api.Get(ctx, client.ObjectKey{Namespace: o.key.Namespace, Name: name}, set)
	if apierrors.IsNotFound(err) || err == nil && set.Spec.UpdateStrategy.Type != appsv1.OnDeleteStatefulSetStrategyType {
		return nil
	}
	return []string{fmt.Sprintf("StatefulSet %s keeps the update strategy OnDelete, with which nobody replaces its pods now, and labels and an annotation of Theseus; "+
		"to have Kubernetes replace them again, and at once those that are not as the template says: kubectl -n %s patch statefulset %s --type=merge "+
		`-p '{"metadata": {"labels": {"theseus.dev/cluster": null, "theseus.dev/component": null}, "annotations": {"theseus.dev/adopted-by": null}}, `+
		`"spec": {"updateStrategy": {"type": "RollingUpdate"}}}'`, name, o.key.Namespace, name)}
}

// workloads are what makes the pods of a Cluster.
type workloads struct {
	uids  []types.UID
	names []string
}

// makes says whether a pod comes from one of the workloads.
func (w *workloads) makes(pod *corev1.Pod) bool {
	by := metav1.GetControllerOf(pod)
	return by != nil && (slices.Contains(w.uids, by.UID) || by.Kind == "ReplicaSet" && slices.ContainsFunc(w.names, func(n string) bool { return strings.HasPrefix(by.Name, n+"-") }))
}

// claimed says whether a claim is of one of the workloads: data-NAME-0 of NAME.
func (w *workloads) claimed(claim string) bool {
	return slices.ContainsFunc(w.names, func(n string) bool { return strings.Contains(claim, "-"+n+"-") })
}

// ownedBy are the workloads that go with a Cluster.
func (o *object) ownedBy(ctx context.Context, cluster types.UID) (*workloads, error) {
	w := &workloads{}
	note := func(m metav1.Object) {
		if by := metav1.GetControllerOf(m); by != nil && by.UID == cluster {
			w.uids, w.names = append(w.uids, m.GetUID()), append(w.names, m.GetName())
		}
	}
	sets, deployments := &appsv1.StatefulSetList{}, &appsv1.DeploymentList{}
	for _, l := range []client.ObjectList{sets, deployments} {
		if err := o.api.List(ctx, l, client.InNamespace(o.key.Namespace), operator.OfCluster(o.key.Name)); err != nil {
			return nil, o.problem(err)
		}
	}
	for i := range sets.Items {
		note(&sets.Items[i])
	}
	for i := range deployments.Items {
		note(&deployments.Items[i])
	}
	return w, nil
}

// awaitGone waits for the end of the members, and says how many are left.
func (o *object) awaitGone(ctx context.Context, owned *workloads) error {
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for before := -1; ; {
		pods := &corev1.PodList{}
		err := o.problem(o.api.List(ctx, pods, client.InNamespace(o.key.Namespace), operator.OfCluster(o.key.Name)))
		if err != nil && !passing(err) {
			return err
		}
		left := len(slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return !owned.makes(&p) }))
		if err == nil && left == 0 {
			return nil
		}
		if err == nil && left != before {
			o.talkf("members that still run: %d", left)
			before = left
		}
		select {
		case <-ctx.Done():
			return &exitError{code: exitWaiting, err: fmt.Errorf("%s is deleted; stopped watching its members end", o.key.Name)}
		case <-t.C:
		}
	}
}

// deleteRestores takes away what would fill the volumes, or keep a Cluster of this name from being restored anew.
func (o *object) deleteRestores(ctx context.Context) error {
	found := &v1alpha1.RestoreList{}
	err := o.api.List(ctx, found, client.InNamespace(o.key.Namespace))
	if apierrors.IsForbidden(err) {
		o.talkf("warning: Restores into %s are left, if there are any: %v", o.key.Name, o.problem(err))
		return nil
	}
	if err != nil {
		return o.problem(err)
	}
	for i := range found.Items {
		if r := &found.Items[i]; r.Spec.Cluster == o.key.Name {
			if err := o.api.Delete(ctx, r, client.Preconditions{UID: &r.UID}, client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil && !apierrors.IsNotFound(err) {
				return o.written(err)
			}
		}
	}
	return nil
}

func (o *object) deleteClaims(ctx context.Context, owned *workloads) error {
	claims := &corev1.PersistentVolumeClaimList{}
	if err := o.api.List(ctx, claims, client.InNamespace(o.key.Namespace), operator.OfCluster(o.key.Name)); err != nil {
		return o.problem(err)
	}
	for i := range claims.Items {
		if c := &claims.Items[i]; owned.claimed(c.Name) || operator.HalfFilled(c) {
			if err := o.api.Delete(ctx, c, client.Preconditions{UID: &c.UID}); err != nil && !apierrors.IsNotFound(err) {
				return o.written(err)
			}
		}
	}
	return nil
}
