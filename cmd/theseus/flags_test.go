package main

import (
	"bytes"
	"strings"
	"testing"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/manifest"
)

// called is one call of the command, with what it printed.
func called(t *testing.T, args ...string) (code int, out, talk string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), args, streams{in: strings.NewReader(""), out: &o, err: &e})
	return code, o.String(), e.String()
}

// A flag that was given nothing is a mistake: its variable was not set.
func TestEmptyFlags(t *testing.T) {
	t.Setenv("THESEUS_HOME", t.TempDir())
	for _, args := range [][]string{
		{"upgrade", "kv", "--to", ""}, {"plan", "kv", "--to="}, {"restore", "f.yaml", "--from", ""}, {"status", "--home", ""},
		{"status", "--namespace", ""}, {"probe", "--endpoints", "", "--duration", "1s"},
	} {
		flag := strings.TrimSuffix(args[len(args)-1], "=")
		for i, arg := range args {
			if arg == "" {
				flag = args[i-1]
			}
		}
		code, _, talk := called(t, args...)
		if want := flag + " is empty"; code != exitInput || !strings.Contains(talk, want) {
			t.Errorf("%q: exit code %d, %q; want %d, %q", args, code, talk, exitInput, want)
		}
	}
	if _, _, talk := called(t, "pause", "kv", "--reason", ""); strings.Contains(talk, "is empty") {
		t.Errorf("a reason may be empty: %q", talk)
	}
}

// --version is version.
func TestVersionFlag(t *testing.T) {
	_, want, _ := called(t, "version")
	if code, got, _ := called(t, "--version"); code != exitDone || got != want || !strings.HasPrefix(got, "theseus ") {
		t.Errorf("exit code %d, %q; want %q", code, got, want)
	}
}

// A group of two that votes is warned of before it is made.
func TestTwoMembers(t *testing.T) {
	c := running("1.0.0")
	two := int32(2)
	c.Spec.Components = map[string]v1alpha1.ComponentSpec{"standin": {Replicas: &two}}
	if got := strings.Join(manifest.Warnings(c, standin(t)), " "); !strings.Contains(got, "spec.components.standin.replicas: 2: a group that votes") {
		t.Errorf("got %q", got)
	}
}
