//go:build !faults

package main

import "theseus.dev/local"

// faults is nothing in the product; the build with the tag faults kills itself at a chosen durable write.
func faults() local.Fault { return nil }
