package manifest

import (
	"fmt"
	"maps"
	"slices"

	"theseus.dev/api/v1alpha1"
)

// maxStatefulSet is how long the name of a StatefulSet can be that has pods: their revisions are named by it, in a label.
const maxStatefulSet = 52

// adopt checks the adoption of one component. A Cluster that adopts says nothing of how members are made.
func (v *validator) adopt(path, name string, own v1alpha1.ComponentSpec, component *v1alpha1.Component) {
	a := own.Adopt
	if a == nil {
		return
	}
	at := path + ".adopt"
	if component != nil && component.Workload == v1alpha1.WorkloadDeployment {
		v.Add(at, "", "is for components that keep data, and members of "+name+" are pods of a Deployment", "leave it away")
	}
	switch {
	case a.StatefulSet == "":
		v.Add(at+".statefulSet", "", "is missing", "name the StatefulSet")
	case len(a.StatefulSet) > maxStatefulSet:
		v.Add(at+".statefulSet", a.StatefulSet, fmt.Sprintf("is longer than %d characters", maxStatefulSet), "no StatefulSet with pods is called so; correct it")
	}
	if a.Mode == "" {
		v.Add(at+".mode", "", "is missing", "write Order if somebody else changes the image, and Version if Theseus shall")
	}
	enum(v, at+".mode", a.Mode, v1alpha1.AdoptOrder, v1alpha1.AdoptVersion)
	for i, c := range a.Allow {
		enum(v, fmt.Sprintf("%s.allow.%d", at, i), c, v1alpha1.SwitchToOnDelete, v1alpha1.TakeImage)
	}
	if a.Template != "" {
		v.Add(at+".template", a.Template, "is what Theseus notes in its own copies", "leave it away")
	}
	if a.Mode == v1alpha1.AdoptOrder {
		v.useless(path+".image", own.Image != "", "mode Order leaves the image to whoever owns "+a.Object())
		v.useless(at+".allow", a.Allows(v1alpha1.TakeImage), "TakeImage is for mode Version: mode Order writes no image")
	}
	for _, f := range []struct {
		field string
		set   bool
	}{
		{"replicas", own.Replicas != nil}, {"storage", own.Storage != ""}, {"storageClass", own.StorageClass != ""}, {"pod", own.Pod != nil},
		{"addresses", len(own.Addresses) > 0}, {"args", len(own.Args) > 0}, {"env", len(own.Env) > 0},
	} {
		v.useless(path+"."+f.field, f.set, a.Object()+" says it, which is adopted")
	}
	v.adoptedOnce(at+".statefulSet", name, a)
}

func (v *validator) useless(path string, set bool, why string) {
	if set {
		v.Add(path, "", "is of no use: "+why, "leave it away")
	}
}

// adoptedOnce refuses to adopt what is another component's.
func (v *validator) adoptedOnce(at, name string, a *v1alpha1.Adopt) {
	for _, other := range slices.Sorted(maps.Keys(v.spec.Components)) {
		if b := v.spec.Components[other].Adopt; b != nil && other < name && b.StatefulSet == a.StatefulSet {
			v.Add(at, a.StatefulSet, "is adopted by component "+other, "name another one: the pods of one StatefulSet are members of one component")
		}
	}
}

// ValidateHere says what a Cluster has that one machine has not.
func ValidateHere(c *v1alpha1.Cluster) Errors {
	v := &validator{}
	for _, name := range slices.Sorted(maps.Keys(c.Spec.Components)) {
		if c.Spec.Components[name].Adopt != nil {
			v.Add("spec.components."+name+".adopt", "", "is for Kubernetes, and here is one machine", "leave it away, or apply the Cluster with kubectl")
		}
	}
	return v.Errors
}
