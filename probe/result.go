package probe

import (
	"encoding/json"
	"math"
	"time"
)

// Window is the part of a run in which a request was meant to be sent.
type Window string

// The windows. A run begins in Baseline; Probe.Mark begins another.
const (
	Baseline Window = "baseline" // normal running, before the first step
	Upgrade  Window = "upgrade"  // from just before the first step to the last
	Settle   Window = "settle"   // after the last step
)

// Millis is a duration written to JSON as milliseconds, exact to 1 µs.
type Millis time.Duration

func (m Millis) String() string { return time.Duration(m).Round(10 * time.Microsecond).String() }

// MarshalJSON writes milliseconds.
func (m Millis) MarshalJSON() ([]byte, error) {
	return json.Marshal(float64(time.Duration(m).Microseconds()) / 1000)
}

// UnmarshalJSON reads milliseconds.
func (m *Millis) UnmarshalJSON(b []byte) error {
	var f float64
	if err := json.Unmarshal(b, &f); err != nil {
		return err
	}
	*m = Millis(math.Round(f*1000) * float64(time.Microsecond))
	return nil
}

// Result is what a run measured, before anybody judges it.
type Result struct {
	Run        string    `json:"run"` // prefix of every key of this run
	Start      time.Time `json:"start"`
	End        time.Time `json:"end"` // when sending stopped
	Endpoints  []string  `json:"endpoints"`
	Rate       float64   `json:"rate"` // requests a second that were meant to be sent
	Deadline   Millis    `json:"deadlineMs"`
	TryTimeout Millis    `json:"tryTimeoutMs"`

	Windows  []WindowResult    `json:"windows"`  // in the order in which they were marked
	Totals   map[Window]Counts `json:"totals"`   // all windows of one kind, all classes
	Classes  []ClassResult     `json:"classes"`  // one for each kind of window and class
	Gaps     []GapResult       `json:"gaps"`     // longest time without a success, over all, by class, by endpoint
	Replicas ReplicaResult     `json:"replicas"` // what the replicas said when they were looked at
	Ledger   LedgerResult      `json:"ledger"`
	Keeping  KeepingResult     `json:"keeping"` // how well the probe kept its own schedule

	Timeline []Slice       `json:"timeline"`
	Tens     []Slice       `json:"-"` // the same in slices of ten seconds, for the precedence test
	Events   []Event       `json:"events"`
	Errors   []ErrorResult `json:"errors"` // of tries, most frequent first
}

// WindowResult is one window as it was marked.
type WindowResult struct {
	Window Window    `json:"window"`
	Label  string    `json:"label,omitempty"`
	Start  time.Time `json:"start"`
	End    time.Time `json:"end"`
	Counts
}

// Counts are requests by what became of them. Requests that were never sent
// because the probe was saturated are not among them; KeepingResult has those.
type Counts struct {
	Requests int64 `json:"requests"`
	// Failed: no success within the deadline, repeated where the class is repeatable.
	Failed int64 `json:"failed"`
	// FailedFirst: the first try did not succeed. It is what a client that
	// never repeats would have seen, and from above: such a client would wait
	// for the whole deadline, the first try only for the try timeout.
	FailedFirst int64 `json:"failedFirst"`
	Stale       int64 `json:"stale"` // reads older than what was acknowledged before they began
	Wrong       int64 `json:"wrong"` // reads of something never written there
}

func (c *Counts) add(d Counts) {
	c.Requests += d.Requests
	c.Failed += d.Failed
	c.FailedFirst += d.FailedFirst
	c.Stale += d.Stale
	c.Wrong += d.Wrong
}

// ClassResult is one class of requests over all windows of one kind.
type ClassResult struct {
	Window     Window `json:"window"`
	Class      Class  `json:"class"`
	Repeatable bool   `json:"repeatable"`
	Counts
	Latency Latency `json:"latency"` // of the successful ones, from the time at which they were meant to be sent
}

// Judged is the number of failures that counts: after repeating where the
// class is repeatable, of the first try otherwise.
func (c ClassResult) Judged() int64 {
	if c.Repeatable {
		return c.Failed
	}
	return c.FailedFirst
}

// Latency are quantiles of an HdrHistogram with three significant digits.
type Latency struct {
	P50  Millis `json:"p50Ms"`
	P90  Millis `json:"p90Ms"`
	P99  Millis `json:"p99Ms"`
	P999 Millis `json:"p999Ms"`
	Max  Millis `json:"maxMs"`
}

// GapResult is the longest time without any success. A gap belongs to the
// window in which it ends.
type GapResult struct {
	Of     string    `json:"of"` // "all", a class, or an endpoint
	Window Window    `json:"window"`
	Length Millis    `json:"lengthMs"`
	From   time.Time `json:"from"`
}

// ReplicaResult sums up the looks: one question to every replica, each second.
type ReplicaResult struct {
	Looks       map[Window]int64  `json:"looks"`
	LeastReady  map[Window]int    `json:"leastReady"` // fewest replicas that were ready in one look
	LongestHole Millis            `json:"longestHoleMs"`
	LastSeen    map[string]string `json:"lastSeen"` // version of each replica in the last look, "" for no answer
	Versions    []string          `json:"versions"` // every version seen, in the order of first sight
	// MixedSeconds is how many seconds of the timeline had successful requests
	// answered by replicas of two or more versions.
	MixedSeconds int                 `json:"mixedSeconds"`
	Arrangements []ArrangementResult `json:"arrangements"` // only those of more than one version
	Across       []AcrossResult      `json:"across"`
}

// ArrangementResult is one assignment of versions to replicas.
type ArrangementResult struct {
	Versions []string `json:"versions"` // in the order of Result.Endpoints
	Held     Millis   `json:"heldMs"`   // how long all replicas answered with exactly these
}

// AcrossResult counts the read-your-write requests that wrote through a
// replica of one version and read through one of another.
type AcrossResult struct {
	Wrote string `json:"wrote"`
	Read  string `json:"read"`
	OK    int64  `json:"ok"`
}

// KeepingResult tells whether the probe itself can be trusted.
type KeepingResult struct {
	Holes       int64    `json:"holes"` // requests not sent: too many in flight, or the ledger full
	LongestLag  Millis   `json:"longestLagMs"`
	MaxInFlight int      `json:"maxInFlight"`
	Peak        InFlight `json:"peakInFlight"`
}

// InFlight is the highest number of requests in flight in each kind of window,
// and the lowest such peak of any second of the settle window.
type InFlight struct {
	Baseline  int `json:"baseline"`
	Upgrade   int `json:"upgrade"`
	Settle    int `json:"settle"`
	SettleLow int `json:"settleLow"`
}

// Slice is one stretch of the timeline, by the time at which requests were
// meant to be sent.
type Slice struct {
	At          Millis   `json:"atMs"` // since Result.Start
	Width       Millis   `json:"widthMs"`
	Window      Window   `json:"window"`
	Requests    int64    `json:"requests"`
	Failed      int64    `json:"failed"`
	FailedFirst int64    `json:"failedFirst"`
	Bad         int64    `json:"bad"` // stale and wrong reads
	Holes       int64    `json:"holes"`
	P50         Millis   `json:"p50Ms"`
	P99         Millis   `json:"p99Ms"`
	Max         Millis   `json:"maxMs"`
	InFlight    int      `json:"inFlight"` // highest
	Served      []string `json:"served,omitempty"`
}

// Event is one line of the story of the run.
type Event struct {
	At   time.Time `json:"at"`
	Kind string    `json:"kind"` // window, step, version, failure, hole
	Text string    `json:"text"`
}

// ErrorResult counts the tries that failed with one text.
type ErrorResult struct {
	Text  string `json:"text"`
	Count int64  `json:"count"`
}

// Gap returns the longest gap of something over the given windows.
func (r *Result) Gap(of string, windows ...Window) GapResult {
	var longest GapResult
	for _, g := range r.Gaps {
		if g.Of == of && within(g.Window, windows) && g.Length >= longest.Length {
			longest = g
		}
	}
	return longest
}

// Class returns the figures of one class in one kind of window.
func (r *Result) Class(w Window, c Class) ClassResult {
	for _, cr := range r.Classes {
		if cr.Window == w && cr.Class == c {
			return cr
		}
	}
	return ClassResult{Window: w, Class: c}
}

// Lasted is how long all windows of one kind lasted together.
func (r *Result) Lasted(w Window) time.Duration {
	var d time.Duration
	for _, wr := range r.Windows {
		if wr.Window == w {
			d += wr.End.Sub(wr.Start)
		}
	}
	return d
}

func within(w Window, windows []Window) bool {
	for _, x := range windows {
		if w == x {
			return true
		}
	}
	return false
}
