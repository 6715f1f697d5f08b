package operator

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/upgrade"
)

// takenForAnnotation of a Backup is the UID of the Cluster whose attempt asked for it. A Backup outlives its Cluster, and one that is made anew under the
// same name counts its attempts from the beginning, and so comes to the same names.
const takenForAnnotation = "theseus.dev/taken-for"

// beginBackup makes the Backup object of a hop. Its name comes from the journal, so that it is made once.
func (p *Platform) beginBackup(ctx context.Context, s runner.Scene, i v1alpha1.Intent) error {
	attempt := s.Cluster.Status.Attempt
	if attempt == nil || attempt.Target.Spec.Backup == nil {
		return fmt.Errorf("backup %s: spec.backup is not set", i.Name)
	}
	b := &v1alpha1.Backup{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Key.Namespace, Name: backupObjectName(i.Name), Labels: map[string]string{managedByLabel: managerName, clusterLabel: p.Key.Name},
			Annotations: map[string]string{takenForAnnotation: string(s.Cluster.UID)}},
		Spec: v1alpha1.BackupSpec{Cluster: p.Key.Name, Place: attempt.Target.Spec.Backup.DeepCopy(), To: i.Version, Attempt: fmt.Sprintf("a%d-%d", attempt.ID, i.ID),
			TTL: s.Cluster.Spec.Upgrade.BackupTTL},
	}
	if err := p.API.Create(ctx, b); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("backup %s: %w", i.Name, err)
	}
	return nil
}

// backupObjectName is a name in the journal as Kubernetes can have it. Numbers of attempt and act keep it unique.
func backupObjectName(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '.' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
}

// backupOutcomes says how far the backup of the current hop is.
func (p *Platform) backupOutcomes(ctx context.Context, s runner.Scene) (map[string]upgrade.Outcome, error) {
	a := s.Cluster.Status.Attempt
	if a == nil || a.Phase.Ended() || int(a.Hop) >= len(a.Hops) || a.Hops[a.Hop].Backup == "" || !unfinished(a, upgrade.KindBackup) {
		return nil, nil
	}
	name := a.Hops[a.Hop].Backup
	b := &v1alpha1.Backup{}
	err := p.Live.Get(ctx, client.ObjectKey{Namespace: p.Key.Namespace, Name: backupObjectName(name)}, b)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if b.Annotations[takenForAnnotation] != string(s.Cluster.UID) {
		return map[string]upgrade.Outcome{name: {Phase: upgrade.Failed, Message: "the Backup " + b.Name + " was there before and is not of this Cluster"}}, nil
	}
	return map[string]upgrade.Outcome{name: backupOutcome(b)}, nil
}

func backupOutcome(b *v1alpha1.Backup) upgrade.Outcome {
	message := func(kind string) string {
		if c := meta.FindStatusCondition(b.Status.Conditions, kind); c != nil {
			return c.Message
		}
		return ""
	}
	switch {
	case meta.IsStatusConditionTrue(b.Status.Conditions, v1alpha1.ConditionFinished):
		return upgrade.Outcome{Phase: upgrade.Succeeded, Message: message(v1alpha1.ConditionFinished)}
	case meta.IsStatusConditionTrue(b.Status.Conditions, v1alpha1.ConditionFailed):
		return upgrade.Outcome{Phase: upgrade.Failed, Message: message(v1alpha1.ConditionFailed)}
	}
	return upgrade.Outcome{Phase: upgrade.Underway, Message: message(v1alpha1.ConditionStarted)}
}
