package probe

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Check is one thing a level asks for.
type Check struct {
	Name     string  `json:"name"`
	Limit    string  `json:"limit"`
	Measured string  `json:"measured"`
	Outcome  Outcome `json:"outcome"`
	Why      string  `json:"why,omitempty"`
}

// LevelVerdict is one level with everything it asks for. It fails if a check
// fails, is not shown if a check is not shown, and passes if all pass. It says
// nothing about the levels below it.
type LevelVerdict struct {
	Level   Level   `json:"level"`
	Outcome Outcome `json:"outcome"`
	Checks  []Check `json:"checks"`
}

// Judge compares what was measured and what the caller knows with a profile.
// It is a function of its arguments.
func Judge(r *Result, p Profile, f Facts) Verdict {
	j := judge{r: r, p: p, f: f}
	levels := []LevelVerdict{
		sum(L1, j.upgrade()),
		sum(L2a, j.accessible()),
		sum(L2b, j.rolling()),
		sum(L3, j.zeroDowntime()),
		sum(L4, j.zeroImpact()),
	}
	v := Verdict{Schema: Schema, Version: SchemaVersion, Profile: p, Facts: f, Levels: levels, Result: r}
	v.Level, v.Outcome = climb(levels, p.Target)
	return v
}

// climb finds the highest level that passed with all below it, and the outcome
// of the target with all below it. It may climb beyond the target.
func climb(levels []LevelVerdict, target Level) (reached Level, outcome Outcome) {
	reached, outcome = None, Pass
	climbing, counts := true, true
	for _, level := range chain {
		o := Verdict{Levels: levels}.Of(level).Outcome
		if climbing = climbing && o == Pass; climbing {
			reached = level
		}
		if counts {
			outcome = worse(outcome, o)
		}
		counts = counts && level != target
	}
	return reached, outcome
}

// worse joins two outcomes: a failure counts more than what was not shown.
func worse(a, b Outcome) Outcome {
	switch {
	case a == Fail || b == Fail:
		return Fail
	case a == Pass && b == Pass:
		return Pass
	}
	return NotShown
}

func sum(level Level, checks []Check) LevelVerdict {
	v := LevelVerdict{Level: level, Outcome: Pass, Checks: checks}
	for _, c := range checks {
		v.Outcome = worse(v.Outcome, c.Outcome)
	}
	return v
}

type judge struct {
	r *Result
	p Profile
	f Facts
}

// after are the windows that are compared with the baseline.
var after = []Window{Upgrade, Settle}

func (j judge) upgrade() []Check {
	return []Check{
		fact("configuration unedited", "the old one, byte for byte", j.f.ConfigUnedited),
		fact("same data", "fingerprint before = after", j.f.SameData),
		j.keepsakes(),
		fact("same resources", "before = after", j.f.SameResources),
		fact("no undeclared manual step", "0", j.f.NoManualStep),
		j.target(),
	}
}

func fact(name, limit string, f Fact) Check {
	c := Check{Name: name, Limit: limit, Measured: f.Why, Outcome: f.Outcome}
	if f.Outcome != Pass && f.Outcome != Fail {
		c.Outcome, c.Measured, c.Why = NotShown, "", "nobody told the probe"
		if f.Why != "" {
			c.Why = f.Why
		}
	}
	return c
}

func (j judge) keepsakes() Check {
	l := j.r.Ledger
	c := Check{Name: "keepsakes", Limit: "keys written before the baseline are there, unchanged", Measured: fmt.Sprintf("%d of %d", l.Keepsakes-l.KeepsakesGone, l.Keepsakes)}
	switch {
	case l.KeepsakesGone > 0:
		return c.fail("%s", strings.Join(l.Found, "; "))
	case l.Keepsakes == 0:
		return c.notShown("none were written")
	case l.Unread > 0:
		return c.notShown("%d keys could not be read back", l.Unread)
	}
	return c.pass()
}

func (j judge) target() Check {
	c := Check{Name: "every replica on the target version", Limit: j.f.TargetVersion}
	var others []string
	for _, e := range j.r.Endpoints {
		v := j.r.Replicas.LastSeen[e]
		if v == "" {
			v = "no answer"
		}
		if v != j.f.TargetVersion {
			others = append(others, e+": "+v)
		}
	}
	c.Measured = fmt.Sprintf("%d of %d", len(j.r.Endpoints)-len(others), len(j.r.Endpoints))
	switch {
	case j.f.TargetVersion == "":
		return c.notShown("nobody named the target version")
	case len(others) > 0:
		return c.fail("%s", strings.Join(others, ", "))
	}
	return c.pass()
}

func (j judge) accessible() []Check {
	if len(j.f.Accessible) > 0 {
		return j.f.Accessible
	}
	return []Check{Check{Name: "resources reachable", Limit: "10 probes a second at each, longest gap 1 s"}.
		notShown("nobody measured the resources that the service controls")}
}

func (j judge) rolling() []Check {
	return []Check{j.replicas(), j.across(), j.held(), j.lookSeries()}
}

func (j judge) replicas() Check {
	c := Check{Name: "a replica always ready", Limit: "at least 1 in every look"}
	least, looks := len(j.r.Endpoints), int64(0)
	for _, w := range after {
		if n := j.r.Replicas.Looks[w]; n > 0 {
			looks += n
			least = min(least, j.r.Replicas.LeastReady[w])
		}
	}
	c.Measured = fmt.Sprintf("%d in %d looks", least, looks)
	switch {
	case looks == 0:
		return c.notShown("no look outside the baseline")
	case least == 0 && j.f.DeclaredDowntime != "":
		return c.passBut("all were down together, as declared: %s", j.f.DeclaredDowntime)
	case least == 0:
		return c.fail("all replicas were down together and nobody declared it")
	}
	return c.pass()
}

// across asks for the simplest functional suite of a mixed cluster: what one
// version wrote the other can read, both ways.
func (j judge) across() Check {
	c := Check{Name: "written through one version, read through the other", Limit: "both ways"}
	ok := map[[2]string]int64{}
	var parts []string
	for _, a := range j.r.Replicas.Across {
		ok[[2]string{a.Wrote, a.Read}] = a.OK
		parts = append(parts, fmt.Sprintf("%s→%s %d", a.Wrote, a.Read, a.OK))
	}
	c.Measured = strings.Join(parts, ", ")
	for pair := range ok {
		if ok[[2]string{pair[1], pair[0]}] == 0 {
			return c.notShown("nothing was written through %s and read through %s", pair[1], pair[0])
		}
	}
	if len(ok) == 0 {
		return j.nothingMixed(c, "no read-your-write request crossed two versions")
	}
	return c.pass()
}

// nothingMixed tells an upgrade that kept the versions apart, as declared,
// from one that was not seen.
func (j judge) nothingMixed(c Check, why string) Check {
	if j.f.DeclaredDowntime != "" {
		return c.notShown("%s: %s", why, j.f.DeclaredDowntime)
	}
	return c.notShown("%s", why)
}

func (j judge) held() Check {
	c := Check{Name: "mixed arrangements held", Limit: "each at least " + j.p.MinHeld.String()}
	var parts, short []string
	for _, a := range j.r.Replicas.Arrangements {
		text := fmt.Sprintf("%s for %s", strings.Join(a.Versions, "+"), a.Held)
		parts = append(parts, text)
		if a.Held < j.p.MinHeld {
			short = append(short, text)
		}
	}
	c.Measured = strings.Join(parts, ", ")
	switch {
	case len(parts) == 0 && j.r.Replicas.MixedSeconds == 0:
		return j.nothingMixed(c, "no mixed arrangement was seen")
	case len(short) > 0:
		return c.notShown("too short: %s", strings.Join(short, ", "))
	}
	return c.pass()
}

func (j judge) lookSeries() Check {
	const limit = Millis(5 * time.Second)
	c := Check{Name: "looks without a hole", Limit: "at most " + limit.String() + " apart", Measured: j.r.Replicas.LongestHole.String()}
	if j.r.Replicas.LongestHole > limit {
		return c.notShown("the probe did not look for too long")
	}
	return c.pass()
}

func (j judge) zeroDowntime() []Check {
	checks := []Check{j.windows(), j.keeping()}
	for _, class := range Classes() {
		if j.requests(class) > 0 || j.r.Class(Baseline, class).Requests > 0 {
			checks = append(checks, j.sample(class), j.failures(class), j.gap(class))
		}
	}
	return append(checks, j.lost(), j.duplicated(), j.reads(), j.served(), j.drained())
}

func (j judge) windows() Check {
	c := Check{Name: "windows long enough", Limit: fmt.Sprintf("baseline %s, upgrade %s, settle %s", j.p.MinBaseline, j.p.MinUpgrade, j.p.MinSettle)}
	b, u, s := Millis(j.r.Lasted(Baseline)), Millis(j.r.Lasted(Upgrade)), Millis(j.r.Lasted(Settle))
	c.Measured = fmt.Sprintf("%s, %s, %s", b, u, s)
	if b < j.p.MinBaseline || u < j.p.MinUpgrade || s < j.p.MinSettle {
		return c.notShown("too short")
	}
	return c.pass()
}

func (j judge) keeping() Check {
	k := j.r.Keeping
	c := Check{
		Name:     "the probe kept its schedule",
		Limit:    "0 holes, lag at most " + j.p.MaxLag.String(),
		Measured: fmt.Sprintf("%d holes, lag %s", k.Holes, k.LongestLag),
	}
	switch {
	case k.Holes > 0:
		return c.notShown("requests that were due were not sent")
	case k.LongestLag > j.p.MaxLag:
		return c.notShown("the machine of the probe was too busy: part of what was measured is its own")
	}
	return c.pass()
}

func (j judge) requests(class Class) int64 {
	return j.r.Class(Upgrade, class).Requests + j.r.Class(Settle, class).Requests
}

// judged is the number of failures that counts outside the baseline.
func (j judge) judged(class Class) int64 {
	return j.r.Class(Upgrade, class).Judged() + j.r.Class(Settle, class).Judged()
}

func (j judge) sample(class Class) Check {
	n := j.requests(class)
	c := Check{
		Name:     "enough requests: " + class.String(),
		Limit:    fmt.Sprintf("at least %d", j.p.MinRequests),
		Measured: fmt.Sprintf("%d", n),
	}
	if n < j.p.MinRequests {
		return c.notShown("too few")
	}
	return c.passBut("with no failure the rate is below %.1e (95 %%)", RateBound(n))
}

// RateBound is the upper bound, at 95 %, of a failure rate of which n requests
// showed nothing: the rule of three.
func RateBound(n int64) float64 { return min(1, 3/float64(n)) }

func (j judge) failures(class Class) Check {
	n, failed := j.requests(class), j.judged(class)
	u, s, base := j.r.Class(Upgrade, class), j.r.Class(Settle, class), j.r.Class(Baseline, class)
	c := Check{
		Name: "failed: " + class.String(),
		Measured: fmt.Sprintf("%d for clients that repeat, %d for clients that never do, of %d",
			u.Failed+s.Failed, u.FailedFirst+s.FailedFirst, n),
	}
	allowed := int64(0)
	if base.Judged() > 0 {
		allowed = binomialQuantile(n, float64(base.Judged())/float64(base.Requests), 0.99)
	}
	who := "never repeat"
	if base.Repeatable {
		who = "repeat"
	}
	c.Limit = fmt.Sprintf("%d for clients that %s", allowed, who)
	switch {
	case failed > allowed:
		return c.fail("%d too many", failed-allowed)
	case base.Requests == 0:
		return c.notShown("no baseline to compare with")
	case allowed > 0:
		return c.passBut("weak: the baseline itself failed %d of %d", base.Judged(), base.Requests)
	}
	return c.pass()
}

// binomialQuantile is the smallest k for which P(X ≤ k) ≥ q. The terms are
// summed by logarithms, since (1-p)^n underflows for large n.
func binomialQuantile(n int64, p, q float64) int64 {
	if p >= 1 {
		return n
	}
	logTerm, sum := float64(n)*math.Log1p(-p), 0.0
	for k := range n {
		if sum += math.Exp(logTerm); sum >= q {
			return k
		}
		logTerm += math.Log(float64(n-k)/float64(k+1)) + math.Log(p) - math.Log1p(-p)
	}
	return n
}

func (j judge) gap(class Class) Check {
	gap := j.r.Gap(class.String(), after...)
	c := Check{Name: "longest gap: " + class.String(), Measured: gap.Length.String()}
	interval, ok := j.interval(class)
	if !ok {
		return c.notShown("too few requests to know their interval")
	}
	limit := 3*interval + j.p.MaxGap
	c.Limit = fmt.Sprintf("3 intervals + %s = %s", j.p.MaxGap, limit)
	if j.p.MaxGap == 0 {
		limit = 3*interval + j.r.Class(Baseline, class).Latency.P999
		c.Limit = fmt.Sprintf("3 intervals + p99.9 of the baseline = %s", limit)
	}
	if gap.Length > limit {
		return c.fail("no success for %s from %s", gap.Length, gap.From.Format(time.TimeOnly+".000"))
	}
	return c.pass()
}

// interval between two requests of a class, when all are sent.
func (j judge) interval(class Class) (Millis, bool) {
	lasted := j.r.Lasted(Upgrade) + j.r.Lasted(Settle)
	n := j.requests(class)
	if n == 0 || lasted == 0 {
		return 0, false
	}
	return Millis(lasted / time.Duration(n)), true
}

func (j judge) lost() Check {
	l := j.r.Ledger
	c := Check{
		Name:     "acknowledged writes lost",
		Limit:    "0",
		Measured: fmt.Sprintf("%d of %d; %d with an unknown outcome: %d had happened, %d had not", l.Lost, l.Acked, l.Unknown, l.UnknownFound, l.UnknownNotFound),
	}
	switch {
	case l.Lost > 0:
		return c.fail("%s", strings.Join(l.Found, "; "))
	case l.Unread > 0:
		return c.notShown("%d of %d keys could not be read back", l.Unread, l.Keys)
	case l.Acked == 0:
		return c.notShown("no write was acknowledged")
	}
	return c.pass()
}

func (j judge) duplicated() Check {
	l := j.r.Ledger
	c := Check{Name: "writes applied twice", Limit: "0", Measured: fmt.Sprintf("%d; %d more by repeated tries, which is declared", l.Duplicated, l.Repeated)}
	switch {
	case l.Duplicated > 0:
		return c.fail("%s", strings.Join(l.Found, "; "))
	case !l.Counted:
		return c.notShown("the system does not count the writes of a key")
	case l.Unread > 0:
		return c.notShown("%d of %d keys could not be read back", l.Unread, l.Keys)
	}
	return c.pass()
}

func (j judge) reads() Check {
	var total Counts
	for _, w := range []Window{Baseline, Upgrade, Settle} {
		total.add(j.r.Totals[w])
	}
	l := j.r.Ledger
	c := Check{
		Name:     "reads stale or wrong",
		Limit:    "0",
		Measured: fmt.Sprintf("%d stale, %d wrong; %d stale ones of keys that lost a write", l.Stale, total.Wrong+l.Wrong, l.StaleOfLost),
	}
	unexplained := total.Stale - l.StaleOfLost
	switch {
	case unexplained > 0 || total.Wrong+l.Wrong > 0:
		return c.fail("a read saw less than what was acknowledged before it began, or what was never written")
	case total.Requests == 0:
		return c.notShown("nothing was read")
	}
	return c.pass()
}

func (j judge) served() Check {
	r := j.r.Replicas
	c := Check{
		Name:     "versions served side by side",
		Limit:    "at least 2 in some second",
		Measured: fmt.Sprintf("%d s with two or more of %s", r.MixedSeconds, strings.Join(r.Versions, ", ")),
	}
	switch {
	case r.MixedSeconds > 0:
		return c.pass()
	case len(r.Versions) > 1 && j.f.DeclaredDowntime == "":
		return c.fail("the version changed, but old and new never served together")
	case len(r.Versions) > 1:
		return c.fail("old and new never served together: %s", j.f.DeclaredDowntime)
	}
	return c.notShown("no replica changed its version")
}

// drained asks whether the requests that piled up were worked off: in some
// second of the settle window no more were in flight than in the baseline.
func (j judge) drained() Check {
	k := j.r.Keeping.Peak
	c := Check{
		Name:     "queues drained",
		Limit:    fmt.Sprintf("in flight back to %d, the peak of the baseline", k.Baseline),
		Measured: fmt.Sprintf("%d; peak %d", k.SettleLow, max(k.Upgrade, k.Settle)),
	}
	switch {
	case j.r.Totals[Settle].Requests == 0:
		return c.notShown("no settle window")
	case k.SettleLow > k.Baseline:
		return c.fail("requests were still queueing when the run ended")
	}
	return c.pass()
}

func (c Check) pass() Check {
	c.Outcome = Pass
	return c
}

func (c Check) passBut(format string, args ...any) Check {
	c.Why = fmt.Sprintf(format, args...)
	return c.pass()
}

func (c Check) fail(format string, args ...any) Check {
	c.Outcome, c.Why = Fail, fmt.Sprintf(format, args...)
	return c
}

func (c Check) notShown(format string, args ...any) Check {
	c.Outcome, c.Why = NotShown, fmt.Sprintf(format, args...)
	return c
}
