//go:build linux

package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// The name under which a program that uses this package runs again, and the
// roles it then plays. Its arguments are a role and the lab's folder.
const (
	programName    = "theseus-lab"
	rolePID1       = "reaper"
	roleSupervisor = "supervisor"
)

// Init must be called first thing in main, or in TestMain, of every program
// that starts a lab. If this process is one of a lab's own, Init plays its role
// and does not return.
func Init() {
	if len(os.Args) != 3 || os.Args[0] != programName {
		return
	}
	role, dir := os.Args[1], os.Args[2]
	err := fmt.Errorf("no role is called %s", role)
	switch role {
	case rolePID1:
		err = reap(dir)
	case roleSupervisor:
		err = supervise(dir)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s %s: %v\n", programName, role, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// callerPipe is the descriptor that ends when the caller does, if there is one.
const callerPipe = 3

// reap is pid 1: it starts the supervisor and buries orphans, such as the
// shims of containerd, until the supervisor has ended. Then the kernel ends
// everything else. It is no part of the supervisor, for wait(-1) would take the
// children that os/exec waits for there.
func reap(dir string) error {
	if err := mounts(dir); err != nil {
		return err
	}
	files := []uintptr{0, 1, 2}
	if r, err := load(dir); err != nil {
		return err
	} else if !r.Detached {
		files = append(files, callerPipe)
	}
	supervisor, err := syscall.ForkExec("/proc/self/exe",
		[]string{programName, roleSupervisor, dir},
		&syscall.ProcAttr{Env: os.Environ(), Files: files})
	if err != nil {
		return fmt.Errorf("start the supervisor: %w", err)
	}
	for {
		pid, err := syscall.Wait4(-1, nil, 0, nil)
		if err != nil && err != syscall.EINTR {
			return fmt.Errorf("wait: %w", err)
		}
		if pid == supervisor {
			return nil
		}
	}
}

// mounts gives the lab its own view of the machine's folders.
func mounts(dir string) error {
	m := mounter{}
	// First private, so nothing of the lab shows outside; then shared, so
	// that volumes which the kubelet mounts show inside of containers.
	m.mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
	m.mount("", "/", "", syscall.MS_REC|syscall.MS_SHARED, "")
	m.mount("proc", "/proc", "proc", 0, "")
	for _, own := range []string{"/run", "/var/log", "/var/lib/cni"} {
		m.folder(own)
		m.mount("tmpfs", own, "tmpfs", 0, "mode=755")
	}
	m.folder(runDir)
	// The kubelet would set these for the whole machine. It sees files with the
	// values that it wants instead, and is told not to change them.
	for name, value := range map[string]string{"vm/overcommit_memory": "1", "kernel/panic": "10", "kernel/panic_on_oops": "1"} {
		m.pretend(name, value)
	}
	if !unified() {
		_ = syscall.Unmount(filepath.Join(cgroupRoot, "unified"), 0) // not every machine has it
	}
	return m.err
}

// mounter does one step after the other until the first error.
type mounter struct{ err error }

func (m *mounter) mount(what, at, kind string, how uintptr, options string) {
	if m.err != nil {
		return
	}
	if err := syscall.Mount(what, at, kind, how, options); err != nil {
		m.err = fmt.Errorf("mount %s %s: %w", kind, at, err)
	}
}

func (m *mounter) folder(path string) {
	if m.err == nil {
		m.err = os.MkdirAll(path, 0o755)
	}
}

func (m *mounter) pretend(sysctl, value string) {
	file := filepath.Join(runDir, strings.ReplaceAll(sysctl, "/", "-"))
	if m.err == nil {
		m.err = os.WriteFile(file, []byte(value+"\n"), 0o644)
	}
	m.mount(file, filepath.Join("/proc/sys", sysctl), "", syscall.MS_BIND, "")
}
