//go:build !faults

package main

import "theseus.dev/local"

// faults is nothing but in tests.
func faults(_, _ string) local.Fault { return nil }
