package probe

import (
	"fmt"
	"slices"
	"testing"
)

// TestLedgerIsBounded makes the writes of ten minutes at 1,000 a second.
func TestLedgerIsBounded(t *testing.T) {
	l := newLedger("p/", 64, 1000)
	l.fill(256)
	for range 600_000 {
		a, seqA := l.lend()
		b, seqB := l.lend()
		l.settle(a, seqA, true, 0)
		l.settle(b, seqB, true, 0)
	}
	if n := len(l.all()); n != 256 {
		t.Errorf("%d keys after 1,200,000 writes, want the 256 it began with", n)
	}
}

func TestLedgerRetiresUnknownKeysUpToALimit(t *testing.T) {
	l := newLedger("p/", 64, 3)
	l.fill(2)
	seen := map[int64]bool{}
	for i := range 3 {
		s, seq := l.lend()
		if seen[s.id] {
			t.Fatalf("write %d got key %d again after an unknown outcome", i, s.id)
		}
		seen[s.id] = true
		l.settle(s, seq, i == 0, 1) // also when a later try was acknowledged
	}
	if s, _ := l.lend(); s != nil {
		t.Error("a full ledger lent another key")
	}
}

func TestLedgerAccounts(t *testing.T) {
	// A key with writes 1 to 3 acknowledged, and for some rows a fourth unknown.
	tests := []struct {
		name    string
		unknown bool // write 4 had two tries, both unknown
		holds   int64
		applied int64
		want    LedgerResult
	}{
		{"all there", false, 3, 3, LedgerResult{Counted: true}},
		{"not counted", false, 3, 0, LedgerResult{}},
		{"last one lost", false, 2, 2, LedgerResult{Counted: true, Lost: 1}},
		{"one lost and covered", false, 3, 2, LedgerResult{Counted: true, Lost: 1}},
		{"went back to the first", false, 1, 1, LedgerResult{Counted: true, Lost: 2}},
		{"gone", false, 0, 0, LedgerResult{Lost: 1}},
		{"one done twice", false, 3, 4, LedgerResult{Counted: true, Duplicated: 1}},
		{"from the future", false, 9, 3, LedgerResult{Wrong: 1}},
		{"unknown, did not happen", true, 3, 3, LedgerResult{Counted: true, Unknown: 1, UnknownNotFound: 1}},
		{"unknown, happened", true, 4, 4, LedgerResult{Counted: true, Unknown: 1, UnknownFound: 1}},
		{"unknown, both tries happened", true, 4, 5, LedgerResult{Counted: true, Unknown: 1, UnknownFound: 1, Repeated: 1}},
		{"unknown, and one too many", true, 4, 6, LedgerResult{Counted: true, Unknown: 1, UnknownFound: 1, Repeated: 1, Duplicated: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLedger("p/", 64, 10)
			l.fill(1)
			for range 3 {
				s, seq := l.lend()
				l.settle(s, seq, true, 0)
			}
			s := l.live[0]
			if tt.unknown {
				lent, seq := l.lend()
				l.settle(lent, seq, false, 2)
			}
			var got LedgerResult
			l.account(&got, s, Value{Data: l.value(s, tt.holds), Exists: tt.holds > 0, Applied: tt.applied})
			if wrongs := got.Lost + got.Duplicated + got.Wrong; (wrongs > 0) != (len(got.Found) > 0) {
				t.Errorf("%d things wrong, %d in words", wrongs, len(got.Found))
			}
			got.Found = nil
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestLedgerJudgesReads(t *testing.T) {
	l := newLedger("p/", 64, 10)
	l.fill(1)
	s, seq := l.lend()
	l.settle(s, seq, true, 0)
	s, seq = l.lend() // write 2 is in flight
	_, floor := l.choose()
	read := func(seq int64) sight { return l.saw(s, floor, Value{Data: l.value(s, seq), Exists: true}) }
	steps := []struct {
		name string
		got  func() sight
		want sight
	}{
		{"the acknowledged one", func() sight { return read(1) }, fresh},
		{"nothing", func() sight { return l.saw(s, floor, Value{}) }, stale},
		{"the one in flight", func() sight { return read(seq) }, fresh},
		{"the older, by a read that began before the newer was seen", func() sight { return read(1) }, fresh},
		{"the older, after the newer was seen", func() sight { _, floor = l.choose(); return read(1) }, stale},
		{"one never sent", func() sight { return read(3) }, wrong},
		{"what is not ours", func() sight { return l.saw(s, floor, Value{Data: "hello", Exists: true}) }, wrong},
		{"ours, cut short", func() sight { return l.saw(s, floor, Value{Data: l.value(s, 2)[:40], Exists: true}) }, wrong},
	}
	for _, step := range steps {
		if got := step.got(); got != step.want {
			t.Errorf("%s: %d, want %d", step.name, got, step.want)
		}
	}
}

func TestSpread(t *testing.T) {
	order := spread(Mix{Put: 5, Get: 3, ReadYourWrite: 2})
	count := map[Class]int{}
	for _, c := range order {
		count[c]++
	}
	if len(order) != 10 || count[Put] != 5 || count[Get] != 3 || count[ReadYourWrite] != 2 {
		t.Errorf("%v, want 5 puts, 3 gets, 2 read-your-writes", order)
	}
	for i := range order { // as a ring, no class is kept waiting
		ring := append(slices.Clone(order[i:]), order[:i]...)
		if slices.Index(ring, ReadYourWrite) > 5 || slices.Index(ring, Put) > 2 {
			t.Errorf("%v is not evenly spread", order)
		}
	}
}
