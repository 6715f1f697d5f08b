package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Backup is one backup of a Cluster. The operator makes one before each hop that asks for it; a person can make one at any time. It is
// not owned by its Cluster, so that it outlives it. What is stored outlives the object too, but for one that goes because its ttl is over.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=thb
// +kubebuilder:printcolumn:name="CLUSTER",type=string,JSONPath=`.spec.cluster`
// +kubebuilder:printcolumn:name="VERSION",type=string,JSONPath=`.status.version`
// +kubebuilder:printcolumn:name="BYTES",type=integer,JSONPath=`.status.bytes`
// +kubebuilder:printcolumn:name="FINISHED",type=string,JSONPath=`.status.conditions[?(@.type=="Finished")].status`
// +kubebuilder:printcolumn:name="AGE",type=date,JSONPath=`.metadata.creationTimestamp`
type Backup struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what you want. It cannot change.
	Spec BackupSpec `json:"spec"`
	// Status is how far it is. Only Theseus writes it.
	// +optional
	// +kubebuilder:default:={"observedGeneration":-1}
	Status BackupStatus `json:"status,omitempty"`
}

// BackupList is a list of Backups.
//
// +kubebuilder:object:root=true
type BackupList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Backup `json:"items"`
}

// BackupSpec says what is backed up and where it goes. It cannot be changed.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a Backup cannot be changed; make another one"
type BackupSpec struct {
	// Cluster in the same namespace that is backed up. Example: kv.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	Cluster string `json:"cluster"`
	// Place where the backup goes. Default: spec.backup of the Cluster.
	// +optional
	Place *BackupPlace `json:"place,omitempty"`
	// To is the version that the hop leads to for which the backup is taken; empty for one that a person asked for.
	// +optional
	To string `json:"to,omitempty"`
	// Attempt and act for which it is taken. Example: a3-17.
	// +optional
	Attempt string `json:"attempt,omitempty"`
	// TTL is how long the backup is kept, from when the object was made; then what is stored is deleted, and the object. As long as a
	// Restore or a running attempt refers to it, it stays. Deleting the object by hand leaves what is stored. Default: for ever. Example: 720h.
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9.]+(h|m|s|ms|us|µs|ns)|0)+$') && duration(self) >= duration('1m')",message="ttl is no time of at least 1m: write it as 2160h for 90 days (there is no unit for days), or leave it away to keep what is stored for ever"
	// +optional
	TTL *metav1.Duration `json:"ttl,omitempty"`
}

// BackupStatus is how far a backup is, and its proof.
type BackupStatus struct {
	// ObservedGeneration of the spec that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions Started, Finished and Failed, and for those who wait Reconciling and Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Version that the members ran.
	// +optional
	Version string `json:"version,omitempty"`
	// Place where it was put; spec.place, or that of the Cluster when it began.
	// +optional
	Place *BackupPlace `json:"place,omitempty"`
	// Name of the backup in its place. It is there from the beginning; what it names is whole when the backup has Finished.
	// +optional
	Name string `json:"name,omitempty"`
	// System that took it, by name and hash.
	// +optional
	System *SystemRef `json:"system,omitempty"`
	// Bytes in all.
	// +optional
	Bytes int64 `json:"bytes,omitempty"`
	// SHA256 of the proof, which holds the sum of every file.
	// +optional
	SHA256 string `json:"sha256,omitempty"`
	// Check is what the System's own check said, its beginning.
	// +optional
	Check string `json:"check,omitempty"`
	// Started is when the Job began.
	// +optional
	Started *metav1.Time `json:"started,omitempty"`
	// Finished is when the Job ended.
	// +optional
	Finished *metav1.Time `json:"finished,omitempty"`
}

// Restore puts a Backup into a new Cluster: before its first member starts, or, where the System says so, into its members when they are ready for
// the first time. Never over one that was in use.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=thr
// +kubebuilder:printcolumn:name="BACKUP",type=string,JSONPath=`.spec.backup`
// +kubebuilder:printcolumn:name="CLUSTER",type=string,JSONPath=`.spec.cluster`
// +kubebuilder:printcolumn:name="FINISHED",type=string,JSONPath=`.status.conditions[?(@.type=="Finished")].status`
// +kubebuilder:printcolumn:name="AGE",type=date,JSONPath=`.metadata.creationTimestamp`
type Restore struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what you want. It cannot change.
	Spec RestoreSpec `json:"spec"`
	// Status is how far it is. Only Theseus writes it.
	// +optional
	// +kubebuilder:default:={"observedGeneration":-1}
	Status RestoreStatus `json:"status,omitempty"`
}

// RestoreList is a list of Restores.
//
// +kubebuilder:object:root=true
type RestoreList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Restore `json:"items"`
}

// RestoreSpec says which backup goes into which new Cluster. It cannot be changed.
//
// +kubebuilder:validation:XValidation:rule="has(self.backup) != has(self.from)",message="name either the Backup in backup, or place and name of what is stored in from"
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a Restore cannot be changed; make another one"
type RestoreSpec struct {
	// Backup in the same namespace. Example: kv-before-3.7.
	// +kubebuilder:validation:MinLength=1
	// +optional
	Backup string `json:"backup,omitempty"`
	// From is a backup that no Backup in this namespace speaks of.
	// +optional
	From *StoredBackup `json:"from,omitempty"`
	// Cluster that is to be made, in the same namespace. It must not have members yet. A Cluster waits for the Restore that
	// names it, if it is made after the Restore. Example: kv2.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	Cluster string `json:"cluster"`
}

// StoredBackup is a backup by where it is and what it is called there.
type StoredBackup struct {
	// Place where it is.
	Place BackupPlace `json:"place"`
	// Name of the backup in its place, as status.name of a Backup says it. Example: kv/20260304T050607Z_3.5.35_3.6.16_a1-7_auto.
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
}

// RestoreStatus is how far a restore is.
type RestoreStatus struct {
	// ObservedGeneration of the spec that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions Started, Finished and Failed, and for those who wait Reconciling and Stalled. The message of Finished says which writes are missing.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// ClusterUID is that of the Cluster which it was noted for, where it writes into members that run. It never writes into another one of that name.
	// +optional
	ClusterUID types.UID `json:"clusterUID,omitempty"`
	// Members that have their data.
	// +optional
	Members []string `json:"members,omitempty"`
	// Name of the backup in its place.
	// +optional
	Name string `json:"name,omitempty"`
	// Version that wrote the data.
	// +optional
	Version string `json:"version,omitempty"`
	// Taken is when the backup was begun: what was written later may be missing.
	// +optional
	Taken *metav1.Time `json:"taken,omitempty"`
	// Sum of what the data is restored for: version, options and members of the Cluster when the first Job was made. These must stay as they are
	// until all data is there.
	// +optional
	Sum string `json:"sum,omitempty"`
	// Started is when the first Job was made.
	// +optional
	Started *metav1.Time `json:"started,omitempty"`
	// Finished is when all data was there, or the restore failed.
	// +optional
	Finished *metav1.Time `json:"finished,omitempty"`
}
