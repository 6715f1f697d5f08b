// Package upgradetest tries the core against simulated worlds, and runs the text
// scenarios of package upgrade.
//
// A World is a cluster of pretended processes with a platform, controllers, and
// people who edit and ask, all drawn from one seed and on one simulated clock.
// After every pass its promises are checked from the world's truth and from what
// the pass looked at, by code of its own: see promises.go. Nothing here is
// imported by the product.
package upgradetest
