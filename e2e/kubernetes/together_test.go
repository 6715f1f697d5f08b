//go:build linux

package kubernetes

import (
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"theseus.dev/api/v1alpha1"
)

const togetherCluster = `
apiVersion: theseus.dev/v1alpha1
kind: Cluster
metadata: {name: NAME}
spec:
  system: standin
  version: 1.2.0
  options: {control: FILE}
  components:
    standin:
      replicas: 3
      storage: 10Mi
      image: "lab.test/standin:${version}"
      pod: {spec: {volumes: [{name: knobs, configMap: {name: knobs-standin}}], containers: [{name: standin, volumeMounts: [{name: knobs, mountPath: /knobs}]}]}}
  upgrade: {soak: 300ms, progressDeadline: 8m, allowDowntime: true}
`

// TestTogether goes over an edge whose versions must not mix: no member of the new one runs while one of the old one does, on the way there and on the way
// back, whatever the operator's own budget says.
func TestTogether(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	loadTheseus(t)
	for _, version := range []string{"1.2.0", "2.0.0"} {
		loadStandin(t, version)
	}
	c.installCRDs()
	c.startOperator()
	c.knobs("standin", `{"versions": {"2.0.0": {"neverReady": true}}}`)
	c.apply(togetherCluster, "NAME", "si", "FILE", "/knobs/none.json")
	c.apply(togetherCluster, "NAME", "sj", "FILE", "/knobs/knobs.json")
	c.await("si", "runs 1.2.0", settledAt("1.2.0"))
	c.await("sj", "runs 1.2.0", settledAt("1.2.0"))
	c.edit("sj", `{"spec": {"upgrade": {"progressDeadline": "2m"}}}`) // for so long it waits for what never gets ready
	good, bad := c.versionsSeen("si"), c.versionsSeen("sj")
	c.upgradeTo("si", "2.0.0")
	c.upgradeTo("sj", "2.0.0")

	si := c.await("si", "runs 2.0.0", settledAt("2.0.0"))
	c.ended(si, v1alpha1.PhaseSucceeded)
	if got := good.story(); !slices.Equal(got, []string{"1.2.0", "", "2.0.0"}) {
		t.Errorf("side by side ran %q, want 1.2.0, then none, then 2.0.0", got)
	}
	sj := c.await("sj", "is back at 1.2.0", func(sj *v1alpha1.Cluster) bool { return sj.Status.FailedTarget == "2.0.0" && settledAt("1.2.0")(sj) })
	c.ended(sj, v1alpha1.PhaseRolledBack)
	if got := bad.story(); !slices.Equal(got, []string{"1.2.0", "", "2.0.0", "", "1.2.0"}) {
		t.Errorf("side by side ran %q, want 1.2.0, none, 2.0.0, none, and 1.2.0 again", got)
	}
	if n := len(eventsOf(si, "Stop")); n != 3 {
		t.Errorf("%d members were stopped, want 3: %q", n, eventsOf(si, "Stop"))
	}
	if w, err := c.AppsV1().StatefulSets(c.namespace).Get(t.Context(), "si-standin", metav1.GetOptions{}); err != nil || len(w.Spec.Template.Spec.SchedulingGates) > 0 {
		t.Errorf("the gate is in the template still, or: %v", err)
	}
}

// seen are the versions that run side by side, as they change.
type seen struct {
	mu      sync.Mutex
	pods    map[string]string // version that a pod runs
	changes []string
}

func (c *cluster) versionsSeen(name string) *seen {
	c.t.Helper()
	list, err := c.CoreV1().Pods(c.namespace).List(c.t.Context(), metav1.ListOptions{LabelSelector: "theseus.dev/cluster=" + name})
	must(c.t, err)
	w := c.watch(list.ResourceVersion, metav1.ListOptions{LabelSelector: "theseus.dev/cluster=" + name}, c.CoreV1().Pods(c.namespace).Watch)
	s := &seen{pods: map[string]string{}}
	for i := range list.Items {
		s.note(watch.Added, &list.Items[i])
	}
	go func() {
		for event := range w.ResultChan() {
			if pod, ok := event.Object.(*corev1.Pod); ok {
				s.note(event.Type, pod)
			}
		}
	}()
	return s
}

// note takes a pod in. One that is asked to end counts until it is gone, or says that it ended.
func (s *seen) note(kind watch.EventType, pod *corev1.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pods, pod.Name)
	if st := pod.Status.ContainerStatuses; kind != watch.Deleted && len(st) > 0 && st[0].State.Running != nil {
		s.pods[pod.Name] = pod.Annotations["theseus.dev/version"]
	}
	var versions []string
	for _, v := range s.pods {
		if !slices.Contains(versions, v) {
			versions = append(versions, v)
		}
	}
	slices.Sort(versions)
	if now := strings.Join(versions, " beside "); len(s.changes) == 0 || s.changes[len(s.changes)-1] != now {
		s.changes = append(s.changes, now)
	}
}

func (s *seen) story() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.changes...)
}
