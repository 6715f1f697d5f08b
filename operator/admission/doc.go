// Package admission says which Clusters, Systems, Backups and Restores the API server may accept: what it takes more than one object to see. What
// one object can say about itself is said by the rules in its CRD, and what one file can say by package manifest.
//
// The decisions are functions of values, with a type of facts each: what was looked up, and what nobody could find out. They ask the core
// for its own planning, so that the webhook refuses what the controller would refuse and nothing else. Nothing depends on the webhook: with it switched
// off the controller works from the attempt's own copy of the spec, and refuses in the status.
//
// An edit is refused only for what it makes worse. Old mistakes that it leaves alone become warnings, an edit of spec.upgrade alone is checked for that
// field alone, and going back to what runs is always accepted.
package admission
