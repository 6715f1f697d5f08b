package operator

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// theirs is a StatefulSet as somebody else made it.
func theirs(image string) *appsv1.StatefulSet {
	three, labels := int32(3), map[string]string{"app": "shop"}
	return &appsv1.StatefulSet{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "StatefulSet"},
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: "shop", UID: "uid-of-shop"},
		Spec: appsv1.StatefulSetSpec{
			Replicas: &three, ServiceName: "shops", Selector: &metav1.LabelSelector{MatchLabels: labels},
			UpdateStrategy: appsv1.StatefulSetUpdateStrategy{Type: appsv1.OnDeleteStatefulSetStrategyType},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{
				{Name: "proxy", Image: "proxy:9"},
				{Name: "store", Image: image, Ports: []corev1.ContainerPort{{Name: "client", ContainerPort: 7777}}},
			}}},
		},
	}
}

// madeOf is a pod of a StatefulSet with the ControllerRevision that it was made from.
func madeOf(t *testing.T, set *appsv1.StatefulSet, name, revision string) []client.Object {
	t.Helper()
	text, err := json.Marshal(map[string]any{"spec": map[string]any{"template": set.Spec.Template}})
	fatal(t, err)
	yes, labels := true, maps.Clone(set.Spec.Template.Labels)
	labels[appsv1.ControllerRevisionHashLabelKey] = revision
	return []client.Object{
		&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: set.Namespace, Name: name, UID: types.UID("uid-of-" + name), Labels: labels,
				OwnerReferences: []metav1.OwnerReference{{Kind: "StatefulSet", Name: set.Name, UID: set.UID, Controller: &yes}}},
			Spec: set.Spec.Template.Spec,
			Status: corev1.PodStatus{PodIP: "10.0.0.9", ContainerStatuses: []corev1.ContainerStatus{
				{Name: "store", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 3}}}}}, // nobody is to be asked
		},
		&appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Namespace: set.Namespace, Name: revision}, Data: runtime.RawExtension{Raw: text}},
	}
}

func adopting(mode v1alpha1.AdoptMode, allow ...v1alpha1.AdoptConsent) *v1alpha1.Cluster {
	c := kv()
	c.Spec.Components = map[string]v1alpha1.ComponentSpec{"standin": {Adopt: &v1alpha1.Adopt{StatefulSet: "shop", Mode: mode, Container: "store", Allow: allow}}}
	if mode == v1alpha1.AdoptVersion {
		own := c.Spec.Components["standin"]
		own.Image = "lab.test/store:${version}"
		c.Spec.Components["standin"] = own
	}
	return c
}

// stage is an API server with one Cluster that adopts, and the platform that looks.
func stage(t *testing.T, c *v1alpha1.Cluster, objects ...client.Object) (client.WithWatch, *Platform, runner.Scene) {
	t.Helper()
	scheme, err := Scheme()
	fatal(t, err)
	unique := map[string]client.Object{}
	for _, o := range objects {
		unique[o.GetName()] = o
	}
	b := fake.NewClientBuilder().WithScheme(scheme).WithObjects(c).WithStatusSubresource(&v1alpha1.Cluster{}).WithReturnManagedFields()
	for _, o := range unique {
		b.WithObjects(o)
	}
	api := b.Build()
	sys := standin(t)
	p := &Platform{API: api, Live: api, Key: client.ObjectKeyFromObject(c), Identity: "test", Runs: &Runs{}}
	t.Cleanup(p.Close)
	fatal(t, See(t.Context(), api, sys, c))
	return api, p, runner.Scene{Cluster: c, System: sys, Systems: map[string]*system.System{sys.Hash(): sys}}
}

func lookAt(t *testing.T, p *Platform, s runner.Scene) upgrade.Look {
	t.Helper()
	look, err := p.Look(t.Context(), s)
	fatal(t, err)
	return look
}

func TestAdoptedLook(t *testing.T) {
	for _, mode := range []v1alpha1.AdoptMode{v1alpha1.AdoptOrder, v1alpha1.AdoptVersion} {
		old, now := theirs("lab.test/store:1.0.0"), theirs("lab.test/store:1.0.1")
		c := adopting(mode)
		c.Status.Applied = &v1alpha1.Pinned{Spec: *c.Spec.DeepCopy()}
		objects := append(madeOf(t, old, "shop-0", "shop-old"), madeOf(t, now, "shop-1", "shop-new")...)
		stranger := madeOf(t, now, "shop-7", "shop-new")[0].(*corev1.Pod)
		stranger.OwnerReferences = nil
		api, p, s := stage(t, c, append(objects, now, stranger)...)

		look := lookAt(t, p, s)
		if len(look.Blocked) > 0 || len(look.Members) != 3 {
			t.Fatalf("%s: blocked %v, members %+v; want none blocked and three", mode, look.Blocked, look.Members)
		}
		byName := map[string]upgrade.Member{}
		for _, m := range look.Members {
			byName[m.View.Name] = m
		}
		zero, one, two := byName["shop-0"], byName["shop-1"], byName["shop-2"]
		if one.Revision != look.Configured["standin"] || zero.Revision == one.Revision || zero.Revision == "" {
			t.Errorf("%s: configured %v, outdated %q, updated %q", mode, look.Configured, zero.Revision, one.Revision)
		}
		if one.View.Host != "shop-1.shops.team.svc" || one.View.Port["client"] != 7777 || one.View.Version != "1.0.1" || zero.View.Version != "1.0.0" {
			t.Errorf("%s: got the view %+v", mode, one.View)
		}
		if one.State != upgrade.ProcessExited || two.State != upgrade.ProcessAbsent || one.Incarnation != "uid-of-shop-1" {
			t.Errorf("%s: got the states %s, %s", mode, one.State, two.State)
		}
		p1 := v1alpha1.Pinned{Spec: c.Spec}
		if p1.Spec.Version = "1.0.1"; s.System.Revision(&p1, "standin", "1.0.1") != one.Revision {
			t.Errorf("%s: the core wants another revision than the platform sees", mode)
		}

		set := &appsv1.StatefulSet{}
		fatal(t, api.Get(t.Context(), client.ObjectKeyFromObject(now), set))
		if len(set.OwnerReferences) > 0 || set.Labels[clusterLabel] != "kv" || len(set.Spec.Template.Annotations) > 0 {
			t.Errorf("%s: adopted as %+v", mode, set.ObjectMeta)
		}
	}
}

// TestRevisionOfTemplates says which change of a template is one of whose concern.
func TestRevisionOfTemplates(t *testing.T) {
	for _, test := range []struct {
		name           string
		change         func(*corev1.PodTemplateSpec)
		order, version bool // that the sum, which is not Theseus', is another one
	}{
		{"nothing", func(*corev1.PodTemplateSpec) {}, false, false},
		{"image", func(t *corev1.PodTemplateSpec) { t.Spec.Containers[1].Image = "lab.test/store:2" }, true, false},
		{"another container's image", func(t *corev1.PodTemplateSpec) { t.Spec.Containers[0].Image = "proxy:10" }, true, true},
		{"an argument", func(t *corev1.PodTemplateSpec) { t.Spec.Containers[1].Args = []string{"-v"} }, true, true},
		{"a restart", func(t *corev1.PodTemplateSpec) { t.Annotations = map[string]string{restartAnnotation: "1"} }, true, false},
	} {
		for mode, want := range map[v1alpha1.AdoptMode]bool{v1alpha1.AdoptOrder: test.order, v1alpha1.AdoptVersion: test.version} {
			a := &adopted{own: &v1alpha1.Adopt{Mode: mode}, container: "store"}
			before, after := theirs("lab.test/store:1").Spec.Template, theirs("lab.test/store:1").Spec.Template
			test.change(&after)
			x, y := a.readTemplate(standin(t), &before), a.readTemplate(standin(t), &after)
			if (x.sum != y.sum) != want {
				t.Errorf("%s, %s: sums %s and %s", test.name, mode, x.sum, y.sum)
			}
			if changed := test.name != "nothing"; (x.revision(mode) != y.revision(mode)) != changed {
				t.Errorf("%s, %s: revisions %s and %s", test.name, mode, x.revision(mode), y.revision(mode))
			}
		}
	}
}

func TestAdoptionIsBlocked(t *testing.T) {
	owned := func(set *appsv1.StatefulSet) {
		yes := true
		set.OwnerReferences = []metav1.OwnerReference{{APIVersion: "theseus.dev/v1alpha1", Kind: "Cluster", Name: "other", UID: "x", Controller: &yes}}
	}
	for _, test := range []struct {
		name   string
		mode   v1alpha1.AdoptMode
		set    func(*appsv1.StatefulSet)
		change func(*v1alpha1.Cluster)
		want   string
	}{
		{"as it should be", v1alpha1.AdoptOrder, nil, nil, ""},
		{"as it should be", v1alpha1.AdoptVersion, nil, nil, ""},
		{"no such StatefulSet", v1alpha1.AdoptOrder, nil, func(c *v1alpha1.Cluster) { c.Spec.Components["standin"].Adopt.StatefulSet = "shoe" }, "StatefulSet shoe is not in namespace team"},
		{"another Cluster's", v1alpha1.AdoptOrder, owned, nil, "was made by Cluster other"},
		{"no such container", v1alpha1.AdoptOrder, nil, func(c *v1alpha1.Cluster) { c.Spec.Components["standin"].Adopt.Container = "sore" }, "has no container sore"},
		{"which container", v1alpha1.AdoptOrder, nil, func(c *v1alpha1.Cluster) { c.Spec.Components["standin"].Adopt.Container = "" }, "has no container standin"},
		{"no replicas", v1alpha1.AdoptOrder, func(s *appsv1.StatefulSet) { *s.Spec.Replicas = 0 }, nil, "has no replicas"},
		{"counts from 5", v1alpha1.AdoptOrder, func(s *appsv1.StatefulSet) { s.Spec.Ordinals = &appsv1.StatefulSetOrdinals{Start: 5} }, nil, "begins to count its pods at 5"},
		{"rolls by itself", v1alpha1.AdoptVersion, func(s *appsv1.StatefulSet) { s.Spec.UpdateStrategy.Type = "RollingUpdate" }, nil, "kubectl -n team patch statefulset shop"},
		{"version in a digest", v1alpha1.AdoptOrder, func(s *appsv1.StatefulSet) { s.Spec.Template.Spec.Containers[1].Image = "store@sha256:12" }, nil, "does not say its version"},
		{"version in an annotation", v1alpha1.AdoptOrder, func(s *appsv1.StatefulSet) {
			s.Spec.Template.Spec.Containers[1].Image = "store@sha256:12"
			s.Spec.Template.Annotations = map[string]string{versionAnnotation: "1.0.0"}
		}, nil, ""},
		{"another image", v1alpha1.AdoptVersion, func(s *appsv1.StatefulSet) { s.Spec.Template.Spec.Containers[1].Image = "quay.test/store:v1.0.0" }, nil,
			`set spec.components.standin.image to "quay.test/store:v${version}"`},
		{"another version", v1alpha1.AdoptVersion, func(s *appsv1.StatefulSet) { s.Spec.Template.Spec.Containers[1].Image = "lab.test/store:1.0.1" }, nil,
			"set spec.version to 1.0.1, and upgrade when it is adopted"},
	} {
		set := theirs("lab.test/store:1.0.0")
		if test.set != nil {
			test.set(set)
		}
		c := adopting(test.mode)
		if test.change != nil {
			test.change(c)
		}
		_, p, s := stage(t, c, set)
		got := lookAt(t, p, s).Blocked["standin"]
		if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s, %s: got %q, want %q", test.name, test.mode, got, test.want)
		}
	}
}

func TestOneWorkloadOneCluster(t *testing.T) {
	other := adopting(v1alpha1.AdoptOrder)
	other.Name, other.UID = "first", "uid-of-first"
	set := theirs("lab.test/store:1.0.0")
	set.Labels, set.Annotations = map[string]string{clusterLabel: "first"}, map[string]string{adoptedByAnnotation: "uid-of-first"}
	api, p, s := stage(t, adopting(v1alpha1.AdoptOrder), set, other)
	if got := lookAt(t, p, s).Blocked["standin"]; !strings.Contains(got, "StatefulSet shop is adopted by Cluster first") {
		t.Errorf("got %q, want that it is the other's", got)
	}
	fatal(t, api.Get(t.Context(), client.ObjectKeyFromObject(set), set))
	if set.Labels[clusterLabel] != "first" {
		t.Errorf("it was taken from %s", set.Labels[clusterLabel])
	}
	fatal(t, api.Delete(t.Context(), other))
	if got := lookAt(t, p, s).Blocked["standin"]; got != "" {
		t.Errorf("the other Cluster is gone, and it is blocked: %s", got)
	}
	fatal(t, api.Get(t.Context(), client.ObjectKeyFromObject(set), set))
	if set.Labels[clusterLabel] != "kv" {
		t.Errorf("it is still %s's", set.Labels[clusterLabel])
	}
}

func TestSwitchToOnDeleteIsAllowed(t *testing.T) {
	set := theirs("lab.test/store:1.0.0")
	one := int32(1)
	set.Spec.UpdateStrategy = appsv1.StatefulSetUpdateStrategy{Type: "RollingUpdate", RollingUpdate: &appsv1.RollingUpdateStatefulSetStrategy{Partition: &one}}
	api, p, s := stage(t, adopting(v1alpha1.AdoptOrder, v1alpha1.SwitchToOnDelete), set)
	if got := lookAt(t, p, s).Blocked["standin"]; got != "" {
		t.Errorf("blocked: %s", got)
	}
	fatal(t, api.Get(t.Context(), client.ObjectKeyFromObject(set), set))
	if u := set.Spec.UpdateStrategy; u.Type != appsv1.OnDeleteStatefulSetStrategyType || u.RollingUpdate != nil {
		t.Errorf("got %+v, want OnDelete", u)
	}
}

// TestImageIsApplied writes the image and nothing else, and takes it from nobody who was not asked.
func TestImageIsApplied(t *testing.T) {
	api, p, s := stage(t, adopting(v1alpha1.AdoptVersion))
	fatal(t, api.Create(t.Context(), theirs("lab.test/store:1.0.0"), client.FieldOwner("helm")))
	c := s.Cluster
	fatal(t, See(t.Context(), api, s.System, c))
	c.Status.Applied = &v1alpha1.Pinned{Spec: *c.Spec.DeepCopy(), System: v1alpha1.SystemRef{Hash: s.System.Hash()}}
	pinned := c.Status.Applied.DeepCopy()
	pinned.Spec.Version, pinned.Restart = "1.1.0", 2
	configure := v1alpha1.Intent{Act: v1alpha1.ActConfigure, Component: "standin", Version: "1.1.0", Revision: s.System.Revision(pinned, "standin", "1.1.0")}
	image := func() string {
		set := theirs("")
		fatal(t, api.Get(t.Context(), client.ObjectKeyFromObject(set), set))
		if set.Spec.Template.Spec.Containers[0].Image != "proxy:9" || len(set.Spec.Template.Spec.Containers) != 2 || *set.Spec.Replicas != 3 {
			t.Errorf("more than the image was written: %+v", set.Spec)
		}
		return set.Spec.Template.Spec.Containers[1].Image
	}

	lookAt(t, p, s)
	err := p.Do(t.Context(), s, configure, pinned)
	if err == nil || !strings.Contains(err.Error(), "helm") || !strings.Contains(err.Error(), "add TakeImage to spec.components.standin.adopt.allow") {
		t.Errorf("got %v, want the other manager's name and what to do", err)
	}
	if got := lookAt(t, p, s).Blocked["standin"]; err == nil || got != err.Error() {
		t.Errorf("the next look says %q", got)
	}
	if got := image(); got != "lab.test/store:1.0.0" {
		t.Errorf("the image is %s, and was not Theseus' to take", got)
	}

	c.Spec.Components["standin"].Adopt.Allow = []v1alpha1.AdoptConsent{v1alpha1.TakeImage}
	if got := lookAt(t, p, s).Blocked["standin"]; got != "" {
		t.Errorf("blocked although it was allowed: %s", got)
	}
	fatal(t, p.Do(t.Context(), s, configure, pinned))
	if got := image(); got != "lab.test/store:1.1.0" {
		t.Errorf("the image is %s", got)
	}
	if got := lookAt(t, p, s).Configured["standin"]; got != configure.Revision {
		t.Errorf("configured is %s, want %s", got, configure.Revision)
	}
}

// TestStrategyAtApply: between look and act somebody set the strategy back.
func TestStrategyAtApply(t *testing.T) {
	c, set := adopting(v1alpha1.AdoptVersion, v1alpha1.TakeImage), theirs("lab.test/store:1.0.0")
	api, p, s := stage(t, c, set)
	if why := lookAt(t, p, s).Blocked["standin"]; why != "" {
		t.Fatal(why)
	}
	now := &appsv1.StatefulSet{}
	fatal(t, api.Get(t.Context(), client.ObjectKeyFromObject(set), now))
	now.Spec.UpdateStrategy.Type = appsv1.RollingUpdateStatefulSetStrategyType
	fatal(t, api.Update(t.Context(), now))
	pinned := &v1alpha1.Pinned{System: v1alpha1.SystemRef{Name: "standin", Hash: s.System.Hash()}, Spec: c.Spec}
	err := p.Do(t.Context(), s, v1alpha1.Intent{ID: 1, Act: v1alpha1.ActConfigure, Component: "standin", Revision: "r2", Version: "1.1.0"}, pinned)
	if err == nil || !strings.Contains(err.Error(), "not OnDelete any more") {
		t.Errorf("got %v, want that nothing is applied where Kubernetes would replace all members", err)
	}
	fatal(t, api.Get(t.Context(), client.ObjectKeyFromObject(set), now))
	for _, k := range now.Spec.Template.Spec.Containers {
		if k.Image == "lab.test/store:1.1.0" {
			t.Error("the image was applied")
		}
	}
}

func TestOrderWritesNoTemplate(t *testing.T) {
	_, p, s := stage(t, adopting(v1alpha1.AdoptOrder), theirs("lab.test/store:1.0.0"))
	pinned := &v1alpha1.Pinned{Spec: s.Cluster.Spec, System: v1alpha1.SystemRef{Hash: s.System.Hash()}}
	err := p.Do(t.Context(), s, v1alpha1.Intent{Act: v1alpha1.ActConfigure, Component: "standin", Version: "1.0.0"}, pinned)
	if err == nil || !strings.Contains(err.Error(), "is not written in mode Order") {
		t.Errorf("got %v", err)
	}
}

func TestVersionOf(t *testing.T) {
	etcd, err := shipped("etcd")
	fatal(t, err)
	for _, test := range []struct {
		image, annotation, label, want string
	}{
		{"gcr.io/etcd-development/etcd:v3.5.35", "", "", "3.5.35"},
		{"localhost:5000/etcd:3.6.16", "", "", "3.6.16"},
		{"localhost:5000/etcd", "", "", ""},
		{"etcd:v3.5.35@sha256:aa", "", "", "3.5.35"},
		{"etcd@sha256:aa", "", "3.5.35", "3.5.35"},
		{"etcd@sha256:aa", "3.6.16", "3.5.35", "3.6.16"},
		{"bitnami/etcd:3.5.35-debian-12-r1", "", "", "3.5.35"},
		{"etcd:3.5.350", "", "", "3.5.350"}, // not listed, and etcd allows that
		{"etcd:latest", "", "", ""},
		{"etcd:latest", "", "latest", ""},
	} {
		pod := &corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{versionAnnotation: test.annotation}, Labels: map[string]string{appVersionLabel: test.label}}}
		if got := VersionOf(etcd, pod, test.image); got != test.want {
			t.Errorf("%+v: got %q", test, got)
		}
	}
}

// TestSee fills in what a template says; a StatefulSet that is gone changes nothing.
func TestSee(t *testing.T) {
	c := adopting(v1alpha1.AdoptOrder)
	api, _, s := stage(t, c, theirs("lab.test/store:1.1.0"))
	if own := c.Spec.Components["standin"]; c.Spec.Version != "1.1.0" || *own.Replicas != 3 || own.Adopt.Template == "" {
		t.Fatalf("seen was %+v of version %s", own, c.Spec.Version)
	}
	later := adopting(v1alpha1.AdoptOrder)
	later.Status.Applied = &v1alpha1.Pinned{Spec: c.Spec}
	fatal(t, api.Delete(t.Context(), theirs("")))
	fatal(t, See(t.Context(), api, s.System, later))
	if got := later.Spec.Components["standin"]; later.Spec.Version != "1.1.0" || got.Adopt.Template != c.Spec.Components["standin"].Adopt.Template {
		t.Errorf("gone, and seen was %+v of version %s", got, later.Spec.Version)
	}
}

// TestAdoptionPullsNothing counts as prepared what runs already.
func TestAdoptionPullsNothing(t *testing.T) {
	c := adopting(v1alpha1.AdoptOrder)
	_, p, s := stage(t, c, theirs("lab.test/store:1.0.0"))
	p.Image = "theseus"
	c.Status.Attempt = &v1alpha1.Attempt{Kind: v1alpha1.AttemptCreate, Phase: v1alpha1.PhaseRunning, To: c.Spec.Version, Target: v1alpha1.Pinned{Spec: c.Spec},
		Hops: []v1alpha1.HopStatus{{To: c.Spec.Version, Edge: -1}}, Steps: []v1alpha1.StepStatus{{Kind: upgrade.KindPreflight, Phase: v1alpha1.StepRunning}}}
	look := lookAt(t, p, s)
	if out := look.Prepared[look.Configured["standin"]]; out.Phase != upgrade.Succeeded {
		t.Errorf("got %+v, want that nothing is to be prepared", look.Prepared)
	}
	c.Status.Attempt.Kind = v1alpha1.AttemptUpgrade
	if got := lookAt(t, p, s).Prepared; len(got) > 0 {
		t.Errorf("an upgrade finds %v prepared", got)
	}
}

// TestBlockedIsLookedAtAgain is about a StatefulSet that is not there yet: nothing tells of it when it comes.
func TestBlockedIsLookedAtAgain(t *testing.T) {
	if got := atRest(runner.Pass{Look: &upgrade.Look{Blocked: map[string]string{"kv": "make it"}}}); got != lookNowAndThen {
		t.Errorf("looked at again after %s", got)
	}
	refused := runner.Pass{Look: &upgrade.Look{}}
	refused.Situation = upgrade.Refused
	if got := atRest(refused); got != lookNowAndThen {
		t.Errorf("a first start that is refused, maybe because of volumes, is looked at again after %s", got)
	}
	if got := atRest(runner.Pass{Look: &upgrade.Look{}}); got != 0 {
		t.Errorf("an idle Cluster is looked at again after %s", got)
	}
}
