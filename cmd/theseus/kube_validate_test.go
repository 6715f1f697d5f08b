package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"theseus.dev/manifest"
	"theseus.dev/systems"
)

// TestValidateNewSystem: a dry run keeps no System, so that the API server cannot judge a Cluster by one that is only in its file. The System is judged.
func TestValidateNewSystem(t *testing.T) {
	text, err := systems.Load("standin")
	if err != nil {
		t.Fatal(err)
	}
	mine := strings.Replace(string(text), "{name: standin}", "{name: mine}", 1)
	cluster := "apiVersion: theseus.dev/v1alpha1\nkind: Cluster\nmetadata: {name: si}\nspec: {system: mine, version: 1.0.0}\n"
	older := strings.Replace(mine, "1.0.1, ", "", 1)
	if older == mine {
		t.Fatal("the System does not list 1.0.1")
	}
	const notAsked = "not looked at: what the API server says to the Cluster: "
	for _, tt := range []struct {
		what, there, want string // what: is in the cluster
		judged            string // kinds that the API server was asked about
	}{
		{what: "no System", want: notAsked + "its System mine is not there yet", judged: "System"},
		{what: "another one", there: older, want: notAsked + "the System mine that is there is not yet as in the file", judged: "System"},
		{what: "one that cannot be used", there: strings.Replace(mine, "${version}", "${nothing", 1), want: notAsked + "the System mine that is there is not yet as in the file", judged: "System"},
		{what: "the same", there: mine, want: "Cluster si is valid", judged: "System Cluster"},
	} {
		var judged []string
		w := newTown(t, interceptor.Funcs{Apply: func(_ context.Context, _ client.WithWatch, o runtime.ApplyConfiguration, options ...client.ApplyOption) error {
			if !slices.Contains(options, client.ApplyOption(client.DryRunAll)) {
				t.Errorf("%s: it is applied", tt.what)
			}
			judged = append(judged, o.(interface{ GetKind() string }).GetKind())
			return nil
		}})
		if tt.there != "" {
			objects, err := manifest.Decode("there", []byte(tt.there))
			if err != nil {
				t.Fatal(err)
			}
			objects[0].System.UID = types.UID(tt.what) // what was compiled is kept by it
			if err := w.api.Create(t.Context(), objects[0].System); err != nil {
				t.Fatal(err)
			}
		}
		file := filepath.Join(t.TempDir(), "mine.yaml")
		if err := os.WriteFile(file, []byte(mine+"\n---\n"+cluster), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"validate", file, "--server-side"}, {"up", file, "--dry-run"}} {
			judged = nil
			code := w.types(t.Context(), args...)
			want := tt.want
			if args[0] == "up" && tt.there == mine {
				want = "create si to 1.0.0"
			}
			if code != exitDone || !strings.Contains(w.out.String(), want) || strings.Join(judged, " ") != tt.judged {
				t.Errorf("%s, %s: exit code %d, judged were %q:\n%s%s", tt.what, args[0], code, judged, w.out.String(), w.err.String())
			}
		}
	}
}
