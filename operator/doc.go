// Package operator is the platform whose members are pods. It implements the
// ports of package runner over the Kubernetes API and makes one pass of the
// runner for each reconciliation of a Cluster.
//
// A pass begins with a live read, never with what a cache remembers. An intent
// is a write of the status that fails if somebody else wrote in between. An act
// is conditional on what it was decided on: an eviction carries the UID of the
// pod, a workload the generation that was seen. So a second operator, or one
// that was cut off and comes back, does nothing that was decided on old news.
//
// StatefulSets have the update strategy OnDelete: Kubernetes makes a pod that is
// missing, with the template as it is then, and Theseus says which one goes and when.
package operator
