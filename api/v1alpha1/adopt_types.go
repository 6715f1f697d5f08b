package v1alpha1

import (
	"cmp"
	"slices"
	"strconv"
)

// AdoptMode says who changes the pod template of an adopted StatefulSet.
// +kubebuilder:validation:Enum=Order;Version
type AdoptMode string

// The modes of an adoption.
const (
	// AdoptOrder leaves the whole template to somebody else, a Helm chart or GitOps. A changed template is the target; Theseus orders the
	// replacement of the members. A failure pauses, because going back is not Theseus' to do.
	AdoptOrder AdoptMode = "Order"
	// AdoptVersion has Theseus write the image, by spec.version, and somebody else the rest. It goes back by itself.
	AdoptVersion AdoptMode = "Version"
)

// AdoptConsent is something that Theseus does to an adopted StatefulSet only where it is said that it may.
// +kubebuilder:validation:Enum=SwitchToOnDelete;TakeImage
type AdoptConsent string

// The consents.
const (
	// SwitchToOnDelete lets Theseus set the update strategy to OnDelete.
	SwitchToOnDelete AdoptConsent = "SwitchToOnDelete"
	// TakeImage lets Theseus write the image although another field manager wrote it before, in mode Version.
	TakeImage AdoptConsent = "TakeImage"
)

// Adopt names a StatefulSet that something else made. Its pods become the members; adopting it restarts none of them, and
// deleting the Cluster leaves it and its pods alone.
type Adopt struct {
	// StatefulSet is its name, in the Cluster's namespace. It cannot change. Example: etcd.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=52
	StatefulSet string `json:"statefulSet"`
	// Mode says who changes the pod template: somebody else all of it (Order), or Theseus the image (Version). It cannot change.
	Mode AdoptMode `json:"mode"`
	// Container of the pod that is the member. It cannot change. Default: the one that is called like the component, or the only one.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Container string `json:"container,omitempty"`
	// Allow lists what Theseus may do to the StatefulSet that it else waits for: SwitchToOnDelete, TakeImage. Default: nothing.
	// +kubebuilder:validation:MaxItems=2
	// +listType=set
	// +optional
	Allow []AdoptConsent `json:"allow,omitempty"`
	// Template is a sum of the pod template without what Theseus owns of it. Theseus sets it in its own copies of the spec, in the status;
	// leave it away.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Template string `json:"template,omitempty"`
	// Moved is the StatefulSet in which the members are since an upgrade moved them there. Theseus sets it in its own copies of the spec, in
	// the status; leave it away. StatefulSet stays what it was.
	// +kubebuilder:validation:MaxLength=52
	// +optional
	Moved string `json:"moved,omitempty"`
}

// Workload is the StatefulSet in which the members are.
func (a *Adopt) Workload() string { return cmp.Or(a.Moved, a.StatefulSet) }

// Allows says whether a consent was given.
func (a *Adopt) Allows(c AdoptConsent) bool { return slices.Contains(a.Allow, c) }

// Object names the StatefulSet for people.
func (a *Adopt) Object() string { return "StatefulSet " + a.Workload() }

// Foreign says that somebody else decides what new members of a component get: it is awaited, and never written.
func (s *ClusterSpec) Foreign(component string) bool {
	a := s.Components[component].Adopt
	return a != nil && a.Mode == AdoptOrder
}

// TakeSeen copies from a status what was seen of the StatefulSets that the spec adopts: in which ones the members are, their templates, the
// number of their members and, where a template says it, the version. A spec as a person wrote it has none of these.
func (s *ClusterSpec) TakeSeen(status *ClusterStatus) {
	s.TakeMoved(status)
	from := status.Going()
	if from == nil {
		return
	}
	for name, own := range s.Components {
		theirs := from.Components[name]
		if own.Adopt == nil || theirs.Adopt == nil {
			continue
		}
		if s.Foreign(name) {
			s.Version = from.Version
		}
		s.See(name, theirs.Adopt.Template, theirs.Replicas)
	}
}

// TakeMoved notes in which StatefulSets the members of adopted components are: in those that the spec names, unless an upgrade moved them.
func (s *ClusterSpec) TakeMoved(status *ClusterStatus) {
	begun := status.Begun()
	for name, own := range s.Components {
		if own.Adopt == nil {
			continue
		}
		workload := own.Adopt.StatefulSet
		if begun != nil && begun.Components[name].Adopt != nil {
			workload = begun.Components[name].Adopt.Workload()
		}
		s.MoveTo(name, workload)
	}
}

// MoveTo notes the StatefulSet in which the members of an adopted component are.
func (s *ClusterSpec) MoveTo(component, workload string) {
	own := s.Components[component]
	a := *own.Adopt
	if a.Moved = workload; workload == a.StatefulSet {
		a.Moved = "" // a person wrote it
	}
	own.Adopt = &a
	s.Components[component] = own
}

// See notes what was seen of an adopted StatefulSet: the sum of its template and the number of its members.
func (s *ClusterSpec) See(component, template string, replicas *int32) {
	own := s.Components[component]
	a := *own.Adopt
	a.Template = template
	own.Adopt, own.Replicas = &a, replicas
	s.Components[component] = own
}

// Forget leaves out of adoptions what may change at any time: what was seen, but for the version, and the consents.
func (s *ClusterSpec) Forget() {
	for name, own := range s.Components {
		if own.Adopt != nil {
			s.See(name, "", nil)
			s.Components[name].Adopt.Allow, s.Components[name].Adopt.Moved = nil, ""
		}
	}
}

// MemberName is the name of a member: that of the adopted StatefulSet or else cluster and component, and the ordinal.
func (s *ClusterSpec) MemberName(cluster, component string, ordinal int) string {
	workload := cluster + "-" + component
	if a := s.Components[component].Adopt; a != nil {
		workload = a.Workload()
	}
	return workload + "-" + strconv.Itoa(ordinal)
}

// Adopts says whether a workload of the Cluster is somebody else's.
func (s *ClusterSpec) Adopts() bool {
	for _, own := range s.Components {
		if own.Adopt != nil {
			return true
		}
	}
	return false
}

// Begun is the spec that the members ran with when the hop under way began, or what Going is where none is: nil before there are any.
func (s *ClusterStatus) Begun() *ClusterSpec {
	if a := s.Attempt; a != nil && !a.Phase.Ended() && a.Base != nil {
		return &a.Base.Spec
	}
	return s.Going()
}

// Moving is what the hop under way moves of a component; nil if nothing.
func (s *ClusterStatus) Moving(component string) *HopMove {
	a := s.Attempt
	if a == nil || a.Phase.Ended() || int(a.Hop) >= len(a.Hops) {
		return nil
	}
	return a.Hops[a.Hop].Move(component)
}

// Going is the spec that the members run with, or shall by the attempt that is under way; nil before there are any.
func (s *ClusterStatus) Going() *ClusterSpec {
	switch a := s.Attempt; {
	case a != nil && !a.Phase.Ended():
		return &a.Target.Spec
	case s.Applied != nil:
		return &s.Applied.Spec
	}
	return nil
}
