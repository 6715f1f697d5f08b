// Package runnertest has one suite for each port of package runner, which every
// implementation must pass, and an implementation in memory, for tests of what
// stands on the ports. A suite says what a runner relies on: read it before you
// write a platform.
package runnertest

import (
	"testing"
	"time"
)

// patience is how long a suite waits for something that must come. It is generous: nothing is measured here.
const patience = 30 * time.Second

// await polls until something is so.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not so after %s", what, patience)
		}
	}
}
