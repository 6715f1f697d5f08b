package operator

import (
	"context"
	"runtime"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/system"
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
		if won, err := p.claimRun(t.Context(), c, 5, claim{Owner: "test"}); err != nil || won != want {
			t.Errorf("claiming run 5: got %v, %v; want %v", won, err, want)
		}
	}
	m := &corev1.ConfigMap{}
	fatal(t, api.Get(t.Context(), p.runsKey(), m))
	if len(m.OwnerReferences) != 1 || m.OwnerReferences[0].UID != c.UID {
		t.Errorf("the record belongs to %+v, want %s", m.OwnerReferences, c.UID)
	}
}

// TestRunOfAnotherPod: a call over the network is not made to a pod that is another one than was seen, whoever has its address now.
func TestRunOfAnotherPod(t *testing.T) {
	api := fakeAPI(t, pod())
	s := runner.Scene{Cluster: kv(), System: standin(t)}
	p := &Platform{API: api, Live: api, Key: key, Identity: "test", Runs: &Runs{}, rooms: map[string]room{"kv-standin-0": {pod: "kv-standin-0", uid: "former"}},
		seen: map[string]*system.Member{"kv-standin-0": {Name: "kv-standin-0", Component: "standin"}}}
	fatal(t, p.run(t.Context(), s, v1alpha1.Intent{ID: 1, Component: "standin", Member: "kv-standin-0", Action: system.NamedActionPath("raise")}))
	for {
		out, err := p.runOutcomes(t.Context(), s)
		fatal(t, err)
		if o := out[1]; o.Phase != upgrade.Underway {
			if o.Phase != upgrade.Failed || !strings.Contains(o.Message, "is another one than was seen") {
				t.Errorf("the outcome is %+v; want that it failed", o)
			}
			return
		}
		runtime.Gosched()
	}
}

// TestRunThatEndsBesideALook: the end of a run is written down between a look's read of the record and its question what this process knows. That is no run
// of which nobody knows.
func TestRunThatEndsBesideALook(t *testing.T) {
	c, runs, mine := kv(), &Runs{}, claim{Owner: "test"}
	mine.Cluster = c.UID
	api := fakeAPI(t)
	p := &Platform{API: api, Live: api, Key: key, Identity: "test", Runs: runs}
	if won, err := p.claimRun(t.Context(), c, 5, mine); err != nil || !won {
		t.Fatal(won, err)
	}
	runs.note(c.UID, 5, upgrade.Outcome{Phase: upgrade.Underway})
	looks := &Platform{Key: key, Identity: "test", Runs: runs}
	looks.Live = interceptor.NewClient(api, interceptor.Funcs{Get: func(ctx context.Context, w client.WithWatch, k client.ObjectKey, o client.Object, options ...client.GetOption) error {
		err := w.Get(ctx, k, o, options...)
		p.recordRun(ctx, 5, mine, upgrade.Outcome{Phase: upgrade.Succeeded})
		return err
	}})
	for _, want := range []upgrade.OutcomePhase{upgrade.Underway, upgrade.Succeeded} {
		if out, err := looks.runOutcomes(t.Context(), runner.Scene{Cluster: c}); err != nil || out[5].Phase != want {
			t.Errorf("the run is %+v, %v; want %s", out[5], err, want)
		}
	}
	if left := runs.of(c.UID); len(left) > 0 {
		t.Errorf("this process still remembers %v", left)
	}
}

// TestRunOfAFormerCluster ends when another one has its name and has claimed the same id: that one's run has not ended.
func TestRunOfAFormerCluster(t *testing.T) {
	api := fakeAPI(t)
	p, c := &Platform{API: api, Live: api, Key: key, Identity: "test", Runs: &Runs{}}, kv()
	former, mine := claim{Owner: "test", Cluster: "former"}, claim{Owner: "test", Cluster: c.UID}
	p.Runs.note("former", 5, upgrade.Outcome{Phase: upgrade.Underway})
	for _, id := range []int64{5, 6} {
		if won, err := p.claimRun(t.Context(), c, id, mine); err != nil || !won {
			t.Fatal(won, err)
		}
		p.Runs.note(c.UID, id, upgrade.Outcome{Phase: upgrade.Underway})
	}
	p.recordRun(t.Context(), 5, former, upgrade.Outcome{Phase: upgrade.Succeeded})
	p.recordRun(t.Context(), 7, former, upgrade.Outcome{Phase: upgrade.Succeeded})
	out, err := p.runOutcomes(t.Context(), runner.Scene{Cluster: c})
	if err != nil || len(out) != 2 || out[5].Phase != upgrade.Underway || out[6].Phase != upgrade.Underway {
		t.Errorf("the runs are %+v, %v; want both under way", out, err)
	}
}
