package operator

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/upgrade"
)

// TestPulled: an image that cannot be had fails the pull, and is not blamed where Theseus' own image is what is missing.
func TestPulled(t *testing.T) {
	waits := func(name, reason string) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "for " + name}}}
	}
	runs := corev1.ContainerStatus{Name: toolsContainer, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
	for _, test := range []struct {
		name     string
		nodes    int32 // on one less the images are
		statuses []corev1.ContainerStatus
		phase    upgrade.OutcomePhase
		message  string
	}{
		{"all but one node", 3, []corev1.ContainerStatus{waits("kv", "ContainerCreating"), runs}, upgrade.Underway, "pulled on 2 of 3 nodes"},
		{"not on the last node", 3, []corev1.ContainerStatus{waits("kv", "ImagePullBackOff"), runs}, upgrade.Failed, "node n1: ImagePullBackOff: for kv"},
		{"being made", 1, []corev1.ContainerStatus{waits("kv", "ContainerCreating"), waits(toolsContainer, "ContainerCreating")}, upgrade.Underway, "pulled on 0 of 1 nodes"},
		{"no image", 1, []corev1.ContainerStatus{waits("kv", "ImagePullBackOff"), runs}, upgrade.Failed, "node n1: ImagePullBackOff: for kv"},
		{"first error of a pull", 1, []corev1.ContainerStatus{waits("kv", "ErrImagePull"), runs}, upgrade.Underway, "n1: ErrImagePull: for kv"},
		{"own image not there yet", 1, []corev1.ContainerStatus{waits("kv", "RunContainerError"), waits(toolsContainer, "ErrImagePull")}, upgrade.Underway, "n1: ErrImagePull: for theseus"},
		{"no own image", 1, []corev1.ContainerStatus{waits("kv", "RunContainerError"), waits(toolsContainer, "ImagePullBackOff")}, upgrade.Failed, "node n1: ImagePullBackOff: for theseus"},
	} {
		labels := map[string]string{"a": "b"}
		set := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: "pull"}, Spec: appsv1.DaemonSetSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}},
			Status: appsv1.DaemonSetStatus{DesiredNumberScheduled: test.nodes, NumberReady: test.nodes - 1}}
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: "pull-1", Labels: labels}, Spec: corev1.PodSpec{NodeName: "n1"}, Status: corev1.PodStatus{ContainerStatuses: test.statuses}}
		got, err := (&Platform{Live: fakeAPI(t, pod), Key: key}).pulled(t.Context(), set)
		if err != nil || got.Phase != test.phase || !strings.Contains(got.Message, test.message) {
			t.Errorf("%s: got %+v, %v; want %s and %q", test.name, got, err, test.phase, test.message)
		}
	}
	for generation, want := range map[int64]upgrade.OutcomePhase{1: upgrade.Succeeded, 2: upgrade.Underway} { // what is ready may be pods of the one before
		all := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: "pull", Generation: generation}, Spec: appsv1.DaemonSetSpec{Selector: &metav1.LabelSelector{}},
			Status: appsv1.DaemonSetStatus{ObservedGeneration: 1, DesiredNumberScheduled: 3, NumberReady: 3}}
		if got, err := (&Platform{Live: fakeAPI(t), Key: key}).pulled(t.Context(), all); err != nil || got.Phase != want {
			t.Errorf("on all nodes, generation %d: got %+v, %v; want %s", generation, got, err, want)
		}
	}
}

// TestPulledNowhere: where no node fits there is no pod that could say so, once the controller has looked.
func TestPulledNowhere(t *testing.T) {
	for _, test := range []struct {
		seen    int64
		fast    map[string]string
		message string
	}{
		{0, nil, "pulled on 0 of 0 nodes"},
		{1, nil, "there is no node on which it may run (by its affinity, or by taints): make a node fit, or correct spec.components.store.pod"},
		{1, map[string]string{"disk": "fast", "zone": "a"}, "there is no node on which it may run (nodeSelector disk=fast,zone=a): make a node fit, or correct spec.components.store.pod"},
	} {
		set := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: "pull", Generation: 1, Labels: selectorOf("kv", "store")},
			Spec:   appsv1.DaemonSetSpec{Selector: &metav1.LabelSelector{}, Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{NodeSelector: test.fast}}},
			Status: appsv1.DaemonSetStatus{ObservedGeneration: test.seen}}
		if got, err := (&Platform{Live: fakeAPI(t), Key: key}).pulled(t.Context(), set); err != nil || got.Phase != upgrade.Underway || got.Message != test.message {
			t.Errorf("seen %d: got %+v, %v; want %q", test.seen, got, err, test.message)
		}
	}
}

// TestPullsEndWithTheAttempt: one that ended before it configured all components, because an image could not be had or somebody aborted it, leaves none on the nodes.
func TestPullsEndWithTheAttempt(t *testing.T) {
	sys := standin(t)
	for phase, want := range map[v1alpha1.AttemptPhase]int{v1alpha1.PhaseRunning: 1, v1alpha1.PhasePaused: 1, v1alpha1.PhaseRolledBack: 0} {
		set := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: "pull",
			Labels: map[string]string{"theseus.dev/pull-for": "kv", componentLabel: "standin", pullLabel: "r"}}, Spec: appsv1.DaemonSetSpec{Selector: &metav1.LabelSelector{}}}
		api := fakeAPI(t, set)
		s := scene(sys, 0, phase)
		s.Cluster.Status.Attempt.Steps = []v1alpha1.StepStatus{{Kind: upgrade.KindPreflight}}
		if _, err := (&Platform{API: api, Live: api, Key: key, Image: "theseus"}).preparedOutcomes(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		list := &appsv1.DaemonSetList{}
		fatal(t, api.List(t.Context(), list))
		if len(list.Items) != want {
			t.Errorf("%s: %d DaemonSets are there, want %d", phase, len(list.Items), want)
		}
	}
}

// TestPullsLikeMembers: what pulls beforehand has the images of init containers too, and pulls with the members' account.
func TestPullsLikeMembers(t *testing.T) {
	c, sys := kv(), standin(t)
	own := c.Spec.Components["standin"]
	own.Pod = &runtime.RawExtension{Raw: []byte(`{"spec": {"serviceAccountName": "private", "runtimeClassName": "kata", "initContainers": [{"name": "prepare", "image": "lab.test/init:2"}]}}`)}
	c.Spec.Components["standin"] = own
	b := &blueprint{cluster: c, system: sys, component: sys.Components()[0], spec: &c.Spec, revision: "r1", version: "1.0.0"}
	template, err := b.template()
	fatal(t, err)
	pod := (&Platform{Key: key, Image: "theseus:1"}).pull(b, &template, 1).Spec.Template.Spec
	if pod.ServiceAccountName != "private" || *pod.AutomountServiceAccountToken || pod.RuntimeClassName == nil || *pod.RuntimeClassName != "kata" {
		t.Errorf("it pulls as %q with runtime class %v", pod.ServiceAccountName, pod.RuntimeClassName)
	}
	var images []string
	for _, c := range pod.Containers {
		images = append(images, c.Image)
	}
	if !slices.Contains(images, "lab.test/init:2") || !slices.Contains(images, template.Spec.Containers[0].Image) {
		t.Errorf("it pulls %q", images)
	}
}
