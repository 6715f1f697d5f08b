//go:build linux

package lab

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"
)

// flags are those of the Makefile: with one set, one build cache serves all.
var flags = []string{"GOFLAGS=-trimpath -buildvcs=false -gcflags=all=-dwarf=false", "CGO_ENABLED=0", "GOGC=400"}

// build returns the programs of the folders node and pause, built now if they
// have changed since they were built last.
func build(ctx context.Context, log io.Writer) (node, pause string, err error) {
	root, err := Root()
	if err != nil {
		return "", "", err
	}
	here := filepath.Join(root, "e2e", "kubernetes")
	version, err := kubernetesVersion(filepath.Join(here, "node", "go.mod"))
	if err != nil {
		return "", "", err
	}
	b := builder{ctx: ctx, log: log, into: filepath.Join(root, "bin", "kubernetes")}
	node = b.built(filepath.Join(here, "node"), "-s -w "+version, "about 7 minutes on 2 processors, once")
	pause = b.built(filepath.Join(here, "pause"), "-s -w", "a second")
	return node, pause, b.err
}

// Root is the folder of the repository: the nearest one above the working
// folder that holds this module.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for d := dir; d != filepath.Dir(d); d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "e2e", "kubernetes", "go.mod")); err == nil {
			return d, nil
		}
	}
	return "", fmt.Errorf("%s is not in a checkout of Theseus", dir)
}

var kubernetesLine = regexp.MustCompile(`k8s\.io/kubernetes (v(\d+)\.(\d+)\.\S+)`)

// kubernetesVersion returns the linker's flags that tell Kubernetes its own
// version. It is written once, in go.mod.
func kubernetesVersion(gomod string) (string, error) {
	b, err := os.ReadFile(gomod)
	if err != nil {
		return "", err
	}
	m := kubernetesLine.FindSubmatch(b)
	if m == nil {
		return "", fmt.Errorf("%s requires no k8s.io/kubernetes", gomod)
	}
	const set = "-X k8s.io/component-base/version."
	return fmt.Sprintf(set+"gitVersion=%s "+set+"gitMajor=%s "+set+"gitMinor=%s", m[1], m[2], m[3]), nil
}

// builder builds program after program until the first error.
type builder struct {
	ctx  context.Context
	log  io.Writer
	into string
	err  error
}

// built returns the program of the package in folder. Its name holds a hash of
// all files there and the flags, so it is built again only after a change.
func (b *builder) built(folder, ldflags, howLong string) string {
	if b.err != nil {
		return ""
	}
	name := filepath.Join(b.into, filepath.Base(folder))
	sum, err := hashFolder(folder, ldflags)
	if err != nil {
		b.err = err
		return ""
	}
	program := fmt.Sprintf("%s-%s", name, sum)
	if _, err := os.Stat(program); err == nil {
		return program
	}
	began := time.Now()
	fmt.Fprintf(b.log, "lab: building %s (%s)\n", filepath.Base(program), howLong)
	b.err = b.goBuild(folder, ldflags, program)
	fmt.Fprintf(b.log, "lab: built in %.0f s\n", time.Since(began).Seconds())
	return program
}

// goBuild puts the program in place when it is whole. Older ones stay: another
// checkout's labs may run them, and their names do not clash.
func (b *builder) goBuild(folder, ldflags, program string) error {
	if err := os.MkdirAll(b.into, 0o755); err != nil {
		return err
	}
	part := fmt.Sprintf("%s.%d", program, os.Getpid())
	defer os.Remove(part)
	cmd := exec.CommandContext(b.ctx, "go", "build", "-ldflags", ldflags, "-o", part, ".")
	cmd.Dir, cmd.Env = folder, append(os.Environ(), flags...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", folder, err, out)
	}
	return os.Rename(part, program)
}

// hashFolder returns the beginning of the hash, in hexadecimal.
func hashFolder(folder, ldflags string) (string, error) {
	entries, err := os.ReadDir(folder)
	h := sha256.New()
	fmt.Fprintln(h, flags, ldflags)
	for _, e := range entries {
		b, readErr := os.ReadFile(filepath.Join(folder, e.Name()))
		err = errors.Join(err, readErr)
		fmt.Fprintf(h, "%s %d\n%s", e.Name(), len(b), b)
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:6]), err
}
