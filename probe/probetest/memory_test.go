package probetest_test

import (
	"testing"

	"theseus.dev/probe/probetest"
)

func TestMemory(t *testing.T) {
	probetest.TestDriver(t, func(*testing.T) probetest.Harness {
		m := probetest.NewMemory(3, "1.0")
		return probetest.Harness{Driver: m, Version: "1.0", Down: m.Stop, Freeze: m.Freeze}
	})
}
