//go:build linux

package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
)

const adoptedPravega = `
apiVersion: theseus.dev/v1alpha1
kind: Cluster
metadata: {name: bar}
spec:
  system: pravega
  version: 0.6.2
  components:
    segmentstore:
      image: "lab.test/pravega:${version}"
      adopt: {statefulSet: bar-pravega-segmentstore, mode: Version, container: pravega-segmentstore}
    controller:
      replicas: 2
      image: "lab.test/pravega:${version}"CONTROLLERS
  upgrade: {soak: 2s, progressDeadline: 8m}
`

const (
	oldStores = "bar-pravega-segmentstore"
	newStores = "bar-pravega-segment-store"
)

// TestPravegaMoves takes over segment stores that the Pravega operator made at 0.6, and upgrades them to 0.7, with which their StatefulSet has another name: a
// version of which the third member crashes goes back to the old one from the middle, a good one moves all of them two by two. Clients write and read by one Service all the while.
func TestPravegaMoves(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	loadTheseus(t)
	loadStandin(t, "1.0.0")
	loadPlayed(t, "pravega", "pravega", []string{"/opt/pravega/scripts/entrypoint.sh"}, []string{"0.6.2", "0.7.0", "0.7.1", "0.7.2"})
	c.installChart()
	c.knobs("segmentstore", `{"members": {"`+newStores+`-2@0.7.1": {"crashAfterReady": "100ms"}}}`)
	c.knobs("controller", "")
	c.create("segmentstores.yaml")
	for i := range 4 {
		c.podReady(fmt.Sprintf("%s-%d", oldStores, i))
	}
	before := c.storeUIDs()
	c.applyAdmitted(adoptedPravega, "CONTROLLERS", playedBy("controller", "", "rest", "rpc"))
	c.await("bar", "is adopted", settledAt("0.6.2"))
	if now := c.storeUIDs(); !slices.Equal(now, before) {
		t.Errorf("the segment stores are %v, and were %v: adopting replaced some", now, before)
	}
	w := c.writesBy("clients")
	f := c.film("bar")

	c.refuses("bar", `{"spec": {"version": "0.7.1"}}`, `does not keep the rule "memory is split"`)
	c.edit("bar", `{"spec": {"version": "0.7.1", "options": {`+split+`}}}`)
	bar := c.await("bar", "is back at 0.6.2", func(bar *v1alpha1.Cluster) bool { return bar.Status.FailedTarget == "0.7.1" && settledAt("0.6.2")(bar) })
	c.ended(bar, v1alpha1.PhaseRolledBack)
	if e := bar.Status.Attempt.Failure; e == nil || e.Reason != "CrashLoop" || e.Object != "member "+newStores+"-2" {
		t.Errorf("it failed because of %+v, want the third new segment store, which restarts", e)
	}
	if now := c.storeUIDs(); len(now) != 4 || !slices.Equal(now[:2], before[:2]) || slices.Contains(before, now[2]) || slices.Contains(before, now[3]) {
		t.Errorf("the segment stores are %v, and were %v: want the first two as they were, and two that came again", now, before)
	}
	if got, want := scales(bar), []string{"Grow " + newStores, "Shrink " + oldStores, "Grow " + newStores,
		"Shrink " + newStores, "Grow " + oldStores, "Shrink " + newStores, "Remove " + newStores}; !slices.Equal(got, want) {
		t.Errorf("done was %q, want %q", got, want)
	}
	c.gone(newStores)

	c.edit("bar", `{"spec": {"version": "0.7.0"}}`)
	c.await("bar", "has moved two", func(bar *v1alpha1.Cluster) bool {
		return strings.Contains(condition(v1alpha1.ConditionUpgrading)(&bar.Status), "2 of 4 members moved")
	})
	must(t, c.CoreV1().Pods(c.namespace).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=theseus"}))
	bar = c.await("bar", "runs 0.7.0", settledAt("0.7.0"))
	c.ended(bar, v1alpha1.PhaseSucceeded)
	c.contains("Upgrading", controllersTold(f.shows(condition(v1alpha1.ConditionUpgrading))), "UpdatingSegmentstore: 0 of 4 members moved to "+newStores,
		"UpdatingSegmentstore: 2 of 4 members moved to "+newStores, "UpdatingController: … of 2 members updated")
	if got, want := scales(bar), []string{"Grow " + newStores, "Shrink " + oldStores, "Grow " + newStores, "Shrink " + oldStores, "Remove " + oldStores}; !slices.Equal(got, want) {
		t.Errorf("done was %q, want %q", got, want)
	}
	for _, st := range f.shows(func(st *v1alpha1.ClusterStatus) string { return fmt.Sprintf("%d of %d", st.ReadyReplicas, st.Replicas) }) {
		if long && !slices.Contains([]string{"6 of 6", "5 of 6"}, st) { // controllers go one by one; on a machine with too much to do members answer too late
			t.Errorf("the status said at some time that %s members are ready", st)
		}
	}
	if got, want := f.shows(func(st *v1alpha1.ClusterStatus) string { return fmt.Sprint(st.Replicas) }), []string{"6"}; !slices.Equal(got, want) {
		t.Errorf("the status said one after the other that there are to be %q members, want %q: who moves is in two workloads, and counts once", got, want)
	}
	c.gone(oldStores)
	if got := bar.Status.Applied.Spec.Components["segmentstore"].Adopt; got.Moved != newStores || bar.Spec.Components["segmentstore"].Adopt.StatefulSet != oldStores {
		t.Errorf("the status says that the members are in %+v", got)
	}
	if set := c.statefulSet(newStores); *set.Spec.Replicas != 4 || len(set.OwnerReferences) > 0 {
		t.Errorf("the new StatefulSet is %+v", set.Spec)
	}
	if got := c.options(newStores + "-0"); !strings.Contains(got, "-Xmx768m -XX:MaxDirectMemorySize=2g -Dpravegaservice.cache.size.max=1073741824") || strings.Contains(got, "-Xmx1g") {
		t.Errorf("the segment store was started with %q", got)
	}

	c.edit("bar", `{"spec": {"version": "0.7.2"}}`) // from here on as any other
	bar = c.await("bar", "runs 0.7.2", settledAt("0.7.2"))
	c.ended(bar, v1alpha1.PhaseSucceeded)
	if got, want := replaced(bar)[:1], []string{"member " + newStores + "-3"}; !slices.Equal(got, want) {
		t.Errorf("replaced was %q first, want %q", got, want)
	}
	w.check()
}

// storeUIDs are the segment stores that there are, with their UIDs.
func (c *cluster) storeUIDs() (list []string) {
	c.t.Helper()
	pods, err := c.CoreV1().Pods(c.namespace).List(c.t.Context(), metav1.ListOptions{LabelSelector: "component=pravega-segmentstore"})
	must(c.t, err)
	for _, p := range pods.Items {
		list = append(list, p.Name+" "+string(p.UID))
	}
	return list
}

// gone wants a StatefulSet, its pods and its claims not to be there.
func (c *cluster) gone(set string) {
	c.t.Helper()
	c.eventually(set+" is gone", func(ctx context.Context) error {
		if _, err := c.AppsV1().StatefulSets(c.namespace).Get(ctx, set, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return errors.Join(errors.New("it is there"), err)
		}
		claims, err := c.CoreV1().PersistentVolumeClaims(c.namespace).List(ctx, metav1.ListOptions{})
		for _, claim := range claims.Items {
			if strings.HasPrefix(claim.Name, "cache-"+set+"-") {
				return fmt.Errorf("claim %s is there", claim.Name)
			}
		}
		return err
	})
}

// scales are the acts on StatefulSets of the last attempt, in order.
func scales(bar *v1alpha1.Cluster) (list []string) {
	for _, e := range bar.Status.Events {
		if e.Attempt == bar.Status.Attempt.ID && slices.Contains([]string{"Grow", "Shrink", "Remove"}, e.Reason) {
			list = append(list, e.Reason+" "+strings.TrimPrefix(e.Object, "StatefulSet "))
		}
	}
	return list
}

// writesBy starts a writer that knows no member, but the Service that leads to those that are ready.
func (c *cluster) writesBy(service string) *writer {
	c.t.Helper()
	w := &writer{c: c, name: service, url: func(_, n int) string { return fmt.Sprintf("http://%s:12345/kv/k%d", service, n) }}
	turn := 0
	w.start(func(ctx context.Context, _ string) (net.Conn, error) {
		ready, err := c.endpoints(ctx, service)
		if err != nil || len(ready) == 0 {
			return nil, fmt.Errorf("service %s leads to nobody: %w", service, err)
		}
		turn++ // of one client, and it does one thing at a time
		return (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(ready[turn%len(ready)], "12345"))
	})
	return w
}

// endpoints are the addresses to which a Service leads.
func (c *cluster) endpoints(ctx context.Context, service string) (addresses []string, err error) {
	list, err := c.DiscoveryV1().EndpointSlices(c.namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service})
	if err != nil {
		return nil, err
	}
	for _, slice := range list.Items {
		for _, e := range slice.Endpoints {
			if e.Conditions.Ready != nil && *e.Conditions.Ready && slice.AddressType == discoveryv1.AddressType(corev1.IPv4Protocol) {
				addresses = append(addresses, e.Addresses...)
			}
		}
	}
	return addresses, nil
}
