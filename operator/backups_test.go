package operator

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
)

// TestBackupOfAHop is made once, in the place of the attempt, and is kept as long as the policy says then.
func TestBackupOfAHop(t *testing.T) {
	c := kv()
	c.Spec.Upgrade.BackupTTL = &metav1.Duration{Duration: time.Hour}
	c.Status.Attempt = &v1alpha1.Attempt{ID: 3, Target: v1alpha1.Pinned{Spec: v1alpha1.ClusterSpec{Backup: &v1alpha1.BackupPlace{URL: "file:///b", Claim: "disk"}}}}
	api := fakeAPI(t)
	p := &Platform{API: api, Live: api, Key: key}
	for range 2 {
		if err := p.beginBackup(t.Context(), runner.Scene{Cluster: c}, v1alpha1.Intent{ID: 7, Name: "kv/2026_3.5_3.6", Version: "3.6.0"}); err != nil {
			t.Fatal(err)
		}
		c.Spec.Upgrade.BackupTTL = nil
	}
	b := &v1alpha1.Backup{}
	if err := api.Get(t.Context(), client.ObjectKey{Namespace: key.Namespace, Name: "kv-2026-3.5-3.6"}, b); err != nil {
		t.Fatal(err)
	}
	if b.Spec.TTL == nil || b.Spec.TTL.Duration != time.Hour || b.Spec.Place.Claim != "disk" || b.Spec.Attempt != "a3-7" || b.Spec.To != "3.6.0" {
		t.Errorf("the backup is %+v", b.Spec)
	}
}
