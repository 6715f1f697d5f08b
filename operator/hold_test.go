package operator

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	kubernetesfake "k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/system"
)

// podOf is a pod of member n of kv, held if it has a hold.
func podOf(n int, revision string, h hold) *corev1.Pod {
	name := memberName("kv", "standin", n)
	t := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{revisionAnnotation: revision}}}
	h.brand(&t)
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: name, UID: types.UID("uid-" + name), Annotations: t.Annotations,
		Labels: selectorOf("kv", "standin")}, Spec: t.Spec}
}

// scene is kv in a hop over an edge of a System.
func scene(sys *system.System, edge int32, phase v1alpha1.AttemptPhase) runner.Scene {
	c := kv()
	c.Status.Attempt = &v1alpha1.Attempt{Phase: phase, Hops: []v1alpha1.HopStatus{{Edge: edge}}}
	c.Status.Attempt.Target.System.Hash = sys.Hash()
	return runner.Scene{Cluster: c, System: sys, Systems: map[string]*system.System{sys.Hash(): sys}}
}

// recreateEdge is the first edge of the stand-in that stops all members at once.
func recreateEdge(t *testing.T, sys *system.System) int32 {
	t.Helper()
	i := slices.IndexFunc(sys.API().Edges, func(e v1alpha1.Edge) bool { return e.Strategy == v1alpha1.Recreate })
	if i < 0 {
		t.Fatal("the stand-in has no edge that stops all members at once")
	}
	return int32(i) //nolint:gosec // a handful
}

func TestVolumesThatFit(t *testing.T) {
	forward, back := hold{onlyOn: "a1.h0.new."}, hold{neverOn: "a1.h0.new."}
	for _, test := range []struct {
		volume        string
		forward, back bool
	}{{"", false, true}, {"a1.h0.new.4", true, false}, {"a1.h0.old.5", false, true}, {"a0.h0.new.2", false, true}} {
		if got := forward.fits(test.volume); got != test.forward {
			t.Errorf("forward on volume %q: got %v, want %v", test.volume, got, test.forward)
		}
		if got := back.fits(test.volume); got != test.back {
			t.Errorf("back on volume %q: got %v, want %v", test.volume, got, test.back)
		}
	}
}

// While there is no claim the volume is the one that was: it is made anew only when there is another one.
func TestNameOfAVolume(t *testing.T) {
	r := renewal{Name: "new.1", Not: "first", Was: "old.0"}
	for claim, want := range map[types.UID]string{"first": "old.0", "": "old.0", "second": "new.1", "third": "new.1"} {
		if got := r.nameOf(claim); got != want {
			t.Errorf("with claim %q it is %q, want %q", claim, got, want)
		}
	}
	if got := (renewal{}).nameOf("any"); got != "" {
		t.Errorf("one that was never renewed is %q, want no name", got)
	}
}

// lifted says which of the pods have no gate after one look.
func lifted(t *testing.T, revision string, v volumes, pods ...*corev1.Pod) (free, waiting []int) {
	t.Helper()
	members, objects := map[int]*corev1.Pod{}, []client.Object{}
	for i, pod := range pods {
		members[i] = pod
		objects = append(objects, pod.DeepCopy())
	}
	api := fakeAPI(t, objects...)
	p := &Platform{API: api, Live: api, Key: key}
	for range 2 { // what is done again does nothing more
		var err error
		if waiting, err = p.lift(t.Context(), standin(t).Components()[0], revision, members, v); err != nil {
			t.Fatal(err)
		}
	}
	for i, pod := range pods {
		have := &corev1.Pod{}
		if err := api.Get(t.Context(), client.ObjectKeyFromObject(pod), have); err != nil {
			t.Fatal(err)
		}
		if !held(have) {
			free = append(free, i)
		}
	}
	slices.Sort(waiting)
	return free, waiting
}

func TestLift(t *testing.T) {
	alone, none := hold{alone: true}, hold{}
	leaving := podOf(1, "old", none)
	leaving.DeletionTimestamp, leaving.Finalizers = &metav1.Time{}, []string{"test/stays"}
	onNew := volumes{claims: map[string]types.UID{"data-kv-standin-0": "second"}, renewals: map[string]renewal{"kv-standin-0": {Name: "new.1", Not: "first"}}}
	for _, test := range []struct {
		name          string
		revision      string
		volumes       volumes
		pods          []*corev1.Pod
		free, waiting []int
	}{
		{"an old one runs", "new", volumes{}, []*corev1.Pod{podOf(0, "new", alone), podOf(1, "old", none)}, []int{1}, []int{0}},
		{"an old one ends", "new", volumes{}, []*corev1.Pod{podOf(0, "new", alone), leaving}, []int{1}, []int{0}},
		{"all old ones are gone", "new", volumes{}, []*corev1.Pod{podOf(0, "new", alone), podOf(1, "new", alone)}, []int{0, 1}, nil},
		{"some have started", "new", volumes{}, []*corev1.Pod{podOf(0, "new", alone), podOf(1, "new", none)}, []int{0, 1}, nil},
		{"the template went back", "old", volumes{}, []*corev1.Pod{podOf(0, "new", alone), podOf(1, "new", alone)}, nil, []int{0, 1}},
		{"what never started is in nobody's way", "old", volumes{}, []*corev1.Pod{podOf(0, "old", alone), podOf(1, "new", alone)}, []int{0}, []int{1}},
		{"the template is not known", "", volumes{}, []*corev1.Pod{podOf(0, "new", alone)}, nil, []int{0}},
		{"the volume is for it", "new", onNew, []*corev1.Pod{podOf(0, "new", hold{onlyOn: "new."}), podOf(1, "new", hold{onlyOn: "new."})}, []int{0}, nil},
		{"the volume is not for it", "new", onNew, []*corev1.Pod{podOf(0, "old", hold{neverOn: "new."}), podOf(1, "old", hold{neverOn: "new."})}, []int{1}, nil},
	} {
		free, waiting := lifted(t, test.revision, test.volumes, test.pods...)
		if !slices.Equal(free, test.free) || !slices.Equal(waiting, test.waiting) {
			t.Errorf("%s: may start %v, wait for others %v; want %v, %v", test.name, free, waiting, test.free, test.waiting)
		}
	}
}

// The way back of a hop that stops all at once finds pods of the new version that never started.
func TestStartReplacesWhatNeverStarted(t *testing.T) {
	for _, test := range []struct {
		name string
		pod  *corev1.Pod
		gone bool
	}{
		{"held, of another revision", podOf(0, "new", hold{alone: true}), true},
		{"held, of this one", podOf(0, "old", hold{alone: true}), false},
		{"it runs", podOf(0, "new", hold{}), false},
	} {
		sys := standin(t)
		s := scene(sys, recreateEdge(t, sys), v1alpha1.PhaseRollingBack)
		api := fakeAPI(t, test.pod)
		p := &Platform{API: api, Live: api, Key: key}
		i := v1alpha1.Intent{Act: v1alpha1.ActStart, Component: "standin", Member: test.pod.Name, Revision: "old", Version: "1.2.0"}
		if err := p.Do(t.Context(), s, i, &v1alpha1.Pinned{Spec: s.Cluster.Spec, System: v1alpha1.SystemRef{Hash: sys.Hash()}}); err != nil {
			t.Fatal(err)
		}
		err := api.Get(t.Context(), client.ObjectKeyFromObject(test.pod), &corev1.Pod{})
		if gone := apierrors.IsNotFound(err); gone != test.gone {
			t.Errorf("%s: it is gone: %v, want %v", test.name, gone, test.gone)
		}
	}
}

// Another operator may let a held pod start between the look at it and its end: what may run is not deleted.
func TestStartLeavesWhatWasLetGo(t *testing.T) {
	sys, pod := standin(t), podOf(0, "new", hold{alone: true})
	s := scene(sys, recreateEdge(t, sys), v1alpha1.PhaseRollingBack)
	live := fakeAPI(t, pod)
	api := interceptor.NewClient(live, interceptor.Funcs{Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
		fatal(t, (&Platform{API: c, Key: key}).release(ctx, pod.DeepCopy()))
		return c.Delete(ctx, o, opts...)
	}})
	p := &Platform{API: api, Live: api, Key: key}
	i := v1alpha1.Intent{Act: v1alpha1.ActStart, Component: "standin", Member: pod.Name, Revision: "old", Version: "1.2.0"}
	fatal(t, p.Do(t.Context(), s, i, &v1alpha1.Pinned{Spec: s.Cluster.Spec, System: v1alpha1.SystemRef{Hash: sys.Hash()}}))
	if err := live.Get(t.Context(), client.ObjectKeyFromObject(pod), &corev1.Pod{}); err != nil {
		t.Errorf("the pod that was let go: %v", err)
	}
}

// Where all members go, our own budget of one at a time is not asked; one of somebody else is.
func TestTakeDown(t *testing.T) {
	budget := func(name string, allowed int32) *policyv1.PodDisruptionBudget {
		return &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: name},
			Spec:   policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{clusterLabel: "kv"}}},
			Status: policyv1.PodDisruptionBudgetStatus{DisruptionsAllowed: allowed}}
	}
	for _, test := range []struct {
		budget *policyv1.PodDisruptionBudget
		want   string
	}{
		{budget("kv-standin", 0), ""},
		{budget("theirs", 2), ""},
		{budget("theirs", 1), "all 2 members go at once, and PodDisruptionBudget theirs"},
	} {
		sys := standin(t)
		pod := podOf(0, "old", hold{})
		api := fakeAPI(t, pod, podOf(1, "old", hold{}), podOf(2, "new", hold{alone: true}), test.budget)
		p := &Platform{API: api, Live: api, Key: key}
		i := v1alpha1.Intent{Act: v1alpha1.ActStop, Component: "standin", Member: pod.Name, Incarnation: string(pod.UID)}
		err := p.Do(t.Context(), scene(sys, recreateEdge(t, sys), v1alpha1.PhaseRunning), i, nil)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("budget %s allows %d: got %v, want %q", test.budget.Name, test.budget.Status.DisruptionsAllowed, err, test.want)
		}
		gone := apierrors.IsNotFound(api.Get(t.Context(), client.ObjectKeyFromObject(pod), &corev1.Pod{}))
		if gone != (test.want == "") {
			t.Errorf("budget %s allows %d: the pod is gone: %v", test.budget.Name, test.budget.Status.DisruptionsAllowed, gone)
		}
	}
}

// Members of a first start serve nobody: they are deleted, and our own budget is not asked. In an upgrade it is.
func TestFirstStartAsksNoBudget(t *testing.T) {
	for kind, deleted := range map[v1alpha1.AttemptKind]bool{v1alpha1.AttemptCreate: true, v1alpha1.AttemptUpgrade: false} {
		sys, pod := standin(t), podOf(0, "old", hold{})
		api := fakeAPI(t, pod)
		evictions := kubernetesfake.NewClientset()
		p := &Platform{API: api, Live: api, Pods: evictions, Key: key}
		s := scene(sys, -1, v1alpha1.PhaseRunning)
		s.Cluster.Status.Attempt.Kind = kind
		fatal(t, p.Do(t.Context(), s, v1alpha1.Intent{Act: v1alpha1.ActStop, Component: "standin", Member: pod.Name, Incarnation: string(pod.UID)}, nil))
		gone := apierrors.IsNotFound(api.Get(t.Context(), client.ObjectKeyFromObject(pod), &corev1.Pod{}))
		if evicted := len(evictions.Actions()) == 1; gone != deleted || evicted == deleted {
			t.Errorf("%s: deleted %v, evicted %v; want deleted %v", kind, gone, evicted, deleted)
		}
	}
}

// What budgets say is not known while they cannot be read, and that permits nothing.
func TestUnknownBudgets(t *testing.T) {
	sys, pod := standin(t), podOf(0, "old", hold{})
	live := fakeAPI(t, pod)
	api := interceptor.NewClient(live, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
		if _, is := l.(*policyv1.PodDisruptionBudgetList); is {
			return apierrors.NewServiceUnavailable("not now")
		}
		return c.List(ctx, l, opts...)
	}})
	p := &Platform{API: live, Live: api, Key: key}
	i := v1alpha1.Intent{Act: v1alpha1.ActStop, Component: "standin", Member: pod.Name, Incarnation: string(pod.UID)}
	if err := p.Do(t.Context(), scene(sys, recreateEdge(t, sys), v1alpha1.PhaseRunning), i, nil); err == nil || !strings.Contains(err.Error(), "not now") {
		t.Errorf("all members at once: got %v", err)
	}
	fatal(t, live.Get(t.Context(), client.ObjectKeyFromObject(pod), &corev1.Pod{}))
	if why := p.forbidden(t.Context(), &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace}}, 1); !strings.Contains(why, "not now") {
		t.Errorf("a StatefulSet that shrinks: got %q", why)
	}
}

// The gate is in the template for as long as the attempt lasts.
func TestLoosen(t *testing.T) {
	for _, test := range []struct {
		phase v1alpha1.AttemptPhase
		holds bool
	}{{v1alpha1.PhaseRunning, true}, {v1alpha1.PhasePaused, true}, {v1alpha1.PhaseSucceeded, false}, {v1alpha1.PhaseRolledBack, false}} {
		sys := standin(t)
		template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{revisionAnnotation: "new"}}}
		hold{onlyOn: "a1.h0.new.", alone: true}.brand(&template)
		set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: "kv-standin", Generation: 7,
			Annotations: map[string]string{appliedAnnotation: "7"}}, Spec: appsv1.StatefulSetSpec{Template: template}, Status: appsv1.StatefulSetStatus{ObservedGeneration: 7}}
		api := fakeAPI(t, set)
		p := &Platform{API: api, Live: api, Key: key}
		if _, err := p.configured(t.Context(), scene(sys, 0, test.phase), sys.Components()[0]); err != nil {
			t.Fatal(err)
		}
		have := &appsv1.StatefulSet{}
		if err := api.Get(t.Context(), client.ObjectKeyFromObject(set), have); err != nil {
			t.Fatal(err)
		}
		applied := 7
		if !test.holds {
			applied = 8
		}
		a := have.Spec.Template.Annotations
		if got := holds(&have.Spec.Template); got != test.holds || have.Annotations[appliedAnnotation] != strconv.Itoa(applied) || (a[onlyOnAnnotation] != "") != test.holds || a[revisionAnnotation] != "new" {
			t.Errorf("%s: the template holds pods: %v, want %v; annotations %v, applied %s", test.phase, got, test.holds, a, have.Annotations[appliedAnnotation])
		}
	}
}

func TestHopWithoutStorageIsRefused(t *testing.T) {
	sys, err := shipped("aerospike")
	if err != nil {
		t.Fatal(err)
	}
	edge := slices.IndexFunc(sys.API().Edges, func(e v1alpha1.Edge) bool { return len(e.RecreateVolumes) > 0 })
	for storage, refused := range map[string]bool{"": true, "1Gi": false} {
		s := scene(sys, int32(edge), v1alpha1.PhaseRunning) //nolint:gosec // a handful
		b := &blueprint{cluster: s.Cluster, system: sys, component: sys.Components()[0], version: "4.2.0.10",
			spec: &v1alpha1.ClusterSpec{Components: map[string]v1alpha1.ComponentSpec{"aerospike": {Storage: storage}}}}
		if err := checkVolumes(s, b); (err != nil) != refused || err != nil && !strings.Contains(err.Error(), "spec.components.aerospike.storage: is missing") {
			t.Errorf("storage %q: got %v, want a refusal: %v", storage, err, refused)
		}
	}
}
