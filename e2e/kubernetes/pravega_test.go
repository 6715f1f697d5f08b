//go:build linux

package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
)

const pravegaCluster = `
apiVersion: theseus.dev/v1alpha1
kind: Cluster
metadata: {name: bar}
spec:
  system: pravega
  version: 0.6.2
  components:
    segmentstore:
      replicas: 3
      image: "lab.test/pravega:${version}"STORES
    controller:
      replicas: 3
      image: "lab.test/pravega:${version}"CONTROLLERS
  options: {zookeeperHealth: "http://web-any.NAMESPACE/"}
  upgrade: {soak: 2s, progressDeadline: 8m}
`

const (
	split    = `"segmentStoreMemory": "3Gi", "segmentStoreHeap": "768m", "segmentStoreDirectMemory": "2g", "cacheMax": "1073741824"`
	jvmFlags = `"segmentStoreJvmOptions": "-XX:+UseContainerSupport -XX:+IgnoreUnrecognizedVMOptions", "controllerJvmOptions": "-XX:+UseContainerSupport -XX:+IgnoreUnrecognizedVMOptions"`
)

// TestPravega goes the way of the Pravega operator's document "Pravega cluster upgrade" with the shipped System and the chart's rights: segment stores one by one, then the
// controllers by their Deployment; the memory split with 0.7, the JVM flags with 0.9; no way down; a version that crashes is taken back in reverse order.
func TestPravega(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	loadTheseus(t)
	loadPlayed(t, "pravega", "pravega", []string{"/opt/pravega/scripts/entrypoint.sh"}, []string{"0.6.2", "0.7.0", "0.9.0"})
	c.installChart()
	c.knobs("segmentstore", "")
	c.knobs("controller", `{"versions": {"0.9.0": {"crashAfterReady": "100ms"}}}`)
	c.applyAdmitted(pravegaCluster, "STORES", playedBy("segmentstore", "${all.map(x, x.name + '=' + x.host + ':' + string(x.port.service)).join(',')}", "service", "rest"),
		"CONTROLLERS", playedBy("controller", "", "rest", "rpc"), "NAMESPACE", c.namespace)
	c.await("bar", "runs 0.6.2", settledAt("0.6.2"))
	if got, want := strings.Join(c.columns(), ","), "Name,Version,Desired Version,Desired Members,Ready Members,Age"; !strings.EqualFold(got, want) {
		t.Errorf("kubectl get shows %s, want %s", got, want)
	}

	c.refuses("bar", `{"spec": {"version": "0.7.0"}}`, `does not keep the rule "memory is split"; set all four`)
	c.refuses("bar", `{"spec": {"version": "0.7.0", "options": {`+strings.ReplaceAll(split, "768m", "2g")+`}}}`, "raise segmentStoreMemory")
	c.refuses("bar", `{"spec": {"version": "0.7.0", "options": {`+strings.ReplaceAll(split, "1073741824", "2147483648")+`}}}`, "lower cacheMax")
	c.refuses("bar", `{"spec": {"version": "0.7.0", "options": {`+split+`, "properties": "-Da=b"}}}`, "changes together with spec.version")
	c.refuses("bar", `{"spec": {"version": "0.7.0", "components": {"segmentstore": {"replicas": 4}}, "options": {`+split+`}}}`, "spec.components.segmentstore: changes together with spec.version")
	c.refuses("bar", `{"spec": {"version": "0.5.0-1"}}`, "is a downgrade")

	f, stores := c.film("bar"), c.count("theseus.dev/cluster=bar,theseus.dev/component=segmentstore")
	c.edit("bar", `{"spec": {"version": "0.7.0", "options": {`+split+`}}}`)
	c.await("bar", "waits for ZooKeeper, which is not there", func(bar *v1alpha1.Cluster) bool {
		a := bar.Status.Attempt
		return a.To == "0.7.0" && a.WaitingFor != nil && strings.Contains(a.WaitingFor.Rule, "externalServices") && !a.Disrupted
	})
	c.create("web.yaml")
	c.await("bar", "has begun", func(bar *v1alpha1.Cluster) bool {
		return bar.Status.TargetVersion == "0.7.0" && bar.Status.Attempt.Disrupted
	})
	c.refuses("bar", `{"spec": {"version": "0.9.0", "options": {`+jvmFlags+`}}}`, "is under way")
	c.refuses("bar", `{"spec": {"options": {"properties": "-Da=b"}}}`, "an attempt is under way")
	bar := c.await("bar", "runs 0.7.0", settledAt("0.7.0"))
	c.ended(bar, v1alpha1.PhaseSucceeded)
	c.contains("Upgrading", controllersTold(f.shows(condition(v1alpha1.ConditionUpgrading))),
		"UpdatingSegmentstore: 0 of 3 members updated", "UpdatingSegmentstore: 1 of 3 members updated", "UpdatingSegmentstore: 2 of 3 members updated",
		"UpdatingController: … of 3 members updated")
	if got, want := eventsOf(bar, "Stop")[:3], []string{"Stop segmentstore-2", "Stop segmentstore-1", "Stop segmentstore-0"}; !slices.Equal(got, want) {
		t.Errorf("the segment stores went as %q, want %q", got, want)
	}
	if n := stores.awayAtOnce(); n != 1 {
		t.Errorf("%d segment stores were away at once, want one", n)
	}
	if film := f.shows(func(st *v1alpha1.ClusterStatus) string { return strings.Join(st.Members.Unready, " ") }); len(film) < 3 {
		t.Errorf("seen to be not ready were only %q", film)
	}
	if got := c.options("bar-segmentstore-0"); !strings.Contains(got, "-Xmx768m -XX:MaxDirectMemorySize=2g -Dpravegaservice.cache.size.max=1073741824") {
		t.Errorf("the segment store was started without the memory split: %s", got)
	}
	p, err := c.pod("bar-segmentstore-0")
	must(t, err)
	if limit := p.Spec.Containers[0].Resources.Limits.Memory().String(); limit != "3Gi" {
		t.Errorf("the segment store may have %s of memory, want the 3Gi that came with the version", limit)
	}
	c.runOn("controller", "0.7.0", 3)
	d, err := c.AppsV1().Deployments(c.namespace).Get(t.Context(), "bar-controller", metav1.GetOptions{})
	must(t, err)
	if s := d.Spec.Strategy.RollingUpdate; s == nil || s.MaxUnavailable.IntValue() != 0 || s.MaxSurge.IntValue() != 1 {
		t.Errorf("the controllers are replaced by %+v, want one to come before one goes", d.Spec.Strategy)
	}

	c.staysHalf()
	c.refuses("bar", `{"spec": {"version": "0.9.0"}}`, `does not keep the rule "JVM flags"; add -XX:+UseContainerSupport`)
	c.edit("bar", `{"spec": {"version": "0.9.0", "options": {`+jvmFlags+`}}}`)
	bar = c.await("bar", "is back at 0.7.0", func(bar *v1alpha1.Cluster) bool { return bar.Status.FailedTarget == "0.9.0" && settledAt("0.7.0")(bar) })
	c.ended(bar, v1alpha1.PhaseRolledBack)
	if e := bar.Status.Attempt.Failure; e == nil || e.Reason != "CrashLoop" || !strings.Contains(e.Object, "controller") || !strings.Contains(e.Message, "as the control file says") {
		t.Errorf("it failed because of %+v, want the controller that restarts, with its last words", e)
	}
	c.contains("RollingBack", controllersTold(f.shows(condition(v1alpha1.ConditionRollingBack))), "UpdatingController: … of 3 members back", "UpdatingSegmentstore: 0 of 3 members back",
		"UpdatingSegmentstore: 1 of 3 members back", "UpdatingSegmentstore: 2 of 3 members back")
	if got := c.options("bar-segmentstore-0"); strings.Contains(got, "UseContainerSupport") {
		t.Errorf("the segment store went back and kept the new options: %s", got)
	}
	c.await("bar", "rests, and says why", func(bar *v1alpha1.Cluster) bool {
		now := func(kind string) string { return condition(kind)(&bar.Status) }
		return now(v1alpha1.ConditionUpgrading)+now(v1alpha1.ConditionRollingBack) == "" && strings.Contains(now(v1alpha1.ConditionStalled), "0.9.0: the upgrade to it failed")
	})
	c.runOn("segmentstore", "0.7.0", 3)
	c.runOn("controller", "0.7.0", 3)
	if got := strings.Join(bar.Status.VersionHistory, " "); got != "0.6.2 0.7.0" {
		t.Errorf("the history of versions is %s", got)
	}
	c.hears("bar", "AttemptStarted", "AttemptSucceeded", "Failed", "MemberReplaced", "RollingBack")
}

// staysHalf pauses a rolling restart of the controllers when the first of them goes: one at least stays until it is resumed, though Kubernetes is to replace all
// three. It may begin with the second in the moment in which the first is done.
func (c *cluster) staysHalf() {
	c.t.Helper()
	c.edit("bar", `{"spec": {"upgrade": {"soak": "8s"}, "options": {"controllerJvmOptions": "-Da=b"}}}`)
	deployment := func(ctx context.Context, is func(*appsv1.Deployment) bool) error {
		d, err := c.AppsV1().Deployments(c.namespace).Get(ctx, "bar-controller", metav1.GetOptions{})
		if err == nil && !is(d) {
			err = fmt.Errorf("paused %v, %+v", d.Spec.Paused, d.Status)
		}
		return err
	}
	c.eventually("a controller comes", func(ctx context.Context) error {
		return deployment(ctx, func(d *appsv1.Deployment) bool { return d.Status.Replicas > 3 && d.Status.UpdatedReplicas == 1 })
	})
	c.patchAnnotation("bar", "theseus.dev/requests", `{"id": "half", "kind": "Pause"}`)
	c.await("bar", "is paused", func(bar *v1alpha1.Cluster) bool { return bar.Status.Attempt.Phase == v1alpha1.PhasePaused })
	half := func(d *appsv1.Deployment) bool { return d.Spec.Paused && d.Status.UpdatedReplicas < d.Status.Replicas }
	c.eventually("it is held back", func(ctx context.Context) error { return deployment(ctx, half) })
	c.patchAnnotation("bar", "theseus.dev/requests", `{"id": "whole", "kind": "Resume"}`)
	c.eventually("it is resumed", func(ctx context.Context) error {
		bar, err := c.get(ctx, "bar")
		if err == nil && bar.Status.Attempt.Phase == v1alpha1.PhasePaused {
			err = errors.New("it is paused")
		}
		return err
	})
	c.await("bar", "is restarted", func(bar *v1alpha1.Cluster) bool { return bar.Status.Attempt.Phase.Ended() && settledAt("0.7.0")(bar) })
	c.eventually("it goes on", func(ctx context.Context) error {
		return deployment(ctx, func(d *appsv1.Deployment) bool {
			return !d.Spec.Paused && d.Status.UpdatedReplicas == d.Status.Replicas
		})
	})
	c.edit("bar", `{"spec": {"upgrade": {"soak": "2s"}, "options": {"controllerJvmOptions": null}}}`)
	c.await("bar", "is as it was", func(bar *v1alpha1.Cluster) bool {
		return bar.Status.Attempt.Phase.Ended() && bar.Status.Applied.Spec.Options["controllerJvmOptions"] == "" && settledAt("0.7.0")(bar)
	})
}

// controllersTold is progress without the number of controllers: their Deployment replaces them in its own time, and a look may come after two of them.
func controllersTold(progress []string) (told []string) {
	for _, text := range progress {
		told = append(told, controllersDone.ReplaceAllString(text, "UpdatingController: … of"))
	}
	return told
}

var controllersDone = regexp.MustCompile(`^UpdatingController: \d+ of`)

// options are those of the JVM in a member's environment.
func (c *cluster) options(pod string) string {
	c.t.Helper()
	p, err := c.pod(pod)
	must(c.t, err)
	for _, e := range p.Spec.Containers[0].Env {
		if e.Name == "JAVA_OPTS" {
			return e.Value
		}
	}
	return ""
}

// runOn wants so many pods of a component to run a version, and no other.
func (c *cluster) runOn(component, version string, want int) {
	c.t.Helper()
	pods, err := c.CoreV1().Pods(c.namespace).List(c.t.Context(), metav1.ListOptions{LabelSelector: "theseus.dev/component=" + component})
	must(c.t, err)
	var run []string
	for _, p := range pods.Items {
		if p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil {
			run = append(run, p.Spec.Containers[0].Image)
		}
	}
	for _, image := range run {
		if image != "lab.test/pravega:"+version {
			c.t.Errorf("%s runs %s, want version %s", component, image, version)
		}
	}
	if len(run) != want {
		c.t.Errorf("%d pods of %s run, want %d: %s", len(run), component, want, fmt.Sprint(run))
	}
}
