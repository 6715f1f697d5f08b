package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Group is the API group of every kind here.
const Group = "theseus.dev"

// Version is the version of every kind here.
const Version = "v1alpha1"

// GroupVersion is what files carry as apiVersion.
var GroupVersion = schema.GroupVersion{Group: Group, Version: Version}

// The kinds, as files spell them.
const (
	KindSystem  = "System"
	KindCluster = "Cluster"
	KindBackup  = "Backup"
	KindRestore = "Restore"
)

// AddToScheme registers the kinds with a scheme.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &System{}, &SystemList{}, &Cluster{}, &ClusterList{}, &Backup{}, &BackupList{}, &Restore{}, &RestoreList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
