package local

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Driver is the process that drives the cluster now, nil if there is none. It is for showing and takes no lock: by
// the time the answer is read another process may drive.
func (st *State) Driver() *BusyError {
	var e *BusyError
	if !errors.As(st.busy(), &e) || e.PID == 0 {
		return nil
	}
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", e.PID))
	if err != nil {
		return nil //nolint:nilerr // it has ended: there is no driver
	}
	command := strings.ReplaceAll(strings.TrimSuffix(string(args), "\x00"), "\x00", " ")
	if command != e.Command { // a process that ended, and its number has another one now
		return nil
	}
	return e
}
