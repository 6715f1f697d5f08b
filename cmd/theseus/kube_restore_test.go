package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"theseus.dev/api/v1alpha1"
)

const newCluster = `apiVersion: theseus.dev/v1alpha1
kind: Cluster
metadata: {name: si2}
spec:
  system: standin
  version: 1.1.0
  components: {standin: {replicas: 3, storage: 1Gi}}
  backup: {url: "file:///backups", claim: backups}
`

// archive is a town with a Backup, and an operator that restores it as end says.
type archive struct {
	*town
	t      *testing.T
	wrote  []string // what was written, in order; a dry run in brackets
	refuse string   // what the API server refuses
	end    string   // the condition that the Restore comes to
	reads  int      // of the Restore
	looks  int      // at the Cluster
	on     func()   // called when the Restore was read for the second time
}

func newArchive(t *testing.T) *archive {
	t.Helper()
	w := &archive{t: t, end: v1alpha1.ConditionFinished}
	b := &v1alpha1.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "b"}, Spec: v1alpha1.BackupSpec{Cluster: "si"},
		Status: v1alpha1.BackupStatus{Version: "1.0.0", System: &v1alpha1.SystemRef{Name: "standin"}}}
	meta.SetStatusCondition(&b.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionFinished, Status: metav1.ConditionTrue})
	w.town = newTown(t, interceptor.Funcs{Create: w.create, Apply: w.apply, Delete: w.delete, Get: w.get}, b)
	return w
}

// note remembers a write, and says whether the API server does it.
func (w *archive) note(what string, dry bool) (bool, error) {
	if dry {
		what = "(" + what + ")"
	}
	w.wrote = append(w.wrote, what)
	if what == w.refuse {
		return false, apierrors.NewBadRequest("no " + what)
	}
	return !dry, nil
}

func (w *archive) create(ctx context.Context, api client.WithWatch, o client.Object, options ...client.CreateOption) error {
	do, err := w.note("create Restore", slices.Contains(options, client.CreateOption(client.DryRunAll)))
	if !do {
		return err
	}
	return api.Create(ctx, o, options...)
}

func (w *archive) apply(ctx context.Context, api client.WithWatch, o runtime.ApplyConfiguration, options ...client.ApplyOption) error {
	do, err := w.note("apply Cluster", slices.Contains(options, client.ApplyOption(client.DryRunAll)))
	if !do {
		return err
	}
	return api.Apply(ctx, o, options...)
}

func (w *archive) delete(ctx context.Context, api client.WithWatch, o client.Object, options ...client.DeleteOption) error {
	w.wrote = append(w.wrote, "delete Restore")
	return api.Delete(ctx, o)
}

// get is what the operator has done by then: the Restore first, and then the Cluster.
func (w *archive) get(ctx context.Context, api client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
	err := api.Get(ctx, key, o, options...)
	switch o := o.(type) {
	case *v1alpha1.Restore:
		if w.reads++; w.reads == 2 && w.on != nil {
			w.on()
		}
		if err == nil && w.reads == 1 {
			meta.SetStatusCondition(&o.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionStarted, Status: metav1.ConditionTrue, Message: "1 of 3 volumes are filled"})
		} else if err == nil && w.end != "" {
			meta.SetStatusCondition(&o.Status.Conditions, metav1.Condition{Type: w.end, Status: metav1.ConditionTrue, Message: "it came to " + w.end})
		}
	case *v1alpha1.Cluster:
		if err == nil && w.reads == 0 {
			w.t.Error("the Cluster was watched before the Restore")
		}
		if err == nil {
			w.looks++
		}
		if w.looks == 1 { // held, as the Restore leaves it
			set(o, v1alpha1.ConditionRestoring, metav1.ConditionTrue, "Restoring", "its volumes are filled")
		} else if err == nil {
			done := applied(w.t, running("1.1.0"))
			done.Status.ObservedGeneration = o.Generation
			o.Status = done.Status
		}
	}
	return err
}

// run is theseus restore at this API server.
func (w *archive) run(ctx context.Context, from stored) error {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "si2.yaml")
	if err := os.WriteFile(file, []byte(newCluster), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return w.restoreAt(ctx, w.namespace, file, from)
}

func TestRestoreOnKubernetes(t *testing.T) {
	w := newArchive(t)
	if err := w.run(t.Context(), stored{name: "b"}); err != nil {
		t.Fatal(err)
	}
	if want := "(create Restore), (apply Cluster), create Restore, apply Cluster"; strings.Join(w.wrote, ", ") != want {
		t.Errorf("wrote %q, want %s", w.wrote, want)
	}
	for _, want := range []string{"the backup was taken at 1.0.0 and si2 runs 1.1.0", "1 of 3 volumes are filled", "it came to Finished"} {
		if !strings.Contains(w.err.String(), want) {
			t.Errorf("it was not said that %q:\n%s", want, w.err.String())
		}
	}
	if !strings.Contains(w.out.String(), "si2 runs 1.1.0, 3 of 3 members ready") {
		t.Errorf("the result is %q", w.out.String())
	}
	restores := &v1alpha1.RestoreList{}
	if err := w.api.List(t.Context(), restores); err != nil || len(restores.Items) != 1 || restores.Items[0].Spec.Backup != "b" || restores.Items[0].Spec.Cluster != "si2" {
		t.Errorf("got %v, %+v, want a Restore of b into si2", err, restores.Items)
	}
	err := w.run(t.Context(), stored{name: "b"})
	if codeOf(err) != exitInput || !strings.Contains(err.Error(), "nothing is restored over a cluster that exists") {
		t.Errorf("over a cluster that exists: got %v", err)
	}
}

func TestRestoreRefused(t *testing.T) {
	tests := []struct {
		what   string
		from   stored
		refuse string
		wrote  string
		says   string
	}{
		{"no name", stored{}, "", "", "--from: name the backup"},
		{"no such Backup", stored{name: "c"}, "", "", "there is no such Backup in namespace prod"},
		{"a Backup's name with a place", stored{name: "b", url: "s3://x"}, "", "", "backup name"},
		{"the Restore", stored{name: "b"}, "(create Restore)", "(create Restore)", "no (create Restore)"},
		{"the Cluster", stored{name: "b"}, "(apply Cluster)", "(create Restore), (apply Cluster)", "no (apply Cluster)"},
		{"the Cluster after the Restore was made", stored{name: "b"}, "apply Cluster", "(create Restore), (apply Cluster), create Restore, apply Cluster, delete Restore", "no apply Cluster"},
	}
	for _, test := range tests {
		t.Run(test.what, func(t *testing.T) {
			w := newArchive(t)
			w.refuse = test.refuse
			err := w.run(t.Context(), test.from)
			if codeOf(err) != exitInput || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got exit code %d, %v; want a refusal with %q", codeOf(err), err, test.says)
			}
			if got := strings.Join(w.wrote, ", "); got != test.wrote {
				t.Errorf("wrote %s, want %s", got, test.wrote)
			}
			restores := &v1alpha1.RestoreList{}
			if err := w.api.List(t.Context(), restores); err != nil || len(restores.Items) > 0 {
				t.Errorf("%d Restores are left (%v)", len(restores.Items), err)
			}
		})
	}
}

// TestRestoreEnds: a Restore that fails, and Ctrl-C, leave both objects.
func TestRestoreEnds(t *testing.T) {
	for end, want := range map[string]struct {
		code int
		says string
		next string
	}{
		v1alpha1.ConditionFailed: {exitFailed, "it came to Failed", "theseus down si2 --delete-data --namespace prod"},
		"":                       {exitWaiting, "the operator goes on by itself", "to watch again: theseus status si2 --watch --namespace prod"},
	} {
		t.Run("end "+end, func(t *testing.T) {
			w := newArchive(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if w.end = end; end == "" {
				w.on = func() { cancel() }
			}
			err := w.run(ctx, stored{name: "b"})
			var e *exitError
			if codeOf(err) != want.code || !errors.As(err, &e) || !strings.Contains(err.Error(), want.says) || !strings.Contains(e.next, want.next) {
				t.Errorf("got %v (exit code %d), then %q; want %q and %q", err, codeOf(err), e.next, want.says, want.next)
			}
			if got := w.wrote[len(w.wrote)-1]; got != "apply Cluster" {
				t.Errorf("the last write was %q", got)
			}
		})
	}
}

// TestPlaceAt: how a place is reached is said by the new cluster's own, if it is one of the same sort.
func TestPlaceAt(t *testing.T) {
	own := &v1alpha1.BackupPlace{URL: "s3://a/b", Secret: &v1alpha1.SecretKey{Name: "s3"}}
	if got := placeAt("s3://c/d", own); got.URL != "s3://c/d" || got.Secret == nil || got.Secret.Name != "s3" {
		t.Errorf("another bucket: got %+v", got)
	}
	if got := placeAt("gs://c", own); got.URL != "gs://c" || got.Secret != nil {
		t.Errorf("another cloud: got %+v", got)
	}
}

// TestRestoreIntoAnOlderVersion: the file of a cluster that was upgraded by a patch says the version at which it began.
func TestRestoreIntoAnOlderVersion(t *testing.T) {
	w := newArchive(t)
	b := &v1alpha1.Backup{}
	if err := w.api.Get(t.Context(), client.ObjectKey{Namespace: "prod", Name: "b"}, b); err != nil {
		t.Fatal(err)
	}
	b.Status.Version = "1.2.0"
	if err := w.api.Update(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	err := w.run(t.Context(), stored{name: "b"})
	if codeOf(err) != exitInput || !strings.Contains(err.Error(), `"1.1.0" is older than 1.2.0, at which the backup was taken`) {
		t.Errorf("got %v", err)
	}
	if len(w.wrote) > 0 {
		t.Errorf("wrote %q, want nothing", w.wrote)
	}
}
