package operator

import (
	"context"
	"errors"
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
)

// mortal is an API server whose client dies with one of its writes, before or after it; what was written stays.
type mortal struct {
	client.WithWatch
	writes, dies int
	before       bool
	deleted      []types.UID // claims
}

func (m *mortal) write(do func() error) error {
	m.writes++
	if m.writes == m.dies && m.before {
		return errKilled
	}
	if err := do(); err != nil {
		return err
	}
	if m.writes == m.dies {
		return errKilled
	}
	return nil
}

func newMortal(api client.WithWatch, dies int, before bool) *mortal {
	m := &mortal{dies: dies, before: before}
	m.WithWatch = interceptor.NewClient(api, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return m.write(func() error {
				o.SetUID(types.UID(fmt.Sprintf("made-%d", m.writes)))
				return c.Create(ctx, o, opts...)
			})
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			return m.write(func() error { return c.Update(ctx, o, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			return m.write(func() error { return c.Patch(ctx, o, p, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return m.write(func() error { m.deleted = append(m.deleted, o.GetUID()); return c.Delete(ctx, o, opts...) })
		},
	})
	return m
}

// TestRenewKilled kills the operator at each write of a renew, before it and after it: the old claim goes once, the new one never, and the pod starts on that one alone.
func TestRenewKilled(t *testing.T) {
	for _, before := range []bool{false, true} {
		for dies := 1; ; dies++ {
			if writes := renewWithDeath(t, dies, before); writes < dies {
				if writes < 4 {
					t.Errorf("a renew was %d writes, want 4 at least: it is noted, the old claim goes, the new one is made, the pod starts", writes)
				}
				break
			}
		}
	}
}

func renewWithDeath(t *testing.T, dies int, before bool) (writes int) {
	t.Helper()
	pod := podOf(0, "new", hold{onlyOn: "new."})
	old := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: claimName(pod.Name), UID: "old", Labels: selectorOf("kv", "standin")}}
	set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: "kv-standin"}, Spec: appsv1.StatefulSetSpec{
		Selector:             &metav1.LabelSelector{MatchLabels: selectorOf("kv", "standin")},
		VolumeClaimTemplates: []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: dataVolume}}}}}
	m := newMortal(fakeAPI(t, pod, old, set), dies, before)
	sys := standin(t)
	s := scene(sys, 0, v1alpha1.PhaseRunning)
	i := v1alpha1.Intent{Act: v1alpha1.ActRenew, Component: "standin", Member: pod.Name, Name: "new.1", Version: "1.1.0"}
	for range 20 {
		p := &Platform{API: m, Live: m, Key: key} // one that knows nothing of the one before
		free, err := renewPass(t.Context(), p, s.Cluster, i)
		if err != nil && !errors.Is(err, errKilled) {
			t.Fatalf("killed at write %d: %v", dies, err)
		}
		if err == nil && free {
			break
		}
	}
	claim, have := &corev1.PersistentVolumeClaim{}, &corev1.Pod{}
	if err := errors.Join(m.Get(t.Context(), client.ObjectKeyFromObject(old), claim), m.Get(t.Context(), client.ObjectKeyFromObject(pod), have)); err != nil {
		t.Fatalf("killed at write %d: %v", dies, err)
	}
	if claim.UID == "old" || held(have) || len(m.deleted) != 1 || m.deleted[0] != "old" || claim.Labels[clusterLabel] != "kv" || claim.Annotations[wroteAnnotation] != "1.1.0" {
		t.Errorf("killed at write %d: the claim is %s with labels %v and annotations %v, the pod is held: %v, deleted were %v", dies, claim.UID, claim.Labels, claim.Annotations, held(have), m.deleted)
	}
	return m.writes
}

// renewPass is a look and, as the core would, a renew as long as the volume is not the wanted one. It says whether the pod may start.
func renewPass(ctx context.Context, p *Platform, c *v1alpha1.Cluster, i v1alpha1.Intent) (free bool, err error) {
	v, err := p.volumesOf(ctx, c)
	if err != nil {
		return false, err
	}
	pod := &corev1.Pod{}
	if err := p.Live.Get(ctx, types.NamespacedName{Namespace: key.Namespace, Name: i.Member}, pod); err != nil {
		return false, err
	}
	sys, err := shipped("standin")
	if err != nil {
		return false, err
	}
	if _, err := p.lift(ctx, sys.Components()[0], "new", map[int]*corev1.Pod{0: pod}, v); err != nil {
		return false, err
	}
	if v.name(i.Member) == i.Name {
		return true, nil
	}
	return false, p.Do(ctx, runner.Scene{Cluster: c, System: sys}, i, nil)
}
