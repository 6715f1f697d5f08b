package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"theseus.dev/bench/figure"
	"theseus.dev/upgradetest"
)

const worlds = 4000

// simulated counts upgrades of the simulator, with every check of the promises.
func simulated(ctx context.Context, _, _ string, _ int) ([]figure.Figure, error) {
	fmt.Fprintln(os.Stderr, "simulated upgrades")
	var seed, upgrades atomic.Int64
	var broken atomic.Pointer[upgradetest.Result]
	var all sync.WaitGroup
	begun := time.Now()
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for n := seed.Add(1); n <= worlds && ctx.Err() == nil; n = seed.Add(1) {
				r := upgradetest.Simulate(uint64(n), false)
				upgrades.Add(int64(r.Upgrades))
				if r.Err != nil {
					broken.Store(&r)
				}
			}
		})
	}
	all.Wait()
	if r := broken.Load(); r != nil {
		return nil, fmt.Errorf("seed %d: %w", r.Seed, r.Err)
	}
	rate := float64(upgrades.Load()) / time.Since(begun).Seconds()
	return []figure.Figure{{What: "simulated upgrades a second, all promises checked", Ours: fmt.Sprintf("%.0f", rate)}}, ctx.Err()
}
