//go:build linux

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// ErrNotRunning is the answer of [Open] when there is no lab of that name. Start one.
var ErrNotRunning = errors.New("no such lab is running")

// Options say what lab to start. The zero value is a lab of one node named dev.
type Options struct {
	Name   string    // tells labs of one machine apart: a-z, 0-9 and dashes; "" is "dev"
	Nodes  int       // 1 to 3; 0 is 1
	Dir    string    // everything that the lab writes, gone after Close; "" is theseus-lab-NAME in the folder for temporary files. Not below /run or /var/log
	Detach bool      // go on after the caller has ended, until [Lab.Close]
	Log    io.Writer // what is going on, for a person; nil is os.Stderr
}

// Lab is a running cluster. Its methods may be called by several at once.
type Lab struct {
	record
	pipe *os.File // the end that the supervisor watches; nil if the lab was detached or opened
}

// record is the file lab.json in the lab's folder: what another process needs
// to find the lab, and what the lab's own first process is told.
type record struct {
	Name      string
	Dir       string
	Nodes     int
	Node      string  // the program of package node
	Caller    process // who started it
	Detached  bool    // it outlives its caller
	Reaper    process // pid 1 of the lab; zero until it runs
	Namespace string  // of pids: where pidNamespace of the reaper leads
}

const (
	recordFile   = "lab.json"
	pidNamespace = "ns/pid" // in a process's folder of /proc
	podLogs      = "pods"   // in a node's folder
)

// Start brings a lab up and returns when its nodes are ready. What a lab of the
// same name that has died left behind is removed first. Programs that the
// machine lacks are installed, and Kubernetes is built if it is not yet: then
// this takes some minutes.
func Start(ctx context.Context, o Options) (*Lab, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	if err := Install(ctx, o.Log); err != nil {
		return nil, err
	}
	node, pause, err := build(ctx, o.Log)
	if err != nil {
		return nil, err
	}
	l, err := claim(record{Name: o.Name, Dir: o.Dir, Nodes: o.Nodes, Node: node, Caller: self(), Detached: o.Detach})
	if err != nil {
		return nil, err
	}
	if err := l.start(ctx, pause); err != nil {
		return nil, errors.Join(err, l.lastWords(), l.Close())
	}
	return l, nil
}

var validName = regexp.MustCompile(`^[a-z0-9-]{1,30}$`)

func (o Options) complete() (Options, error) {
	if o.Name == "" {
		o.Name = "dev"
	}
	if !validName.MatchString(o.Name) {
		return o, fmt.Errorf("lab %q: a name is made of a-z, 0-9 and dashes", o.Name)
	}
	if o.Nodes == 0 {
		o.Nodes = 1
	}
	if o.Nodes < 1 || o.Nodes > maxNodes {
		return o, fmt.Errorf("lab %s: %d nodes: 1 to %d are possible", o.Name, o.Nodes, maxNodes)
	}
	if o.Dir == "" {
		o.Dir = defaultDir(o.Name)
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return o, err
	}
	o.Dir = dir
	if o.Log == nil {
		o.Log = os.Stderr
	}
	if os.Getuid() != 0 {
		return o, errors.New("a lab needs root: it makes namespaces, mounts and cgroups")
	}
	return o, nil
}

const dirPrefix = "theseus-lab-"

func defaultDir(name string) string { return filepath.Join(os.TempDir(), dirPrefix+name) }

// claim makes the lab's folder, after it has removed those of dead labs.
func claim(r record) (*Lab, error) {
	sweepDead(r.Dir)
	if err := os.Mkdir(r.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("lab %s: %w: it may be running already", r.Name, err)
	}
	l := &Lab{record: r}
	return l, errors.Join(l.save(), os.Mkdir(l.path("log"), 0o755), os.Mkdir(l.path("volumes"), 0o755))
}

func (r record) save() error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.Dir, recordFile), b, 0o644)
}

// load reads the record of a folder. Anybody may make folders where files are
// temporary, so what another user made does not count.
func load(dir string) (record, error) {
	r := record{}
	info, err := os.Lstat(dir)
	if err != nil {
		return r, err
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; int(owner) != os.Getuid() || !info.IsDir() {
		return r, fmt.Errorf("%s is not a folder of user %d", dir, os.Getuid())
	}
	b, err := os.ReadFile(filepath.Join(dir, recordFile))
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(b, &r)
}

// sweepDead removes what labs left behind whose caller and reaper are both
// gone: they were killed, or the machine was restarted.
func sweepDead(dir string) {
	dirs, _ := filepath.Glob(defaultDir("*"))
	for _, d := range append(dirs, dir) {
		r, err := load(d)
		if err == nil && !r.Caller.alive() && !r.Reaper.alive() {
			_ = (&Lab{record: r}).Close()
		}
	}
}

// start runs the lab's first process and waits until the cluster is ready.
func (l *Lab) start(ctx context.Context, pause string) error {
	if err := l.pauseImage(pause).write(l.path("pause.tar")); err != nil {
		return err
	}
	if err := l.spawn(); err != nil {
		return fmt.Errorf("start the first process: %w", err)
	}
	return l.awaitReady(ctx)
}

// spawn starts the reaper. It has a session of its own, so that Ctrl-C at the
// terminal reaches the caller only, which then closes the lab in order.
func (l *Lab) spawn() error {
	log, err := os.Create(l.path("log", "supervisor.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{programName, rolePID1, l.Dir}
	cmd.Env = append(withoutProxy(os.Environ()), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
	}
	if !l.Detached {
		theirs, ours, err := os.Pipe()
		if err != nil {
			return err
		}
		defer theirs.Close()
		l.pipe, cmd.ExtraFiles = ours, []*os.File{theirs}
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // or it stays a zombie, which looks alive
	l.Reaper = processOf(cmd.Process.Pid)
	l.Namespace, err = os.Readlink(fmt.Sprintf("/proc/%d/%s", l.Reaper.PID, pidNamespace))
	return errors.Join(err, l.save())
}

// dirEnv is set where [Lab.Command] runs a command: the lab's folder.
const dirEnv = "THESEUS_LAB_DIR"

// Current returns the lab in whose network this process runs by [Lab.Command],
// or [ErrNotRunning].
func Current() (*Lab, error) {
	dir := os.Getenv(dirEnv)
	if dir == "" {
		return nil, ErrNotRunning
	}
	return OpenDir(dir)
}

// Open returns the running lab of that name, or [ErrNotRunning].
func Open(name string) (*Lab, error) { return OpenDir(defaultDir(name)) }

// OpenDir is [Open] for a lab with a folder of its own choice.
func OpenDir(dir string) (*Lab, error) {
	r, err := load(dir)
	if err != nil || !r.Reaper.alive() {
		return nil, fmt.Errorf("%s: %w", dir, ErrNotRunning)
	}
	return &Lab{record: r}, nil
}

// Close ends the lab: its processes, mounts, links, cgroups and files.
func (l *Lab) Close() error {
	l.Reaper.kill()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := await(ctx, "the end of all processes", func() error {
		if l.Reaper.alive() {
			return fmt.Errorf("process %d lives", l.Reaper.PID)
		}
		return nil
	})
	err = errors.Join(err, removeCgroups(ctx, l.cgroup()), os.RemoveAll(l.Dir))
	if l.pipe != nil {
		l.pipe.Close()
	}
	return err
}

// SaveLogs copies what the lab's programs and pods have said into a folder that
// is made anew, for a look at it after Close.
func (l *Lab) SaveLogs(to string) error {
	err := errors.Join(os.RemoveAll(to), os.CopyFS(to, os.DirFS(l.path("log"))))
	for _, n := range l.nodes() {
		if pods, statErr := os.Stat(n.file(podLogs)); statErr == nil && pods.IsDir() {
			err = errors.Join(err, os.CopyFS(filepath.Join(to, n.Name()), os.DirFS(n.file(podLogs))))
		}
	}
	return err
}

// Kubeconfig is the path of a file with which everything is allowed. The
// address in it is reached from the lab's network namespace only: see [Lab.Command].
func (r record) Kubeconfig() string { return r.path("admin.kubeconfig") }

// PID is that of the lab's first process. Its namespaces are the lab's.
func (r record) PID() int { return r.Reaper.PID }

// Command returns a command that will run in the lab's network namespace, with
// KUBECONFIG set. Files and process ids are those of the machine.
func (l *Lab) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	enter := []string{"--target", fmt.Sprint(l.PID()), "--net", "--", name}
	cmd := exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
	cmd.Env = append(withoutProxy(os.Environ()), "KUBECONFIG="+l.Kubeconfig(), dirEnv+"="+l.Dir)
	return cmd
}

func (r record) path(elem ...string) string {
	return filepath.Join(append([]string{r.Dir}, elem...)...)
}

// cgroup is the path of the lab's cgroup, in each hierarchy.
func (r record) cgroup() string { return "/theseus-lab-" + r.Name }

func withoutProxy(env []string) []string {
	var kept []string
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		if !strings.HasSuffix(strings.ToLower(name), "_proxy") {
			kept = append(kept, e)
		}
	}
	return kept
}

// Again runs this program again with its arguments, in the lab's network. It ends with this one.
func (l *Lab) Again(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := l.Command(ctx, self, os.Args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // whose death that signal tells of
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}
