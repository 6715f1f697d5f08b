//go:build linux

// Package kubernetes tries Theseus against a real Kubernetes. See README.md.
package kubernetes

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"theseus.dev/e2e/kubernetes/lab"
)

// In the environment of tests that run in a lab: the lab's folder.
const labDirEnv = "THESEUS_LAB_DIR"

// theLab is the lab that the tests run in; nil in a cluster that KUBECONFIG
// names, where the image testpodImage must be known to the nodes already.
var theLab *lab.Lab

// long asks for the tests that take long: make test-long.
var long = os.Getenv("THESEUS_LONG") != ""

func TestMain(m *testing.M) {
	lab.Init()
	flag.Parse()
	switch {
	case flag.Lookup("test.list").Value.String() != "":
		os.Exit(m.Run())
	case os.Getenv(labDirEnv) != "":
		os.Exit(inLab(m))
	case os.Getenv("KUBECONFIG") != "":
		os.Exit(m.Run())
	}
	if err := possible(); err != nil {
		os.Exit(skip(err))
	}
	if err := outside(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e/kubernetes:", err)
		os.Exit(1)
	}
}

func inLab(m *testing.M) int {
	l, err := lab.OpenDir(os.Getenv(labDirEnv))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	theLab = l
	return m.Run()
}

func possible() error {
	if os.Getuid() != 0 {
		return errors.New("it needs root, for namespaces, mounts and cgroups")
	}
	return nil
}

// outside has the tests run in the lab that "lab up" left, or in one that ends
// with them. It returns an error if they failed, or the lab left something over.
func outside() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if l, err := lab.Open("dev"); err == nil {
		fmt.Fprintf(os.Stderr, "e2e/kubernetes: in the lab of lab up, %s\n", l.Dir)
		return inside(ctx, l)
	}
	o := lab.Options{Name: fmt.Sprintf("test-%d", os.Getpid()), Nodes: 1}
	if long {
		o.Nodes = 3
	}
	l, err := lab.Start(ctx, o)
	if err != nil {
		return err
	}
	err = errors.Join(inside(ctx, l), l.Close())
	if left := l.Leftovers(); len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("the lab left over: %q", left))
	}
	return err
}

// inside runs this program again in the lab's network, as the one that tests.
func inside(ctx context.Context, l *lab.Lab) error {
	if err := loadTestpod(ctx, l); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := l.Command(ctx, self, os.Args[1:]...)
	cmd.Env = append(cmd.Env, labDirEnv+"="+l.Dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}

const testpodImage = "lab.test/testpod:1"

func loadTestpod(ctx context.Context, l *lab.Lab) error {
	dir, err := os.MkdirTemp("", "theseus-testpod-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "testpod")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./testpod")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build testpod: %w\n%s", err, out)
	}
	return l.LoadImage(ctx, lab.Image{
		Name:       testpodImage,
		Files:      map[string]string{"/testpod": program},
		Entrypoint: []string{"/testpod"},
		User:       "1000:1000",
	})
}
