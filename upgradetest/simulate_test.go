package upgradetest

import (
	"flag"
	"fmt"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	seedFlag  = flag.Int64("seed", -1, "simulate only the world of this seed, and tell its story")
	worlds    = flag.Int("worlds", 7000, "simulate so many worlds")
	firstSeed = flag.Uint64("first", 0, "the first seed")
	lines     = flag.Int("lines", 150, "show so many lines of the story of a world that broke a promise")
)

// TestSimulate lets many worlds run and checks the promises in each step of each.
func TestSimulate(t *testing.T) {
	if *seedFlag >= 0 {
		w := newWorld(uint64(*seedFlag), false)
		t.Log(w.describe())
		tellStory(t, Simulate(uint64(*seedFlag), true), 1<<30)
		return
	}
	sum := simulateAll(*firstSeed, *worlds)
	t.Log(sum)
	for _, r := range sum.broken[:min(3, len(sum.broken))] {
		tellStory(t, Simulate(r.Seed, true), *lines)
	}
	if len(sum.broken) > 0 {
		return
	}
	for _, missing := range sum.missing() {
		if *worlds < enough {
			t.Logf("never happened, which is demanded only of %d worlds and more: %s", enough, missing)
			continue
		}
		t.Errorf("never happened in %d worlds: %s", *worlds, missing)
	}
}

// enough worlds that everything rare happens in some of them.
const enough = 3000

func tellStory(t *testing.T, r Result, most int) {
	t.Helper()
	from := max(0, len(r.Story)-most)
	t.Log("\n" + strings.Join(r.Story[from:], "\n"))
	if r.Err != nil {
		t.Errorf("seed %d: %v\nreplay with: go test ./upgradetest -run TestSimulate -seed %d -v", r.Seed, r.Err, r.Seed)
	}
}

// sum is what many worlds came to.
type sum struct {
	worlds, upgrades, passes int
	took                     time.Duration
	faults                   [faultCount]int
	outcomes                 map[string]int
	broken                   []Result
}

func simulateAll(first uint64, n int) *sum {
	defer debug.SetGCPercent(debug.SetGCPercent(1000)) // little lives long
	began := time.Now()
	s := &sum{worlds: n, outcomes: map[string]int{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	var next atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				r := Simulate(first+uint64(i), false)
				mu.Lock()
				s.add(r)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	s.took = time.Since(began)
	slices.SortFunc(s.broken, func(a, b Result) int { return a.Passes - b.Passes })
	return s
}

func (s *sum) add(r Result) {
	s.upgrades += r.Upgrades
	s.passes += r.Passes
	for f, n := range r.Faults {
		s.faults[f] += int(n)
	}
	for k, n := range r.Outcomes {
		s.outcomes[k] += int(n)
	}
	if r.Err != nil {
		s.broken = append(s.broken, r)
	}
}

func (s *sum) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%d upgrades in %d worlds, %d passes, %s: %.0f upgrades/s\n", s.upgrades, s.worlds, s.passes, s.took.Round(time.Millisecond), float64(s.upgrades)/s.took.Seconds())
	var row []string
	flush := func() {
		if len(row) > 0 {
			b.WriteString("  " + strings.Join(row, "") + "\n")
		}
		row = nil
	}
	cell := func(name string, n int) {
		if row = append(row, fmt.Sprintf("%-30s%8d   ", name, n)); len(row) == 3 {
			flush()
		}
	}
	for _, k := range slices.Sorted(maps.Keys(s.outcomes)) {
		cell(k, s.outcomes[k])
	}
	flush()
	for f, n := range s.faults {
		cell(Fault(f).String(), n)
	}
	flush()
	kinds := map[string]int{}
	for _, r := range s.broken {
		kinds[strings.Map(noDigits, strings.SplitN(r.Err.Error(), "\n", 2)[0])]++
	}
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		fmt.Fprintf(&b, "BROKEN %6d  %s\n", kinds[k], k)
	}
	return b.String()
}

func noDigits(r rune) rune {
	if r >= '0' && r <= '9' {
		return -1
	}
	return r
}

// missing are the faults and outcomes that never happened: then the promises were not tried with them.
func (s *sum) missing() []string {
	var out []string
	for f, n := range s.faults {
		if n == 0 {
			out = append(out, "fault "+Fault(f).String())
		}
	}
	for _, k := range mustHappen {
		if s.outcomes[k] == 0 {
			out = append(out, k)
		}
	}
	return out
}

var mustHappen = []string{
	"attempt Running", "attempt Paused", "attempt Stopped", "attempt RollingBack", "attempt Succeeded", "attempt RolledBack", "attempt Aborted", "attempt Superseded",
	"failure Member", "failure Check", "failure Environment", "failure Unknown",
	"kind Create", "first start corrected", "kind Start", "kind Upgrade", "kind Restart",
	"hand Before", "hand Drain", "hand Handover", "hand Replace", "hand Start", "hand Ready", "hand Settle", "hand Soak", "hand After",
	"step Need Done", "step Backup Done", "step Before Done", "step Recreate Done", "step Roll Done", "step Soak Done", "step Verify Done", "step Finalize Done", "step After Done",
	"step Move Done", "step Move Undone", "step Remove Done",
	"step Roll Undone", "step Recreate Undone", "step Finalize Undone", "step Backup Undone",
}
