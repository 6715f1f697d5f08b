package local

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/systems"
	"theseus.dev/upgrade"
)

// standin is the program that members of the tests are.
var standin string

// TestMain lets this program be a shim or a job too, killed where THESEUS_TEST_FAULT says.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		fault := dieAt(os.Getenv("THESEUS_TEST_FAULT"))
		switch os.Args[1] {
		case driveCommand:
			os.Exit(driveMain(os.Args[2:]))
		case ShimCommand:
			os.Exit(Shim{Fault: fault}.Main(os.Args[2:]))
		case JobCommand:
			os.Exit(Worker{Fault: fault}.RunAction(os.Args[2:]))
		}
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "local")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	standin = filepath.Join(dir, "standin")
	if out, err := exec.Command("go", "build", "-o", standin, "theseus.dev/servers/standin").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build standin: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// dieAt kills this process when it comes to a point, if the file is still there: who dies removes it, so that it happens once. An
// order is "FILE POINT N": the Nth time, and any point where POINT is "*".
func dieAt(order string) Fault {
	file, point, n := "", "", 0
	if _, err := fmt.Sscan(order, &file, &point, &n); err != nil {
		return nil
	}
	return func(p string) {
		if p != point && point != "*" {
			return
		}
		if n--; n == 0 && os.Remove(file) == nil {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
}

// world is a cluster of stand-ins on this machine.
type world struct {
	*testing.T
	home    Home
	state   *State
	sys     *system.System
	cluster *v1alpha1.Cluster
	control string // file
}

func newWorld(t *testing.T, members int32) *world {
	t.Helper()
	w := &world{T: t, home: Home(t.TempDir()), sys: standinSystem(t), control: filepath.Join(t.TempDir(), "control.json")}
	w.cluster = &v1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: "kv"}, Spec: v1alpha1.ClusterSpec{
		System: "standin", Version: "1.0.0", Components: map[string]v1alpha1.ComponentSpec{"standin": {Replicas: &members, Addresses: ownAddresses(members)}},
		Options: map[string]string{"control": w.control},
	}}
	st, err := w.home.Create(w.cluster, w.sys)
	if err != nil {
		t.Fatal(err)
	}
	w.state = w.open(st)
	t.Cleanup(func() { w.killAll() })
	return w
}

var worlds atomic.Int32

// ownAddresses are addresses that no other world has, not even one of a test of another package at the same time.
func ownAddresses(members int32) (own []string) {
	world := worlds.Add(1)
	for i := range members {
		own = append(own, fmt.Sprintf("127.%d.%d.%d", 2+os.Getpid()%14, world, i+1))
	}
	return own
}

func (w *world) open(st *State) *State {
	st.Systems = func(context.Context, string) (*system.System, error) { return w.sys, nil }
	return st
}

func standinSystem(t testing.TB) *system.System {
	t.Helper()
	text, err := systems.Load("standin")
	if err != nil {
		t.Fatal(err)
	}
	api := &v1alpha1.System{}
	if err := yaml.UnmarshalStrict(text, api); err != nil {
		t.Fatal(err)
	}
	return compileSystem(t, api)
}

func compileSystem(t testing.TB, api *v1alpha1.System) *system.System {
	t.Helper()
	s, err := system.Compile(api)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// killAll leaves nothing behind: every process that the cluster's files know.
func (w *world) killAll() {
	names, _ := w.state.memberNames()
	for _, name := range names {
		if s, err := w.state.keeper(name).state(); err == nil && s != nil {
			_ = s.Shim.signal(syscall.SIGKILL)
			_ = s.Member.signal(syscall.SIGKILL)
		}
		w.await(name+" gone", func() bool { return !w.state.keeper(name).present() })
	}
}

func (w *world) platform() *Platform {
	w.Helper()
	p := &Platform{State: w.state, Programs: []string{filepath.Dir(standin)}}
	w.Cleanup(p.Close)
	return p
}

func (w *world) runner() *runner.Runner {
	return &runner.Runner{Journal: w.state, Inbox: w.state, Library: w.state, Platform: w.platform(), Decider: upgrade.New(), Every: 10 * time.Millisecond}
}

// drive runs a driver to its end.
func (w *world) drive() runner.Pass {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
	defer cancel()
	p, err := w.runner().Run(ctx)
	if err != nil {
		w.Fatalf("run: %v\nwaits for %+v", err, p.Status.Attempt)
	}
	return p
}

// await polls until something is so.
func (w *world) await(what string, is func() bool) {
	w.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatalf("%s: not so after 20s", what)
		}
	}
}

func (w *world) scene() runner.Scene {
	w.Helper()
	c, _, err := w.state.Load(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return runner.Scene{Cluster: c, System: w.sys, Systems: map[string]*system.System{w.sys.Hash(): w.sys}}
}

func (w *world) pinned() *v1alpha1.Pinned {
	return &v1alpha1.Pinned{Spec: w.cluster.Spec, System: v1alpha1.SystemRef{Name: "standin", Hash: w.sys.Hash()}}
}

func (w *world) look(p *Platform) upgrade.Look {
	w.Helper()
	look, err := p.Look(w.Context(), w.scene())
	if err != nil {
		w.Fatal(err)
	}
	return look
}

// member of a look.
func (w *world) member(p *Platform, name string) upgrade.Member {
	w.Helper()
	for _, m := range w.look(p).Members {
		if m.View.Name == name {
			return m
		}
	}
	w.Fatalf("the look has no member %s", name)
	return upgrade.Member{}
}

func (w *world) spec(edit func(*v1alpha1.ClusterSpec)) {
	w.Helper()
	edit(&w.cluster.Spec)
	if err := w.state.AcceptSpec(&w.cluster.Spec); err != nil {
		w.Fatal(err)
	}
}

func (w *world) misbehave(control string) {
	w.Helper()
	if err := os.WriteFile(w.control+".new", []byte(control), 0o600); err != nil {
		w.Fatal(err)
	}
	if err := os.Rename(w.control+".new", w.control); err != nil {
		w.Fatal(err)
	}
}
