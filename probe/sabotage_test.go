package probe_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"theseus.dev/probe"
	"theseus.dev/probe/probetest"
)

// facts of an upgrade about which there is nothing to complain.
func facts() probe.Facts {
	ok := probe.Fact{Outcome: probe.Pass, Why: "checked"}
	return probe.Facts{ConfigUnedited: ok, SameData: ok, SameResources: ok, NoManualStep: ok, TargetVersion: "2.0"}
}

// upgrade replaces one member after the other, each down for half a second
// after 4 s; meanwhile runs once, in the middle of the upgrade window.
func upgrade(p *probe.Probe, m *probetest.Memory, meanwhile func()) {
	<-p.Running()
	time.Sleep(10 * time.Second)
	p.Mark(probe.Upgrade, "1.0 → 2.0")
	for i := range m.Endpoints() {
		p.Step(fmt.Sprintf("replace member %d", i))
		m.Stop(i)
		time.Sleep(500 * time.Millisecond)
		m.Start(i, "2.0")
		time.Sleep(3500 * time.Millisecond)
		if i == 0 {
			meanwhile()
		}
	}
	p.Mark(probe.Settle, "")
	time.Sleep(10 * time.Second)
	p.Stop()
}

// measure runs a whole upgrade of a spoiled system in memory. It needs a bubble.
func measure(t *testing.T, o probe.Options, meanwhile func(*probetest.Sabotage)) (*probe.Result, *probetest.Memory) {
	t.Helper()
	m := probetest.NewMemory(3, "1.0")
	s := probetest.Spoil(m)
	p, err := probe.New(s, o)
	if err != nil {
		t.Fatal(err)
	}
	go upgrade(p, m, func() { meanwhile(s) })
	r, err := p.Run(t.Context())
	if err != nil {
		t.Fatalf("run: %v", err)
	}
	return r, m
}

func names(checks []probe.Check) string {
	var s []string
	for _, c := range checks {
		s = append(s, c.Name)
	}
	return strings.Join(s, "; ")
}

func TestSabotageIsSeen(t *testing.T) {
	// once sets a lie for so long that it bites at least once, but not in the
	// two other windows.
	once := func(l probetest.Lies) func(*probetest.Sabotage) {
		return func(s *probetest.Sabotage) {
			s.Set(l)
			time.Sleep(time.Second)
			s.Set(probetest.Lies{})
		}
	}
	tests := []struct {
		name      string
		meanwhile func(*probetest.Sabotage)
		outcome   probe.Outcome
		level     probe.Level
		fails     string // the checks that fail, and no other
		judge     func(t *testing.T, r *probe.Result)
	}{
		{
			name:      "none",
			meanwhile: func(*probetest.Sabotage) {},
			outcome:   probe.Pass, level: probe.L3,
		},
		{
			name:      "acknowledged writes dropped",
			meanwhile: once(probetest.Lies{DropEvery: 50}),
			outcome:   probe.Fail, level: probe.L2b,
			fails: "acknowledged writes lost",
			judge: func(t *testing.T, r *probe.Result) {
				if r.Ledger.Lost < 5 || r.Ledger.Duplicated != 0 {
					t.Errorf("lost %d, duplicated %d; want at least 5 and 0", r.Ledger.Lost, r.Ledger.Duplicated)
				}
			},
		},
		{
			name: "everything stalls for 2 s",
			meanwhile: func(s *probetest.Sabotage) {
				s.Set(probetest.Lies{StallUntil: time.Now().Add(2 * time.Second)})
				time.Sleep(2 * time.Second)
			},
			outcome: probe.Fail, level: probe.L2b,
			fails: "longest gap: put; longest gap: get; longest gap: read-your-write",
			judge: func(t *testing.T, r *probe.Result) {
				gap := time.Duration(r.Gap("all", probe.Upgrade).Length)
				if gap < 1900*time.Millisecond || gap > 2100*time.Millisecond {
					t.Errorf("gap %s, want about 2 s", gap)
				}
				if c := r.Totals[probe.Upgrade]; c.Failed != 0 || c.FailedFirst == 0 {
					t.Errorf("failed %d, first tries %d; want none and some", c.Failed, c.FailedFirst)
				}
				// Latency counts from when a request was due: half of those
				// due in the stall waited for more than a second.
				if l := r.Class(probe.Upgrade, probe.Get).Latency; l.Max < probe.Millis(1900*time.Millisecond) {
					t.Errorf("slowest get %s, want about 2 s", l.Max)
				}
			},
		},
		{
			name:      "stale reads",
			meanwhile: once(probetest.Lies{StaleEvery: 20}),
			outcome:   probe.Fail, level: probe.L2b,
			fails: "reads stale or wrong",
		},
		{
			name:      "writes done twice",
			meanwhile: once(probetest.Lies{DuplicateEvery: 50}),
			outcome:   probe.Fail, level: probe.L2b,
			fails: "writes applied twice",
		},
		{
			name:      "a fraction refused",
			meanwhile: once(probetest.Lies{FailEvery: 10}),
			outcome:   probe.Pass, level: probe.L3, // clients that repeat do not notice
			judge: func(t *testing.T, r *probe.Result) {
				if c := r.Totals[probe.Upgrade]; c.Failed != 0 || c.FailedFirst < 20 {
					t.Errorf("failed %d, first tries %d; want none and at least 20", c.Failed, c.FailedFirst)
				}
			},
		},
		{
			name:      "a fraction done but answered with an error",
			meanwhile: once(probetest.Lies{FailEvery: 7, FailUnknown: true}),
			outcome:   probe.Pass, level: probe.L3,
			judge: func(t *testing.T, r *probe.Result) {
				if r.Ledger.Repeated == 0 {
					t.Error("no repeated try was seen to be applied; want some")
				}
			},
		},
		{
			name: "everything refused for 7 s",
			meanwhile: func(s *probetest.Sabotage) {
				s.Set(probetest.Lies{FailEvery: 1})
				time.Sleep(7 * time.Second)
				s.Set(probetest.Lies{})
			},
			outcome: probe.Fail, level: probe.L2b,
			fails: "failed: put; longest gap: put; failed: get; longest gap: get; failed: read-your-write; longest gap: read-your-write",
		},
		{
			name: "everything stalls for longer than the deadline",
			meanwhile: func(s *probetest.Sabotage) {
				s.Set(probetest.Lies{StallUntil: time.Now().Add(8 * time.Second)})
				time.Sleep(8 * time.Second)
			},
			outcome: probe.Fail, level: probe.L2b,
			fails: "failed: put; longest gap: put; failed: get; longest gap: get; failed: read-your-write; longest gap: read-your-write",
			judge: func(t *testing.T, r *probe.Result) {
				// A timeout is an unknown outcome, settled by the ledger.
				if l := r.Ledger; l.Unknown == 0 || l.UnknownNotFound != l.Unknown || l.Lost != 0 {
					t.Errorf("unknown %d, not found %d, lost %d; want some, the same, none", l.Unknown, l.UnknownNotFound, l.Lost)
				}
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, _ := measure(t, probe.Options{Rate: 500}, tt.meanwhile)
				v := probe.Judge(r, probe.Quick(), facts())
				if v.Outcome != tt.outcome || v.Level != tt.level {
					t.Errorf("verdict %s %s, want %s %s; not shown: %s", v.Outcome, v.Level, tt.outcome, tt.level, names(v.Failures(probe.NotShown)))
				}
				if got := names(v.Failures(probe.Fail)); got != tt.fails {
					t.Errorf("failed checks: %s\nwant: %s", got, tt.fails)
				}
				if tt.judge != nil {
					tt.judge(t, r)
				}
			})
		})
	}
}
