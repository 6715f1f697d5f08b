// Package e2e tries the built program from outside: as a person at a terminal, against real processes.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// What the tests run. All are built once.
var (
	bin      string // folder with the programs below; what testscript puts first in PATH
	theseus  string // as it is shipped
	faulty   string // with the tag faults: see cmd/theseus/faults_on.go
	programs string // folders of servers, as in THESEUS_PROGRAMS: the stand-in, and the real ones that "make servers" built
	long     = os.Getenv("THESEUS_LONG") != ""
)

func TestMain(m *testing.M) {
	if reexec := os.Getenv("E2E_INSIDE"); reexec != "" {
		os.Exit(m.Run()) // a test that started itself again, in a namespace of its own: everything is built
	}
	os.Exit(buildAndRun(m))
}

func init() {
	if dir := os.Getenv("E2E_BIN"); dir != "" {
		name(dir)
	}
}

func name(dir string) {
	servers, err := filepath.Abs("../bin/servers")
	if err != nil {
		panic(err)
	}
	bin, theseus, faulty = dir, filepath.Join(dir, "theseus"), filepath.Join(dir, "theseus-faults")
	programs = dir + string(filepath.ListSeparator) + servers
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "theseus-e2e-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	name(dir)
	for _, b := range [][]string{
		{theseus, "theseus.dev/cmd/theseus"},
		{faulty, "theseus.dev/cmd/theseus", "-tags", "faults"},
		{filepath.Join(dir, "standin"), "theseus.dev/servers/standin"},
	} {
		args := append([]string{"build", "-o", b[0]}, append(b[2:], b[1])...)
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go %v: %v\n%s", args, err, out)
			return 1
		}
	}
	return m.Run()
}
