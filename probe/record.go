package probe

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

const (
	maxWindows  = 64
	maxEvents   = 2000
	maxFailures = 100 // of the events
	maxErrors   = 64  // distinct texts
	longest     = int64(10 * time.Minute / time.Microsecond)
)

// sample is what became of one request.
type sample struct {
	class    Class
	intended time.Time // when it was meant to be sent
	done     time.Time
	ok       bool
	firstOK  bool
	sight    sight
	endpoint int // of the last try
	err      error
	unsent   bool // a hole after all: nothing was tried
}

// recorder turns samples into figures. Every method may be called at any time
// from any goroutine.
type recorder struct {
	mu       sync.Mutex
	start    time.Time
	windows  []*window
	gaps     map[string]*gapTracker
	all      *gapTracker
	byClass  [classes]*gapTracker
	byMember []*gapTracker
	seconds  *series
	tens     *series
	events   []Event
	failures int
	errors   map[string]int64

	inFlight    int
	maxInFlight int
	holes       int64
	longestLag  time.Duration
	serving     []string // version of each endpoint as last seen, "" while unknown
}

// window holds the figures of one marked window.
type window struct {
	kind  Window
	label string
	start time.Time
	count [classes]Counts
	hist  [classes]*hdr.Histogram
}

func newRecorder(start time.Time, endpoints []string, keep time.Duration) *recorder {
	r := &recorder{
		start:   start,
		gaps:    map[string]*gapTracker{},
		seconds: newSeries(time.Second, keep),
		tens:    newSeries(10*time.Second, keep),
		errors:  map[string]int64{},
		serving: make([]string, len(endpoints)),
	}
	r.all = r.track("all")
	for _, c := range Classes() {
		r.byClass[c] = r.track(c.String())
	}
	for _, e := range endpoints {
		r.byMember = append(r.byMember, r.track(e))
	}
	r.mark(Baseline, "", start)
	return r
}

func (r *recorder) track(of string) *gapTracker {
	if g, ok := r.gaps[of]; ok {
		return g
	}
	g := &gapTracker{last: r.start, worst: map[Window]GapResult{}}
	r.gaps[of] = g
	return g
}

// mark begins a window. Beyond maxWindows the last one goes on.
func (r *recorder) mark(kind Window, label string, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := string(kind)
	if label != "" {
		text += ": " + label
	}
	r.event(Event{At: at, Kind: "window", Text: text})
	if len(r.windows) == maxWindows {
		return
	}
	w := &window{kind: kind, label: label, start: at}
	for c := range w.hist {
		w.hist[c] = hdr.New(1, longest, 3)
	}
	r.windows = append(r.windows, w)
}

func (r *recorder) note(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.event(e)
}

func (r *recorder) event(e Event) {
	if len(r.events) < maxEvents {
		r.events = append(r.events, e)
	}
}

// windowAt finds the window of a request by the time at which it was meant to be sent.
func (r *recorder) windowAt(t time.Time) *window {
	for i := len(r.windows) - 1; i > 0; i-- {
		if !t.Before(r.windows[i].start) {
			return r.windows[i]
		}
	}
	return r.windows[0]
}

// begin counts a request that is being sent, lag late.
func (r *recorder) begin(intended time.Time, lag time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inFlight++
	r.maxInFlight = max(r.maxInFlight, r.inFlight)
	r.longestLag = max(r.longestLag, lag)
	s := r.slice(r.seconds, intended)
	s.InFlight = max(s.InFlight, r.inFlight)
}

// hole counts a request that could not be sent.
func (r *recorder) hole(intended time.Time, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holes++
	r.slice(r.seconds, intended).Holes++
	r.slice(r.tens, intended).Holes++
	if r.holes == 1 {
		r.event(Event{At: intended, Kind: "hole", Text: why})
	}
}

// end takes the sample of a request that was begun.
func (r *recorder) end(s sample) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inFlight--
	if s.unsent {
		return
	}
	w := r.windowAt(s.intended)
	one := counts(s)
	w.count[s.class].add(one)
	latency := s.done.Sub(s.intended)
	for _, series := range []*series{r.seconds, r.tens} {
		r.slice(series, s.intended).take(one, latency, s.ok)
	}
	if s.ok {
		_ = w.hist[s.class].RecordValue(min(latency.Microseconds(), longest))
		r.success(s)
	} else {
		r.failure(s)
	}
}

func counts(s sample) Counts {
	c := Counts{Requests: 1}
	if !s.ok {
		c.Failed = 1
	}
	if !s.firstOK {
		c.FailedFirst = 1
	}
	switch s.sight {
	case stale:
		c.Stale = 1
	case wrong:
		c.Wrong = 1
	}
	return c
}

func (r *recorder) success(s sample) {
	kind := r.windowAt(s.done).kind
	r.all.success(s.done, kind)
	r.byClass[s.class].success(s.done, kind)
	r.byMember[s.endpoint].success(s.done, kind)
	if v := r.serving[s.endpoint]; v != "" {
		r.slice(r.seconds, s.done).serve(v)
	}
}

func (r *recorder) failure(s sample) {
	if r.failures++; r.failures <= maxFailures {
		r.event(Event{At: s.done, Kind: "failure", Text: fmt.Sprintf("%s, due %s before: %v", s.class, Millis(s.done.Sub(s.intended)), s.err)})
	}
}

// tryFailed counts the error of one try.
func (r *recorder) tryFailed(err error) {
	text := err.Error()
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.errors[text]; !known && len(r.errors) >= maxErrors {
		text = "other"
	}
	r.errors[text]++
}

// serve notes the version that an endpoint runs from now on; "" is unknown.
func (r *recorder) serve(endpoint int, version string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.serving[endpoint] = version
}

func (r *recorder) versionOf(endpoint int) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.serving[endpoint]
}

func (r *recorder) slice(s *series, at time.Time) *openSlice {
	return s.at(at.Sub(r.start), r.windowAt(at).kind)
}

// close ends the measuring at the given time, when nothing is in flight.
func (r *recorder) close(at time.Time) {
	kind := r.windowAt(at).kind
	for _, g := range r.gaps {
		g.success(at, kind)
	}
	r.seconds.sealAll()
	r.tens.sealAll()
}

// fill writes the figures into a result.
func (r *recorder) fill(res *Result, repeatable func(Class) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.close(res.End)
	r.fillWindows(res)
	r.fillClasses(res, repeatable)
	r.fillGaps(res)
	r.fillKeeping(res)
	res.Timeline, res.Tens = r.seconds.sealed, r.tens.sealed
	res.Events = r.events
	for text, n := range r.errors {
		res.Errors = append(res.Errors, ErrorResult{text, n})
	}
	slices.SortFunc(res.Errors, func(a, b ErrorResult) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Text, b.Text))
	})
}

func (r *recorder) fillWindows(res *Result) {
	res.Totals = map[Window]Counts{}
	for i, w := range r.windows {
		end := res.End
		if i+1 < len(r.windows) {
			end = r.windows[i+1].start
		}
		wr := WindowResult{Window: w.kind, Label: w.label, Start: w.start, End: end}
		for _, c := range w.count {
			wr.Counts.add(c)
		}
		res.Windows = append(res.Windows, wr)
		total := res.Totals[w.kind]
		total.add(wr.Counts)
		res.Totals[w.kind] = total
	}
}

func (r *recorder) fillClasses(res *Result, repeatable func(Class) bool) {
	for _, kind := range []Window{Baseline, Upgrade, Settle} {
		for _, c := range Classes() {
			cr := ClassResult{Window: kind, Class: c, Repeatable: repeatable(c)}
			h := hdr.New(1, longest, 3)
			for _, w := range r.windows {
				if w.kind == kind {
					cr.Counts.add(w.count[c])
					h.Merge(w.hist[c])
				}
			}
			cr.Latency = quantiles(h)
			res.Classes = append(res.Classes, cr)
		}
	}
}

func quantiles(h *hdr.Histogram) Latency {
	at := func(q float64) Millis { return micros(h.ValueAtQuantile(q)) }
	return Latency{P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: micros(h.Max())}
}

func micros(us int64) Millis { return Millis(time.Duration(us) * time.Microsecond) }

func (r *recorder) fillGaps(res *Result) {
	for of, g := range r.gaps {
		for kind, gap := range g.worst {
			gap.Of, gap.Window = of, kind
			res.Gaps = append(res.Gaps, gap)
		}
	}
	slices.SortFunc(res.Gaps, func(a, b GapResult) int {
		return cmp.Or(cmp.Compare(a.Window, b.Window), cmp.Compare(a.Of, b.Of))
	})
}

func (r *recorder) fillKeeping(res *Result) {
	k := KeepingResult{Holes: r.holes, LongestLag: Millis(r.longestLag), MaxInFlight: r.maxInFlight}
	low := -1
	for _, s := range r.seconds.sealed {
		switch s.Window {
		case Baseline:
			k.Peak.Baseline = max(k.Peak.Baseline, s.InFlight)
		case Upgrade:
			k.Peak.Upgrade = max(k.Peak.Upgrade, s.InFlight)
		case Settle:
			k.Peak.Settle = max(k.Peak.Settle, s.InFlight)
			if low < 0 || s.InFlight < low {
				low = s.InFlight
			}
		}
	}
	k.Peak.SettleLow = max(low, 0)
	res.Keeping = k
}

// gapTracker keeps the longest time without a success for each kind of window.
type gapTracker struct {
	last  time.Time
	worst map[Window]GapResult
}

func (g *gapTracker) success(at time.Time, kind Window) {
	if gap := at.Sub(g.last); gap > time.Duration(g.worst[kind].Length) {
		g.worst[kind] = GapResult{Length: Millis(gap), From: g.last}
	}
	if at.After(g.last) {
		g.last = at
	}
}

// series is a timeline in slices of one width. A slice stays open, with its
// histogram, until no request meant for it can still be in flight.
type series struct {
	width  time.Duration
	keep   time.Duration
	open   []*openSlice // in order of time
	spare  []*hdr.Histogram
	sealed []Slice
}

type openSlice struct {
	Slice
	hist *hdr.Histogram
}

func newSeries(width, keep time.Duration) *series { return &series{width: width, keep: keep} }

// at returns the slice of a time since the start. The kind of window is that
// of the first request in it.
func (s *series) at(since time.Duration, kind Window) *openSlice {
	index := max(int(since/s.width), s.first())
	for s.end() <= index {
		s.grow(kind)
	}
	s.seal(since - s.keep)
	return s.open[max(index-s.first(), 0)]
}

// first is the index of the oldest open slice, end one past the newest.
func (s *series) first() int { return len(s.sealed) }
func (s *series) end() int   { return len(s.sealed) + len(s.open) }

// from is when a slice begins.
func (s *series) from(index int) time.Duration { return s.width * time.Duration(index) }

func (s *series) grow(kind Window) {
	o := &openSlice{hist: hdr.New(1, longest, 2)}
	if n := len(s.spare); n > 0 {
		o.hist, s.spare = s.spare[n-1], s.spare[:n-1]
	}
	o.At, o.Width, o.Window = Millis(s.from(s.end())), Millis(s.width), kind
	s.open = append(s.open, o)
}

// seal closes the slices that ended before the given time, all but the newest.
func (s *series) seal(before time.Duration) {
	for len(s.open) > 1 && s.from(s.first()+1) <= before {
		s.sealFirst()
	}
}

func (s *series) sealAll() {
	for len(s.open) > 0 {
		s.sealFirst()
	}
}

func (s *series) sealFirst() {
	o := s.open[0]
	s.open = s.open[1:]
	o.P50, o.P99, o.Max = micros(o.hist.ValueAtQuantile(50)), micros(o.hist.ValueAtQuantile(99)), micros(o.hist.Max())
	o.hist.Reset()
	s.spare = append(s.spare, o.hist)
	s.sealed = append(s.sealed, o.Slice)
}

func (o *openSlice) take(c Counts, latency time.Duration, ok bool) {
	o.Requests += c.Requests
	o.Failed += c.Failed
	o.FailedFirst += c.FailedFirst
	o.Bad += c.Stale + c.Wrong
	if ok {
		_ = o.hist.RecordValue(min(latency.Microseconds(), longest))
	}
}

func (o *openSlice) serve(version string) {
	if !slices.Contains(o.Served, version) {
		o.Served = append(o.Served, version)
	}
}
