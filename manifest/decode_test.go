package manifest_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/manifest"
)

const cluster = "apiVersion: theseus.dev/v1alpha1\nkind: Cluster\nmetadata: {name: kv}\nspec:\n  system: kv\n  version: 3.5.0\n"

// TestOnIsAWord guards the reading of YAML 1.2: in 1.1 the key on is true.
func TestOnIsAWord(t *testing.T) {
	text := strings.Replace(kv, "options:", `actions: {on: {post: ":client/on", where: Each}}`+"\noptions:", 1)
	s := compiled(t, text)
	a, err := s.Action("actions.on")
	if err != nil || a.Where != v1alpha1.OnEach {
		t.Errorf("the action called on: %+v (%v)", a, err)
	}
}

func TestDefaultCluster(t *testing.T) {
	objects, err := manifest.Decode("kv.yaml", []byte(cluster+"  backup: {url: \"s3://b\", secret: {name: s}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	c := objects[0].Cluster
	manifest.DefaultCluster(c)
	u := c.Spec.Upgrade
	got := fmt.Sprint(u.OnFailure, u.MaxUnavailable, u.Soak, u.ProgressDeadline.Duration, u.Finalize, u.Edits, c.Spec.Backup.Secret.Key)
	if want := "Rollback1 nil 10m0sAutomaticRefusekey.json"; got != want {
		t.Errorf("defaults are %q, want %q", got, want)
	}
	before := c.DeepCopy()
	manifest.DefaultCluster(c)
	if !reflect.DeepEqual(before, c) {
		t.Error("defaulting twice changes something")
	}
}

// TestKubernetesFields reads what kubectl gives back: fields of metadata that
// people do not write.
func TestKubernetesFields(t *testing.T) {
	text := strings.Replace(cluster, "{name: kv}", `{name: kv, namespace: db, uid: u-1, generation: 3, creationTimestamp: "2026-01-02T03:04:05Z", labels: {a: b}}`, 1)
	objects, err := manifest.Decode("kv.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	m := objects[0].Cluster.ObjectMeta
	if m.Namespace != "db" || m.Generation != 3 || !m.CreationTimestamp.UTC().Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) {
		t.Errorf("metadata is %+v", m)
	}
}

func TestTimestampsAreTexts(t *testing.T) {
	objects, err := manifest.Decode("kv.yaml", []byte(cluster+"  options: {day: 2026-01-02}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := objects[0].Cluster.Spec.Options["day"]; got != "2026-01-02" {
		t.Errorf("got %q", got)
	}
}

// TestBombs refuses small files that would make large objects.
func TestBombs(t *testing.T) {
	nested := cluster + "  options: " + strings.Repeat("[", 200) + strings.Repeat("]", 200)
	wide := "apiVersion: theseus.dev/v1alpha1\nkind: Cluster\nspec:\n  components:\n    a: &a {args: &l [" + strings.Repeat("x,", 2000) + "x]}\n"
	for i := range 100 {
		wide += fmt.Sprintf("    b%d: *a\n", i)
	}
	for name, c := range map[string]struct{ text, want string }{
		"large":    {strings.Repeat("#", manifest.MaxSize+1), "is larger than 1024 KiB"},
		"nested":   {nested, "is a list, not an object"},
		"repeated": {wide, "makes more than 100000 values"},
		"cyclic":   {cluster + "  upgrade: &u {soak: *u}\n", "is an object, not a time"},
	} {
		_, err := manifest.Decode("bomb.yaml", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %.200v, want %q", name, err, c.want)
		}
		if err != nil && len(err.Error()) > 10_000 {
			t.Errorf("%s: the message has %d bytes", name, len(err.Error()))
		}
	}
}

func TestValidateWithoutSystem(t *testing.T) {
	objects, err := manifest.Decode("kv.yaml", []byte(cluster+"  components: {any: {replicas: 2, args: [\"${x}\"]}}\n  options: {a: b}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if errs := manifest.ValidateCluster(objects[0].Cluster, nil); len(errs) > 0 {
		t.Error(errs)
	}
}

// FuzzDecode reads anything without a panic, and what it accepts it accepts again.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{kv, cluster, cluster + "---\n" + kv, "a: &a [*a]", "{", "apiVersion: theseus.dev/v1alpha1\nkind: Cluster\nstatus: {conditions: [{lastTransitionTime: x}]}"} {
		f.Add([]byte(seed))
	}
	s := compiled(f, kv)
	f.Fuzz(func(t *testing.T, data []byte) {
		objects, err := manifest.Decode("fuzz.yaml", data)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without a message")
			}
			return
		}
		for i := range objects {
			o := &objects[i]
			if (o.System == nil) == (o.Cluster == nil) {
				t.Fatalf("document %d is neither or both", i)
			}
			if o.Cluster != nil {
				manifest.DefaultCluster(o.Cluster)
				_ = o.Locate(manifest.ValidateCluster(o.Cluster, s)).Error()
			}
			_ = o.Name()
		}
	})
}
