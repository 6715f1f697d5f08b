package admission

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// AdoptedFacts are about a StatefulSet that is to be adopted.
type AdoptedFacts = Known[appsv1.StatefulSet]

func (l *lookup) adopted(ctx context.Context, c *v1alpha1.Cluster) map[string]AdoptedFacts {
	facts := map[string]AdoptedFacts{}
	for name, own := range c.Spec.Components {
		if own.Adopt != nil && own.Adopt.StatefulSet != "" {
			facts[name] = get[appsv1.StatefulSet](ctx, l.live, c.Namespace, own.Adopt.StatefulSet)
		}
	}
	return facts
}

// seen is a Cluster with what the status says of the StatefulSets that it adopts, as the controller will see it.
func (e *edit) seen(c *v1alpha1.Cluster) *v1alpha1.Cluster {
	if e.old == nil || e.old.Status.Going() == nil || !c.Spec.Adopts() {
		return c
	}
	c = c.DeepCopy()
	c.Spec.TakeSeen(&e.old.Status)
	return c
}

// adoptKept refuses another adoption than that with which the Cluster was made. Consents may change.
func (e *edit) adoptKept(path string, old, new *v1alpha1.Adopt) {
	const remedy = "delete the Cluster, which leaves an adopted StatefulSet and its pods alone, and make it anew"
	switch {
	case (old == nil) != (new == nil):
		e.refuse(path, "", "can neither be added nor taken away", remedy)
	case old == nil:
	case old.StatefulSet != new.StatefulSet:
		e.refuse(path+".statefulSet", new.StatefulSet, fmt.Sprintf("cannot change (it is %s)", old.StatefulSet), remedy)
	case old.Mode != new.Mode:
		e.refuse(path+".mode", string(new.Mode), fmt.Sprintf("cannot change (it is %s)", old.Mode), remedy)
	case old.Container != new.Container:
		e.refuse(path+".container", new.Container, fmt.Sprintf("cannot change (it is %q)", old.Container), remedy)
	}
}

// adopted checks the StatefulSets that a new Cluster adopts, as far as they are there. What only has to be done before the adoption is a warning: the
// controller waits for it.
func (e *edit) adopted() {
	for _, component := range e.sys.Components() {
		own := e.new.Spec.Components[component.Name()].Adopt
		if own == nil || own.StatefulSet == "" {
			continue
		}
		path, facts := "spec.components."+component.Name()+".adopt", e.facts.Adopted[component.Name()]
		switch {
		case facts.Err != nil:
			e.unknown(path+".statefulSet", own.Object(), facts.Err)
		case facts.Value == nil:
			e.warn(fmt.Sprintf("%s: %s is not in namespace %s yet; the Cluster waits for it", path, own.Object(), e.new.Namespace))
		default:
			e.adoptable(path, own, facts.Value)
			e.hintWriters(component.Name(), own, facts.Value)
		}
	}
}

// hintWriters warns of who else writes the image: an upgrade would wait for them, and that is better known by day.
func (e *edit) hintWriters(component string, own *v1alpha1.Adopt, set *appsv1.StatefulSet) {
	if own == nil || own.Mode != v1alpha1.AdoptVersion || own.Allows(v1alpha1.TakeImage) {
		return
	}
	container := cmp.Or(own.Container, component)
	if writers := writersOf(set, fieldpath.MakePathOrDie("spec", "template", "spec", "containers", fieldpath.KeyByFields("name", container), "image")); len(writers) > 0 {
		e.warn(fmt.Sprintf("spec.components.%s.adopt: the image of container %s of %s is also written by %s; an upgrade waits until what that applies leaves the image out, or until allow has TakeImage",
			component, container, own.Object(), strings.Join(writers, ", ")))
	}
}

// writersOf are the field managers of a field, without the operator's own.
func writersOf(o metav1.Object, field fieldpath.Path) (names []string) {
	for _, m := range o.GetManagedFields() {
		set := &fieldpath.Set{}
		if m.FieldsV1 == nil || set.FromJSON(m.FieldsV1.GetRawReader()) != nil || !set.Has(field) {
			continue // what cannot be read is found out by the apply
		}
		if !slices.Contains(ownManagers, m.Manager) && !slices.Contains(names, m.Manager) {
			names = append(names, m.Manager)
		}
	}
	return names
}

// ownManagers are the field managers of the operator, as package operator names them.
var ownManagers = []string{"theseus", "theseus-move"}

func (e *edit) adoptable(path string, own *v1alpha1.Adopt, set *appsv1.StatefulSet) {
	if o := metav1.GetControllerOf(set); o != nil && o.Kind == v1alpha1.KindCluster {
		e.refuse(path+".statefulSet", own.StatefulSet, "was made by Cluster "+o.Name, "name another one")
	}
	containers := set.Spec.Template.Spec.Containers
	var names []string
	for _, c := range containers {
		names = append(names, c.Name)
	}
	if own.Container != "" && !slices.Contains(names, own.Container) {
		e.refuse(path+".container", own.Container, "is no container of "+own.Object(), system.OneOf(own.Container, names))
	}
	if set.Spec.UpdateStrategy.Type != appsv1.OnDeleteStatefulSetStrategyType && !own.Allows(v1alpha1.SwitchToOnDelete) {
		e.warn(fmt.Sprintf("%s: the update strategy of %s is %s; the Cluster waits until it is OnDelete, or until allow has SwitchToOnDelete", path, own.Object(), set.Spec.UpdateStrategy.Type))
	}
}

// hintAdopted warns of a version that is not looked at, or that will wait.
func (e *edit) hintAdopted() {
	if e.old == nil || e.old.Spec.Version == e.new.Spec.Version {
		return
	}
	for _, component := range e.sys.Components() {
		own := e.new.Spec.Components[component.Name()].Adopt
		if e.new.Spec.Foreign(component.Name()) {
			e.warn(fmt.Sprintf("spec.version: changes nothing, because component %s is adopted in mode Order: the template of %s says the version", component.Name(), own.Object()))
		} else if set := e.facts.Adopted[component.Name()].Value; set != nil {
			e.hintWriters(component.Name(), own, set)
		}
	}
}

// checkAdopts keeps one workload with one Cluster.
func checkAdopts(v *Verdict, c *v1alpha1.Cluster, s *system.System, o Other) {
	for _, component := range s.Components() {
		path := "spec.components." + component.Name()
		own := c.Spec.Components[component.Name()].Adopt
		if own == nil {
			if name := WorkloadName(c.Name, component.Name()); slices.Contains(o.Adopts, name) {
				v.refuse("metadata.name", c.Name, fmt.Sprintf("collides with cluster %s, which adopts StatefulSet %s", o.Name, name), "use another name")
			}
			continue
		}
		if slices.Contains(o.Adopts, own.StatefulSet) {
			v.refuse(path+".adopt.statefulSet", own.StatefulSet, "is adopted by cluster "+o.Name, "name another one, or delete that cluster, which leaves the StatefulSet and its pods alone")
		}
		for _, theirs := range o.Components {
			if WorkloadName(o.Name, theirs) == own.StatefulSet {
				v.refuse(path+".adopt.statefulSet", own.StatefulSet, "belongs to cluster "+o.Name, "name another one")
			}
		}
	}
}
