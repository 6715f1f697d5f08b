package local

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// garbage is how much a shim may allocate before it collects, in bytes.
const garbage = 1 << 20

// boundGarbage turns off the collection that comes every two minutes and reads half the program for it. What is left is one when
// there is something to collect.
func boundGarbage() {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	debug.SetMemoryLimit(int64(m.Sys-m.HeapReleased) + garbage)
	debug.SetGCPercent(-1)
}

// trim gives back the memory that only the start of a member needed.
func trim() {
	debug.FreeOSMemory()
	boundGarbage()
	DropProgram()
}

// afterCollection calls f after each collection from now on, by the cleanup of what nothing refers to. A collection reads the types of what it finds in
// the program's file.
func afterCollection(f func()) {
	sentinel := new([64]byte) // large enough not to share its memory with others
	runtime.AddCleanup(sentinel, func(struct{}) { afterCollection(f); f() }, struct{}{})
}

// DropProgram gives back the memory that holds this program's file. Every package of it has run its init, and with that brought most of the
// file into memory, of which a command uses a tenth. Pages that cannot be written are what the file says, so the kernel may drop them and read
// them again where they are needed after all. A driver calls it when its work begins; it is only about memory, and so has no error.
func DropProgram() {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer maps.Close()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to uintptr
		var mode string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &mode); err != nil || !strings.HasSuffix(lines.Text(), " "+exe) {
			continue
		}
		if mode == "r-xp" || mode == "r--p" {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED)
		}
	}
}
