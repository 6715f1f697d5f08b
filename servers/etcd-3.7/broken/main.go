// Command broken is etcd 3.7 with a fault put in on purpose: it calls itself
// 3.7.4, joins its cluster, serves, answers that it is healthy, and panics
// after a few seconds. It is the bad release that the demo and the tests roll
// out to see it taken back. Except for its version and its end it is the real
// etcd, so the data folder that it leaves behind is a real one too.
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/api/v3/version"
	"go.etcd.io/etcd/server/v3/etcdmain"
)

// serves is how long the member lives after it has seen a leader.
const serves = 4 * time.Second

func main() {
	version.Version = "3.7.4"
	go dieAfter(serves)
	etcdmain.Main(os.Args)
}

// dieAfter panics d after the member has joined: the process ends with exit
// code 2 and the panic as the last thing in its log.
func dieAfter(d time.Duration) {
	for !hasLeader() {
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(d)
	panic(fmt.Sprintf("etcd %s is broken on purpose: it ends %s after it began to serve", version.Version, d))
}

// hasLeader reads the gauge that etcd itself keeps, so that it does not matter
// by which flag, file or variable the member was told its addresses.
func hasLeader() bool {
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		return false
	}
	for _, f := range families {
		if f.GetName() == "etcd_server_has_leader" {
			return f.GetMetric()[0].GetGauge().GetValue() == 1
		}
	}
	return false
}
