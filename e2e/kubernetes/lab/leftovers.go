//go:build linux

package lab

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Leftovers lists what is still there of a lab: processes, mounts, cgroups and
// files, by path. After [Lab.Close] there are none. Its network links lived in
// namespaces that ended with the processes.
func (r record) Leftovers() []string {
	found := append(r.processes(), r.mounted()...)
	found = append(found, cgroups(r.cgroup())...)
	if _, err := os.Stat(r.Dir); err == nil {
		found = append(found, r.Dir)
	}
	return found
}

// processes lists those in the lab's pid namespace, and those of containers,
// which have one each but are in the lab's cgroups. Zombies hold nothing.
func (r record) processes() []string {
	var found []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		namespace, _ := os.Readlink(filepath.Join(dir, pidNamespace))
		groups, _ := os.ReadFile(filepath.Join(dir, "cgroup"))
		ours := namespace == r.Namespace && namespace != "" || strings.Contains(string(groups), r.cgroup()+"/")
		if pid, _ := strconv.Atoi(filepath.Base(dir)); ours && processOf(pid).alive() {
			line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
			found = append(found, dir+": "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

func (r record) mounted() []string {
	var found []string
	b, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, r.Dir) {
			found = append(found, "mount: "+strings.TrimSpace(line))
		}
	}
	return found
}
