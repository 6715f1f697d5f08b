//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"theseus.dev/bench/figure"
)

// probed is a Cluster whose pods have a readiness probe, which both sides go by. The stand-in refuses a backup as long as it is not ready.
const probed = `
apiVersion: theseus.dev/v1alpha1
kind: Cluster
metadata: {name: si}
spec:
  system: standin
  version: VERSION
  components:
    standin:
      replicas: 3
      storage: 10Mi
      image: "lab.test/standin:${version}"
      pod: {spec: {containers: [{name: standin, readinessProbe: {httpGet: {path: /backup, port: client}, periodSeconds: 1}}]}}
  upgrade: {soak: SOAK}
`

// set is the name of the StatefulSet that Theseus makes of it.
const set = "si-standin"

// upgrades compares an upgrade of three members by Theseus, all checks on, with one of the same StatefulSet by Kubernetes' own RollingUpdate: the same
// pods, probe and volumes, and minReadySeconds as long as the soak. Both end when the last member has proved itself.
func upgrades(ctx context.Context, k *kube, o options) ([]figure.Figure, error) {
	op, err := k.startOperator(k.lab.Kubeconfig())
	if err != nil {
		return nil, err
	}
	defer op.stop()
	var ours, theirs []parts
	for i := range o.rounds {
		fmt.Fprintf(os.Stderr, "upgrade by Theseus and by RollingUpdate, round %d of %d\n", i+1, o.rounds)
		p, err := k.pair(ctx, i, o.soak)
		if err != nil {
			return nil, err
		}
		sides := []func(context.Context) (parts, error){p.byTheseus, p.byKubernetes}
		got := make([]parts, 2)
		for n := range sides { // who is first changes with each round
			side := (n + i) % 2
			if got[side], err = sides[side](ctx); err != nil {
				return nil, err
			}
		}
		ours, theirs = append(ours, got[0]), append(theirs, got[1])
		if err := p.remove(ctx); err != nil {
			return nil, err
		}
	}
	return compared(ours, theirs, o.soak), nil
}

func compared(ours, theirs []parts, soak time.Duration) []figure.Figure {
	line := func(what, limit string, part func(parts) time.Duration) figure.Figure {
		a, b := medianOf(ours, part), medianOf(theirs, part)
		f := figure.Figure{What: what, Ours: fmt.Sprintf("%.1f s", a), Theirs: fmt.Sprintf("%.1f s", b), Limit: limit}
		if b >= 1 {
			f.Ratio = fmt.Sprintf("%.2f", a/b)
		}
		return f
	}
	all := line(fmt.Sprintf("upgrade of a StatefulSet of 3, all in all (soak and minReadySeconds: %s)", soak), "1.15", func(p parts) time.Duration { return p.all })
	all.Theirs += " by RollingUpdate"
	return []figure.Figure{
		all,
		line("  without 3 times the soak", "", func(p parts) time.Duration { return p.all - 3*soak }),
		line("  until the first member goes: images pulled, template written, checks", "", func(p parts) time.Duration { return p.before }),
		line("    of that a pod on the node that pulls the images, until it is ready", "", func(p parts) time.Duration { return p.pull }),
		line("  3 members: told to stop, until a new pod is there", "", func(p parts) time.Duration { return p.stop }),
		line("  3 members: new pod, until it is ready", "", func(p parts) time.Duration { return p.start }),
		line("  3 members: ready, until the next one goes or all is done", "", func(p parts) time.Duration { return p.prove }),
	}
}

func medianOf(list []parts, part func(parts) time.Duration) float64 {
	var seconds []float64
	for _, p := range list {
		seconds = append(seconds, part(p).Seconds())
	}
	return figure.Median(seconds)
}

// pair is the same StatefulSet twice: Theseus upgrades the one that it made, Kubernetes its copy.
type pair struct {
	*kube
	theseus, native string // namespaces
}

func (k *kube) pair(ctx context.Context, round int, soak time.Duration) (*pair, error) {
	p := &pair{k, fmt.Sprintf("round-%d-theseus", round), fmt.Sprintf("round-%d-native", round)}
	if err := errors.Join(k.makeNamespace(ctx, p.theseus), k.makeNamespace(ctx, p.native)); err != nil {
		return nil, err
	}
	if err := k.makeCluster(ctx, p.theseus, strings.NewReplacer("VERSION", oldVersion, "SOAK", soak.String()).Replace(probed)); err != nil {
		return nil, err
	}
	if err := await(ctx, "Theseus makes the members", func() error { return p.settled(ctx, oldVersion) }); err != nil {
		return nil, err
	}
	if err := p.copy(ctx, int32(soak/time.Second)); err != nil { //nolint:gosec // seconds that somebody waits for
		return nil, err
	}
	return p, await(ctx, "Kubernetes makes the members", func() error { return p.rolled(ctx) })
}

func (p *pair) settled(ctx context.Context, version string) error {
	c, err := p.cluster(ctx, p.theseus, "si")
	if err != nil {
		return err
	}
	return runs(c, version)
}

// copy makes the StatefulSet and the Service that gives its pods names once more, in the other namespace.
func (p *pair) copy(ctx context.Context, proving int32) error {
	from, err := p.AppsV1().StatefulSets(p.theseus).Get(ctx, set, metav1.GetOptions{})
	if err != nil {
		return err
	}
	to := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: set}}
	if err := translate(from.Spec, &to.Spec, p.theseus, p.native); err != nil {
		return err
	}
	to.Spec.UpdateStrategy = appsv1.StatefulSetUpdateStrategy{Type: appsv1.RollingUpdateStatefulSetStrategyType}
	to.Spec.MinReadySeconds = proving
	names, err := p.CoreV1().Services(p.theseus).Get(ctx, set, metav1.GetOptions{})
	if err != nil {
		return err
	}
	_, err = p.CoreV1().Services(p.native).Create(ctx, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: set}, Spec: names.Spec}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	_, err = p.AppsV1().StatefulSets(p.native).Create(ctx, to, metav1.CreateOptions{})
	return err
}

// translate copies a value, with one text instead of another wherever it stands.
func translate(from, to any, old, now string) error {
	text, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(strings.ReplaceAll(string(text), old, now)), to)
}

func (p *pair) byTheseus(ctx context.Context) (parts, error) {
	return p.timed(ctx, p.theseus, func() error { return p.kube.upgrade(ctx, p.theseus, "si") }, func() error { return p.settled(ctx, newVersion) })
}

func (p *pair) byKubernetes(ctx context.Context) (parts, error) {
	return p.timed(ctx, p.native, func() error {
		have, err := p.AppsV1().StatefulSets(p.native).Get(ctx, set, metav1.GetOptions{})
		if err != nil {
			return err
		}
		template := corev1.PodTemplateSpec{}
		if err := translate(have.Spec.Template, &template, oldVersion, newVersion); err != nil {
			return err
		}
		change, err := json.Marshal(map[string]any{"spec": map[string]any{"template": template}})
		if err != nil {
			return err
		}
		_, err = p.AppsV1().StatefulSets(p.native).Patch(ctx, set, types.StrategicMergePatchType, change, metav1.PatchOptions{})
		return err
	}, func() error { return p.rolled(ctx) })
}

// rolled says why the native StatefulSet is not done: all members are of the new revision and available, which is ready for minReadySeconds.
func (p *pair) rolled(ctx context.Context) error {
	s, err := p.AppsV1().StatefulSets(p.native).Get(ctx, set, metav1.GetOptions{})
	if err != nil {
		return err
	}
	st := s.Status
	if st.ObservedGeneration < s.Generation || st.UpdateRevision != st.CurrentRevision || st.UpdatedReplicas < 3 || st.AvailableReplicas < 3 {
		return fmt.Errorf("the status of the native StatefulSet is %+v", st)
	}
	return nil
}

func (p *pair) remove(ctx context.Context) error {
	for _, n := range []string{p.theseus, p.native} {
		if err := p.CoreV1().Namespaces().Delete(ctx, n, metav1.DeleteOptions{}); err != nil {
			return err
		}
	}
	return await(ctx, "the members of the round are gone", func() error {
		for _, n := range []string{p.theseus, p.native} {
			pods, err := p.CoreV1().Pods(n).List(ctx, metav1.ListOptions{})
			if err == nil && len(pods.Items) > 0 {
				err = fmt.Errorf("%d pods in %s", len(pods.Items), n)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// parts of an upgrade; those of the three members are added up. pull is part of before: the life of the pod that pulls images, until it is ready.
type parts struct {
	all, before, pull, stop, start, prove time.Duration
}

// timed takes the time from an edit until it is done, and watches the members meanwhile.
func (p *pair) timed(ctx context.Context, namespace string, edit, done func() error) (parts, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	d := &diary{}
	w, err := p.CoreV1().Pods(namespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return parts{}, err
	}
	defer w.Stop()
	var watching sync.WaitGroup
	watching.Go(func() {
		for e := range w.ResultChan() {
			if pod, ok := e.Object.(*corev1.Pod); ok {
				d.note(pod, time.Now())
			}
		}
	})
	begun := time.Now()
	if err := edit(); err != nil {
		return parts{}, err
	}
	if err := await(ctx, "the upgrade in "+namespace, done); err != nil {
		return parts{}, err
	}
	ended := time.Now()
	w.Stop()
	watching.Wait()
	return d.parts(begun, ended)
}

// diary has when each pod was first seen, ready and told to stop.
type diary struct {
	pods []*life
}

type life struct {
	name, uid           string
	member              bool // else it pulls images
	made, ready, ending time.Time
}

func (d *diary) note(pod *corev1.Pod, now time.Time) {
	i := slices.IndexFunc(d.pods, func(l *life) bool { return l.uid == string(pod.UID) })
	if i < 0 {
		i = len(d.pods)
		d.pods = append(d.pods, &life{name: pod.Name, uid: string(pod.UID), member: pod.Labels["theseus.dev/cluster"] != "", made: now})
	}
	l := d.pods[i]
	ready := slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue })
	if l.ready.IsZero() && ready {
		l.ready = now
	}
	if l.ending.IsZero() && pod.DeletionTimestamp != nil {
		l.ending = now
	}
}

// parts adds up what happened to three members, one after the other. Anything else is an error: then the comparison is none.
func (d *diary) parts(begun, ended time.Time) (parts, error) {
	var old, now []*life
	p := parts{all: ended.Sub(begun)}
	for _, l := range d.pods {
		switch {
		case !l.member && !l.ready.IsZero():
			p.pull = max(p.pull, l.ready.Sub(l.made))
		case l.member && l.ending.IsZero():
			now = append(now, l)
		case l.member:
			old = append(old, l)
		}
	}
	if len(old) != 3 || len(now) != 3 {
		return parts{}, fmt.Errorf("%d pods went and %d came, not three one after the other", len(old), len(now))
	}
	slices.SortFunc(old, func(a, b *life) int { return a.ending.Compare(b.ending) })
	p.before = old[0].ending.Sub(begun)
	for i, l := range old {
		j := slices.IndexFunc(now, func(n *life) bool { return n.name == l.name })
		if j < 0 || now[j].ready.IsZero() {
			return parts{}, fmt.Errorf("%s did not come back ready", l.name)
		}
		next := ended
		if i+1 < len(old) {
			next = old[i+1].ending
		}
		p.stop += now[j].made.Sub(l.ending)
		p.start += now[j].ready.Sub(now[j].made)
		p.prove += next.Sub(now[j].ready)
	}
	return p, nil
}
