// Package upgrade is the core: given a Cluster, its System, a full look at all
// members and the time, what is the state now, what is to be done next, and what
// is being waited for?
//
// It is a function of values. It does no I/O and has no goroutine, clock, random
// source or logger; what it decides is plain data that a runner stores and then
// does. One pass goes
//
//	look → Decide → store Decision.Status → do Decision.Act → look …
//
// and may be cut at any point: an act is conditional on what it was decided on,
// so that doing it again does nothing twice, and its outcome is what the next
// look shows, never its reply.
//
// Read decide.go first (it names the situation and chooses), then step.go (what
// every kind of step can do), then roll.go (the kind that matters most).
package upgrade
