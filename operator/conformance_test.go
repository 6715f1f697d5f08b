package operator

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/yaml"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/runner/runnertest"
	"theseus.dev/system"
	"theseus.dev/systems"
)

var key = types.NamespacedName{Namespace: "team", Name: "kv"}

func standin(t *testing.T) *system.System {
	t.Helper()
	s, err := shipped("standin")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func shipped(name string) (*system.System, error) {
	text, err := systems.Load(name)
	if err != nil {
		return nil, err
	}
	api := &v1alpha1.System{}
	if err := yaml.UnmarshalStrict(text, api); err != nil {
		return nil, err
	}
	return system.Compile(api)
}

func kv() *v1alpha1.Cluster {
	three := int32(3)
	return &v1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, UID: "uid-of-kv"}, Spec: v1alpha1.ClusterSpec{
		System: "standin", Version: "1.0.0", Components: map[string]v1alpha1.ComponentSpec{"standin": {Replicas: &three, Image: "lab.test/standin:1"}},
		Upgrade: v1alpha1.UpgradePolicy{Soak: &metav1.Duration{}},
	}}
}

// fakeAPI has one Cluster.
func fakeAPI(t *testing.T, more ...client.Object) client.WithWatch {
	t.Helper()
	scheme, err := Scheme()
	if err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(kv()).WithObjects(more...).WithStatusSubresource(&v1alpha1.Cluster{}, &v1alpha1.Backup{}, &v1alpha1.Restore{}).Build()
}

func TestJournal(t *testing.T) {
	runnertest.Journal(t, func(t *testing.T) runnertest.JournalPlace {
		api := fakeAPI(t)
		return runnertest.JournalPlace{
			Open: func(*testing.T) runner.Journal { return &State{API: api, Live: api, Key: key} },
			Edit: func(t *testing.T, spec *v1alpha1.ClusterSpec) {
				c := &v1alpha1.Cluster{}
				if err := api.Get(t.Context(), key, c); err != nil {
					t.Fatal(err)
				}
				c.Spec = *spec
				if err := api.Update(t.Context(), c); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

func TestInbox(t *testing.T) {
	runnertest.Inbox(t, func(t *testing.T) runnertest.InboxPlace {
		api := fakeAPI(t)
		return runnertest.InboxPlace{
			Open: func(*testing.T) runner.Inbox { return &State{API: api, Live: api, Key: key} },
			Ask: func(t *testing.T, r v1alpha1.Request) {
				if err := (&State{API: api, Live: api, Key: key}).Ask(t.Context(), r); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

func TestLibrary(t *testing.T) {
	runnertest.Library(t, func(t *testing.T) runnertest.LibraryPlace {
		api := fakeAPI(t)
		compiled.Clear()
		return runnertest.LibraryPlace{Known: standin(t), Open: func(*testing.T) runner.Library {
			return &Library{API: api, Live: api, Shipped: shipped, Cluster: key}
		}}
	})
}

func TestKeptSystemsAreNotTrusted(t *testing.T) {
	api, ctx := fakeAPI(t), context.Background()
	l := &Library{API: api, Live: api, Shipped: shipped, Cluster: key}
	s := standin(t)
	if err := l.Keep(ctx, s); err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Marshal(s.Source())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := CompileKept(string(text), s.Hash()); err != nil {
		t.Errorf("what was kept: %v", err)
	}
	if _, err := CompileKept(string(text)+"\ndescription: another\n", s.Hash()); err == nil {
		t.Error("what was changed since compiles, want an error")
	}
}

// TestSystemsAreCompiledOnce: each pass of each Cluster asks, by name and by hash.
func TestSystemsAreCompiledOnce(t *testing.T) {
	compiled.Clear()
	api, times := fakeAPI(t), 0
	count := func(name string) (*system.System, error) {
		times++
		return shipped(name)
	}
	var first *system.System
	for _, cluster := range []string{"a", "b"} {
		l := &Library{API: api, Live: api, Shipped: count, Cluster: types.NamespacedName{Namespace: key.Namespace, Name: cluster}}
		s, err := l.Known(t.Context(), "standin")
		if err != nil {
			t.Fatal(err)
		}
		pinned, err := l.Pinned(t.Context(), s.Hash())
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = s
		}
		if s != first || pinned != first || times != 1 {
			t.Errorf("cluster %s: compiled %d times, and the System by name is the first one: %t, by hash: %t", cluster, times, s == first, pinned == first)
		}
	}
}

func TestNewerJournal(t *testing.T) {
	c := kv()
	c.Name, c.Status.Journal = "new", v1alpha1.JournalVersion+1
	api := fakeAPI(t, c)
	s := &State{API: api, Live: api, Key: client.ObjectKeyFromObject(c)}
	if _, _, err := s.Load(t.Context()); err == nil {
		t.Error("the journal of a newer Theseus was loaded")
	}
	if _, err := s.Save(t.Context(), &v1alpha1.ClusterStatus{}, mark(&c.Status)); err == nil {
		t.Error("the journal of a newer Theseus was overwritten")
	}
}

func TestRequestsIn(t *testing.T) {
	for _, test := range []struct{ text, id, kind string }{
		{`{"id": "a", "kind": "Pause"}`, "a", "Pause"},
		{"{id: a, kind: Pause}", "a", "Pause"},
		{"[{id: a, kind: Resume}]", "a", "Resume"},
		{"Pause", unreadable("Pause"), ""},
		{"{kind: Pause}", unreadable("{kind: Pause}"), ""},
		{"{id: a, kind: Pause, what: else}", unreadable("{id: a, kind: Pause, what: else}"), ""},
	} {
		got := requestsIn(test.text)
		if len(got) != 1 || got[0].ID != test.id || string(got[0].Kind) != test.kind {
			t.Errorf("%s: got %+v, want one with id %q and kind %q", test.text, got, test.id, test.kind)
		}
	}
	if got := requestsIn("[{id: a, kind: Pause}, {id: a, kind: Resume}]"); len(got) != 1 || got[0].Kind != v1alpha1.RequestPause {
		t.Errorf("the same id twice: got %+v, want the first alone", got)
	}
}
