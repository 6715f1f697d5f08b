//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/bench/figure"
)

// played is a Cluster whose pods are on the node that nothing runs.
const played = `
apiVersion: theseus.dev/v1alpha1
kind: Cluster
metadata: {name: NAME}
spec:
  system: standin
  version: 1.0.0
  components:
    standin:
      replicas: 3
      image: "lab.test/standin:${version}"
      pod: {spec: {automountServiceAccountToken: false, nodeSelector: {kubernetes.io/hostname: fake}}}
  upgrade: {soak: 1s, progressDeadline: 10m}
`

// perNamespace is how many Clusters share a namespace.
const perNamespace = 10

// many measures one operator that has many Clusters: what it takes while nothing happens, and how it does when many are upgraded at once.
func many(ctx context.Context, k *kube, o options) ([]figure.Figure, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if err := k.startKubelet(ctx); err != nil {
		return nil, err
	}
	p, err := k.newProxy()
	if err != nil {
		return nil, err
	}
	defer p.Close()
	defer p.CloseClientConnections()
	dir, err := os.MkdirTemp("", "theseus-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path, err := p.kubeconfig(dir)
	if err != nil {
		return nil, err
	}
	op, err := k.startOperator(path, "--leader-elect", "--own-namespace", "default")
	if err != nil {
		return nil, err
	}
	defer op.stop()
	f := &fleet{kube: k, proxy: p, op: op, size: o.clusters}
	figures, err := f.measure(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("%w; the operator ended with:\n%s", err, tail(op.log.Name()))
	}
	return figures, nil
}

type fleet struct {
	*kube
	proxy *proxy
	op    *operator
	size  int
}

func (f *fleet) measure(ctx context.Context, o options) ([]figure.Figure, error) {
	fmt.Fprintf(os.Stderr, "%d Clusters are made\n", f.size)
	begun := time.Now()
	if err := f.make(ctx); err != nil {
		return nil, err
	}
	if err := f.settled(ctx, 0, oldVersion); err != nil {
		return nil, err
	}
	made := time.Since(begun)
	fmt.Fprintf(os.Stderr, "they were made in %.0f s; they are left alone for %s\n", made.Seconds(), o.idle)
	figures, err := f.idle(ctx, o.idle)
	if err != nil || o.upgrades == 0 {
		return figures, err
	}
	n := min(o.upgrades, f.size)
	fmt.Fprintf(os.Stderr, "%d of them are upgraded at once\n", n)
	more, err := f.upgrades(ctx, n)
	return append(figures, more...), err
}

func place(i int) (namespace, name string) {
	return fmt.Sprintf("many-%d", i/perNamespace), fmt.Sprintf("c%d", i%perNamespace)
}

func (f *fleet) make(ctx context.Context) error {
	for i := 0; i < f.size; i += perNamespace {
		namespace, _ := place(i)
		if err := f.makeNamespace(ctx, namespace); err != nil {
			return err
		}
	}
	return f.each(f.size, func(i int) error {
		namespace, name := place(i)
		return f.makeCluster(ctx, namespace, strings.ReplaceAll(played, "NAME", name))
	})
}

// each does something for the first n Clusters, some at a time, and returns the first error.
func (f *fleet) each(n int, do func(i int) error) error {
	var group sync.WaitGroup
	var once sync.Once
	var first error
	next := make(chan int)
	for range 8 {
		group.Go(func() {
			for i := range next {
				if err := do(i); err != nil {
					once.Do(func() { first = err })
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	group.Wait()
	return first
}

// settled waits until all Clusters are settled, of which the first few are at the new version.
func (f *fleet) settled(ctx context.Context, upgraded int, rest string) error {
	versions := map[string]string{}
	for i := range f.size {
		namespace, name := place(i)
		versions[namespace+"/"+name] = rest
		if i < upgraded {
			versions[namespace+"/"+name] = newVersion
		}
	}
	return awaitEvery(ctx, time.Second, "all Clusters are settled", func() error {
		list, err := f.any.Resource(clusters).List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			return err
		}
		waiting, why := len(versions), error(nil)
		for i := range list.Items {
			c, err := clusterOf(&list.Items[i])
			if err != nil {
				return err
			}
			want, mine := versions[c.Namespace+"/"+c.Name]
			if !mine {
				continue
			}
			if err := runs(c, want); err != nil {
				why = err
				continue
			}
			waiting--
		}
		if waiting > 0 {
			return fmt.Errorf("%d of %d are not, of which one: %w", waiting, len(versions), why)
		}
		return nil
	})
}

// idle measures while nobody asks for anything.
func (f *fleet) idle(ctx context.Context, d time.Duration) ([]figure.Figure, error) {
	err := await(ctx, "the operator has written nothing for 5 s", func() error {
		if q := f.proxy.quiet(); q < 5*time.Second {
			return fmt.Errorf("it wrote %s ago", q)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	before, calls := f.op.used(), f.proxy.calls()
	select {
	case <-time.After(d):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	after, made := f.op.used(), f.proxy.calls().since(calls)
	if after.cpu == 0 {
		return nil, fmt.Errorf("the operator is gone")
	}
	fmt.Fprintf(os.Stderr, "while idle: %s\n", made.most(8))
	return []figure.Figure{
		{What: fmt.Sprintf("memory of the operator at rest, %d Clusters of 3", f.size), Ours: fmt.Sprintf("%.0f MiB", after.memory), Limit: "250 MiB"},
		{What: "  at its peak, while they were made", Ours: fmt.Sprintf("%.0f MiB", after.peak)},
		{What: fmt.Sprintf("writes in %s at rest, but for the lease", d), Ours: strconv.Itoa(made.writes()), Limit: "0"},
		{What: "  of the lease; reads", Ours: fmt.Sprintf("%d; %d", made.leases(), made.reads())},
		{What: "CPU at rest", Ours: fmt.Sprintf("%.2f %% of a core", 100*(after.cpu-before.cpu).Seconds()/d.Seconds()), Limit: "1 %"},
	}, nil
}

// upgrades measures the first n Clusters, upgraded at once.
func (f *fleet) upgrades(ctx context.Context, n int) ([]figure.Figure, error) {
	before, calls, begun := f.op.used(), f.proxy.calls(), time.Now()
	err := f.each(n, func(i int) error {
		namespace, name := place(i)
		return f.upgrade(ctx, namespace, name)
	})
	if err != nil {
		return nil, err
	}
	if err := f.settled(ctx, n, oldVersion); err != nil {
		return nil, err
	}
	took, after, made := time.Since(begun), f.op.used(), f.proxy.calls().since(calls)
	fmt.Fprintf(os.Stderr, "while upgrading: %s\n", made.most(12))
	members := float64(3 * n)
	return []figure.Figure{
		{What: fmt.Sprintf("%d upgrades at once, soak 1s", n), Ours: fmt.Sprintf("%.0f s, %.0f members a minute", took.Seconds(), members/took.Minutes())},
		{What: "  API calls per member replaced", Ours: fmt.Sprintf("%.1f writes, %.1f reads", float64(made.writes())/members, float64(made.reads())/members)},
		{What: "  CPU per member replaced; memory at the peak", Ours: fmt.Sprintf("%.0f ms; %.0f MiB", float64((after.cpu-before.cpu).Milliseconds())/members, after.peak)},
	}, nil
}

// usage of a process. memory and peak are resident, in MiB.
type usage struct {
	cpu          time.Duration
	memory, peak float64
}

// used is zero for a process that has ended.
func (o *operator) used() (u usage) {
	dir := fmt.Sprintf("/proc/%d/", o.cmd.Process.Pid)
	stat, err := os.ReadFile(dir + "stat")
	if err != nil {
		return u
	}
	_, fields, _ := strings.Cut(string(stat), ") ") // after the name, from the third field
	for _, at := range []int{14, 15} {              // utime and stime, in hundredths of a second
		ticks, err := strconv.Atoi(strings.Fields(fields)[at-3])
		if err != nil {
			return u
		}
		u.cpu += time.Duration(ticks) * time.Second / 100
	}
	status, err := os.ReadFile(dir + "status")
	if err != nil {
		return u
	}
	for line := range strings.Lines(string(status)) {
		var kib float64
		if n, _ := fmt.Sscanf(line, "VmRSS: %f kB", &kib); n == 1 {
			u.memory = kib / 1024
		}
		if n, _ := fmt.Sscanf(line, "VmHWM: %f kB", &kib); n == 1 {
			u.peak = kib / 1024
		}
	}
	return u
}

// tail is the end of a log.
func tail(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}
