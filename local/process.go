package local

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process names one process for ever: numbers are used again, a number together with its start time and boot is not.
type process struct {
	PID int `json:"pid"`
	// Start in clock ticks since the boot.
	Start uint64 `json:"start"`
	// Boot is the kernel's id of it.
	Boot string `json:"boot"`
}

// identify names a process that runs. A zombie does not.
func identify(pid int) (process, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, fmt.Errorf("process %d: %w", pid, err)
	}
	start, err := startTime(text)
	if err != nil {
		return process{}, fmt.Errorf("process %d: %w", pid, err)
	}
	return process{PID: pid, Start: start, Boot: bootID()}, nil
}

var errEnded = errors.New("it has ended")

// startTime reads a line of /proc/PID/stat. The command's name may hold anything, so fields count from behind it.
func startTime(stat []byte) (uint64, error) {
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return 0, errors.New("stat is too short")
	}
	if state := fields[0]; state == "Z" || state == "X" {
		return 0, errEnded
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// alive says whether it is still this very process.
func (p process) alive() bool {
	if p.PID <= 0 {
		return false
	}
	now, err := identify(p.PID)
	return err == nil && now == p
}

// signal sends a signal to this very process: the handle is taken before it is seen to be the one.
func (p process) signal(s syscall.Signal) error {
	if p.PID <= 0 {
		return errEnded
	}
	handle, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		return fmt.Errorf("process %d: %w", p.PID, err)
	}
	defer unix.Close(handle)
	if !p.alive() {
		return fmt.Errorf("process %d: %w", p.PID, errEnded)
	}
	return unix.PidfdSendSignal(handle, s, nil, 0)
}

// greeting is what a process that was spawned says when it stands, with the version of its protocol.
const greeting = "theseus 1"

// greetTimeout is generous: a machine under load takes long to start a program.
const greetTimeout = 20 * time.Second

// spawn starts a process that outlives this one, in a session of its own, and waits until it says that it stands. What it
// writes to stderr goes to a file.
func spawn(ctx context.Context, command []string, stderr string) error {
	ours, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ours.Close()
	p, err := startDetached(command, stderr, theirs)
	theirs.Close()
	if err != nil {
		return fmt.Errorf("start %s: %w", command[0], err)
	}
	go p.Wait() //nolint:errcheck // only so that it is no zombie while this process lives
	stop := context.AfterFunc(ctx, func() { _ = ours.SetReadDeadline(time.Now()) })
	defer stop()
	_ = ours.SetReadDeadline(time.Now().Add(greetTimeout))
	line, err := bufio.NewReader(ours).ReadString('\n')
	switch line = strings.TrimSpace(line); {
	case line == greeting:
		return nil
	case line != "":
		return errors.New(line)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return fmt.Errorf("start %s: it did not come up: %w%s", command[0], err, complaint(stderr))
}

func startDetached(command []string, stderr string, greet *os.File) (*os.Process, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	words, err := os.OpenFile(stderr, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer words.Close()
	argv := slices.Clone(command)
	if argv[0] == image {
		argv[0] = filepath.Base(os.Args[0]) // what ps shows
	}
	return os.StartProcess(command[0], argv, &os.ProcAttr{
		Dir:   "/",
		Env:   os.Environ(),
		Files: []*os.File{null, null, words, greet},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
}

// complaint is the end of what a process wrote that did not come up.
func complaint(path string) string {
	text := strings.Join(lastLines(path, 5), "; ")
	if text == "" {
		return ""
	}
	return ": " + text
}

// greeter is the other end of spawn.
type greeter struct{ file *os.File }

func newGreeter() greeter {
	unix.CloseOnExec(3)
	return greeter{os.NewFile(3, "greeting")}
}

// say ends the conversation; nil means that we stand. Nobody may be there to hear it.
func (g greeter) say(err error) {
	text := greeting
	if err != nil {
		text = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	_, _ = g.file.WriteString(text + "\n")
	g.file.Close()
}

// ignoreTerminal keeps what is sent to a driver's terminal from ending what it spawned. The signals are caught and not ignored, because
// members would inherit that.
func ignoreTerminal() { signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT) }

// image is the program that runs, even if its file was replaced since.
const image = "/proc/self/exe"

// self is the command line of this program.
func self(given []string) []string {
	if len(given) > 0 {
		return given
	}
	return []string{image}
}
