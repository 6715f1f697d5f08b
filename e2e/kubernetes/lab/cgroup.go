//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const cgroupRoot = "/sys/fs/cgroup"

// hierarchies are the roots in which a cgroup exists: one in version 2, one
// for each controller in version 1. A hybrid machine's unified one is not
// among them: it has no controllers.
func hierarchies() []string {
	if unified() {
		return []string{cgroupRoot}
	}
	files, _ := filepath.Glob(filepath.Join(cgroupRoot, "*", "cgroup.procs"))
	var roots []string
	for _, f := range files {
		root := filepath.Dir(f)
		info, err := os.Lstat(root) // cpu may be a link to cpu,cpuacct
		if err == nil && info.IsDir() && filepath.Base(root) != "unified" {
			roots = append(roots, root)
		}
	}
	return roots
}

func unified() bool {
	_, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers"))
	return err == nil
}

// makeCgroup makes a cgroup, and those above it, in each hierarchy.
func makeCgroup(path string) error {
	for _, root := range hierarchies() {
		at := root
		for _, name := range strings.Split(strings.Trim(path, "/"), "/") {
			if err := makeChild(at, name); err != nil {
				return fmt.Errorf("cgroup %s: %w", path, err)
			}
			at = filepath.Join(at, name)
		}
	}
	return nil
}

func makeChild(parent, name string) error {
	child := filepath.Join(parent, name)
	if unified() {
		return errors.Join(passOn(parent), os.MkdirAll(child, 0o755))
	}
	if err := os.MkdirAll(child, 0o755); err != nil {
		return err
	}
	return inherit(parent, child)
}

// passOn lets the children of a cgroup have its controllers (version 2).
func passOn(parent string) error {
	controllers, err := os.ReadFile(filepath.Join(parent, "cgroup.controllers"))
	if err != nil {
		return err
	}
	enable := ""
	for _, c := range strings.Fields(string(controllers)) {
		enable += "+" + c + " "
	}
	return os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte(enable), 0)
}

// inherit copies what a new cpuset lacks, and without which no process may
// enter it (version 1).
func inherit(parent, child string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		b, err := os.ReadFile(filepath.Join(parent, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another controller's hierarchy
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(child, name), b, 0)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// removeCgroups removes a cgroup and all below it, leaves first. The kernel
// refuses for as long as a process in it is on its way out.
func removeCgroups(ctx context.Context, path string) error {
	return await(ctx, "the removal of cgroups "+path, func() error {
		for _, dir := range slices.Backward(cgroups(path)) {
			if err := os.Remove(dir); err != nil {
				return err
			}
		}
		return nil
	})
}

// cgroups lists the folders of a cgroup and of all below it, parents first.
func cgroups(path string) []string {
	var dirs []string
	for _, root := range hierarchies() {
		_ = filepath.WalkDir(root+path, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, p)
			}
			return nil
		})
	}
	return dirs
}
