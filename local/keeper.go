package local

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"theseus.dev/system"
)

// ShimProtocol is the version of what driver and shim say to each other: the two files below, the greeting, and SIGTERM
// for a graceful stop. A driver may meet shims that an older or newer Theseus started.
const ShimProtocol = 1

// order is what a driver writes before it starts a shim, and the shim reads once: how the member is run.
type order struct {
	Protocol int `json:"protocol"`
	// Incarnation is new with each order. The shim gets it as an argument too and follows only this one.
	Incarnation string `json:"incarnation"`
	Revision    string `json:"revision"`
	// View is the member as expressions see it, without answers.
	View    system.Member `json:"view"`
	Program string        `json:"program"`
	Args    []string      `json:"args"`
	Env     []string      `json:"env"`
	// Broken says why it cannot be started at all. The shim then only stands for it.
	Broken string `json:"broken,omitempty"`
	// Signal asks the member to end; after Grace it is killed.
	Signal syscall.Signal `json:"signal"`
	Grace  time.Duration  `json:"grace"`
	// LogSize is the most that one log file holds, in bytes; LogKeep is how many old ones are kept.
	LogSize int64 `json:"logSize"`
	LogKeep int   `json:"logKeep"`
}

// shimPhase is how far a shim has come.
type shimPhase string

// The phases of a shim, in order; running and exited take turns.
const (
	shimStarting shimPhase = "starting"
	shimRunning  shimPhase = "running"
	shimExited   shimPhase = "exited" // the member ended by itself; it is started again after a while
	shimStopping shimPhase = "stopping"
	shimStopped  shimPhase = "stopped" // asked to, and done: the shim ends
)

// shimState is what a shim writes and everybody reads.
type shimState struct {
	Protocol    int           `json:"protocol"`
	Incarnation string        `json:"incarnation"`
	Revision    string        `json:"revision"`
	View        system.Member `json:"view"`
	Shim        process       `json:"shim"`
	// Member is the last process that was started; the zero value before the first.
	Member process        `json:"member"`
	Signal syscall.Signal `json:"signal"`
	Grace  time.Duration  `json:"grace"`
	Phase  shimPhase      `json:"phase"`
	// Crashes counts ends that nobody asked for.
	Crashes int32 `json:"crashes"`
	// Broken says why the program cannot be started.
	Broken string `json:"broken,omitempty"`
	// Exit says how the last process ended. Example: "exit code 2".
	Exit   string    `json:"exit,omitempty"`
	ExitAt time.Time `json:"exitAt,omitzero"`
}

// The files of a member.
const (
	orderFile    = "order.json"
	stateFile    = "state.json"
	shimLockFile = "shim.lock"
	shimLogFile  = "shim.err"
	logFile      = "log"
	volumeFile   = "volume.json"
	dataFolder   = "data"
)

// keeper is a member's folder as others than its shim see it.
type keeper struct{ dir string }

func (st *State) keeper(member string) keeper { return keeper{st.path(membersFolder, member)} }

func (k keeper) path(name string) string { return filepath.Join(k.dir, name) }

// DataDir is the data folder of a member. It is made when the member is first started, or by a restore before that.
func (st *State) DataDir(member string) string { return st.keeper(member).path(dataFolder) }

// memberNames are the members that have a folder, sorted.
func (st *State) memberNames() ([]string, error) {
	entries, err := os.ReadDir(st.path(membersFolder))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// state reads what the shim wrote last; nil where no shim ever did.
func (k keeper) state() (*shimState, error) {
	s := &shimState{}
	there, err := readJSON(k.path(stateFile), s)
	switch {
	case !there && err == nil:
		return nil, nil
	case err != nil && s.Protocol <= ShimProtocol:
		return nil, err
	case s.Protocol > ShimProtocol:
		return nil, fmt.Errorf("%s: its shim speaks protocol %d and this Theseus %d: a newer Theseus started it; use that one", k.path(stateFile), s.Protocol, ShimProtocol)
	}
	return s, nil
}

// present says whether anything of the member may be alive. In doubt it is.
func (k keeper) present() bool {
	s, err := k.state()
	return err != nil || s != nil && (s.Shim.alive() || s.Member.alive())
}

// tailLines is how many of its own last lines a member that ended is shown with.
const tailLines = 15

// startMark begins the line that the shim writes into the log before each start.
const startMark = "theseus: start "

// lastWords are the last lines that a member wrote in its last run, or in the one before where it said nothing yet.
func (k keeper) lastWords() string {
	var run, before []string
	for _, line := range lastLines(k.path(logFile), 20*tailLines) {
		if strings.HasPrefix(line, startMark) {
			if len(run) > 0 {
				before = run
			}
			run = nil
			continue
		}
		run = append(run, line)
	}
	if len(run) == 0 {
		run = before
	}
	return strings.Join(run[max(0, len(run)-tailLines):], "\n")
}
