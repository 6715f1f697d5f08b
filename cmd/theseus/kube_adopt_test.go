package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/operator"
)

// shop is a StatefulSet that somebody else made, with its pods. Nothing on the pods says Theseus.
func shop(version string) (*appsv1.StatefulSet, []client.Object) {
	three, yes, labels := int32(3), true, map[string]string{"app": "shop"}
	set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "shop", UID: "uid-of-shop", Labels: map[string]string{"theseus.dev/cluster": "si"}},
		Spec: appsv1.StatefulSetSpec{Replicas: &three, ServiceName: "shops", Selector: &metav1.LabelSelector{MatchLabels: labels},
			UpdateStrategy: appsv1.StatefulSetUpdateStrategy{Type: appsv1.OnDeleteStatefulSetStrategyType},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{
				{Name: "proxy", Image: "proxy:9", Ports: []corev1.ContainerPort{{Name: "client", ContainerPort: 9999}}},
				{Name: "store", Image: "lab.test/standin:" + version, Ports: []corev1.ContainerPort{{Name: "client", ContainerPort: 4321}}},
			}}}}}
	objects := []client.Object{set, // and a pod of somebody who took the same labels
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "shop-7", Labels: labels}}}
	for i := range 3 {
		name := "shop-" + strconv.Itoa(i)
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: name, Labels: labels,
			OwnerReferences: []metav1.OwnerReference{{Kind: "StatefulSet", Name: set.Name, UID: set.UID, Controller: &yes}}},
			Spec: *set.Spec.Template.Spec.DeepCopy(), Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1"}}
		pod.Spec.Hostname, pod.Spec.Subdomain = name, set.Spec.ServiceName
		objects = append(objects, pod)
	}
	return set, objects
}

// adopting is a town whose Cluster adopted a StatefulSet, and runs 1.0.0 with all done.
func adopting(t *testing.T, mode v1alpha1.AdoptMode, funcs interceptor.Funcs) *town {
	t.Helper()
	c := running("1.0.0")
	c.Spec.Components["standin"] = v1alpha1.ComponentSpec{Adopt: &v1alpha1.Adopt{StatefulSet: "shop", Mode: mode, Container: "store"}}
	if mode == v1alpha1.AdoptVersion {
		c.Spec.Components["standin"] = v1alpha1.ComponentSpec{Image: "lab.test/standin:${version}", Adopt: c.Spec.Components["standin"].Adopt}
	}
	c.Status.Members.Ready = []string{"shop-0", "shop-1", "shop-2"}
	_, objects := shop("1.0.0")
	w := newTown(t, funcs, append(objects, c)...)
	seen := c.DeepCopy()
	if err := operator.See(t.Context(), w.api, standin(t), seen); err != nil {
		t.Fatal(err)
	}
	applied(t, c).Status.Applied.Spec = seen.Spec
	if err := w.api.Status().Update(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return w
}

// TestAdoptedMembers: the members of an adopted StatefulSet are its pods, for each command that speaks of members.
func TestAdoptedMembers(t *testing.T) {
	for _, mode := range []v1alpha1.AdoptMode{v1alpha1.AdoptVersion, v1alpha1.AdoptOrder} {
		w := adopting(t, mode, interceptor.Funcs{})
		w.pods = podsLike(t, w.api)
		k := w.opened(t, "si")
		if err := k.logs(t.Context(), nil, false, 5); err != nil {
			t.Errorf("%s: logs of all: %v", mode, err)
		}
		for _, member := range []string{"shop-0", "shop-1", "shop-2"} {
			if !strings.Contains(w.out.String(), "── "+member+"\nfake logs") {
				t.Errorf("%s: the logs have none of %s:\n%s", mode, member, w.out.String())
			}
		}
		if err := k.logs(t.Context(), []string{"shop-7"}, false, 5); codeOf(err) != exitInput || !strings.Contains(err.Error(), "has no member") {
			t.Errorf("%s: logs of somebody else's pod: %v", mode, err)
		}
		members := k.at.members(t.Context())
		if len(members) != 3 || members[1].Name != "shop-1" || members[1].Component != "standin" || members[1].Ports["client"] != 4321 || members[1].Address != "shop-1.shops.prod.svc" {
			t.Errorf("%s: status shows %+v", mode, members)
		}
		r, err := k.at.reach(t.Context(), k)
		if err != nil {
			t.Fatalf("%s: probe: %v", mode, err)
		}
		if want := "http://shop-0.shops.prod.svc:4321"; len(r.endpoints) != 3 || r.endpoints[0] != want {
			t.Errorf("%s: the probe asks %q, want three like %s", mode, r.endpoints, want)
		}
		if got, err := r.resources(t.Context()); err != nil || len(got) != 3 || got[2].name != "shop-2" {
			t.Errorf("%s: the members' resources are %+v, %v", mode, got, err)
		}
	}
}

// podsLike gives logs of the pods that an API server has.
func podsLike(t *testing.T, api client.Client) *fake.Clientset {
	t.Helper()
	list := &corev1.PodList{}
	if err := api.List(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	pods := fake.NewClientset()
	for i := range list.Items {
		if err := pods.Tracker().Add(&list.Items[i]); err != nil {
			t.Fatal(err)
		}
	}
	return pods
}

// TestMovingMembers: while an upgrade moves members from one StatefulSet to another they are in both.
func TestMovingMembers(t *testing.T) {
	w := adopting(t, v1alpha1.AdoptVersion, interceptor.Funcs{})
	set, _ := shop("1.1.0")
	set.Name, set.UID = "store", "uid-of-store"
	yes := true
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "store-0", Labels: map[string]string{"app": "shop"},
		OwnerReferences: []metav1.OwnerReference{{Kind: "StatefulSet", Name: set.Name, UID: set.UID, Controller: &yes}}}}
	for _, o := range []client.Object{set, pod} {
		if err := w.api.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	c := w.opened(t, "si").cluster
	c.Status.Attempt = &v1alpha1.Attempt{Phase: v1alpha1.PhaseRunning, Base: c.Status.Applied, Target: *c.Status.Applied,
		Hops: []v1alpha1.HopStatus{{Moves: []v1alpha1.HopMove{{Component: "standin", From: "shop", To: "store"}}}}}
	c.Status.Members = v1alpha1.MemberNames{Ready: []string{"shop-0", "store-0"}, Unready: []string{"shop-1"}}
	if err := w.api.Status().Update(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	k := w.opened(t, "si")
	var got []string
	for _, m := range k.at.members(t.Context()) {
		got = append(got, m.Name)
	}
	if strings.Join(got, " ") != "shop-0 shop-1 shop-2 store-0" {
		t.Errorf("the members are %q, want those of both StatefulSets", got)
	}
	if names := k.memberNames(); strings.Join(names, " ") != "shop-0 shop-1 store-0" {
		t.Errorf("the names are %q, want those that the operator saw", names)
	}
}

// TestAdoptedDown: a Cluster that goes leaves an adopted StatefulSet alone, and down says so.
func TestAdoptedDown(t *testing.T) {
	w := adopting(t, v1alpha1.AdoptVersion, interceptor.Funcs{})
	at := w.opened(t, "si").at
	if q := at.atStake(false); !strings.Contains(q, "but those of StatefulSet shop, which it adopted") {
		t.Errorf("the question is %q, and does not say what stays", q)
	}
	if _, err := at.down(t.Context(), true); codeOf(err) != exitInput || !strings.Contains(err.Error(), "not its to delete") {
		t.Errorf("--delete-data: got %v, want a refusal", err)
	}
	d, err := at.down(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	if want := "si is deleted; adopted, and left with members and volumes: StatefulSet shop"; d.words != want || d.Stopped || !slices.Equal(d.Left, []string{"shop"}) {
		t.Errorf("down says %q (%+v), want %q", d.words, d, want)
	}
	if _, err := w.open(t.Context(), "si"); !is[*noClusterError](err) {
		t.Errorf("after down: %v, want no Cluster", err)
	}
}

// TestGiveBack: a StatefulSet that was adopted is given back by the command that down shows, and where it is as its owner wants it nothing is shown.
func TestGiveBack(t *testing.T) {
	for _, strategy := range []appsv1.StatefulSetUpdateStrategyType{appsv1.OnDeleteStatefulSetStrategyType, appsv1.RollingUpdateStatefulSetStrategyType} {
		w := adopting(t, v1alpha1.AdoptVersion, interceptor.Funcs{})
		set, key := &appsv1.StatefulSet{}, client.ObjectKey{Namespace: "prod", Name: "shop"}
		if err := w.api.Get(t.Context(), key, set); err != nil {
			t.Fatal(err)
		}
		set.Labels = map[string]string{"app": "shop", "theseus.dev/cluster": "si", "theseus.dev/component": "standin"}
		set.Annotations = map[string]string{"theseus.dev/adopted-by": "u"}
		set.Spec.UpdateStrategy.Type = strategy
		if err := w.api.Update(t.Context(), set); err != nil {
			t.Fatal(err)
		}
		code := w.types(t.Context(), "down", "si", "--yes")
		_, command, told := strings.Cut(w.err.String(), "kubectl -n prod patch statefulset shop --type=merge -p '")
		if code != exitDone || told != (strategy == appsv1.OnDeleteStatefulSetStrategyType) {
			t.Errorf("%s: exit code %d\n%s%s", strategy, code, w.out.String(), w.err.String())
		}
		if !told {
			continue
		}
		patch, _, _ := strings.Cut(command, "'")
		if err := w.api.Patch(t.Context(), set, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
			t.Fatalf("%s: %v", patch, err)
		}
		if len(set.Labels) != 1 || len(set.Annotations) > 0 || set.Spec.UpdateStrategy.Type != appsv1.RollingUpdateStatefulSetStrategyType {
			t.Errorf("given back it has labels %v, annotations %v and strategy %s", set.Labels, set.Annotations, set.Spec.UpdateStrategy.Type)
		}
	}
}

// TestAdoptedPlan: an idle cluster has nothing to do, and a template that was changed since is seen.
func TestAdoptedPlan(t *testing.T) {
	blind := false
	funcs := interceptor.Funcs{Get: func(ctx context.Context, api client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
		if _, ok := o.(*appsv1.StatefulSet); ok && blind {
			return apierrors.NewForbidden(schema.GroupResource{Group: "apps", Resource: "statefulsets"}, "shop", nil)
		}
		return api.Get(ctx, key, o, options...)
	}}
	for _, tt := range []struct {
		mode     v1alpha1.AdoptMode
		template string // changed to this version since
		blind    bool   // one may not read the StatefulSet
		args     string
		want     string
	}{
		{mode: v1alpha1.AdoptVersion, want: "nothing to do: si is as its spec says"},
		{mode: v1alpha1.AdoptOrder, want: "nothing to do: si is as its spec says"},
		{mode: v1alpha1.AdoptVersion, blind: true, want: "nothing to do: si is as its spec says"},
		{mode: v1alpha1.AdoptVersion, args: "--to 1.1.0", want: "upgrade si from 1.0.0 to 1.1.0"},
		{mode: v1alpha1.AdoptVersion, args: "--to 1.1.0", blind: true, want: "not looked at: what StatefulSet shop says now: you may not read it"},
		{mode: v1alpha1.AdoptOrder, template: "1.1.0", want: "upgrade si from 1.0.0 to 1.1.0"},
		{mode: v1alpha1.AdoptOrder, template: "1.1.0", args: "--to 1.1.0", want: "upgrade si from 1.0.0 to 1.1.0"},
	} {
		w := adopting(t, tt.mode, funcs)
		if tt.template != "" {
			changeShop(t, w, tt.template)
		}
		blind = tt.blind
		code := w.types(t.Context(), append([]string{"plan", "si"}, strings.Fields(tt.args)...)...)
		if blind = false; code != exitDone || !strings.Contains(w.out.String(), tt.want) {
			t.Errorf("%+v: exit code %d, and the plan is\n%s%s", tt, code, w.out.String(), w.err.String())
		}
	}
}

// TestAdoptedUp: the file of an adopted cluster changes nothing, as it stands.
func TestAdoptedUp(t *testing.T) {
	for _, mode := range []v1alpha1.AdoptMode{v1alpha1.AdoptVersion, v1alpha1.AdoptOrder} {
		w := adopting(t, mode, interceptor.Funcs{})
		image := ""
		if mode == v1alpha1.AdoptVersion {
			image = `image: "lab.test/standin:${version}", `
		}
		file := filepath.Join(t.TempDir(), "si.yaml")
		text := "apiVersion: theseus.dev/v1alpha1\nkind: Cluster\nmetadata: {name: si}\nspec:\n  system: standin\n  version: 1.0.0\n" +
			"  components: {standin: {" + image + "adopt: {statefulSet: shop, mode: " + string(mode) + ", container: store}}}\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if code := w.types(t.Context(), "up", file, "--dry-run"); code != exitDone || !strings.Contains(w.out.String(), "nothing to do") {
			t.Errorf("%s: exit code %d, and the plan is\n%s%s", mode, code, w.out.String(), w.err.String())
		}
	}
}

// changeShop is what somebody does who changes the template of the StatefulSet.
func changeShop(t *testing.T, w *town, version string) {
	t.Helper()
	set := &appsv1.StatefulSet{}
	if err := w.api.Get(t.Context(), client.ObjectKey{Namespace: "prod", Name: "shop"}, set); err != nil {
		t.Fatal(err)
	}
	set.Spec.Template.Spec.Containers[1].Image = "lab.test/standin:" + version
	if err := w.api.Update(t.Context(), set); err != nil {
		t.Fatal(err)
	}
}
