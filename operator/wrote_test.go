package operator

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"theseus.dev/api/v1alpha1"
)

func claimOf(member, cluster, wrote string) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: claimName(member), Labels: map[string]string{clusterLabel: cluster}}}
	if wrote != "" {
		c.Annotations = map[string]string{wroteAnnotation: wrote}
	}
	return c
}

// TestClaimsSayWhoWrote: claims are marked with the version that may have written last, before the members of a hop are all replaced and until all are
// back, and not written again while that is the same.
func TestClaimsSayWhoWrote(t *testing.T) {
	patches, refuse := 0, false
	api := interceptor.NewClient(fakeAPI(t, claimOf("kv-standin-0", key.Name, ""), claimOf("kv-standin-1", key.Name, "1.0.0"), claimOf("other-standin-0", "other", "")), interceptor.Funcs{
		Patch: func(ctx context.Context, w client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
			if patches++; refuse {
				return errors.New("no")
			}
			return w.Patch(ctx, o, patch, options...)
		}})
	d := &driver{platform: &Platform{API: api, Live: api, Key: key}}
	marks := func(want string) {
		t.Helper()
		list := &corev1.PersistentVolumeClaimList{}
		fatal(t, api.List(t.Context(), list))
		for _, c := range list.Items {
			wants := want
			if c.Labels[clusterLabel] != key.Name {
				wants = ""
			}
			if got := c.Annotations[wroteAnnotation]; got != wants {
				t.Errorf("claim %s says %q, want %q", c.Name, got, wants)
			}
		}
	}
	at := &v1alpha1.Attempt{Kind: v1alpha1.AttemptUpgrade, Phase: v1alpha1.PhaseRunning, Base: &v1alpha1.Pinned{}, To: "1.2.0", Hops: []v1alpha1.HopStatus{{From: "1.0.0", To: "1.1.0"}, {From: "1.1.0", To: "1.2.0"}}}
	st := &v1alpha1.ClusterStatus{Applied: &v1alpha1.Pinned{Spec: v1alpha1.ClusterSpec{Version: "1.0.0"}}, Attempt: at}
	d.noteWrote(t.Context(), st)
	marks("1.0.0")
	if d.noteWrote(t.Context(), st); patches != 1 {
		t.Errorf("%d patches, want one of the claim that did not say it", patches)
	}
	at.Disrupted, refuse = true, true
	d.noteWrote(t.Context(), st)
	marks("1.0.0")
	refuse = false
	d.noteWrote(t.Context(), st) // what failed is done by the next pass
	marks("1.1.0")
	at.Phase = v1alpha1.PhaseRollingBack
	d.noteWrote(t.Context(), st)
	marks("1.1.0")
	at.Phase = v1alpha1.PhaseRolledBack
	d.noteWrote(t.Context(), st)
	marks("1.0.0")
	st.Attempt = &v1alpha1.Attempt{ID: 7, Kind: v1alpha1.AttemptRestart, Phase: v1alpha1.PhaseRunning, To: "1.0.0"}
	d.noteWrote(t.Context(), st)
	anew := &corev1.PersistentVolumeClaim{}
	fatal(t, api.Get(t.Context(), client.ObjectKeyFromObject(claimOf("kv-standin-1", "", "")), anew))
	anew.Annotations = nil
	fatal(t, api.Update(t.Context(), anew)) // as the workload's controller makes one
	st.Attempt.Phase = v1alpha1.PhaseSucceeded
	d.noteWrote(t.Context(), st) // the same version, and the end of an attempt
	marks("1.0.0")
	first := &v1alpha1.Attempt{Kind: v1alpha1.AttemptCreate, Phase: v1alpha1.PhaseRunning, To: "1.2.0", Wrote: []string{"1.1.0", "1.2.0"}}
	d.noteWrote(t.Context(), &v1alpha1.ClusterStatus{Attempt: first})
	marks("1.2.0")
}

// TestVolumesThatWereLeft: a Cluster begins with the latest version that volumes of its members say, unless it has begun.
func TestVolumesThatWereLeft(t *testing.T) {
	begun := v1alpha1.ClusterStatus{Attempt: &v1alpha1.Attempt{}}
	for _, tt := range []struct {
		what, want string
		status     v1alpha1.ClusterStatus
		claims     []client.Object
	}{
		{what: "none"},
		{what: "of an earlier cluster", claims: []client.Object{claimOf("kv-standin-0", key.Name, "1.1.0"), claimOf("kv-standin-1", key.Name, "1.0.0"), claimOf("kv-standin-2", key.Name, "")}, want: "1.1.0"},
		{what: "of another cluster", claims: []client.Object{claimOf("other-standin-0", "other", "1.1.0")}},
		{what: "begun", status: begun, claims: []client.Object{claimOf("kv-standin-0", key.Name, "1.1.0")}},
		{what: "that somebody deleted", status: v1alpha1.ClusterStatus{Filled: "1.1.0"}},
		{what: "that a restore filled", status: v1alpha1.ClusterStatus{Filled: "1.1.0"}, claims: []client.Object{claimOf("kv-standin-0", key.Name, "")}, want: "1.1.0"},
	} {
		api := fakeAPI(t, tt.claims...)
		c := &v1alpha1.Cluster{}
		fatal(t, api.Get(t.Context(), key, c))
		c.Status = tt.status
		fatal(t, api.Status().Update(t.Context(), c))
		r := &Reconciler{API: api, Live: api, Shipped: shipped}
		fatal(t, r.driverOf(key, c.UID).foundWritten(t.Context(), api, c))
		fatal(t, api.Get(t.Context(), key, c))
		if c.Status.Filled != tt.want {
			t.Errorf("%s: it begins with %q, want %q", tt.what, c.Status.Filled, tt.want)
		}
	}
}
