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
	"strconv"
	"syscall"
	"testing"

	"theseus.dev/e2e/kubernetes/lab"
)

// theLab is the lab that the tests run in; nil in another cluster that
// KUBECONFIG names, whose nodes must know testpodImage already.
var theLab *lab.Lab

// long asks for the tests that take long: make test-long.
var long = os.Getenv("THESEUS_LONG") != ""

func TestMain(m *testing.M) {
	lab.Init()
	flag.Parse()
	current, notInLab := lab.Current()
	switch {
	case flag.Lookup("test.list").Value.String() != "":
		os.Exit(m.Run())
	case notInLab == nil:
		theLab = current
		exitOn(loadTestpod(context.Background(), current))
		os.Exit(m.Run())
	case os.Getenv("KUBECONFIG") != "":
		os.Exit(m.Run())
	case os.Getuid() != 0:
		os.Exit(skip(errors.New("it needs root, for namespaces, mounts and cgroups")))
	}
	exitOn(outside())
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e/kubernetes:", err)
		os.Exit(1)
	}
}

// outside has the tests run in the lab that "lab up" left, or in one that ends
// with them. It returns an error if they failed, or the lab left something over.
func outside() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	nodes, err := wantedNodes()
	if err != nil {
		return err
	}
	o := lab.Options{Name: fmt.Sprintf("test-%d", os.Getpid()), Nodes: nodes}
	if l, err := lab.Open("dev"); err == nil && l.Nodes >= o.Nodes {
		fmt.Fprintf(os.Stderr, "e2e/kubernetes: in the lab of lab up, %s\n", l.Dir)
		return l.Again(ctx)
	}
	l, err := lab.Start(ctx, o)
	if err != nil {
		return err
	}
	err = l.Again(ctx)
	if err != nil {
		err = errors.Join(err, keepLogs(l))
	}
	err = errors.Join(err, l.Close())
	if left := l.Leftovers(); len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("the lab left over: %q", left))
	}
	return err
}

// wantedNodes are those of THESEUS_NODES; one where nobody says, because more are slower, and three for the tests that take long.
func wantedNodes() (int, error) {
	text := os.Getenv("THESEUS_NODES")
	switch {
	case text != "":
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 3 {
			return 0, fmt.Errorf("THESEUS_NODES %q: want a number from 1 to 3", text)
		}
		return n, nil
	case long:
		return 3, nil
	}
	return 1, nil
}

// keepLogs keeps the logs of tests that failed, until the next do.
func keepLogs(l *lab.Lab) error {
	root, err := lab.Root()
	if err != nil {
		return err
	}
	to := filepath.Join(root, "bin", "kubernetes", "log")
	fmt.Fprintf(os.Stderr, "e2e/kubernetes: the logs of the lab are in %s\n", to)
	return l.SaveLogs(to)
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
