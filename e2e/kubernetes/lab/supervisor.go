//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

// supervisor runs inside the lab's namespaces, and is all that knows what is
// going on in there.
type supervisor struct {
	record
	ctx    context.Context // of the lab's whole life
	fail   context.CancelCauseFunc
	parts  keeper
	client kubernetes.Interface
	ready  chan struct{} // closed when the cluster is
}

// supervise plays the role: it returns when the lab is to end.
func supervise(dir string) error {
	r, err := load(dir)
	if err != nil {
		return err
	}
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	klog.SetOutput(log.Writer())
	ctx, fail := context.WithCancelCause(context.Background())
	s := &supervisor{record: r, ctx: ctx, fail: fail, ready: make(chan struct{})}
	s.parts = keeper{logs: r.logFile, ended: s.partEnded, running: map[string]*running{}}
	if !r.Detached {
		syscall.CloseOnExec(callerPipe) // the parts have no part in it
		go s.watchCaller()
	}
	if err := s.serve(); err != nil {
		return err
	}
	if err := s.begin(); err != nil {
		s.fail(err)
		log.Print(err)
	} else {
		log.Print("ready")
		close(s.ready)
	}
	select {} // until the reaper is killed, or the caller has ended
}

// watchCaller ends the lab with its caller, and removes what the kernel leaves.
func (s *supervisor) watchCaller() {
	_, _ = io.Copy(io.Discard, os.NewFile(callerPipe, "caller"))
	log.Print("the caller has ended")
	// All but this process and pid 1.
	_ = syscall.Kill(-1, syscall.SIGKILL)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = removeCgroups(ctx, s.cgroup())
	os.Exit(0)
}

// partEnded ends the wait for a cluster that will not come. Once it is there,
// the part is started again and nothing else happens.
func (s *supervisor) partEnded(err error) {
	select {
	case <-s.ready:
	default:
		s.fail(err)
	}
}

// begin brings the cluster up, in the order of what needs what.
func (s *supervisor) begin() error {
	ctx, cancel := context.WithTimeout(s.ctx, 6*time.Minute)
	defer cancel()
	for _, step := range []func(context.Context) error{
		s.prepare,
		s.startStores,
		s.awaitAPI,
		s.startControllers,
		s.beginStorage,
		func(ctx context.Context) error { return s.loadImage(ctx, s.path("pause.tar")) },
		s.startNodes,
		s.awaitNodes,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// startStores starts the API server on etcd, and meanwhile containerd.
func (s *supervisor) startStores(context.Context) error {
	parts := []part{s.etcd(), s.apiserver()}
	for _, n := range s.nodes() {
		parts = append(parts, n.containerd())
	}
	return s.parts.start(parts...)
}

func (s *supervisor) startControllers(context.Context) error {
	return s.parts.start(s.controllers(), s.scheduler(), s.dns())
}

func (s *supervisor) startNodes(context.Context) error {
	for _, n := range s.nodes() {
		if err := s.parts.start(n.kubelet(), n.proxy()); err != nil {
			return err
		}
	}
	return nil
}

// prepare does what must be there before the first part starts.
func (s *supervisor) prepare(ctx context.Context) error {
	if err := syscall.Sethostname([]byte("node1")); err != nil {
		return err
	}
	if err := errors.Join(s.network(ctx), s.certify()); err != nil {
		return err
	}
	for _, n := range s.nodes() {
		if err := errors.Join(n.configure(), makeCgroup(n.Cgroup())); err != nil {
			return err
		}
	}
	config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig())
	if err != nil {
		return err
	}
	config.QPS = -1 // no limit
	s.client, err = kubernetes.NewForConfig(config)
	return err
}

func (s *supervisor) awaitAPI(ctx context.Context) error {
	return await(ctx, "the API server", func() error {
		return s.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

// awaitNodes waits until a pod can be created, and would run.
func (s *supervisor) awaitNodes(ctx context.Context) error {
	for _, n := range s.nodes() {
		if err := await(ctx, n.Name(), func() error { return s.nodeReady(ctx, n.Name()) }); err != nil {
			return err
		}
	}
	return await(ctx, "the default ServiceAccount", func() error {
		_, err := s.client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

func (s *supervisor) nodeReady(ctx context.Context, name string) error {
	n, err := s.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			if c.Status == corev1.ConditionTrue {
				return nil
			}
			return errors.New(c.Message)
		}
	}
	return errors.New("it has not reported yet")
}

// loadImage gives an archive to the containerd of each node.
func (s *supervisor) loadImage(ctx context.Context, file string) error {
	for _, n := range s.nodes() {
		socket := n.Run() + "/containerd.sock"
		err := await(ctx, "containerd of "+n.Name(), func() error { return run(ctx, "ctr", "--address", socket, "version") })
		if err != nil {
			return err
		}
		if err := run(ctx, "ctr", "--address", socket, "--namespace", "k8s.io", "images", "import", file); err != nil {
			return err
		}
	}
	return nil
}

func (s *supervisor) nodeCalled(name string) (node, error) {
	var known []string
	for _, n := range s.nodes() {
		if n.Name() == name {
			return n, nil
		}
		known = append(known, n.Name())
	}
	return node{}, fmt.Errorf("no node is called %q; there are %s", name, strings.Join(known, ", "))
}
