package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
)

// backUp makes a Backup, which the operator takes, and waits for its end.
func (o *object) backUp(ctx context.Context, k *opened) (taken, error) {
	b := &v1alpha1.Backup{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.KindBackup},
		ObjectMeta: metav1.ObjectMeta{Namespace: o.key.Namespace, Name: newName(o.key.Name)},
		Spec:       v1alpha1.BackupSpec{Cluster: o.key.Name},
	}
	err := o.written(o.api.Create(ctx, b, client.FieldOwner(fieldManager)))
	o.repeatWarnings()
	if err != nil {
		return taken{}, err
	}
	k.talkf("taking backup %s of %s", b.Name, k.name)
	if err := o.follow(ctx, b, &b.Status.Conditions, "backup "+b.Name, o.command("backup", o.key.Name, "--list")); err != nil {
		return taken{}, err
	}
	return taken{b, fmt.Sprintf("%s  %d bytes, checked and read back", b.Name, b.Status.Bytes)}, nil
}

// newName is one that no other Backup or Restore of a cluster has.
func newName(cluster string) string {
	return fmt.Sprintf("%s-%s-%s", cluster, time.Now().UTC().Format("20060102-150405"), strings.ToLower(rand.Text()[:4]))
}

// follow reads a Backup or a Restore, whose conditions are given, until it has ended, and says how far it is. See is the command that shows it later.
func (n *namespace) follow(ctx context.Context, object client.Object, conditions *[]metav1.Condition, what, see string) error {
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	told, wondered, away := "", false, false
	for since := time.Now(); ; {
		if done, err := outcomeOf(*conditions, what); done {
			return err
		}
		if started := meta.FindStatusCondition(*conditions, v1alpha1.ConditionStarted); started != nil && started.Message != told {
			told = started.Message
			n.talkf("%s: %s", what, told)
		}
		if !wondered && len(*conditions) == 0 && time.Since(since) > patience {
			wondered = true
			n.talkf("%s", n.notTakenUp())
		}
		select {
		case <-ctx.Done():
			return &exitError{code: exitWaiting, err: fmt.Errorf("%s: stopped watching; %s goes on by itself", what, theOperator), next: "to see how far it is: " + see}
		case <-t.C:
		}
		err := n.api.Get(ctx, client.ObjectKeyFromObject(object), object)
		switch {
		case err == nil || ctx.Err() != nil:
		case !passing(err):
			return &exitError{code: exitUnknown, err: fmt.Errorf("%s: %w", what, err), next: "look: " + see}
		case !away:
			away = true
			n.talkf("%v; trying again", n.problem(err))
		}
	}
}

// outcomeOf is how a Backup or a Restore ended, if it has.
func outcomeOf(conditions []metav1.Condition, what string) (done bool, err error) {
	if c := meta.FindStatusCondition(conditions, v1alpha1.ConditionFailed); c != nil && c.Status == metav1.ConditionTrue {
		return true, &exitError{code: exitFailed, err: fmt.Errorf("%s: %s", what, c.Message)}
	}
	return meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionFinished), nil
}

// backups are the Backups of the cluster, oldest first.
func (o *object) backups(ctx context.Context, k *opened) (takenList, error) {
	found := &v1alpha1.BackupList{}
	if err := o.api.List(ctx, found, client.InNamespace(o.key.Namespace)); err != nil {
		return takenList{}, o.problem(err)
	}
	items := slices.DeleteFunc(found.Items, func(b v1alpha1.Backup) bool { return b.Spec.Cluster != k.name })
	slices.SortFunc(items, func(a, b v1alpha1.Backup) int {
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	})
	list := takenList{objects: items}
	for i := range items {
		b := &items[i]
		list.rows = append(list.rows, []string{b.Name, backupState(b), or(b.Status.Version, "-"), or(b.Spec.To, "-"), fmt.Sprint(b.Status.Bytes), b.CreationTimestamp.Local().Format(time.DateTime)})
	}
	return list, nil
}

// backupState is the last condition that came true, as one reads it.
func backupState(b *v1alpha1.Backup) string {
	for _, c := range []string{v1alpha1.ConditionFailed, v1alpha1.ConditionFinished, v1alpha1.ConditionStarted} {
		if meta.IsStatusConditionTrue(b.Status.Conditions, c) {
			return strings.ToLower(c)
		}
	}
	return "waiting"
}
