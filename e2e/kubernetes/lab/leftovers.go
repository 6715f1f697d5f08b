//go:build linux

package lab

import (
	"os"
	"path/filepath"
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

// processes lists those that name the lab's folder in their command line.
// Containers do not, but their shims do, by the address of their containerd's folder.
func (r record) processes() []string {
	var found []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		b, _ := os.ReadFile(f)
		line := strings.ReplaceAll(string(b), "\x00", " ")
		if strings.Contains(line, r.Dir+"/") || strings.HasSuffix(strings.TrimSpace(line), r.Dir) {
			found = append(found, filepath.Dir(f)+": "+line)
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
