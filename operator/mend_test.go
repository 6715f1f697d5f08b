package operator

import (
	"context"
	"errors"
	"maps"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// atHand is kv at rest with all that is made for its component, a platform that looks at it, and how many objects that reads of Services and budgets.
type atHand struct {
	*testing.T
	api   client.WithWatch
	p     *Platform
	s     runner.Scene
	i     v1alpha1.Intent
	reads int
}

func madeAtRest(t *testing.T) *atHand {
	t.Helper()
	sys, c := standin(t), kv()
	pinned := &v1alpha1.Pinned{Spec: c.Spec, System: v1alpha1.SystemRef{Name: sys.Name(), Hash: sys.Hash()}}
	c.Status.Applied = pinned
	m := &atHand{T: t, api: fakeAPI(t), s: runner.Scene{Cluster: c, System: sys, Systems: map[string]*system.System{sys.Hash(): sys}}}
	counted := interceptor.NewClient(m.api, interceptor.Funcs{Get: func(ctx context.Context, w client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		switch o.(type) {
		case *corev1.Service, *policyv1.PodDisruptionBudget:
			m.reads++
		}
		return w.Get(ctx, key, o, opts...)
	}})
	m.p = &Platform{API: m.api, Live: counted, Key: key, Identity: "test", Runs: &Runs{}}
	t.Cleanup(m.p.Close)
	m.i = v1alpha1.Intent{Act: v1alpha1.ActConfigure, Component: "standin", Revision: sys.Revision(pinned, "standin", "1.0.0"), Version: "1.0.0"}
	m.configure()
	return m
}

func (m *atHand) configure() {
	m.Helper()
	fatal(m.T, m.p.Do(m.Context(), m.s, m.i, m.s.Cluster.Status.Applied))
}

func (m *atHand) look() upgrade.Look {
	m.Helper()
	return lookAt(m.T, m.p, m.s)
}

func (m *atHand) get(o client.Object, name string) client.Object {
	m.Helper()
	fatal(m.T, m.api.Get(m.Context(), client.ObjectKey{Namespace: key.Namespace, Name: name}, o))
	return o
}

// TestMended: what somebody deletes or edits is seen, and put right by the core's next Configure; what is as wanted is neither read again nor written.
func TestMended(t *testing.T) {
	for name, change := range map[string]struct {
		do   func(m *atHand)
		what string
	}{
		"nothing": {func(*atHand) {}, ""},
		"a Service deleted": {func(m *atHand) {
			fatal(t, m.api.Delete(t.Context(), m.get(&corev1.Service{}, "kv-standin")))
		}, "Service kv-standin is gone"},
		"a selector edited": {func(m *atHand) {
			s := m.get(&corev1.Service{}, "kv-standin-client").(*corev1.Service)
			s.Spec.Selector["more"] = "x"
			fatal(t, m.api.Update(t.Context(), s))
		}, "Service kv-standin-client is not as wanted"},
		"what we do not set": {func(m *atHand) {
			s := m.get(&corev1.Service{}, "kv-standin-client").(*corev1.Service)
			s.Spec.SessionAffinity, s.Annotations = corev1.ServiceAffinityClientIP, map[string]string{"theirs": "x"}
			fatal(t, m.api.Update(t.Context(), s))
		}, ""},
		"a budget deleted": {func(m *atHand) {
			fatal(t, m.api.Delete(t.Context(), m.get(&policyv1.PodDisruptionBudget{}, "kv-standin")))
		}, "PodDisruptionBudget kv-standin is gone"},
		"the policy": {func(m *atHand) { m.s.Cluster.Spec.Upgrade.MaxUnavailable = 2 }, "PodDisruptionBudget kv-standin is not as wanted"},
		"a template edited": {func(m *atHand) {
			s := m.get(&appsv1.StatefulSet{}, "kv-standin").(*appsv1.StatefulSet)
			s.Generation++ // as the API server does
			s.Spec.Template.Spec.Containers[0].Image = "theirs"
			fatal(t, m.api.Update(t.Context(), s))
		}, "StatefulSet kv-standin is not as wanted"},
		"the workload deleted": {func(m *atHand) {
			fatal(t, m.api.Delete(t.Context(), m.get(&appsv1.StatefulSet{}, "kv-standin")))
		}, "StatefulSet kv-standin is gone"},
		"a Service of somebody else": {func(m *atHand) {
			s := m.get(&corev1.Service{}, "kv-standin").(*corev1.Service)
			s.OwnerReferences, s.Spec.Selector = nil, nil
			fatal(t, m.api.Update(t.Context(), s))
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := madeAtRest(t)
			first := m.look()
			reads := m.reads
			if second := m.look(); len(first.Changed)+len(second.Changed) > 0 || m.reads != reads {
				t.Fatalf("as it was made: changed are %v and %v, and the second look read %d objects", first.Changed, second.Changed, m.reads-reads)
			}
			change.do(m)
			if got := m.look().Changed["standin"].What; got != change.what {
				t.Errorf("changed is %q, want %q", got, change.what)
			}
			if change.what == "" {
				return
			}
			m.configure()
			if look := m.look(); len(look.Changed) > 0 {
				t.Errorf("after it was configured again changed is %v", look.Changed)
			}
		})
	}
}

// TestMendedAsMade: what is put right beside a workload leaves that alone, also where this Theseus would make it otherwise.
func TestMendedAsMade(t *testing.T) {
	m := madeAtRest(t)
	before := m.get(&appsv1.StatefulSet{}, "kv-standin")
	fatal(t, m.api.Delete(t.Context(), m.get(&corev1.Service{}, "kv-standin")))
	soak := &metav1.Duration{Duration: 1}
	m.s.Cluster.Spec.Upgrade.Soak = soak
	m.s.Cluster.Spec.Components["standin"] = v1alpha1.ComponentSpec{Replicas: m.s.Cluster.Spec.Components["standin"].Replicas, Image: "another"}
	m.configure()
	if after := m.get(&appsv1.StatefulSet{}, "kv-standin"); after.GetResourceVersion() != before.GetResourceVersion() {
		t.Error("the workload was written")
	}
	m.get(&corev1.Service{}, "kv-standin")
}

// TestSurpassed: who stalled between deciding and acting writes over nothing that was decided on since, whatever it is to write; and makes nothing for a Cluster that is going.
func TestSurpassed(t *testing.T) {
	later := func(m *atHand, c *v1alpha1.Cluster) {
		c.Status.Acts++
		fatal(m.T, m.api.Status().Update(m.Context(), c))
	}
	for name, since := range map[string]func(*atHand, *v1alpha1.Cluster){
		"another act": later,
		"another Cluster": func(m *atHand, c *v1alpha1.Cluster) {
			fatal(m.T, m.api.Delete(m.Context(), c.DeepCopy()))
			c.UID, c.ResourceVersion = "another", ""
			fatal(m.T, m.api.Create(m.Context(), c))
		},
		"a Cluster that is going": func(m *atHand, c *v1alpha1.Cluster) {
			c.Finalizers = []string{"test/stays"}
			fatal(m.T, m.api.Update(m.Context(), c))
			fatal(m.T, m.api.Delete(m.Context(), c))
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := madeAtRest(t)
			before := m.get(&appsv1.StatefulSet{}, "kv-standin")
			fatal(t, m.api.Delete(t.Context(), m.get(&corev1.Service{}, "kv-standin-client")))
			since(m, m.get(&v1alpha1.Cluster{}, "kv").(*v1alpha1.Cluster))
			stale := m.i
			stale.Revision, stale.Version = "old", "0.9.0"
			if err := m.p.Do(t.Context(), m.s, stale, m.s.Cluster.Status.Applied); !errors.Is(err, runner.ErrConflict) {
				t.Errorf("got %v, want that it comes too late", err)
			}
			b, err := m.p.blueprintOf(t.Context(), m.s, stale, m.s.Cluster.Status.Applied)
			fatal(t, err)
			template, err := b.template()
			fatal(t, err)
			want, err := b.workload(template)
			fatal(t, err)
			if err := m.p.applyWorkload(t.Context(), m.s.Cluster, want); !errors.Is(err, runner.ErrConflict) {
				t.Errorf("the workload: got %v, want that it comes too late", err)
			}
			if after := m.get(&appsv1.StatefulSet{}, "kv-standin"); after.GetResourceVersion() != before.GetResourceVersion() {
				t.Error("the old template was written")
			}
			if err := m.api.Get(t.Context(), client.ObjectKey{Namespace: key.Namespace, Name: "kv-standin-client"}, &corev1.Service{}); !apierrors.IsNotFound(err) {
				t.Errorf("the Service: got %v, want it not to be made", err)
			}
		})
	}
	t.Run("an adopted one", func(t *testing.T) {
		c := adopting(v1alpha1.AdoptVersion)
		c.Spec.Version = "1.0.1"
		api, p, s := stage(t, c, theirs("lab.test/store:1.0.0"))
		now := &v1alpha1.Cluster{}
		fatal(t, api.Get(t.Context(), client.ObjectKeyFromObject(c), now))
		now.Status.Acts++
		fatal(t, api.Status().Update(t.Context(), now))
		i := v1alpha1.Intent{Act: v1alpha1.ActConfigure, Component: "standin", Revision: "r", Version: "1.0.1"}
		if err := p.Do(t.Context(), s, i, &v1alpha1.Pinned{Spec: c.Spec, System: v1alpha1.SystemRef{Hash: s.System.Hash()}}); !errors.Is(err, runner.ErrConflict) {
			t.Errorf("got %v, want that it comes too late", err)
		}
	})
}

// TestSurpassedBetween: one who decides later, and writes between the stalled one's question and its write, makes that write fail.
func TestSurpassedBetween(t *testing.T) {
	m := madeAtRest(t)
	between := interceptor.NewClient(m.api, interceptor.Funcs{Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
		set := m.get(&appsv1.StatefulSet{}, "kv-standin").(*appsv1.StatefulSet)
		set.Spec.Template.Annotations[revisionAnnotation] = "new"
		fatal(t, m.api.Update(ctx, set))
		return c.Update(ctx, o, opts...)
	}})
	m.p.API = between
	stale := m.i
	stale.Revision = "old"
	if err := m.p.Do(t.Context(), m.s, stale, m.s.Cluster.Status.Applied); !apierrors.IsConflict(errors.Unwrap(err)) && !apierrors.IsConflict(err) {
		t.Errorf("got %v, want a conflict", err)
	}
	if got := m.get(&appsv1.StatefulSet{}, "kv-standin").(*appsv1.StatefulSet).Spec.Template.Annotations[revisionAnnotation]; got != "new" {
		t.Errorf("the template is of revision %q, want new", got)
	}
}

// TestNobodyDrivesWhatGoes: nobody drives a Cluster that is being deleted.
func TestNobodyDrivesWhatGoes(t *testing.T) {
	c := kv()
	c.Name, c.Finalizers = "going", []string{"test/stays"}
	api := fakeAPI(t, c)
	fatal(t, api.Delete(t.Context(), c.DeepCopy()))
	_, _, err := (&State{API: api, Live: api, Key: client.ObjectKeyFromObject(c)}).Load(t.Context())
	if result, failed := failed(t.Context(), err); err == nil || failed != nil || result.RequeueAfter != 0 {
		t.Errorf("got %v, which comes to %v, %v", err, result, failed)
	}
}

// TestWatched: of Services and budgets no more is held than wakes their Cluster.
func TestWatched(t *testing.T) {
	options := (&Options{}).manager(nil)
	for o, by := range options.Cache.ByObject {
		if by.Label == nil || by.Transform == nil {
			t.Errorf("all of %T is held in memory", o)
		}
	}
	m := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: "x", Annotations: map[string]string{"long": "text"}, Labels: selectorOf("kv", "standin")}}
	got, err := thin(m)
	fatal(t, err)
	if h := got.(*metav1.PartialObjectMetadata); len(h.Annotations) > 0 || !maps.Equal(h.Labels, m.Labels) {
		t.Errorf("held is %+v", h)
	}
}
