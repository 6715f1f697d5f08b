package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/manifest"
)

// TestSystemsThere: the Systems of a cluster are listed beside those that are shipped, and hide those of the same name.
func TestSystemsThere(t *testing.T) {
	own := standin(t).Source().DeepCopy()
	own.Name, own.Description, own.UID = "mine", "of my own", "uid-of-mine"
	hiding := own.DeepCopy()
	hiding.Name, hiding.Description = "etcd", "another etcd"
	w := newTown(t, interceptor.Funcs{}, own, hiding)
	for _, tt := range []struct{ args, want string }{
		{"systems", `(?m)^mine +7 +1\.0\.0 … 2\.1\.0 +cluster +of my own$`},
		{"systems", `(?m)^etcd +7 .* cluster, in place of the shipped one +another etcd$`},
		{"systems", `(?m)^pravega .* shipped `},
		{"systems mine", `mine: of my own\nfrom: cluster\nversions: 1\.0\.0`},
		{"systems pravega", `from: shipped`},
		{"systems etcd --json", `"from": "cluster, in place of the shipped one"`},
		{"systems --json", `"name": "mine"`},
	} {
		if code := w.types(t.Context(), strings.Fields(tt.args)...); code != exitDone || !regexp.MustCompile(tt.want).MatchString(w.out.String()) {
			t.Errorf("%s: exit code %d, want %q in\n%s%s", tt.args, code, tt.want, w.out.String(), w.err.String())
		}
	}
	if code := w.types(t.Context(), "systems", "min"); code != exitInput || !strings.Contains(w.err.String(), "did you mean mine?") {
		t.Errorf("a name that there is not: exit code %d\n%s", code, w.err.String())
	}
	w.types(t.Context(), "systems", "mine", "--file")
	objects, err := manifest.Decode("mine.yaml", w.out.Bytes())
	if err != nil || len(objects) != 1 {
		t.Fatalf("the file of an object cannot be read: %v\n%s", err, w.out.String())
	}
	s, err := compileObject(&objects[0])
	if err != nil || s.Name() != "mine" {
		t.Errorf("the file of an object: %v", err)
	}
	away := newTown(t, interceptor.Funcs{List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
		return &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}})
	if code := away.types(t.Context(), "systems"); code != exitInput || !strings.Contains(away.err.String(), "reach the API server") {
		t.Errorf("nobody listens: exit code %d\n%s%s", code, away.out.String(), away.err.String())
	}
}

// TestDemoElsewhere: the demo is for this machine, and empties no folder where another place is meant.
func TestDemoElsewhere(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{demoMark, "kept"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := newTown(t, interceptor.Funcs{})
	if code := w.types(t.Context(), "demo", "--dir", dir); code != exitInput || !strings.Contains(w.err.String(), "the demo is on this machine") {
		t.Errorf("exit code %d\n%s", code, w.err.String())
	}
	if _, err := os.Stat(filepath.Join(dir, "kept")); err != nil {
		t.Errorf("the folder was emptied: %v", err)
	}
}

// TestCompleteVersions: what cannot be reached is not offered, and where nobody knows what runs all is.
func TestCompleteVersions(t *testing.T) {
	all := standin(t).Listed()
	for _, tt := range []struct {
		cluster *v1alpha1.Cluster
		want    []string
	}{
		{applied(t, running("1.1.0")), []string{"1.2.0", "1.2.1", "2.0.0", "2.1.0"}},
		{applied(t, running("2.1.0")), nil},
		{running("1.1.0"), all},
	} {
		w := newTown(t, interceptor.Funcs{}, tt.cluster)
		w.app.town = w.namespace
		c := &cobra.Command{}
		c.SetContext(t.Context())
		if got, _ := w.app.completeVersions(c, []string{"si"}, ""); !slices.Equal(got, tt.want) {
			t.Errorf("of %s: got %q, want %q", tt.cluster.Spec.Version, got, tt.want)
		}
	}
}
