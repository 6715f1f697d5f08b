package probe

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// good is a result of which the quick profile has nothing to say.
func good() *Result {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	r := &Result{
		Start: start, End: at(60), Endpoints: []string{"a", "b"}, Rate: 1000,
		Windows: []WindowResult{
			{Window: Baseline, Start: start, End: at(20)},
			{Window: Upgrade, Label: "1 → 2", Start: at(20), End: at(40)},
			{Window: Settle, Start: at(40), End: at(60)},
		},
		Totals: map[Window]Counts{},
		Replicas: ReplicaResult{
			Looks:        map[Window]int64{Baseline: 20, Upgrade: 20, Settle: 20},
			LeastReady:   map[Window]int{Baseline: 2, Upgrade: 1, Settle: 2},
			LastSeen:     map[string]string{"a": "2", "b": "2"},
			Versions:     []string{"1", "2"},
			MixedSeconds: 9,
			Arrangements: []ArrangementResult{{[]string{"2", "1"}, seconds(8)}},
			Across:       []AcrossResult{{"1", "2", 50}, {"2", "1", 40}},
		},
		Ledger:   LedgerResult{Keys: 100, Acked: 30000, Counted: true, Keepsakes: 64},
		Keeping:  KeepingResult{Peak: InFlight{Baseline: 10, Upgrade: 200, Settle: 12, SettleLow: 3}},
		Events:   []Event{{at(21), "step", "replace a <&>"}},
		Timeline: []Slice{{Width: seconds(1), Window: Baseline, Requests: 1000, P50: seconds(0.001), P99: seconds(0.002), Max: seconds(0.004), Served: []string{"1", "2"}}, {At: seconds(1), Width: seconds(1), Requests: 10, Failed: 2, FailedFirst: 4, Holes: 1}},
	}
	for _, w := range []Window{Baseline, Upgrade, Settle} {
		for _, c := range Classes() {
			r.Classes = append(r.Classes, ClassResult{Window: w, Class: c, Repeatable: true, Counts: Counts{Requests: 6000}})
			r.Gaps = append(r.Gaps, GapResult{Of: c.String(), Window: w, Length: seconds(0.3), From: at(25)})
		}
		r.Totals[w] = Counts{Requests: 18000}
	}
	return r
}

func goodFacts() Facts {
	ok := Fact{Pass, "checked"}
	return Facts{ConfigUnedited: ok, SameData: ok, SameResources: ok, NoManualStep: ok, TargetVersion: "2"}
}

func class(r *Result, w Window, c Class) *ClassResult {
	return &r.Classes[slices.IndexFunc(r.Classes, func(x ClassResult) bool { return x.Window == w && x.Class == c })]
}

func TestJudge(t *testing.T) {
	tests := []struct {
		name    string
		spoil   func(*Result, *Facts)
		outcome Outcome
		level   Level
		check   string // the only one that is not a pass among those judged
	}{
		{"good", func(*Result, *Facts) {}, Pass, L3, ""},
		{"configuration not checked", func(_ *Result, f *Facts) { f.ConfigUnedited = Fact{} }, NotShown, None, "configuration unedited"},
		{"configuration edited", func(_ *Result, f *Facts) { f.ConfigUnedited = Fact{Fail, "a line more"} }, Fail, None, "configuration unedited"},
		{"keepsake gone", func(r *Result, _ *Facts) { r.Ledger.KeepsakesGone = 1 }, Fail, None, "keepsakes"},
		{"a replica on the old version", func(r *Result, _ *Facts) { r.Replicas.LastSeen["b"] = "1" }, Fail, None, "every replica on the target version"},
		{"a replica does not answer", func(r *Result, _ *Facts) { r.Replicas.LastSeen["b"] = "" }, Fail, None, "every replica on the target version"},
		{"all down", func(r *Result, _ *Facts) { r.Replicas.LeastReady[Upgrade] = 0 }, Fail, L1, "a replica always ready"},
		{"all down, declared", func(r *Result, f *Facts) { r.Replicas.LeastReady[Upgrade] = 0; f.DeclaredDowntime = "one member" }, Pass, L3, ""},
		{"crossed one way only", func(r *Result, _ *Facts) { r.Replicas.Across = r.Replicas.Across[:1] }, NotShown, L1, "written through one version, read through the other"},
		{"looks with a hole", func(r *Result, _ *Facts) { r.Replicas.LongestHole = seconds(6) }, NotShown, L1, "looks without a hole"},
		{"baseline too short", func(r *Result, _ *Facts) { r.Windows[0].End = r.Windows[0].Start.Add(time.Second) }, NotShown, L2b, "windows long enough"},
		{"saturated", func(r *Result, _ *Facts) { r.Keeping.Holes = 1 }, NotShown, L2b, "the probe kept its schedule"},
		{"probe starved", func(r *Result, _ *Facts) { r.Keeping.LongestLag = seconds(0.6) }, NotShown, L2b, "the probe kept its schedule"},
		{"too few requests", func(r *Result, _ *Facts) {
			class(r, Upgrade, Get).Requests, class(r, Settle, Get).Requests = 400, 599
		}, NotShown, L2b, "enough requests: get"},
		{"one failed", func(r *Result, _ *Facts) { class(r, Settle, Put).Failed = 1 }, Fail, L2b, "failed: put"},
		{"first tries failed, repeatable", func(r *Result, _ *Facts) { class(r, Upgrade, Put).FailedFirst = 70 }, Pass, L3, ""},
		{"first tries failed, not repeatable", func(r *Result, _ *Facts) {
			for _, w := range []Window{Baseline, Upgrade, Settle} {
				class(r, w, Put).Repeatable = false
			}
			class(r, Upgrade, Put).FailedFirst = 1
		}, Fail, L2b, "failed: put"},
		{"baseline fails as often", func(r *Result, _ *Facts) {
			class(r, Baseline, Put).Failed, class(r, Upgrade, Put).Failed = 60, 100
		}, Pass, L3, ""},
		{"baseline fails much less often", func(r *Result, _ *Facts) {
			class(r, Baseline, Put).Failed, class(r, Upgrade, Put).Failed = 60, 200
		}, Fail, L2b, "failed: put"},
		{"long gap", func(r *Result, _ *Facts) { r.Gaps[slices.IndexFunc(r.Gaps, gapOf(Put, Upgrade))].Length = seconds(1.2) }, Fail, L2b, "longest gap: put"},
		{"long gap in the baseline", func(r *Result, _ *Facts) { r.Gaps[slices.IndexFunc(r.Gaps, gapOf(Put, Baseline))].Length = seconds(9) }, Pass, L3, ""},
		{"lost", func(r *Result, _ *Facts) { r.Ledger.Lost = 1 }, Fail, L2b, "acknowledged writes lost"},
		{"duplicated", func(r *Result, _ *Facts) { r.Ledger.Duplicated = 1 }, Fail, L2b, "writes applied twice"},
		{"duplicates invisible", func(r *Result, _ *Facts) { r.Ledger.Counted = false }, NotShown, L2b, "writes applied twice"},
		{"stale", func(r *Result, _ *Facts) { r.Totals[Upgrade] = Counts{Requests: 18000, Stale: 1} }, Fail, L2b, "reads stale or wrong"},
		{"wrong in the ledger", func(r *Result, _ *Facts) { r.Ledger.Wrong = 1 }, Fail, L2b, "reads stale or wrong"},
		{"never side by side", func(r *Result, _ *Facts) { r.Replicas.MixedSeconds = 0 }, Fail, L2b, "versions served side by side"},
		{"still queueing", func(r *Result, _ *Facts) { r.Keeping.Peak.SettleLow = 11 }, Fail, L2b, "queues drained"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, f := good(), goodFacts()
			tt.spoil(r, &f)
			v := Judge(r, Quick(), f)
			if v.Outcome != tt.outcome || v.Level != tt.level {
				t.Errorf("got %s %s, want %s %s", v.Outcome, v.Level, tt.outcome, tt.level)
			}
			var odd []string
			for _, c := range append(v.Failures(Fail), v.Failures(NotShown)...) {
				odd = append(odd, c.Name)
			}
			if got := strings.Join(odd, "; "); got != tt.check {
				t.Errorf("checks that do not pass: %q, want %q", got, tt.check)
			}
		})
	}
}

func gapOf(c Class, w Window) func(GapResult) bool {
	return func(g GapResult) bool { return g.Of == c.String() && g.Window == w }
}

func TestUnreadLedgerIsNotShown(t *testing.T) {
	r := good()
	r.Ledger.Unread = 3
	if v := Judge(r, Quick(), goodFacts()); v.Outcome != NotShown {
		t.Errorf("outcome %s, want not shown: nobody knows what the unread keys hold", v.Outcome)
	}
}

func TestQuickNeverShowsL4(t *testing.T) {
	f := goodFacts()
	f.SameLoad = Fact{Pass, "measured"}
	l := Judge(good(), Quick(), f).Of(L4)
	if l.Outcome != NotShown || l.Checks[0].Why == "" {
		t.Errorf("L4 in quick: %s (%q), want not shown with a reason", l.Outcome, l.Checks[0].Why)
	}
}

func TestEmptyResultShowsNothing(t *testing.T) {
	v := Judge(&Result{}, Quick(), Facts{})
	if v.Outcome != NotShown || v.Level != None {
		t.Errorf("%s %s, want not shown, none", v.Outcome, v.Level)
	}
}

func TestFullComparesLatency(t *testing.T) {
	tests := []struct {
		name string
		p99  func(i int) Millis // of the upgrade windows; the baseline has 10 to 15.9 ms
		want Outcome
	}{
		{"the same", func(i int) Millis { return seconds(0.010 + 0.0001*float64(i%60)) }, Pass},
		{"half as slow again", func(i int) Millis { return seconds(0.025) }, Fail},
		{"a few outliers", func(i int) Millis { return seconds(0.010 + 0.015*float64(max(0, i-27))) }, Fail},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, f := good(), goodFacts()
			f.SameLoad = Fact{Pass, "measured"}
			for i := range 60 {
				r.Tens = append(r.Tens, Slice{Window: Baseline, P99: seconds(0.010 + 0.0001*float64(i))})
			}
			for i := range 30 {
				r.Tens = append(r.Tens, Slice{Window: Upgrade, P99: tt.p99(i)})
			}
			if l := Judge(r, Full(), f).Of(L4); l.Outcome != tt.want {
				t.Errorf("L4 %s, want %s: %+v", l.Outcome, tt.want, l.Checks)
			}
		})
	}
}

// TestPrecedence compares with the figures that the limits were derived from.
func TestPrecedence(t *testing.T) {
	for _, tt := range []struct {
		n, k, x int
		want    float64
	}{{60, 30, 4, 0.0107}, {60, 30, 5, 0.0032}, {60, 30, 0, 1}} {
		baseline, later := make([]Millis, tt.n), make([]Millis, tt.k)
		for i := range tt.x {
			later[i] = 1
		}
		x, p := precedence(baseline, later)
		if x != tt.x || math.Abs(p-tt.want) > 0.00005 {
			t.Errorf("n=%d k=%d x=%d: got %d, %.5f, want %.4f", tt.n, tt.k, tt.x, x, p, tt.want)
		}
	}
}

func TestBinomialQuantile(t *testing.T) {
	for _, tt := range []struct {
		n    int64
		p    float64
		want int64
	}{
		{10, 0.5, 9},             // P(X ≤ 8) = 0.9893, P(X ≤ 9) = 0.9990
		{1_000_000, 0.001, 1074}, // normal: 1000 + 2.326·31.6 = 1073.5
		{5, 1, 5},
	} {
		if got := binomialQuantile(tt.n, tt.p, 0.99); got != tt.want {
			t.Errorf("n=%d p=%g: %d, want %d", tt.n, tt.p, got, tt.want)
		}
	}
}

func TestWriteAndRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "verdict")
	v := Judge(good(), Quick(), goodFacts())
	for range 2 { // the second time over the first
		if err := v.Write(dir); err != nil {
			t.Fatal(err)
		}
	}
	back, err := ReadVerdict(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := back.Summary(dir), v.Summary(dir); got != want {
		t.Errorf("read back: %s\nwritten: %s", got, want)
	}
	again, _ := json.Marshal(Judge(back.Result, back.Profile, back.Facts))
	first, _ := json.Marshal(v)
	if string(again) != string(first) {
		t.Errorf("judging what was read back differs:\n%s\n%s", again, first)
	}
	files, _ := os.ReadDir(dir)
	if len(files) != 2 {
		t.Errorf("%d files, want verdict.json and report.html alone: %v", len(files), files)
	}
}

func TestSummary(t *testing.T) {
	r := good()
	r.Totals[Upgrade] = Counts{Requests: 18000, FailedFirst: 12}
	want := "verdict: pass level=L3 profile=quick requests=36000 failed=0 failed-first-try=12 lost=0 worst gap=300ms DIR"
	if got := Judge(r, Quick(), goodFacts()).Summary("DIR"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestReadVerdictRefusesNewer(t *testing.T) {
	dir := t.TempDir()
	text := `{"schema": "theseus.dev/verdict", "version": 2, "result": {}}`
	if err := os.WriteFile(filepath.Join(dir, VerdictFile), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadVerdict(dir); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("%v, want an error that names version 2", err)
	}
}

// TestReport reads the picture as XML, and looks for what a page of its own must not have.
func TestReport(t *testing.T) {
	page, err := Judge(good(), Quick(), goodFacts()).report()
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	for _, want := range []string{"replace a &lt;&amp;&gt;", "1 → 2", "failed first try", "acknowledged writes lost", "1 not sent"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, not := range []string{"<script", "http:", "https:", "src=", "@import", "ZgotmplZ", "NaN", "Inf"} {
		if strings.Contains(text, not) {
			t.Errorf("the page has %q", not)
		}
	}
	_, svg, _ := strings.Cut(text, "<svg")
	svg, _, _ = strings.Cut(svg, "</svg>")
	d := xml.NewDecoder(strings.NewReader("<svg" + svg + "</svg>"))
	shapes := map[string]int{}
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the picture is not XML: %v", err)
		}
		if e, ok := tok.(xml.StartElement); ok {
			shapes[e.Name.Local]++
		}
	}
	if shapes["polyline"] != 3 || shapes["rect"] < 3+2+1+2 {
		t.Errorf("shapes %v, want 3 lines, and bars for 3 windows, 2 failures, 1 hole, 2 versions", shapes)
	}
}

func TestCoarsenKeepsSumsAndPeaks(t *testing.T) {
	var s []Slice
	for i := range 5000 {
		s = append(s, Slice{At: seconds(float64(i)), Width: seconds(1), Requests: 10})
	}
	s[4321].Max, s[4321].Failed = seconds(2), 7
	c := coarsen(s, 1200)
	var sum Slice
	for _, x := range c {
		sum = join([]Slice{sum, x})
	}
	if len(c) > 1200 || sum.Requests != 50_000 || sum.Failed != 7 || sum.Max != seconds(2) || sum.Width != seconds(5000) {
		t.Errorf("%d slices with %+v, want at most 1200, 50000 requests, 7 failed, 2 s, 5000 s", len(c), sum)
	}
}
