//go:build linux

package kubernetes

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/probe"
	"theseus.dev/probe/etcd"
)

// measuring is a probe of the members of the Cluster kv.
type measuring struct {
	c      *cluster
	claims string // selector of the members, and of their volumes
	probe  *probe.Probe
	ended  chan struct{}
	result *probe.Result
	err    error
	before []string
	pods   *counted
}

// measure sends 20 requests a second to every member by its name, wherever its pod is.
func (c *cluster) measure() *measuring {
	c.t.Helper()
	return c.measureWorkload("kv-etcd", "theseus.dev/cluster=kv")
}

// measureWorkload measures the members of any StatefulSet of three.
func (c *cluster) measureWorkload(name, claims string) *measuring {
	c.t.Helper()
	var endpoints []string
	for i := range 3 {
		endpoints = append(endpoints, fmt.Sprintf("http://%s-%d:2379", name, i))
	}
	d, err := etcd.New(etcd.Options{Endpoints: endpoints, FreshEvery: 50, Dial: c.dialPod})
	must(c.t, err)
	// A machine that is busy with something else is not to fail: few requests, with time for each. More of them pile up, and each tries again.
	p, err := probe.New(d, probe.Options{Rate: 20, Deadline: 30 * time.Second, TryTimeout: 5 * time.Second, LookEvery: 3 * time.Second})
	must(c.t, err)
	m := &measuring{c: c, claims: claims, probe: p, ended: make(chan struct{}), before: c.resources(claims), pods: c.count(claims)}
	ctx := context.WithoutCancel(c.t.Context())
	go func() {
		defer close(m.ended)
		defer d.Close()
		m.result, m.err = p.Run(ctx)
	}()
	select {
	case <-p.Running():
	case <-m.ended:
		c.t.Fatal(m.err)
	}
	c.t.Cleanup(func() { p.Stop(); <-m.ended })
	return m
}

// dialPod finds a pod by its name, as the cluster's DNS does for clients inside.
func (c *cluster) dialPod(ctx context.Context, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	pod, err := c.CoreV1().Pods(c.namespace).Get(ctx, host, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	if pod.Status.PodIP == "" { // an empty host would be this one, where the lab's own etcd listens
		return nil, fmt.Errorf("pod %s has no address yet", host)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(pod.Status.PodIP, port))
}

// resources are the members with their volumes, which an upgrade must not change.
func (c *cluster) resources(claims string) []string {
	c.t.Helper()
	list, err := c.CoreV1().PersistentVolumeClaims(c.namespace).List(context.WithoutCancel(c.t.Context()), metav1.ListOptions{LabelSelector: claims})
	must(c.t, err)
	var out []string
	for _, claim := range list.Items {
		out = append(out, claim.Name+" "+string(claim.UID))
	}
	slices.Sort(out)
	return out
}

// judge ends the measurement: nothing may be lost.
func (m *measuring) judge(kv *v1alpha1.Cluster) {
	t := m.c.t
	t.Helper()
	m.probe.Stop()
	<-m.ended
	must(t, m.err)
	l := &m.result.Ledger
	f := probe.Facts{TargetVersion: kv.Status.CurrentVersion}
	f.SameData = fact(l.Keepsakes > 0 && l.KeepsakesGone == 0 && l.Unread == 0, "keys from before the baseline are as they were")
	f.SameResources = fact(slices.Equal(m.before, m.c.resources(m.claims)) && len(m.before) == 3, "the same claims")
	f.ConfigUnedited = fact(kv.Status.Applied != nil, "options and arguments are those of the spec")
	overrides := 0
	for _, a := range kv.Status.Attempts {
		overrides += len(a.Overrides)
	}
	f.NoManualStep = fact(overrides == 0, "no override")
	v := probe.Judge(m.result, profile(t), f)
	dir := filepath.Join(t.TempDir(), "verdict")
	must(t, v.Write(dir))
	t.Log(v.Summary(dir))
	shown(t, &v)
	if n := m.pods.awayAtOnce(); n != 1 {
		t.Errorf("%d members were away at once, want one", n)
	}
}

// timed are the checks of how long something took, and of what is only seen by who looks in time.
var timed = regexp.MustCompile("^(longest gap: .*|the probe kept its schedule|looks without a hole|a replica always ready|mixed arrangements held|" +
	"written through one version, read through the other|queues drained)$")

// shown wants all that L3 asks for. What depends on how much else the machine does is reported, and judged where there is time to look at it: whether a member
// was always there is what the pods say as well.
func shown(t *testing.T, v *probe.Verdict) {
	t.Helper()
	for _, outcome := range []probe.Outcome{probe.Fail, probe.NotShown} {
		for _, c := range v.Failures(outcome) {
			say := t.Errorf
			if timed.MatchString(c.Name) && !long {
				say = t.Logf
			}
			say("%s: %s: %s, limit %s. %s", outcome, c.Name, c.Measured, c.Limit, c.Why)
		}
	}
}

func profile(t *testing.T) probe.Profile {
	t.Helper()
	p, err := probe.ProfileNamed("quick")
	must(t, err)
	p.MinRequests = 100 // of 20 a second
	return p
}

func fact(ok bool, why string) probe.Fact {
	if ok {
		return probe.Fact{Outcome: probe.Pass, Why: why}
	}
	return probe.Fact{Outcome: probe.Fail, Why: "not so: " + why}
}

// wait lets the probe measure for a while: a window has to have a length.
func (m *measuring) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-m.ended:
	}
}
