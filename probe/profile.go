package probe

import (
	"fmt"
	"time"
)

// Level is one rung of what an upgrade can be shown to be.
type Level string

// The levels. L2a stands beside the chain None → L1 → L2b → L3 → L4.
const (
	None Level = "none"
	L1   Level = "L1"  // upgrade: same data, same resources, nothing done by hand
	L2a  Level = "L2a" // accessible: what the service controls stays reachable
	L2b  Level = "L2b" // rolling: old and new run together, never all down
	L3   Level = "L3"  // zero-downtime: nothing failed, nothing lost
	L4   Level = "L4"  // zero-impact: not slower either
)

// chain is the order in which a verdict climbs: each needs those before it.
var chain = []Level{L1, L2b, L3, L4}

// Profile is what counts as enough evidence and which limits hold.
type Profile struct {
	Name        string   `json:"name"`
	Target      Level    `json:"target"` // the verdict is about this level and those below it
	MinBaseline Millis   `json:"minBaselineMs"`
	MinUpgrade  Millis   `json:"minUpgradeMs"`
	MinSettle   Millis   `json:"minSettleMs"`
	MinRequests int64    `json:"minRequests"` // of each class, outside the baseline
	MaxGap      Millis   `json:"maxGapMs"`    // added to three intervals of a class; 0: its p99.9 in the baseline
	MaxLag      Millis   `json:"maxLagMs"`    // of the probe behind its own schedule
	MinHeld     Millis   `json:"minHeldMs"`   // of each arrangement of versions
	Precedence  bool     `json:"precedence"`  // compare latency with the baseline (L4)
	DoesNotShow []string `json:"doesNotShow"`
}

// Quick is for a demonstration or a first look: minutes, not hours.
func Quick() Profile {
	return Profile{
		Name:        "quick",
		Target:      L3,
		MinBaseline: seconds(5),
		MinUpgrade:  seconds(5),
		MinSettle:   seconds(5),
		MinRequests: 1000,
		MaxGap:      seconds(1),
		MaxLag:      seconds(0.5),
		DoesNotShow: []string{
			"L4: the baseline is too short to tell a small slowdown from chance",
			"failure rates below about 3 in the number of requests of a class (1,000 at least: 3e-3; the profile full asks for 30,000: 1e-4)",
			"pauses of up to 1 s: slowness is allowed and the worst gap is reported",
			"each arrangement of old and new members for a minute: they are held only as long as the upgrade holds them",
			"faults during the upgrade, other loads, other data sizes",
		},
	}
}

// Full has the thresholds that a claim about zero downtime needs.
func Full() Profile {
	return Profile{
		Name:        "full",
		Target:      L3,
		MinBaseline: Millis(10 * time.Minute),
		MinUpgrade:  Millis(5 * time.Minute),
		MinSettle:   Millis(5 * time.Minute),
		MinRequests: 30_000,
		MaxLag:      Millis(50 * time.Millisecond),
		MinHeld:     Millis(time.Minute),
		Precedence:  true,
		DoesNotShow: []string{
			"failure rates below 1e-4 for each class (95 %)",
			"faults during the upgrade, other loads, other data sizes",
		},
	}
}

func seconds(s float64) Millis { return Millis(s * float64(time.Second)) }

// ProfileNamed returns a shipped profile.
func ProfileNamed(name string) (Profile, error) {
	for _, p := range []Profile{Quick(), Full()} {
		if p.Name == name {
			return p, nil
		}
	}
	return Profile{}, fmt.Errorf("profile %q: want quick or full", name)
}

// Outcome of a check, of a level, of a verdict. The zero value is NotShown in
// effect: whatever is neither Pass nor Fail was not shown.
type Outcome string

// The outcomes.
const (
	Pass     Outcome = "pass"
	Fail     Outcome = "fail"
	NotShown Outcome = "not shown"
)

// Fact is something that the probe cannot see and the caller checked. The zero
// Fact was not checked.
type Fact struct {
	Outcome Outcome `json:"outcome"`
	Why     string  `json:"why"` // the evidence, in words
}

// Facts are what the caller of Judge knows about the upgrade.
type Facts struct {
	ConfigUnedited Fact `json:"configUnedited"` // the new version ran with the old configuration, unedited
	SameData       Fact `json:"sameData"`       // a fingerprint of the users' data before and after
	SameResources  Fact `json:"sameResources"`  // members, identities and volumes before and after
	NoManualStep   Fact `json:"noManualStep"`   // nothing was done that the plan did not declare

	// TargetVersion is what every replica must run at the end.
	TargetVersion string `json:"targetVersion"`

	// DeclaredDowntime says why all replicas may be down together (one
	// member, versions that must not mix). Empty: they may not.
	DeclaredDowntime string `json:"declaredDowntime,omitempty"`

	Accessible []Check `json:"accessible,omitempty"` // L2a as measured elsewhere; none: not shown
	SameLoad   Fact    `json:"sameLoad"`             // CPU, IO and queues of the system against the baseline (L4)
}
