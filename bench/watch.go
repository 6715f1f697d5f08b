package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"theseus.dev/bench/figure"
)

const watched = 20 * time.Second

// watching is the CPU of status --watch while nothing changes.
func watching(ctx context.Context, bin, dir string, _ int) (f []figure.Figure, err error) {
	fmt.Fprintln(os.Stderr, "status --watch while nothing changes")
	t := theseus{bin: bin, home: filepath.Join(dir, "watch")}
	file := filepath.Join(dir, "watch.yaml")
	text := "apiVersion: theseus.dev/v1alpha1\nkind: Cluster\nmetadata: {name: still}\nspec: {system: standin, version: 1.0.0}\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return nil, err
	}
	if err := t.run(ctx, "up", file).Run(); err != nil {
		return nil, fmt.Errorf("up: %w", err)
	}
	defer func() { err = combine(err, t.run(context.WithoutCancel(ctx), "down", "still").Run()) }()
	c := t.run(ctx, "status", "still", "--watch")
	if err := c.Start(); err != nil {
		return nil, err
	}
	select {
	case <-time.After(watched):
	case <-ctx.Done():
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		return nil, err
	}
	_ = c.Wait() // it was interrupted
	u := c.ProcessState.SysUsage().(*syscall.Rusage)
	used := time.Duration(u.Utime.Nano() + u.Stime.Nano())
	return []figure.Figure{{What: "CPU of status --watch when nothing changes", Ours: fmt.Sprintf("%.2f %% of a core", 100*used.Seconds()/watched.Seconds())}}, nil
}

func combine(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
