package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/backup"
	"theseus.dev/system"
)

// restore makes a Restore and then the Cluster, which waits for it, and follows the Restore to its end. Both are dry-run first, so that a refusal
// leaves nothing.
func (n *namespace) restore(ctx context.Context, k *opened, p *proposal, from stored) (string, error) {
	r, err := n.newRestore(ctx, p, from)
	if err != nil {
		return "", err
	}
	if err := n.tryRestore(ctx, r, p.file); err != nil {
		return "", err
	}
	at, err := n.makeRestore(ctx, r, p)
	if err != nil {
		return "", err
	}
	k.at = at
	k.talkf("restoring %s by Restore %s", k.name, r.Name)
	if err := n.followRestore(ctx, k, r); err != nil {
		return "", err
	}
	return meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionFinished).Message, nil
}

// newRestore is the Restore for a proposal: of a Backup here, or of what is stored in a place.
func (n *namespace) newRestore(ctx context.Context, p *proposal, from stored) (*v1alpha1.Restore, error) {
	r := &v1alpha1.Restore{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.KindRestore},
		ObjectMeta: metav1.ObjectMeta{Namespace: n.name, Name: newName(p.name)},
		Spec:       v1alpha1.RestoreSpec{Cluster: p.name},
	}
	if from.url == "" {
		r.Spec.Backup = from.name
		return r, n.checkBackup(ctx, p, from.name)
	}
	name, err := backup.ParseName(from.name)
	if err != nil {
		return nil, inputNext("give the name that it has there, as status.name of its Backup said it: CLUSTER/TIME_FROM_TO_ATTEMPT_KIND; or leave --url out and name a Backup", "--from %s, with --url: %w", from.name, err)
	}
	if err := p.mayRead(n.app, name.From); err != nil {
		return nil, err
	}
	r.Spec.From = &v1alpha1.StoredBackup{Place: placeAt(from.url, p.spec.Backup), Name: from.name}
	return r, nil
}

// placeAt is the place at a URL, with the claim or the secret of the cluster's own place if it is one of the same scheme.
func placeAt(url string, own *v1alpha1.BackupPlace) v1alpha1.BackupPlace {
	place := v1alpha1.BackupPlace{}
	scheme, _, _ := strings.Cut(url, "://")
	if own != nil && strings.HasPrefix(own.URL, scheme+"://") {
		place = *own.DeepCopy()
	}
	place.URL = url
	return place
}

// checkBackup refuses a Backup that is not there, or of another System, and that while nothing was made. Who may not read Backups has the operator
// judge.
func (n *namespace) checkBackup(ctx context.Context, p *proposal, name string) error {
	b := &v1alpha1.Backup{}
	err := n.api.Get(ctx, client.ObjectKey{Namespace: n.name, Name: name}, b)
	switch {
	case apierrors.IsForbidden(err):
		return nil
	case apierrors.IsNotFound(err):
		return n.otherBackups(ctx, name)
	case err != nil:
		return n.problem(err)
	case meta.IsStatusConditionTrue(b.Status.Conditions, v1alpha1.ConditionFailed):
		return inputNext("choose another: "+n.command("backup", b.Spec.Cluster, "--list"), "backup %s failed: there is nothing to restore", name)
	case b.Status.System != nil && b.Status.System.Name != p.system.Name():
		return inputErrorf("backup %s: it is one of %s, and %s is a %s", name, b.Status.System.Name, p.name, p.system.Name())
	case b.Status.Version != "":
		return p.mayRead(n.app, b.Status.Version)
	}
	return nil
}

// otherBackups says which Backups there are instead of one that is not there.
func (n *namespace) otherBackups(ctx context.Context, name string) error {
	found := &v1alpha1.BackupList{}
	if err := n.api.List(ctx, found, client.InNamespace(n.name)); err != nil && !apierrors.IsForbidden(err) {
		return n.problem(err)
	}
	var names []string
	for i := range found.Items {
		names = append(names, found.Items[i].Name)
	}
	slices.Sort(names)
	next := "where no Backup is left, say by --url where it is stored, and by --from its name there"
	if near := system.Nearest(name, names); near != "" {
		next = "did you mean " + near + "?"
	} else if len(names) > 0 {
		next = "there are " + list(names) + "; " + next
	}
	return inputNext(next, "--from %s: there is no such Backup in %s", name, n.where)
}

// tryRestore has the API server, and so the webhook, judge all that would be made. A System that is new is applied before the Cluster is tried,
// which names it.
func (n *namespace) tryRestore(ctx context.Context, r *v1alpha1.Restore, f *clusterFile) error {
	defer n.repeatWarnings()
	if err := n.problem(n.api.Create(ctx, r.DeepCopy(), client.FieldOwner(fieldManager), client.DryRunAll)); err != nil {
		return err
	}
	for _, s := range f.systems {
		if err := n.applyObject(ctx, s, false, client.DryRunAll); err != nil {
			return err
		}
	}
	for _, s := range f.systems {
		if err := n.applyObject(ctx, s, false); err != nil {
			return err
		}
	}
	return n.applyObject(ctx, f.written, false, client.DryRunAll)
}

// makeRestore makes the Restore first, so that the Cluster finds it; Ctrl-C does not come in between. If the Cluster is refused in spite of the dry run,
// the Restore goes again; where nobody knows, it stays.
func (n *namespace) makeRestore(ctx context.Context, r *v1alpha1.Restore, p *proposal) (access, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := n.written(n.api.Create(ctx, r, client.FieldOwner(fieldManager))); err != nil {
		return nil, err
	}
	at, err := n.create(ctx, p)
	var known *exitError
	if !errors.As(err, &known) || known.code != exitInput {
		return at, err
	}
	if gone := n.api.Delete(ctx, r, client.Preconditions{UID: &r.UID}); gone != nil {
		return nil, &exitError{code: exitUnknown, err: fmt.Errorf("%w; Restore %s was made before that, and may be left: %w", err, r.Name, gone),
			next: "take it away: kubectl delete restore.theseus.dev " + r.Name + " --namespace " + n.name}
	}
	return nil, err
}

// followRestore watches the Restore to its end. One that failed stays, with its Jobs, and holds its Cluster.
func (n *namespace) followRestore(ctx context.Context, k *opened, r *v1alpha1.Restore) error {
	watch := k.command("status", k.name, "--watch")
	err := n.follow(ctx, r, &r.Status.Conditions, "Restore "+r.Name, watch)
	var known *exitError
	switch {
	case errors.As(err, &known) && known.code == exitFailed:
		known.next = fmt.Sprintf("to see why: kubectl describe restore.theseus.dev %s --namespace %s, and the logs of its Jobs; to take it away with the new cluster: %s", r.Name, n.name, k.command("down", k.name, "--delete-data"))
	case errors.As(err, &known) && known.code == exitWaiting:
		known.next = "to watch again: " + watch
	}
	return err
}
