package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"theseus.dev/api/v1alpha1"
)

// patience bounds every wait and every command of a test. It is no measurement: a machine may be slow.
const patience = 4 * time.Minute

// cluster is a cluster of one test, in a home of its own.
type cluster struct {
	testing.TB
	name      string
	dir       string
	env       []string
	component string        // whose members are meant
	port      string        // for clients of these; default 7000
	patience  time.Duration // of every wait and every command
}

// setup is what a cluster begins with.
type setup struct {
	system   string // default: testdata/careful.yaml
	version  string
	control  string // content of the control file; NAME stands for the cluster's name
	upgrade  string // of spec.upgrade, beside soak and progressDeadline
	deadline string // default 15s
	backup   string // URL; default: a folder of the test
	programs string // folders of servers; default: all
}

var clusters atomic.Int32

// newCluster writes the file of a cluster and starts nothing. Whatever is started is stopped at the test's end, and it
// is an error if a process stays.
func newCluster(t testing.TB, s setup) *cluster {
	t.Helper()
	c := &cluster{TB: t, name: fmt.Sprintf("c%d-%d", os.Getpid(), clusters.Add(1)), dir: folder(t), component: "standin", patience: patience}
	c.make("home", "faults", "backups")
	system, err := filepath.Abs("testdata/careful.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c.setEnv(or(s.programs, programs))
	c.control(s.control)
	c.write("cluster.yaml", fmt.Sprintf(`
apiVersion: theseus.dev/v1alpha1
kind: Cluster
metadata: {name: %s}
spec:
  system: %s
  version: %s
  components: {standin: {replicas: 3}}
  options: {control: %s}
  backup: {url: "%s"}
  upgrade: {soak: 300ms, progressDeadline: %s, %s}
`, c.name, or(s.system, system), s.version, c.path("control.json"), or(s.backup, "file://"+c.path("backups")), or(s.deadline, "15s"), s.upgrade))
	t.Cleanup(c.end)
	return c
}

// folder is one whose name is short and plain, unlike those of the testing package: it becomes part of URLs.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "theseus-e2e-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func or(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}

// setEnv sets the environment of all processes of the cluster. Thousands of them live for a second only, and half of the processor that
// a start takes are two collections of garbage: hence GOGC.
func (c *cluster) setEnv(programs string) {
	c.env = append(os.Environ(), "GOGC=400", "THESEUS_HOME="+c.path("home"), "THESEUS_PROGRAMS="+programs, "THESEUS_FAULTS="+c.path("faults"))
}

func (c *cluster) path(elem ...string) string {
	return filepath.Join(append([]string{c.dir}, elem...)...)
}

func (c *cluster) make(folders ...string) {
	for _, f := range folders {
		if err := os.MkdirAll(c.path(f), 0o755); err != nil {
			c.Fatal(err)
		}
	}
}

// write replaces a file of the test at once.
func (c *cluster) write(name, text string) {
	c.Helper()
	if err := errors.Join(os.WriteFile(c.path(name+".new"), []byte(text), 0o600), os.Rename(c.path(name+".new"), c.path(name))); err != nil {
		c.Fatal(err)
	}
}

// control says how members behave from now on.
func (c *cluster) control(text string) {
	c.Helper()
	c.write("control.json", strings.ReplaceAll(or(text, "{}"), "NAME", c.name))
}

// result of a command.
type result struct {
	code int // -1: killed
	out  string
	err  string
}

func (r result) String() string { return fmt.Sprintf("exit code %d\n%s%s", r.code, r.out, r.err) }

// theseus runs the command as it is shipped.
func (c *cluster) theseus(args ...string) result {
	c.Helper()
	return c.wait(c.start(theseus, args...))
}

// running is a command that has not ended.
type running struct {
	cmd      *exec.Cmd
	out, err bytes.Buffer
	cancel   context.CancelFunc
}

func (c *cluster) start(program string, args ...string) *running {
	c.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), c.patience)
	r := &running{cmd: exec.CommandContext(ctx, program, args...), cancel: cancel}
	r.cmd.Env, r.cmd.Stdout, r.cmd.Stderr = c.env, &r.out, &r.err
	r.cmd.WaitDelay = time.Second // shims must not keep our pipes open; if one does, this ends
	if err := r.cmd.Start(); err != nil {
		c.Fatal(err)
	}
	return r
}

func (c *cluster) wait(r *running) result {
	c.Helper()
	defer r.cancel()
	err := r.cmd.Wait()
	if errors.Is(err, exec.ErrWaitDelay) {
		c.Errorf("%v: a process that it left behind keeps its output open", r.cmd.Args)
	}
	res := result{r.cmd.ProcessState.ExitCode(), r.out.String(), r.err.String()}
	if res.code == -1 && r.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		c.Errorf("%v ended by %s", r.cmd.Args, r.cmd.ProcessState)
	}
	return res
}

// must runs a command that has to end with a code.
func (c *cluster) must(code int, args ...string) result {
	c.Helper()
	r := c.theseus(args...)
	if r.code != code {
		c.Fatalf("theseus %s: want exit code %d, got %s\n%s", strings.Join(args, " "), code, r, c.story())
	}
	return r
}

// up starts the cluster and puts some keys.
func (c *cluster) up() {
	c.Helper()
	if r := c.wait(c.start(faulty, "up", c.path("cluster.yaml"))); r.code != 0 {
		c.Fatalf("theseus up: %s", r)
	}
}

// leadBy makes a member the leader, so that the order in which members go is known.
func (c *cluster) leadBy(to int) {
	c.Helper()
	c.await(c.member(to)+" leads", func() bool {
		now := c.leader()
		if now == to {
			return true
		}
		r, err := client.Post("http://"+c.address(now)+"/handover", "application/json", strings.NewReader(fmt.Sprintf(`{"to": %q}`, c.member(to))))
		if err == nil {
			r.Body.Close()
		}
		return false
	})
}

// object reads the cluster as the program keeps it.
func (c *cluster) object() *v1alpha1.Cluster {
	c.Helper()
	obj := &v1alpha1.Cluster{}
	var status struct{ Status v1alpha1.ClusterStatus }
	for file, into := range map[string]any{"cluster.json": obj, "status.json": &status} {
		text, err := os.ReadFile(c.path("home", c.name, file))
		if err == nil {
			err = json.Unmarshal(text, into)
		}
		if err != nil {
			c.Fatalf("read the cluster: %v", err)
		}
	}
	obj.Status = status.Status
	return obj
}

// attempt is the one that runs or the last one; never nil.
func (c *cluster) attempt() *v1alpha1.Attempt {
	c.Helper()
	if a := c.object().Status.Attempt; a != nil {
		return a
	}
	return &v1alpha1.Attempt{}
}

// story is what happened, for the text of a failure.
func (c *cluster) story() string {
	var b strings.Builder
	st := c.object().Status
	for _, e := range st.Events[max(0, len(st.Events)-40):] {
		fmt.Fprintf(&b, "  %s %s %s: %s\n", e.At.Format(time.TimeOnly), e.Reason, e.Object, e.Message)
	}
	if st.Attempt != nil && st.Attempt.WaitingFor != nil {
		fmt.Fprintf(&b, "  waits for %s of %s: %s\n", st.Attempt.WaitingFor.Rule, st.Attempt.WaitingFor.Object, st.Attempt.WaitingFor.Message)
	}
	return b.String()
}

// await polls until something is so.
func (c *cluster) await(what string, is func() bool) {
	c.Helper()
	for end := time.Now().Add(c.patience); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			c.Fatalf("%s: not so after %s\n%s", what, c.patience, c.story())
		}
	}
}

// awaitEvent waits for an event of the upgrade.
func (c *cluster) awaitEvent(reason, object string) {
	c.Helper()
	c.await("event "+reason+" "+object, func() bool {
		return c.attempt().Kind == v1alpha1.AttemptUpgrade && slices.ContainsFunc(c.object().Status.Events, func(e v1alpha1.Event) bool {
			return e.Reason == reason && (object == "" || e.Object == object) && e.Attempt == c.attempt().ID
		})
	})
}

// --- members ----------------------------------------------------------------

func (c *cluster) member(i int) string { return fmt.Sprintf("%s-%s-%d", c.name, c.component, i) }

// address of a member's port for clients.
func (c *cluster) address(i int) string {
	c.Helper()
	var all map[string]string
	text, err := os.ReadFile(c.path("home", c.name, "addresses.json"))
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		c.Fatalf("read the addresses: %v", err)
	}
	return all[c.member(i)] + ":" + or(c.port, "7000")
}

// processes of a member, as its shim wrote them down.
func (c *cluster) processes(i int) (shim, member int) {
	c.Helper()
	var s struct{ Shim, Member struct{ PID int } }
	text, err := os.ReadFile(c.path("home", c.name, "members", c.member(i), "state.json"))
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		c.Fatalf("read the state of a member: %v", err)
	}
	return s.Shim.PID, s.Member.PID
}

func (c *cluster) signal(pid int, s syscall.Signal) {
	c.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		c.Fatalf("send %s to process %d: %v", s, pid, err)
	}
}

// memberStatus is what a stand-in says about itself.
type memberStatus struct {
	Version string
	Ready   bool
	Role    string
	Leader  string
	Actions map[string]int
}

var client = &http.Client{Timeout: 2 * time.Second}

func (c *cluster) status(i int) (memberStatus, error) {
	var s memberStatus
	r, err := client.Get("http://" + c.address(i) + "/status")
	if err != nil {
		return s, err
	}
	defer r.Body.Close()
	return s, json.NewDecoder(r.Body).Decode(&s)
}

// allAt waits until the members, or all, say that they are ready with this version.
func (c *cluster) allAt(version string, members ...int) {
	c.Helper()
	if len(members) == 0 {
		members = []int{0, 1, 2}
	}
	for _, i := range members {
		var s memberStatus
		var err error
		c.await(fmt.Sprintf("%s ready at %s", c.member(i), version), func() bool {
			s, err = c.status(i)
			return err == nil && s.Ready && s.Version == version
		})
	}
}

// do has an action done by a member, and says whether it was.
func (c *cluster) do(i int, action string) bool {
	r, err := client.Post("http://"+c.address(i)+"/admin/"+action, "text/plain", nil)
	if err != nil {
		return false
	}
	r.Body.Close()
	return r.StatusCode == http.StatusOK
}

// actions counts what was done, over all members.
func (c *cluster) actions() map[string]int {
	c.Helper()
	sum := map[string]int{}
	for i := range 3 {
		s, err := c.status(i)
		if err != nil {
			c.Fatal(err)
		}
		for name, n := range s.Actions {
			sum[name] += n
		}
	}
	return sum
}

// leader is the index of the member that leads.
func (c *cluster) leader() int {
	c.Helper()
	found := -1
	c.await("a leader", func() bool {
		for i := range 3 {
			if s, err := c.status(i); err == nil && s.Role == "leader" {
				found = i
				return true
			}
		}
		return false
	})
	return found
}

// --- data ---------------------------------------------------------------------

// writer writes keys of its own, one after the other, and remembers those that were acknowledged.
type writer struct {
	c     *cluster
	stop  chan struct{}
	ended sync.WaitGroup

	mu    sync.Mutex
	acked map[string]string
}

// writes starts a writer after ten keys are acknowledged.
func (c *cluster) writes() *writer {
	c.Helper()
	w := &writer{c: c, stop: make(chan struct{}), acked: map[string]string{}}
	var hosts []string
	for i := range 3 {
		hosts = append(hosts, c.address(i))
	}
	w.ended.Go(func() {
		for n := 0; ; n++ {
			key, value := fmt.Sprintf("w%06d", n), strconv.Itoa(n*n)
			if !w.put(hosts, n, key, value) {
				return
			}
			w.mu.Lock()
			w.acked[key] = value
			w.mu.Unlock()
		}
	})
	c.await("ten writes", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.acked) >= 10 })
	return w
}

// put tries all members in turn until one acknowledges. It returns false when the writer is to stop.
func (w *writer) put(hosts []string, n int, key, value string) bool {
	for try := n; ; try++ {
		select {
		case <-w.stop:
			return false
		case <-time.After(100 * time.Millisecond): // of many clusters at once, on a machine that has other work
		}
		q, err := http.NewRequest(http.MethodPut, "http://"+hosts[try%len(hosts)]+"/kv/"+key, strings.NewReader(value))
		if err != nil {
			panic(err)
		}
		if r, err := client.Do(q); err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return true
			}
		}
	}
}

// check stops the writer and reads back everything that was acknowledged.
func (w *writer) check() {
	w.c.Helper()
	close(w.stop)
	w.ended.Wait()
	keys := slices.Sorted(maps.Keys(w.acked))
	lost := 0
	for n, key := range keys {
		if got := w.c.get(n%3, key); got != w.acked[key] {
			lost++
			w.c.Errorf("lost: key %s was acknowledged as %q and is %q", key, w.acked[key], got)
		}
	}
	if lost > 0 {
		w.c.Errorf("lost %d of %d\n%s", lost, len(keys), w.c.story())
	}
}

// get reads a key from a member, and waits while it cannot answer.
func (c *cluster) get(i int, key string) (value string) {
	c.Helper()
	c.await("an answer to key "+key, func() bool {
		r, err := client.Get("http://" + c.address(i) + "/kv/" + key)
		if err != nil {
			return false
		}
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		value = string(text)
		return err == nil && (r.StatusCode == http.StatusOK || r.StatusCode == http.StatusNotFound)
	})
	return value
}

// --- the end --------------------------------------------------------------------

// ours are the processes that speak of the test's folder.
func (c *cluster) ours() map[int]string {
	found := map[int]string{}
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		text, err := os.ReadFile(f)
		if pid, e := strconv.Atoi(filepath.Base(filepath.Dir(f))); err == nil && e == nil && bytes.Contains(text, []byte(c.dir+"/")) {
			found[pid] = strings.ReplaceAll(string(text), "\x00", " ")
		}
	}
	return found
}

// alone checks that there are three shims, three members and nobody else: no job and no member of another incarnation.
func (c *cluster) alone() {
	c.Helper()
	c.await("only shims and members", func() bool {
		all := c.ours()
		for i := range 3 {
			shim, member := c.processes(i)
			if all[shim] == "" || all[member] == "" {
				return false
			}
			delete(all, shim)
			delete(all, member)
		}
		return len(all) == 0
	})
}

// end stops everything. A process that "theseus down" leaves behind is an error, and killed.
func (c *cluster) end() {
	if _, err := os.Stat(c.path("home", c.name)); err == nil {
		if r := c.theseus("down", c.name); r.code != 0 {
			c.Errorf("theseus down: %s", r)
		}
	}
	for end := time.Now().Add(5 * time.Second); len(c.ours()) > 0 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	for pid, command := range c.ours() {
		c.Errorf("left behind: process %d: %s", pid, command)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// each runs a test for every item, some at a time: they mostly wait.
func each[T any](t *testing.T, items []T, name func(T) string, test func(*testing.T, T)) {
	t.Helper()
	next := make(chan T)
	var crew sync.WaitGroup
	for range 8 {
		crew.Go(func() {
			for item := range next {
				t.Run(name(item), func(t *testing.T) { test(t, item) })
			}
		})
	}
	for _, item := range items {
		next <- item
	}
	close(next)
	crew.Wait()
}
