//go:build linux

// Command lab keeps a real Kubernetes up on this machine, for work on Theseus.
//
//	lab up [--nodes N]      start one, and leave it running
//	lab down                end it; nothing is left over
//	lab run -- COMMAND...   run a command in its network, with KUBECONFIG set
//	lab load NAME FILE...   make an image of static programs, of which the first is the entrypoint; PATH=FILE says where in the image one is
//
// With --name, several labs run side by side.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"theseus.dev/e2e/kubernetes/lab"
)

var errUsage = errors.New("usage: lab [--name NAME] up [--nodes N] | load NAME [PATH=]FILE... | run -- COMMAND... | down")

func main() {
	lab.Init()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := do(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

func do(ctx context.Context, args []string) error {
	flags := pflag.NewFlagSet("lab", pflag.ContinueOnError)
	name := flags.String("name", "dev", "which lab")
	nodes := flags.Int("nodes", 1, "how many nodes, 1 to 3")
	dir := flags.String("dir", "", "folder for its files (up)")
	flags.SetInterspersed(true)
	if err := flags.Parse(args); err != nil {
		return err
	}
	verb, rest := flags.Arg(0), flags.Args()[min(1, flags.NArg()):]
	switch verb {
	case "up":
		return up(ctx, lab.Options{Name: *name, Nodes: *nodes, Dir: *dir, Detach: true})
	case "down":
		return with(*name, *dir, func(l *lab.Lab) error { return down(l) })
	case "run":
		return with(*name, *dir, func(l *lab.Lab) error { return run(ctx, l, rest) })
	case "load":
		return with(*name, *dir, func(l *lab.Lab) error { return load(ctx, l, rest) })
	}
	return errUsage
}

func with(name, dir string, do func(*lab.Lab) error) error {
	l, err := open(name, dir)
	if err != nil {
		return err
	}
	return do(l)
}

func open(name, dir string) (*lab.Lab, error) {
	if dir != "" {
		return lab.OpenDir(dir)
	}
	return lab.Open(name)
}

func up(ctx context.Context, o lab.Options) error {
	began := time.Now()
	l, err := lab.Start(ctx, o)
	if err != nil {
		return err
	}
	fmt.Printf("lab %s is up after %.1f s, with its files in %s\n", l.Name, time.Since(began).Seconds(), l.Dir)
	fmt.Println("try: lab run -- kubectl get nodes")
	return nil
}

func down(l *lab.Lab) error {
	began := time.Now()
	if err := l.Close(); err != nil {
		return err
	}
	if left := l.Leftovers(); len(left) > 0 {
		return fmt.Errorf("still there: %q", left)
	}
	fmt.Printf("lab %s is down after %.1f s\n", l.Name, time.Since(began).Seconds())
	return nil
}

// run becomes the command, so signals and the exit code are the command's own.
func run(ctx context.Context, l *lab.Lab, command []string) error {
	if len(command) == 0 {
		return errUsage
	}
	cmd := l.Command(ctx, command[0], command[1:]...)
	if cmd.Err != nil {
		return cmd.Err
	}
	return syscall.Exec(cmd.Path, cmd.Args, cmd.Env)
}

func load(ctx context.Context, l *lab.Lab, args []string) error {
	if len(args) < 2 {
		return errUsage
	}
	image := lab.Image{Name: args[0], Files: map[string]string{}}
	for i, arg := range args[1:] {
		at, file, placed := strings.Cut(arg, "=")
		if !placed {
			at, file = "/"+filepath.Base(arg), arg
		}
		image.Files[at] = file
		if i == 0 {
			image.Entrypoint = []string{at}
		}
	}
	return l.LoadImage(ctx, image)
}
