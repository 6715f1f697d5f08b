package probe

import (
	"fmt"
	"slices"
)

// The precedence test compares windows without assuming any distribution: m is
// the largest of n baseline windows, X how many of k later ones exceed it. If
// all are alike, P(X ≥ j) = Π_{i<j} (k−i)/(n+k−i).
const (
	precedenceLevel = 0.01
	minBaselineTens = 60
	minUpgradeTens  = 30
)

// precedence returns X and P(X or more) if nothing had changed.
func precedence(baseline, later []Millis) (exceeding int, probability float64) {
	m := slices.Max(baseline)
	for _, v := range later {
		if v > m {
			exceeding++
		}
	}
	n, k := float64(len(baseline)), float64(len(later))
	probability = 1
	for i := range exceeding {
		probability *= (k - float64(i)) / (n + k - float64(i))
	}
	return exceeding, probability
}

func (j judge) zeroImpact() []Check {
	if !j.p.Precedence {
		return []Check{Check{Name: "latency against the baseline", Limit: "no slower"}.
			notShown("the profile %s does not compare latencies: its baseline is too short to tell a small slowdown from chance", j.p.Name)}
	}
	return []Check{
		j.slower("p50", func(s Slice) Millis { return s.P50 }),
		j.slower("p99", func(s Slice) Millis { return s.P99 }),
		j.slower("max", func(s Slice) Millis { return s.Max }),
		j.outlier(),
		fact("load of the system", "no higher than in the baseline", j.f.SameLoad),
	}
}

// tens returns one figure of every window of ten seconds.
func (j judge) tens(figure func(Slice) Millis) (baseline, later []Millis) {
	for _, s := range j.r.Tens {
		switch s.Window {
		case Baseline:
			baseline = append(baseline, figure(s))
		case Upgrade:
			later = append(later, figure(s))
		}
	}
	return baseline, later
}

func (j judge) slower(name string, figure func(Slice) Millis) Check {
	c := Check{Name: name + " of ten seconds against the baseline", Limit: fmt.Sprintf("chance above %g, or less than 5 ms or 5 %% slower", precedenceLevel)}
	baseline, later := j.tens(figure)
	if len(baseline) < minBaselineTens || len(later) < minUpgradeTens {
		return c.notShown("%d baseline and %d upgrade windows; %d and %d are needed", len(baseline), len(later), minBaselineTens, minUpgradeTens)
	}
	exceeding, chance := precedence(baseline, later)
	before, now := median(baseline), median(later)
	c.Measured = fmt.Sprintf("%d of %d above all of the baseline, chance %.2g; median %s, was %s", exceeding, len(later), chance, now, before)
	small := now-before < seconds(0.005) || float64(now-before) < 0.05*float64(before)
	if chance < precedenceLevel && !small {
		return c.fail("slower than the baseline")
	}
	return c.pass()
}

func (j judge) outlier() Check {
	c := Check{Name: "no window far out", Limit: "p99 of each at most twice the largest of the baseline"}
	baseline, later := j.tens(func(s Slice) Millis { return s.P99 })
	if len(baseline) < minBaselineTens || len(later) == 0 {
		return c.notShown("too few windows")
	}
	c.Measured = fmt.Sprintf("%s, baseline %s", slices.Max(later), slices.Max(baseline))
	if slices.Max(later) > 2*slices.Max(baseline) {
		return c.fail("a window was far slower than any of the baseline")
	}
	return c.pass()
}

func median(v []Millis) Millis {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}
