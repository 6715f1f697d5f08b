// Package system compiles a System, which is data, into a value that can be
// asked: which versions exist and how they compare, which hops lead from one to
// another, what a member's answers mean, and how a member is started. A compiled
// System never changes and has a hash of its content.
//
// Everything here is a function of values. Expressions see a Scope and nothing
// else; there is no clock, no I/O and no random source in them.
package system
