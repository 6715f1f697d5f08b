package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A System that there is not is named with the line that asks for it, and by the command with what was typed.
func TestNoSuchSystem(t *testing.T) {
	t.Setenv("THESEUS_HOME", t.TempDir())
	file := filepath.Join(t.TempDir(), "kv.yaml")
	text := "apiVersion: theseus.dev/v1alpha1\nkind: Cluster\nmetadata: {name: kv}\nspec:\n  version: 3.6.16\n  system: ectd\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ args, want string }{
		{"validate " + file, file + ":6: spec.system"}, {"up " + file, file + ":6: spec.system"},
		{"systems ectd", `there is no System "ectd"` + "\ndid you mean etcd?"}, {"systems ectd --file", `there is no System "ectd"` + "\ndid you mean etcd?"},
	} {
		code, _, talk := called(t, strings.Fields(test.args)...)
		if code != exitInput || !strings.Contains(talk, test.want) || !strings.Contains(talk, "did you mean etcd?") {
			t.Errorf("%s: exit code %d, %q; want %q", test.args, code, talk, test.want)
		}
	}
}
