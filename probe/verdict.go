package probe

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Schema and SchemaVersion name the format of verdict.json. A field may be
// added within a version; none changes its meaning or goes away.
const (
	Schema        = "theseus.dev/verdict"
	SchemaVersion = 1
)

// The files that Verdict.Write makes.
const (
	VerdictFile = "verdict.json"
	ReportFile  = "report.html"
)

// Verdict is a result judged. Its JSON is verdict.json.
type Verdict struct {
	Schema  string         `json:"schema"`
	Version int            `json:"version"`
	Outcome Outcome        `json:"outcome"` // of the profile's target level and those below it
	Level   Level          `json:"level"`   // the highest reached, with all below it
	Profile Profile        `json:"profile"`
	Levels  []LevelVerdict `json:"levels"`
	Facts   Facts          `json:"facts"`
	Result  *Result        `json:"result"`
}

// Of returns the verdict on one level.
func (v Verdict) Of(level Level) LevelVerdict {
	for _, l := range v.Levels {
		if l.Level == level {
			return l
		}
	}
	return LevelVerdict{Level: level, Outcome: NotShown}
}

// Failures lists the checks that failed, or were not shown, in the levels that
// the outcome is about.
func (v Verdict) Failures(o Outcome) []Check {
	var found []Check
	for _, level := range chain[:slices.Index(chain, v.Profile.Target)+1] {
		for _, c := range v.Of(level).Checks {
			if c.Outcome == o {
				found = append(found, c)
			}
		}
	}
	return found
}

// Summary is one line for a terminal. failed is the judged figure over all
// windows but the baseline, failed-first-try what clients that never repeat
// would have seen, worst gap the longest time without a success of any class.
func (v Verdict) Summary(dir string) string {
	var requests, failed, first int64
	var gap Millis
	for _, w := range after {
		for _, c := range Classes() {
			cr := v.Result.Class(w, c)
			failed += cr.Judged()
			gap = max(gap, v.Result.Gap(c.String(), w).Length)
		}
		requests += v.Result.Totals[w].Requests
		first += v.Result.Totals[w].FailedFirst
	}
	return fmt.Sprintf("verdict: %s level=%s profile=%s requests=%d failed=%d failed-first-try=%d lost=%d worst gap=%s %s",
		v.Outcome, v.Level, v.Profile.Name, requests, failed, first, v.Result.Ledger.Lost, gap, dir)
}

// Write leaves verdict.json and report.html in dir, which it makes. Each file
// is there whole or not at all; verdict.json comes last, so that whoever finds
// it finds both.
func (v Verdict) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the folder of the verdict: %w", err)
	}
	page, err := v.report()
	if err != nil {
		return fmt.Errorf("draw the report: %w", err)
	}
	if err := writeFile(filepath.Join(dir, ReportFile), page); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	text, err := json.MarshalIndent(v.forFile(), "", "  ")
	if err != nil {
		return fmt.Errorf("encode the verdict: %w", err)
	}
	if err := writeFile(filepath.Join(dir, VerdictFile), append(text, '\n')); err != nil {
		return fmt.Errorf("write the verdict: %w", err)
	}
	return nil
}

// maxPoints bounds the timeline in files; a longer one is drawn coarser.
const maxPoints = 1200

func (v Verdict) forFile() Verdict {
	r := *v.Result
	r.Timeline = coarsen(r.Timeline, maxPoints)
	v.Result = &r
	return v
}

// ReadVerdict reads the verdict.json in dir. A version newer than ours is an error.
func ReadVerdict(dir string) (Verdict, error) {
	text, err := os.ReadFile(filepath.Join(dir, VerdictFile))
	if err != nil {
		return Verdict{}, fmt.Errorf("read the verdict: %w", err)
	}
	var v Verdict
	if err := json.Unmarshal(text, &v); err != nil {
		return Verdict{}, fmt.Errorf("read the verdict: %w", err)
	}
	if v.Schema != Schema || v.Version > SchemaVersion || v.Result == nil {
		return Verdict{}, fmt.Errorf("read the verdict: %s version %d: want %s up to version %d", v.Schema, v.Version, Schema, SchemaVersion)
	}
	return v, nil
}

// coarsen joins adjacent slices until at most limit slices are left. Of joined
// latencies the larger is kept: a picture must not hide a peak.
func coarsen(s []Slice, limit int) []Slice {
	for len(s) > limit {
		half := make([]Slice, 0, (len(s)+1)/2)
		for pair := range slices.Chunk(s, 2) {
			half = append(half, join(pair))
		}
		s = half
	}
	return s
}

func join(pair []Slice) Slice {
	j := pair[0]
	for _, s := range pair[1:] {
		j.Width += s.Width
		j.Requests += s.Requests
		j.Failed += s.Failed
		j.FailedFirst += s.FailedFirst
		j.Bad += s.Bad
		j.Holes += s.Holes
		j.P50, j.P99, j.Max = max(j.P50, s.P50), max(j.P99, s.P99), max(j.Max, s.Max)
		j.InFlight = max(j.InFlight, s.InFlight)
		if len(s.Served) > len(j.Served) {
			j.Served = s.Served
		}
	}
	return j
}

// writeFile replaces a file at once: written aside, synced, renamed, and the
// folder synced so that the name lasts too.
func writeFile(path string, text []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(os.Remove(f.Name())))
		}
	}()
	_, werr := f.Write(text)
	if err := errors.Join(werr, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
