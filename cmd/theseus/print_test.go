package main

import (
	"testing"
	"time"
)

func TestRoughly(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 400 * time.Millisecond: "0s", 59 * time.Second: "59s", time.Minute: "1m", 80 * time.Second: "1m20s", 10 * time.Minute: "10m",
		time.Hour: "1h0m", 90*time.Minute + 10*time.Second: "1h30m", 50 * time.Hour: "50h0m",
	} {
		if got := roughly(d); got != want {
			t.Errorf("roughly(%s) = %q, want %q", d, got, want)
		}
	}
}
