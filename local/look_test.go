package local

import (
	"syscall"
	"testing"

	"theseus.dev/upgrade"
)

// TestEndedWhileAsked: a member that ended between its look and its answers, and serves again, has not answered.
func TestEndedWhileAsked(t *testing.T) {
	w := newWorld(t, 1)
	w.drive()
	p := w.platform()
	asked := w.look(p).Members
	if len(asked[0].View.Answers) == 0 {
		t.Fatalf("no answers of %+v", asked[0])
	}
	k := w.state.keeper(asked[0].View.Name)
	if err := k.signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.await("it serves again", func() bool {
		m := w.member(p, asked[0].View.Name)
		return m.Crashes == 1 && m.State == upgrade.ProcessRunning && len(m.View.Answers) > 0
	})
	p.confirm(asked)
	if m := asked[0]; m.Crashes != 1 || len(m.View.Answers) > 0 {
		t.Errorf("got %d crashes and the answers %v, want 1 and none", m.Crashes, m.View.Answers)
	}
	again := w.look(p).Members
	p.confirm(again)
	if len(again[0].View.Answers) == 0 {
		t.Error("the answers of a member that stayed were taken back")
	}
}
