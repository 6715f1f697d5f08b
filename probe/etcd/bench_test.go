package etcd_test

import (
	"runtime"
	"syscall"
	"testing"
	"time"

	"theseus.dev/probe"
)

// BenchmarkProbe measures what the probe itself costs at 1,000 requests a
// second against a real etcd of three members: processor time of this process
// a second, and its heap. The limit is half a core.
func BenchmarkProbe(b *testing.B) {
	const lasts = 10 * time.Second
	c := startCluster(b, "3.6.16", 3, nil)
	for b.Loop() {
		p, err := probe.New(c.driver(0), probe.Options{Rate: 1000, Duration: lasts})
		if err != nil {
			b.Fatal(err)
		}
		before := processorTime(b)
		r, err := p.Run(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		cores := (processorTime(b) - before).Seconds() / lasts.Seconds()
		var heap runtime.MemStats
		runtime.ReadMemStats(&heap)
		b.ReportMetric(cores, "cores")
		b.ReportMetric(cores/0.5, "of-limit")
		b.ReportMetric(float64(heap.HeapSys)/(1<<20), "heap-MiB")
		b.ReportMetric(float64(r.Totals[probe.Baseline].Requests)/lasts.Seconds(), "requests/s")
		b.ReportMetric(float64(r.Class(probe.Baseline, probe.Put).Latency.P99)/float64(time.Millisecond), "put-p99-ms")
	}
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
