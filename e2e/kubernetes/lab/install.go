//go:build linux

package lab

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// needs are the programs that a lab runs beside its own, by Debian package.
var needs = []struct {
	pkg   string
	files []string // names in PATH, or full paths; one of them is enough
}{
	{"containerd", []string{"containerd"}},
	{"runc", []string{"runc"}},
	{"nftables", []string{"nft"}},
	{"iproute2", []string{"ip"}},
	{"util-linux", []string{"nsenter"}},
	{"containernetworking-plugins", []string{filepath.Join(cniDirs[0], "ptp"), filepath.Join(cniDirs[1], "ptp")}},
}

// cniDirs are where network plugins are: Debian's place, and everybody else's.
var cniDirs = []string{"/usr/lib/cni", "/opt/cni/bin"}

// Install installs what a lab needs and the machine lacks with apt-get, and
// says so on log. It needs root and Debian or a kin of it.
func Install(ctx context.Context, log io.Writer) error {
	missing := missingPackages()
	if len(missing) == 0 {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("a lab needs %s, and there is no apt-get to install it: do it by hand", strings.Join(missing, ", "))
	}
	fmt.Fprintf(log, "lab: installing %s\n", strings.Join(missing, ", "))
	if err := run(ctx, "apt-get", "update", "-qq"); err != nil {
		return err
	}
	return run(ctx, "apt-get", append([]string{"install", "-qq", "--yes", "--no-install-recommends"}, missing...)...)
}

func missingPackages() []string {
	var missing []string
	for _, n := range needs {
		if !slices.ContainsFunc(n.files, installed) {
			missing = append(missing, n.pkg)
		}
	}
	return missing
}

func installed(file string) bool {
	if _, err := exec.LookPath(file); err == nil {
		return true
	}
	for _, sbin := range []string{"/usr/sbin", "/sbin"} { // not in everybody's PATH
		if _, err := os.Stat(filepath.Join(sbin, filepath.Base(file))); err == nil {
			return true
		}
	}
	return false
}

// run runs a program to its end; the error holds what it said.
func run(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
