package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A program without its permission is not a program that is missing; where another one may be run, that one is.
func TestProgramWithoutPermission(t *testing.T) {
	barred, good := t.TempDir(), t.TempDir()
	t.Setenv("PATH", t.TempDir())
	path := filepath.Join(barred, "etcd-3.7.3")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := FindProgram([]string{good, barred}, "etcd-3.7.3"); err == nil || !strings.Contains(err.Error(), path+" is there but not executable") {
		t.Errorf("got %v", err)
	}
	want := filepath.Join(good, "etcd-3.7.3")
	if err := os.WriteFile(want, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := FindProgram([]string{barred, good}, "etcd-3.7.3"); err != nil || got != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}
