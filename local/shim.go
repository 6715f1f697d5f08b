package local

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ShimCommand is the first argument of a process that is to be a shim; its main calls ShimMain with the others before
// it does anything else, because a shim shall stay small.
const ShimCommand = "__shim"

// ShimMain is the main function of a shim and returns its exit code.
func ShimMain(args []string) int { return Shim{}.Main(args) }

// Shim is the parent of one member: it starts it, starts it again when it ends by itself, keeps its log and
// stops it when asked. It outlives the driver. When the shim dies, the kernel kills the member.
type Shim struct {
	// Fault, if set, is called around each durable write.
	Fault Fault
}

// Main runs a shim to its end. The arguments are the member's folder and the incarnation.
func (s Shim) Main(args []string) int {
	// The member dies with the thread that started it, so this one must live as long as the process.
	runtime.LockOSThread()
	ignoreTerminal()
	greet := newGreeter()
	k, err := s.open(args)
	if err == nil {
		err = k.save(shimStarting)
	}
	greet.say(err)
	if err != nil {
		return 1
	}
	k.live()
	return 0
}

// open takes the member's lock, so that a member never has two shims, and reads the order.
func (s Shim) open(args []string) (*shim, error) {
	if len(args) != 2 {
		return nil, fmt.Errorf("shim: want the folder of a member and an incarnation, got %d arguments", len(args))
	}
	k := &shim{fault: s.Fault, keeper: keeper{args[0]}}
	var err error
	if k.lock, err = hold(k.path(shimLockFile), false); errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("member %s has a shim already", filepath.Base(k.dir))
	} else if err != nil {
		return nil, err
	}
	if _, err := readJSON(k.path(orderFile), &k.order); err != nil {
		return nil, err
	}
	if k.order.Incarnation != args[1] {
		return nil, fmt.Errorf("member %s: the order is for another start", filepath.Base(k.dir))
	}
	self, err := identify(os.Getpid())
	if err != nil {
		return nil, err
	}
	o := &k.order
	k.state = shimState{Protocol: ShimProtocol, Incarnation: o.Incarnation, Revision: o.Revision, View: o.View, Shim: self, Signal: o.Signal, Grace: o.Grace}
	k.log = &rotor{path: k.path(logFile), most: o.LogSize, keep: o.LogKeep}
	k.asked = make(chan os.Signal, 8)
	signal.Notify(k.asked, syscall.SIGTERM)
	return k, nil
}

// shim is a shim at work. Everything happens in one goroutine, but for the copying of the log and the waiting for the member.
type shim struct {
	keeper
	fault   Fault
	lock    *os.File
	order   order
	state   shimState
	log     *rotor
	asked   chan os.Signal // to stop
	unsaved bool
}

// save makes the state durable. A full disk must not stop a member: what could not be written is written later.
func (k *shim) save(p shimPhase) error {
	k.state.Phase = p
	err := k.fault.writeJSON("state", k.path(stateFile), &k.state)
	k.unsaved = err != nil
	return err
}

// live keeps the member running until someone asks to stop it.
func (k *shim) live() {
	afterCollection(DropProgram)
	for failures := 0; ; failures++ {
		began := time.Now()
		if !k.run() {
			break
		}
		if time.Since(began) >= healthyRun {
			failures = 0
		}
		if !k.rest(backoff(failures)) {
			break
		}
	}
	_ = k.save(shimStopped) // the end of this process says the same
}

// healthyRun is how long a member must have run for its next crash to be treated like the first.
const healthyRun = time.Minute

// backoff is the pause before a member is started again. It grows, so that one that cannot live does not eat the machine.
func backoff(failures int) time.Duration {
	pauses := []time.Duration{200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second}
	if failures < len(pauses) {
		return pauses[failures]
	}
	return 10 * time.Second
}

// run runs the member once, and says whether it may run again.
func (k *shim) run() bool {
	if k.order.Broken != "" {
		k.state.Broken = k.order.Broken
		_ = k.save(shimExited)
		return true
	}
	m, err := k.start()
	if err != nil {
		k.note("cannot start: " + err.Error())
		k.state.Broken, k.state.Exit, k.state.ExitAt = brokenBy(err), err.Error(), time.Now()
		_ = k.save(shimExited)
		return true
	}
	_ = k.save(shimRunning)
	trim()
	if k.wait(m.ended, nil) {
		k.stop(m)
		return false
	}
	k.state.Crashes++
	k.ended(m, shimExited)
	return true
}

// rest waits before the next start, and says whether there is to be one.
func (k *shim) rest(pause time.Duration) bool {
	t := time.NewTimer(pause)
	defer t.Stop()
	return !k.wait(nil, t.C)
}

// wait says whether it ended because someone asked to stop. While a state is not written, it tries again now and then.
func (k *shim) wait(ended <-chan struct{}, up <-chan time.Time) (asked bool) {
	for {
		var again <-chan time.Time
		if k.unsaved {
			again = time.After(time.Second)
		}
		select {
		case <-ended:
			return false
		case <-up:
			return false
		case <-k.asked:
			return true
		case <-again:
			_ = k.save(k.state.Phase)
		}
	}
}

// brokenBy says why a program can never start, or nothing where it may be a matter of time.
func brokenBy(err error) string {
	for _, passing := range []error{syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, syscall.ETXTBSY} {
		if errors.Is(err, passing) {
			return ""
		}
	}
	return err.Error()
}

// child is one run of the member.
type child struct {
	process *os.Process
	ended   chan struct{} // closed when it has ended and its group is gone
	status  *os.ProcessState
	copied  chan struct{} // closed when its output has ended
}

func (k *shim) start() (*child, error) {
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		out.Close()
		return nil, err
	}
	defer null.Close()
	k.note(fmt.Sprintf("start %s %s at %s", k.order.Program, k.order.View.Version, time.Now().Format(time.RFC3339)))
	p, err := os.StartProcess(k.order.Program, append([]string{k.order.Program}, k.order.Args...), &os.ProcAttr{
		Dir:   k.dir,
		Env:   k.order.Env,
		Files: []*os.File{null, in, in},
		Sys:   &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		out.Close()
		return nil, err
	}
	k.state.Member, _ = identify(p.Pid) // one that ended already has none
	k.state.Broken = ""
	r := &child{process: p, ended: make(chan struct{}), copied: make(chan struct{})}
	go r.await()
	go r.copy(out, k.log)
	return r, nil
}

// await reaps the member. Before it lets go of its number it kills what the member left in its group.
func (r *child) await() {
	defer close(r.ended)
	for errors.Is(unix.Waitid(unix.P_PID, r.process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
	_ = syscall.Kill(-r.process.Pid, syscall.SIGKILL)
	r.status, _ = r.process.Wait()
}

func (r *child) copy(out *os.File, log *rotor) {
	defer close(r.copied)
	defer out.Close()
	buf := make([]byte, 16<<10)
	for {
		n, err := out.Read(buf)
		log.write(buf[:n])
		if err != nil {
			return
		}
	}
}

// stop asks the member to end and kills it when it takes too long.
func (k *shim) stop(m *child) {
	_ = k.save(shimStopping)
	k.note("stop: " + unix.SignalName(k.order.Signal))
	_ = m.process.Signal(k.order.Signal) // one that has ended is as good
	grace := time.NewTimer(k.order.Grace)
	defer grace.Stop()
	select {
	case <-m.ended:
	case <-grace.C:
		k.note("kill: it has not ended after " + k.order.Grace.String())
		_ = m.process.Kill()
		<-m.ended
	}
	k.ended(m, shimStopping)
}

// copyWait is how long output may come after the end: from a process that left the group.
const copyWait = time.Second

// ended keeps how a run ended, after its last words are in the log.
func (k *shim) ended(m *child, p shimPhase) {
	select {
	case <-m.copied:
	case <-time.After(copyWait):
	}
	k.state.Exit, k.state.ExitAt = exitOf(m.status), time.Now()
	k.note("ended: " + k.state.Exit)
	_ = k.save(p)
}

func exitOf(s *os.ProcessState) string {
	if s == nil {
		return "unknown"
	}
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return "killed by " + unix.SignalName(w.Signal())
	}
	return fmt.Sprintf("exit code %d", s.ExitCode())
}

// note writes a line of our own into the member's log.
func (k *shim) note(text string) { k.log.write([]byte("theseus: " + text + "\n")) }
