package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"theseus.dev/systems"
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

// What up could not make a command line of is refused by validate, with its line.
func TestListInStart(t *testing.T) {
	text, err := systems.Load("standin")
	if err != nil {
		t.Fatal(err)
	}
	const good = `"--peers=${all.map(x, x.name + '=' + x.host + ':' + string(x.port.client)).join(',')}"`
	if !strings.Contains(string(text), good) {
		t.Fatal("the stand-in has another command line now")
	}
	file := filepath.Join(t.TempDir(), "list.yaml")
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), good, `"${all.map(x, x.host)}"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, talk := called(t, "validate", file)
	if code != exitInput || !strings.Contains(talk, file+":") || !strings.Contains(talk, ".join(',')") {
		t.Errorf("exit code %d, %q", code, talk)
	}
}
