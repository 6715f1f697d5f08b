package probe

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// looks asks every replica in rounds whether it serves and which version it
// runs. One goroutine runs it; across is called by requests.
type looks struct {
	driver Driver
	rec    *recorder
	every  time.Duration
	cross  acrossCounts

	rounds      map[Window]int64
	leastReady  map[Window]int
	lastRound   time.Time
	longestHole time.Duration
	seen        []string // version of each endpoint in the last round
	versions    []string // in the order of first sight
	held        map[string]time.Duration
}

func newLooks(d Driver, rec *recorder, every time.Duration) *looks {
	return &looks{
		driver:     d,
		rec:        rec,
		every:      every,
		cross:      acrossCounts{counts: map[[2]string]int64{}},
		rounds:     map[Window]int64{},
		leastReady: map[Window]int{},
		seen:       make([]string, len(d.Endpoints())),
		held:       map[string]time.Duration{},
	}
}

func (l *looks) across(wrote, read string) { l.cross.add(wrote, read) }

func (l *looks) run(ctx context.Context) {
	tick := time.NewTicker(l.every)
	defer tick.Stop()
	for {
		began := time.Now()
		members := l.round(ctx)
		if ctx.Err() != nil {
			return
		}
		l.take(began, members)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// round asks all replicas at once; the zero Member did not answer in time.
func (l *looks) round(ctx context.Context) []Member {
	ctx, cancel := context.WithTimeout(ctx, l.every)
	defer cancel()
	members := make([]Member, len(l.seen))
	var wg sync.WaitGroup
	for i := range members {
		wg.Go(func() {
			if m, err := l.driver.Look(ctx, i); err == nil {
				members[i] = m
			}
			l.rec.serve(i, members[i].Version)
		})
	}
	wg.Wait()
	return members
}

func (l *looks) take(at time.Time, members []Member) {
	kind := l.rec.kindAt(at)
	ready, complete := 0, true
	versions := make([]string, len(members))
	for i, m := range members {
		versions[i] = m.Version
		complete = complete && m.Ready && m.Version != ""
		if m.Ready {
			ready++
		}
		l.sight(at, i, m.Version)
	}
	if !l.lastRound.IsZero() {
		l.longestHole = max(l.longestHole, at.Sub(l.lastRound))
		if complete && slices.Equal(versions, l.seen) {
			l.held[strings.Join(versions, "\n")] += at.Sub(l.lastRound)
		}
	}
	if least, ok := l.leastReady[kind]; !ok || ready < least {
		l.leastReady[kind] = ready
	}
	l.rounds[kind]++
	l.lastRound, l.seen = at, versions
}

// sight puts a change of version on the timeline.
func (l *looks) sight(at time.Time, endpoint int, version string) {
	if version == l.seen[endpoint] {
		return
	}
	text := version
	if version == "" {
		text = "no answer"
	} else if !slices.Contains(l.versions, version) {
		l.versions = append(l.versions, version)
	}
	l.rec.note(Event{At: at, Kind: "version", Text: fmt.Sprintf("%s: %s", l.driver.Endpoints()[endpoint], text)})
}

func (r *recorder) kindAt(t time.Time) Window {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.windowAt(t).kind
}

func (l *looks) result(timeline []Slice) ReplicaResult {
	res := ReplicaResult{
		Looks:       l.rounds,
		LeastReady:  l.leastReady,
		LongestHole: Millis(l.longestHole),
		LastSeen:    map[string]string{},
		Versions:    l.versions,
	}
	for i, e := range l.driver.Endpoints() {
		res.LastSeen[e] = l.seen[i]
	}
	for _, s := range timeline {
		if len(s.Served) > 1 {
			res.MixedSeconds++
		}
	}
	for joined, held := range l.held {
		versions := strings.Split(joined, "\n")
		if mixed(versions) {
			res.Arrangements = append(res.Arrangements, ArrangementResult{versions, Millis(held)})
		}
	}
	slices.SortFunc(res.Arrangements, func(a, b ArrangementResult) int { return slices.Compare(a.Versions, b.Versions) })
	for pair, n := range l.cross.counts {
		res.Across = append(res.Across, AcrossResult{pair[0], pair[1], n})
	}
	slices.SortFunc(res.Across, func(a, b AcrossResult) int {
		return cmp.Or(cmp.Compare(a.Wrote, b.Wrote), cmp.Compare(a.Read, b.Read))
	})
	return res
}

func mixed(versions []string) bool {
	for _, v := range versions {
		if v != versions[0] {
			return true
		}
	}
	return false
}
