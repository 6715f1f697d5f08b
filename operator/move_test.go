package operator

import (
	"context"
	"errors"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/runner/runnertest"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// stores is a StatefulSet as the Pravega operator made it for 0.6.
func stores() *appsv1.StatefulSet {
	set := theirs("")
	set.Name, set.UID, set.Generation = "kv-pravega-segmentstore", "uid-of-old", 1
	set.Annotations = map[string]string{"meta.helm.sh/release-name": "bar"}
	set.OwnerReferences = []metav1.OwnerReference{{APIVersion: "pravega.pravega.io/v1beta1", Kind: "PravegaCluster", Name: "bar", UID: "uid-of-bar"}}
	set.Spec.ServiceName = "kv-pravega-segmentstore-headless"
	set.Spec.Template.Spec.Containers = []corev1.Container{{Name: "segmentstore", Image: "pravega/pravega:0.6.2",
		Env: []corev1.EnvVar{{Name: "TIER2", Value: "nfs"}, {Name: "JAVA_OPTS", Value: "-Xmx1g"}}}}
	set.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "cache"}}}
	return set
}

// moving is a Cluster in the hop from 0.6.2 to 0.7.0, with what the API server has of it.
func moving(t *testing.T, more ...client.Object) (client.WithWatch, *v1alpha1.Cluster, *system.System) {
	t.Helper()
	sys, err := shipped("pravega")
	fatal(t, err)
	c := kv()
	c.Spec = v1alpha1.ClusterSpec{System: "pravega", Version: "0.6.2", Components: map[string]v1alpha1.ComponentSpec{
		"segmentstore": {Adopt: &v1alpha1.Adopt{StatefulSet: "kv-pravega-segmentstore", Mode: v1alpha1.AdoptVersion}}}}
	scheme, err := Scheme()
	fatal(t, err)
	api := fake.NewClientBuilder().WithScheme(scheme).WithObjects(c, stores()).WithObjects(more...).WithStatusSubresource(&v1alpha1.Cluster{}).WithReturnManagedFields().Build()
	fatal(t, See(t.Context(), api, sys, c))
	base := v1alpha1.Pinned{Spec: *c.Spec.DeepCopy(), System: v1alpha1.SystemRef{Hash: sys.Hash()}}
	target := *base.DeepCopy()
	target.Spec.Version, target.Spec.Options = "0.7.0", map[string]string{"segmentStoreHeap": "4g", "segmentStoreDirectMemory": "12g"}
	path, err := sys.Path("0.6.2", "0.7.0")
	fatal(t, err)
	m := path[0].Rules.Moves[0]
	to, err := sys.MoveTo(&m, c.Name, "0.6.2", &target)
	fatal(t, err)
	c.Status.Attempt = &v1alpha1.Attempt{ID: 1, Phase: v1alpha1.PhaseRunning, Kind: v1alpha1.AttemptUpgrade, From: "0.6.2", To: "0.7.0", Base: &base, Target: target,
		Hops: []v1alpha1.HopStatus{{From: "0.6.2", To: "0.7.0", Edge: int32(path[0].Edge), Moves: []v1alpha1.HopMove{
			{Component: m.Component, From: "kv-pravega-segmentstore", To: to, By: *m.By, Claims: m.Claims, Env: m.Env}}}}}
	return api, c, sys
}

func sceneOf(c *v1alpha1.Cluster, sys *system.System) runner.Scene {
	return runner.Scene{Cluster: c, System: sys, Systems: map[string]*system.System{sys.Hash(): sys}}
}

func platformOf(t *testing.T, api client.Client, c *v1alpha1.Cluster) *Platform {
	t.Helper()
	p := &Platform{API: api, Live: api, Key: client.ObjectKeyFromObject(c), Identity: "test", Runs: &Runs{}}
	t.Cleanup(p.Close)
	return p
}

// controllers do what Kubernetes does to StatefulSets: a changed spec is another generation, which is seen. Pods are not made.
type controllers struct {
	api  client.Client
	last map[types.UID]appsv1.StatefulSetSpec
}

func (k *controllers) turn(t *testing.T) {
	t.Helper()
	list := &appsv1.StatefulSetList{}
	fatal(t, k.api.List(t.Context(), list))
	for i := range list.Items {
		set := &list.Items[i]
		if set.UID == "" {
			set.UID = types.UID("uid-of-" + set.Name)
		}
		if last, known := k.last[set.UID]; known && equality.Semantic.DeepEqual(last, set.Spec) {
			continue
		}
		k.last[set.UID] = *set.Spec.DeepCopy()
		set.Generation++
		fatal(t, k.api.Update(t.Context(), set))
		set.Status.ObservedGeneration, set.Status.Replicas = set.Generation, *set.Spec.Replicas
		fatal(t, k.api.Status().Update(t.Context(), set))
	}
}

func TestMoves(t *testing.T) {
	runnertest.Moves(t, func(t *testing.T) runnertest.MovesWorld {
		api, c, sys := moving(t)
		k := &controllers{api, map[types.UID]appsv1.StatefulSetSpec{}}
		return runnertest.MovesWorld{Cluster: c, System: sys, Turn: k.turn,
			Driver: func(t *testing.T) runner.Platform { return platformOf(t, api, c) }}
	})
}

// makeMoved makes the new StatefulSet and returns it.
func makeMoved(t *testing.T, api client.Client, c *v1alpha1.Cluster, sys *system.System) (*appsv1.StatefulSet, error) {
	t.Helper()
	target := upgrade.TargetOf(sys, c.Status.Attempt)
	m := c.Status.Attempt.Hops[0].Moves[0]
	err := platformOf(t, api, c).Do(t.Context(), sceneOf(c, sys), v1alpha1.Intent{Act: v1alpha1.ActConfigure, Component: m.Component, Workload: m.To, Version: "0.7.0",
		Revision: sys.Revision(target, m.Component, "0.7.0")}, target)
	set := &appsv1.StatefulSet{}
	if err == nil {
		fatal(t, api.Get(t.Context(), client.ObjectKey{Namespace: c.Namespace, Name: m.To}, set))
	}
	return set, err
}

// TestMovedSet looks at what the new StatefulSet is made of.
func TestMovedSet(t *testing.T) {
	api, c, sys := moving(t)
	set, err := makeMoved(t, api, c, sys)
	fatal(t, err)
	old := stores()
	if len(set.OwnerReferences) > 0 || len(set.Annotations) != 1 || set.Labels[clusterLabel] != "kv" {
		t.Errorf("it is %+v", set.ObjectMeta)
	}
	if set.Name != "kv-pravega-segment-store" || set.Spec.ServiceName != old.Spec.ServiceName || *set.Spec.Replicas != 0 || len(set.Spec.VolumeClaimTemplates) != 1 {
		t.Errorf("it is %s with %+v", set.Name, set.Spec)
	}
	if set.Spec.Template.Labels["app"] != "shop" {
		t.Errorf("no service that selected the old pods selects those with %v", set.Spec.Template.Labels)
	}
	selector, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
	fatal(t, err)
	if selector.Matches(labels.Set(old.Spec.Template.Labels)) || !selector.Matches(labels.Set(set.Spec.Template.Labels)) {
		t.Errorf("the selector %s selects others than its own", selector)
	}
	member := set.Spec.Template.Spec.Containers[0]
	env := map[string]string{}
	for _, e := range member.Env {
		env[e.Name] = e.Value
	}
	if member.Image != "pravega/pravega:0.7.0" || env["TIER2"] != "nfs" || !strings.Contains(env["JAVA_OPTS"], "-Xmx4g -XX:MaxDirectMemorySize=12g") || strings.Contains(env["JAVA_OPTS"], "-Xmx1g") {
		t.Errorf("its member is %+v", member)
	}
}

// TestMadeLike keeps the sum of a template that was made from another one, until somebody edits it.
func TestMadeLike(t *testing.T) {
	api, c, sys := moving(t)
	set, err := makeMoved(t, api, c, sys)
	fatal(t, err)
	seen := func() string {
		done := c.DeepCopy()
		done.Status.Applied, done.Status.Attempt = upgrade.TargetOf(sys, c.Status.Attempt), nil
		fatal(t, See(t.Context(), api, sys, done))
		return done.Spec.Components["segmentstore"].Adopt.Template
	}
	if got, want := seen(), c.Spec.Components["segmentstore"].Adopt.Template; got != want || want == "" {
		t.Errorf("its template is %s, and that of the old one %s", got, want)
	}
	set.Spec.Template.Spec.Containers[0].Env[0].Value = "hdfs"
	fatal(t, api.Update(t.Context(), set))
	if got := seen(); got == c.Spec.Components["segmentstore"].Adopt.Template {
		t.Error("somebody edited it, and nobody sees that")
	}
}

// TestMovingLook tells the pods of both StatefulSets apart, though both have labels that the old one selects.
func TestMovingLook(t *testing.T) {
	api, c, sys := moving(t, madeOf(t, stores(), "kv-pravega-segmentstore-1", "old")...)
	set, err := makeMoved(t, api, c, sys)
	fatal(t, err)
	set.UID = "uid-of-new"
	fatal(t, api.Update(t.Context(), set))
	for _, o := range madeOf(t, set, "kv-pravega-segment-store-0", "new") {
		fatal(t, api.Create(t.Context(), o))
	}
	got := map[string]upgrade.Member{}
	for _, m := range lookAt(t, platformOf(t, api, c), sceneOf(c, sys)).Members {
		if m.View.Component == "segmentstore" {
			got[m.View.Name] = m
		}
	}
	old, next := got["kv-pravega-segmentstore-1"], got["kv-pravega-segment-store-0"]
	if len(got) != 4 || old.Workload != "kv-pravega-segmentstore" || old.View.Version != "0.6.2" || next.Workload != "kv-pravega-segment-store" || next.View.Version != "0.7.0" {
		t.Errorf("got %+v", got)
	}
	if target := upgrade.TargetOf(sys, c.Status.Attempt); next.Revision != sys.Revision(target, "segmentstore", "0.7.0") {
		t.Errorf("the new one has the revision %s, and the core wants another", next.Revision)
	}
	if next.View.Host != "kv-pravega-segment-store-0.kv-pravega-segmentstore-headless.team.svc" {
		t.Errorf("it is reached at %s", next.View.Host)
	}
}

func TestMoveToWhatIsThere(t *testing.T) {
	theirs := stores()
	theirs.Name, theirs.UID = "kv-pravega-segment-store", "uid-of-another"
	api, c, sys := moving(t, theirs)
	if got := lookAt(t, platformOf(t, api, c), sceneOf(c, sys)).Blocked["segmentstore"]; !strings.Contains(got, "StatefulSet kv-pravega-segment-store, which somebody else made: delete it") {
		t.Errorf("blocked: %q", got)
	}
	if _, err := makeMoved(t, api, c, sys); err == nil || !strings.Contains(err.Error(), "somebody else made") {
		t.Errorf("it was taken: %v", err)
	}
}

// TestShrinkAsksBudgets asks those that want a number of members; Kubernetes asks none when a StatefulSet shrinks.
func TestShrinkAsksBudgets(t *testing.T) {
	least := intstr.FromInt32(2)
	budget := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "hands-off"},
		Spec:   policyv1.PodDisruptionBudgetSpec{MinAvailable: &least, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "shop"}}},
		Status: policyv1.PodDisruptionBudgetStatus{CurrentHealthy: 3}}
	api, c, sys := moving(t, budget)
	shrink := func(after int32) error {
		p, s := platformOf(t, api, c), sceneOf(c, sys)
		w := lookAt(t, p, s).Workloads["segmentstore"][0]
		return p.Do(t.Context(), s, v1alpha1.Intent{Act: v1alpha1.ActShrink, Component: "segmentstore", Workload: w.Name, Incarnation: w.Incarnation, Before: 3, After: after}, nil)
	}
	if err := shrink(1); err == nil || !strings.Contains(err.Error(), "PodDisruptionBudget hands-off") {
		t.Errorf("got %v, want the budget's name", err)
	}
	fatal(t, shrink(2))
}

// TestRemoveTakesClaims of the members that were in a StatefulSet, and no others.
func TestRemoveTakesClaims(t *testing.T) {
	var claims []client.Object
	for _, name := range []string{"cache-kv-pravega-segmentstore-0", "cache-kv-pravega-segmentstore-2", "cache-kv-pravega-segment-store-0", "other-kv-pravega-segmentstore-0"} {
		claims = append(claims, &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name, Labels: stores().Spec.Selector.MatchLabels}})
	}
	claims = append(claims, &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "cache-kv-pravega-segmentstore-1"}}) // made by somebody else
	for _, rule := range []v1alpha1.ClaimRule{v1alpha1.DeleteClaims, v1alpha1.KeepClaims} {
		api, c, sys := moving(t, copies(claims)...)
		c.Status.Attempt.Hops[0].Moves[0].Claims = rule
		c.Status.Attempt.Target.Spec.Components["segmentstore"].Adopt.Moved = ""
		set := &appsv1.StatefulSet{}
		fatal(t, api.Get(t.Context(), client.ObjectKeyFromObject(stores()), set))
		p, s := platformOf(t, api, c), sceneOf(c, sys)
		lookAt(t, p, s) // which claims it
		fatal(t, api.Get(t.Context(), client.ObjectKeyFromObject(stores()), set))
		none := int32(0)
		set.Spec.Replicas = &none
		fatal(t, api.Update(t.Context(), set))
		w := lookAt(t, p, s).Workloads["segmentstore"][0]
		fatal(t, p.Do(t.Context(), s, v1alpha1.Intent{Act: v1alpha1.ActRemove, Component: "segmentstore", Workload: w.Name, Incarnation: w.Incarnation}, nil))
		left := &corev1.PersistentVolumeClaimList{}
		fatal(t, api.List(context.Background(), left))
		if want := map[v1alpha1.ClaimRule]int{v1alpha1.DeleteClaims: 3, v1alpha1.KeepClaims: 5}[rule]; len(left.Items) != want {
			t.Errorf("%s: %d claims are left, want %d", rule, len(left.Items), want)
		}
		if err := api.Get(t.Context(), client.ObjectKeyFromObject(stores()), set); err == nil {
			t.Errorf("%s: the StatefulSet is still there", rule)
		}
	}
}

// TestRemoveIsKilled between its writes: who comes then ends it, because the StatefulSet goes last.
func TestRemoveIsKilled(t *testing.T) {
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "cache-kv-pravega-segmentstore-1", Labels: stores().Spec.Selector.MatchLabels}}
	for killed := range 2 {
		api, c, sys := moving(t, copies([]client.Object{claim})...)
		s := sceneOf(c, sys)
		lookAt(t, platformOf(t, api, c), s)
		set, none := &appsv1.StatefulSet{}, int32(0)
		fatal(t, api.Get(t.Context(), client.ObjectKeyFromObject(stores()), set))
		set.Spec.Replicas = &none
		fatal(t, api.Update(t.Context(), set))
		writes := 0
		dying := interceptor.NewClient(api, interceptor.Funcs{Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			if writes++; writes > killed {
				return errKilled
			}
			return c.Delete(ctx, o, opts...)
		}})
		w := lookAt(t, platformOf(t, api, c), s).Workloads["segmentstore"][0]
		i := v1alpha1.Intent{Act: v1alpha1.ActRemove, Component: "segmentstore", Workload: w.Name, Incarnation: w.Incarnation}
		if err := platformOf(t, dying, c).Do(t.Context(), s, i, nil); !errors.Is(err, errKilled) {
			t.Fatalf("killed at write %d: %v", killed+1, err)
		}
		fatal(t, platformOf(t, api, c).Do(t.Context(), s, i, nil))
		for _, o := range []client.Object{stores(), claim} {
			if err := api.Get(t.Context(), client.ObjectKeyFromObject(o), o); err == nil {
				t.Errorf("killed at write %d: %s is still there", killed+1, o.GetName())
			}
		}
	}
}

func copies(list []client.Object) (out []client.Object) {
	for _, o := range list {
		out = append(out, o.DeepCopyObject().(client.Object))
	}
	return out
}
