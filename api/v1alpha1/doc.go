// Package v1alpha1 holds the kinds that people write and read: System, what
// Theseus knows about a kind of software, and Cluster, one running instance of
// it. They are data with defaults and conditions, nothing that acts. The status
// of a Cluster is the journal of its upgrades: there is no second record.
//
// The package promises compatibility; everybody may import it, and it imports
// apimachinery only.
//
// +kubebuilder:object:generate=true
// +groupName=theseus.dev
package v1alpha1
