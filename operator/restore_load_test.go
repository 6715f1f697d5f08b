package operator

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
)

// loads are stories of Restores into members that run.
var loads = map[string]story{
	"a restore into members": {
		objects:   func(*world) []client.Object { return toLoad(restoreOf("r")) },
		invariant: startsMembers,
		end: func(w *world) {
			x := w.wantRestore("r", v1alpha1.ConditionFinished, "the members of Cluster new have the data of "+stored)
			if len(x.Status.Members) != 2 || x.Status.Version != "1.0.0" || x.Status.ClusterUID != "new-uid" {
				w.Errorf("its status is %+v", x.Status)
			}
			w.wantLoading("")
			w.wantSecrets("cloud")
			w.wantLoads(1)
		},
	},
	"a restore into members that fails": {
		objects:   func(*world) []client.Object { return toLoad(restoreOf("r")) },
		fails:     func(*batchv1.Job) bool { return true },
		invariant: startsMembers,
		end: func(w *world) {
			w.wantRestore("r", v1alpha1.ConditionFailed, "the data of Cluster new is not complete: delete it with its volumes, and make it and a Restore anew; member new-standin-0: it was to fail")
			w.wantLoading("Restore r failed: the data of Cluster new is not complete")
			w.wantSecrets("cloud")
			w.wantLoads(1)
		},
	},
	"a restore into members that fails, and another one": {
		objects: func(*world) []client.Object { return toLoad(restoreOf("r")) },
		fails:   func(*batchv1.Job) bool { return true },
		invariant: func(w *world) {
			startsMembers(w)
			if c := w.new(); c.Status.Loading != nil && c.Status.Loading.Failed != "" && !w.there(restoreOf("r2")) {
				w.put(restoreOf("r2"))
			}
		},
		end: func(w *world) {
			w.wantRestore("r2", v1alpha1.ConditionFailed, "the Restore r writes into the members of Cluster new, or has tried to")
			w.wantLoading("Restore r failed")
			w.wantLoads(1)
		},
	},
	"a restore into members whose cluster is made anew before they are ready": {
		objects: func(*world) []client.Object { return toLoad(restoreOf("r")) },
		invariant: func(w *world) {
			startsMembers(w)
			if c := w.new(); c.Status.Attempt != nil && c.UID == "new-uid" {
				w.anew(c)
			}
		},
		end: func(w *world) {
			x := w.wantRestore("r", v1alpha1.ConditionFailed, "the Cluster new that it was for is gone, and another one has its name")
			if text := meta.FindStatusCondition(x.Status.Conditions, v1alpha1.ConditionFailed).Message; strings.Contains(text, "delete it") {
				w.Errorf("who reads %q deletes the wrong Cluster", text)
			}
			w.wantLoading("")
			w.wantLoads(0)
		},
	},
	"a restore into members whose cluster is made anew when they are ready": {
		objects: func(*world) []client.Object {
			objects := toLoad(restoreOf("r"))
			objects[2].(*v1alpha1.Backup).Status.Place = &v1alpha1.BackupPlace{URL: "file:///backups", Claim: "backups"} // a Job with a copy of a secret goes in any case
			return objects
		},
		invariant: func(w *world) {
			startsMembers(w)
			if c := w.new(); c.Status.Applied != nil && c.UID == "new-uid" && w.there(w.load()) {
				w.anew(c)
			}
		},
		end: func(w *world) {
			w.wantRestore("r", v1alpha1.ConditionFailed, "another one has its name")
			w.wantLoading("")
			w.wantLoads(0)
			w.wantNothing(&batchv1.JobList{})
		},
	},
	"a restore into members whose Job is gone": {
		objects: func(*world) []client.Object { return toLoad(restoreOf("r")) },
		invariant: func(w *world) {
			startsMembers(w)
			if l := w.new().Status.Loading; l != nil && l.Begun != nil && w.there(w.load()) {
				w.must(w.api.Delete(w.Context(), w.load()))
			}
		},
		end: func(w *world) {
			w.wantRestore("r", v1alpha1.ConditionFailed, "its Job is gone before it said how it went")
			w.wantLoading("Restore r failed")
			w.wantLoads(0)
		},
	},
	"a restore into members that is taken back before they are ready": {
		objects: func(*world) []client.Object { return toLoad(restoreOf("r")) },
		invariant: func(w *world) {
			startsMembers(w)
			if w.new().Status.Loading != nil && w.there(restoreOf("r")) {
				w.must(w.api.Delete(w.Context(), restoreOf("r")))
			}
		},
		end: func(w *world) { w.wantLoading(""); w.wantLoads(0) },
	},
	"a restore into members that is deleted when it has begun": {
		objects: func(*world) []client.Object { return toLoad(restoreOf("r")) },
		invariant: func(w *world) {
			startsMembers(w)
			if l := w.new().Status.Loading; l != nil && l.Begun != nil && w.there(restoreOf("r")) {
				w.must(w.api.Delete(w.Context(), restoreOf("r")))
				w.collect()
			}
		},
		end: func(w *world) { w.wantLoading("Restore r is gone before it said how it went"); w.wantLoads(0) },
	},
	"a restore into members over a volume with data": {
		objects:   func(*world) []client.Object { return append(toLoad(restoreOf("r")), volume("new-standin-1", "")) },
		invariant: startsMembers,
		end: func(w *world) {
			w.wantRestore("r", v1alpha1.ConditionFailed, "volume data-new-standin-1 is there already and may hold data")
			w.wantLoading("")
			w.wantLoads(0)
		},
	},
	"a restore into members that are adopted": {
		objects: func(*world) []client.Object {
			objects := toLoad(restoreOf("r"))
			c := objects[3].(*v1alpha1.Cluster)
			c.Spec.Components["standin"] = v1alpha1.ComponentSpec{Adopt: &v1alpha1.Adopt{StatefulSet: "old", Mode: v1alpha1.AdoptVersion}}
			return objects
		},
		end: func(w *world) {
			w.wantRestore("r", v1alpha1.ConditionFailed, "name a cluster without adopt")
			w.wantLoading("")
			w.wantLoads(0)
		},
	},
}

// toLoad are a System like the stand-in's that restores into members, a key, a backup, an empty Cluster, and a Restore.
func toLoad(x *v1alpha1.Restore) []client.Object {
	sys, err := shipped("standin")
	if err != nil {
		panic(err)
	}
	loader := sys.API().DeepCopy()
	loader.Name, loader.UID = "loader", "loader-uid"
	loader.Restore = &v1alpha1.RestoreMethod{Into: v1alpha1.IntoMembers, Run: []string{"load", "${m.host}", "${file}"}}
	c := empty().(*v1alpha1.Cluster)
	c.Spec.System = "loader"
	return []client.Object{loader, secret("team"), taken(), c, x}
}

// startsMembers is what a driver makes of the new Cluster: it begins when nothing holds it, and has all members ready one round later. It wants a Job to work for
// the Cluster that noted it only.
func startsMembers(w *world) {
	w.Helper()
	if job := w.load(); w.there(job) && !suspended(job) && !finished(job) {
		if l := w.new().Status.Loading; l == nil || l.UID != "r-uid" || l.Begun == nil {
			w.Errorf("a Job works, and the Cluster notes %+v", l)
		}
	}
	at := client.ObjectKey{Namespace: key.Namespace, Name: "new"}
	c, _, err := (&State{API: w.api, Live: w.api, Key: at}).Load(w.Context())
	if errors.As(err, new(*heldError)) {
		return
	}
	w.must(err)
	h, err := (&Reconciler{Live: w.api}).held(w.Context(), c)
	w.must(err)
	switch {
	case fresh(c) && h.why != "":
		return
	case c.Status.Attempt == nil:
		w.begin(c)
	case !c.Status.Attempt.Phase.Ended():
		c.Status.Applied, c.Status.Attempt.Phase = c.Status.Attempt.Target.DeepCopy(), v1alpha1.PhaseSucceeded
	default:
		return
	}
	w.must(w.api.Status().Update(w.Context(), c))
}

// begin starts the members, which answer.
func (w *world) begin(c *v1alpha1.Cluster) {
	w.Helper()
	sys, err := (&Library{API: w.api, Live: w.api, Shipped: shipped}).Known(w.Context(), c.Spec.System)
	w.must(err)
	c.Status.Attempt = &v1alpha1.Attempt{ID: 1, Kind: v1alpha1.AttemptCreate, Phase: v1alpha1.PhaseRunning,
		Target: v1alpha1.Pinned{System: v1alpha1.SystemRef{Name: sys.Name(), Hash: sys.Hash()}, Spec: c.Spec}}
	for _, name := range []string{"new-standin-0", "new-standin-1"} {
		p := pod().(*corev1.Pod)
		p.Name, p.UID, p.Labels = name, "", selectorOf("new", "standin")
		w.put(p)
	}
}

// anew deletes a Cluster, with its pods, and makes another one of its name.
func (w *world) anew(c *v1alpha1.Cluster) {
	w.Helper()
	w.must(w.api.Delete(w.Context(), c))
	w.must(w.api.DeleteAllOf(w.Context(), &corev1.Pod{}, client.InNamespace(key.Namespace), OfCluster("new")))
	next := empty().(*v1alpha1.Cluster)
	next.Spec.System, next.UID = "loader", "another-uid"
	w.put(next)
}

func (w *world) new() *v1alpha1.Cluster {
	w.Helper()
	c := &v1alpha1.Cluster{}
	w.must(w.api.Get(w.Context(), client.ObjectKey{Namespace: key.Namespace, Name: "new"}, c))
	return c
}

// load is the Job of the Restore r, where there is one.
func (w *world) load() *batchv1.Job {
	w.Helper()
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: jobName("restore", "r-uid")}}
	w.must(client.IgnoreNotFound(w.api.Get(w.Context(), client.ObjectKeyFromObject(job), job)))
	return job
}

func (w *world) there(o client.Object) bool {
	w.Helper()
	err := w.api.Get(w.Context(), client.ObjectKeyFromObject(o), o)
	if !apierrors.IsNotFound(err) {
		w.must(err)
	}
	return err == nil
}

// wantLoading wants the new Cluster to say why the restore into its members does not go on, or, with no words, to be one like any other.
func (w *world) wantLoading(failed string) {
	w.Helper()
	c := w.new()
	if err := refuseHeld(c); err != nil && !fresh(c) {
		w.Errorf("nobody may drive the Cluster, which has members: %v", err)
	}
	l := c.Status.Loading
	if (l == nil) != (failed == "") || l != nil && !strings.Contains(l.Failed, failed) {
		w.Errorf("the Cluster notes %+v, want that it failed because %q", l, failed)
	}
}

// wantLoads wants so many Jobs to have been run: each once, in the whole group, with a member that is written to.
func (w *world) wantLoads(n int) {
	w.Helper()
	w.wantRan(restoreContainer, n)
	for _, ran := range w.ran {
		o := RestoreOrder{}
		fatal(w.T, json.Unmarshal([]byte(strings.TrimPrefix(ran, restoreContainer+" ")), &o))
		if o.Volume != "" || o.Member.Name != "new-standin-0" || len(o.All) != 2 || o.Spec.System != "loader" {
			w.Errorf("a Job was to do %+v", o)
		}
	}
}

// TestLoadIntoAnOlderVersion: what counts is the version that the members run, and not one that is to come.
func TestLoadIntoAnOlderVersion(t *testing.T) {
	f := &filling{restore: &v1alpha1.Restore{}, cluster: empty().(*v1alpha1.Cluster), system: standin(t)}
	f.cluster.Status.Applied = &v1alpha1.Pinned{Spec: f.cluster.Spec}
	f.cluster.Spec.Version = "1.1.0" // an edit that waits for the end of the Restore
	if err := f.mayRead("1.1.0"); !errors.As(err, new(refusal)) || !strings.Contains(err.Error(), "Cluster new is to run 1.0.0, which is older") {
		t.Errorf("got %v", err)
	}
	if err := f.mayRead("1.0.0"); err != nil {
		t.Errorf("what the members can read is refused: %v", err)
	}
}
