//go:build linux

// Command bench measures Theseus on a real Kubernetes, side by side with what Kubernetes does by itself or with a limit, and prints ratios.
// It starts a lab and ends it. Absolute figures are of this machine and this hour only.
//
//	make bench
//	cd e2e/kubernetes && go run ./cmd/bench --only many --clusters 1000 --idle 5m
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"theseus.dev/bench/figure"
	"theseus.dev/e2e/kubernetes/lab"
)

type options struct {
	only     string
	rounds   int
	soak     time.Duration
	clusters int
	idle     time.Duration
	upgrades int
}

func main() {
	lab.Init()
	o := options{}
	pflag.StringVar(&o.only, "only", "", "measure only this: upgrade or many")
	pflag.IntVar(&o.rounds, "rounds", 3, "how often each side upgrades; medians are printed")
	pflag.DurationVar(&o.soak, "soak", 10*time.Second, "how long both sides wait for a member to prove itself, in whole seconds")
	pflag.IntVar(&o.clusters, "clusters", 1000, "how many Clusters of 3 members one operator has, of pods that no node runs")
	pflag.DurationVar(&o.idle, "idle", 5*time.Minute, "how long they are left alone")
	pflag.IntVar(&o.upgrades, "upgrades", 100, "how many of them are upgraded at once")
	pflag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := do(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func do(ctx context.Context, o options) error {
	if o.soak < time.Second || o.soak%time.Second != 0 {
		return fmt.Errorf("--soak %s: minReadySeconds, beside which it is measured, counts whole seconds; give one or more", o.soak)
	}
	if o.rounds < 1 || o.clusters < 1 || o.upgrades < 0 {
		return errors.New("--rounds and --clusters are at least 1, --upgrades at least 0")
	}
	if l, err := lab.Current(); err == nil {
		return measure(ctx, l, o)
	}
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "bench: nothing was measured on Kubernetes: a lab needs root, for namespaces, mounts and cgroups")
		return nil
	}
	l, err := lab.Start(ctx, lab.Options{Name: fmt.Sprintf("bench-%d", os.Getpid())})
	if err != nil {
		return err
	}
	return errors.Join(l.Again(ctx), l.Close())
}

// measures in the order in which they are taken.
var measures = []struct {
	name string
	take func(ctx context.Context, k *kube, o options) ([]figure.Figure, error)
}{{"upgrade", upgrades}, {"many", many}}

func measure(ctx context.Context, l *lab.Lab, o options) error {
	k, err := newKube(ctx, l)
	if err != nil {
		return err
	}
	var figures []figure.Figure
	for _, m := range measures {
		if o.only != "" && o.only != m.name {
			continue
		}
		f, err := m.take(ctx, k, o)
		if err != nil {
			return err
		}
		figures = append(figures, f...)
	}
	if len(figures) == 0 {
		return fmt.Errorf("--only %s: there is upgrade and many", o.only)
	}
	fmt.Printf("a lab of one node on %d processors; load before %s, after %s\n", runtime.NumCPU(), k.load, load())
	return figure.Print(os.Stdout, figures)
}

// load is the machine's, of the last minute: what else ran beside.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Fields(string(text))[0]
}

// operator runs Theseus as a process in the lab's network, for all namespaces.
type operator struct {
	cmd *exec.Cmd
	log *os.File
}

func (k *kube) startOperator(kubeconfig string, flags ...string) (*operator, error) {
	log, err := os.CreateTemp("", "theseus-bench-operator-")
	if err != nil {
		return nil, err
	}
	args := append([]string{"operator", "--image", theseusImage, "--metrics-bind-address", "0", "--health-probe-bind-address", "0"}, flags...)
	o := &operator{cmd: exec.Command(filepath.Join(k.root, "bin", "theseus"), args...), log: log}
	o.cmd.Stderr, o.cmd.Env = log, append(os.Environ(), "KUBECONFIG="+kubeconfig)
	o.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return o, o.cmd.Start()
}

func (o *operator) stop() {
	_ = o.cmd.Process.Kill()
	_ = o.cmd.Wait()
	os.Remove(o.log.Name())
	o.log.Close()
}
