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
		ObjectMeta: metav1.ObjectMeta{Namespace: o.key.Namespace, Name: backupName(o.key.Name)},
		Spec:       v1alpha1.BackupSpec{Cluster: o.key.Name},
	}
	err := o.written(o.api.Create(ctx, b, client.FieldOwner(fieldManager)))
	o.repeatWarnings()
	if err != nil {
		return taken{}, err
	}
	k.talkf("taking backup %s of %s", b.Name, k.name)
	since, told := time.Now(), false
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		if t, done, err := outcomeOf(b); done {
			return t, err
		}
		if !told && time.Since(since) > patience && len(b.Status.Conditions) == 0 {
			o.talkf("%s", o.notTakenUp())
			told = true
		}
		select {
		case <-ctx.Done():
			return taken{}, &exitError{code: exitWaiting, err: fmt.Errorf("backup %s: stopped watching; %s goes on by itself", b.Name, theOperator), next: "see: " + o.command("backup", o.key.Name, "--list")}
		case <-t.C:
		}
		if err := o.api.Get(ctx, client.ObjectKeyFromObject(b), b); err != nil && ctx.Err() == nil && !passing(err) {
			return taken{}, o.problem(err)
		}
	}
}

// backupName is one that no other Backup has.
func backupName(cluster string) string {
	return fmt.Sprintf("%s-%s-%s", cluster, time.Now().UTC().Format("20060102-150405"), strings.ToLower(rand.Text()[:4]))
}

// outcomeOf is how a Backup ended, if it has.
func outcomeOf(b *v1alpha1.Backup) (t taken, done bool, err error) {
	if meta.IsStatusConditionTrue(b.Status.Conditions, v1alpha1.ConditionFinished) {
		return taken{b, fmt.Sprintf("%s  %d bytes, checked and read back", b.Name, b.Status.Bytes)}, true, nil
	}
	if c := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionFailed); c != nil && c.Status == metav1.ConditionTrue {
		return taken{}, true, &exitError{code: exitFailed, err: fmt.Errorf("backup %s: %s", b.Name, c.Message)}
	}
	return taken{}, false, nil
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
