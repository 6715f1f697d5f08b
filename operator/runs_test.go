package operator

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/runner"
	"theseus.dev/upgrade"
)

// TestRecordsOfAnotherCluster: one that was deleted leaves its records for a while, or for ever (--cascade=orphan), and one that is made anew counts its
// runs from the beginning. What is written there is not about the runs and the volumes of that one.
func TestRecordsOfAnotherCluster(t *testing.T) {
	former := kv()
	former.UID = "former"
	left := func(name string, data map[string]string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: name, OwnerReferences: []metav1.OwnerReference{ownerOf(former)}}, Data: data}
	}
	api := fakeAPI(t, left(runsName("kv"), map[string]string{"5": encode(claim{Owner: "test", Outcome: upgrade.Succeeded.String()})}),
		left(volumesName("kv"), map[string]string{"kv-standin-0": encode(renewal{Name: "a1.h0.new.4"})}))
	p, c := &Platform{API: api, Live: api, Key: key, Identity: "test", Runs: &Runs{}}, kv()
	if v, err := p.volumesOf(t.Context(), c); err != nil || len(v.renewals) != 0 {
		t.Errorf("the volumes are %+v, %v; want that none was made anew", v.renewals, err)
	}
	if out, err := p.runOutcomes(t.Context(), runner.Scene{Cluster: c}); err != nil || len(out) != 0 {
		t.Errorf("the runs are %+v, %v; want none", out, err)
	}
	for _, want := range []bool{true, false} {
		if won, err := p.claimRun(t.Context(), c, 5); err != nil || won != want {
			t.Errorf("claiming run 5: got %v, %v; want %v", won, err, want)
		}
	}
	m := &corev1.ConfigMap{}
	fatal(t, api.Get(t.Context(), p.runsKey(), m))
	if len(m.OwnerReferences) != 1 || m.OwnerReferences[0].UID != c.UID {
		t.Errorf("the record belongs to %+v, want %s", m.OwnerReferences, c.UID)
	}
}
