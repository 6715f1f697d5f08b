package admission

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// Secret is what is looked at of a secret. Values are never read.
type Secret struct {
	Keys      []string
	GrantedTo string // the annotation
}

// secretUse is a key of a secret that a field of a spec refers to.
type secretUse struct {
	field string
	ref   v1alpha1.SecretKey
	named bool // the field is the name alone
}

// part is the field that says a part of the reference.
func (u secretUse) part(name string) string {
	if u.named {
		return u.field
	}
	return u.field + "." + name
}

// askingWith are the secrets with which members are asked.
func askingWith(spec *v1alpha1.ClusterSpec) []secretUse {
	var uses []secretUse
	for _, name := range slices.Sorted(maps.Keys(spec.Credentials)) {
		if ref := spec.Credentials[name].Secret; ref != nil {
			uses = append(uses, secretUse{field: "spec.credentials." + name + ".secret", ref: *ref})
		}
	}
	for _, component := range slices.Sorted(maps.Keys(spec.Components)) {
		ports := spec.Components[component].TLS
		for _, port := range slices.Sorted(maps.Keys(ports)) {
			if ports[port].Secret == "" {
				continue
			}
			field := "spec.components." + component + ".tls." + port + ".secret"
			keys := []string{"ca.crt"}
			if ports[port].Cert != "" {
				keys = append(keys, "tls.crt", "tls.key")
			}
			for _, key := range keys {
				uses = append(uses, secretUse{field: field, ref: v1alpha1.SecretKey{Name: ports[port].Secret, Key: key}, named: true})
			}
		}
	}
	return slices.DeleteFunc(uses, func(u secretUse) bool { return u.ref.Name == "" }) // which is refused by itself
}

func (u secretUse) at(namespace string) types.NamespacedName {
	return types.NamespacedName{Namespace: u.ref.In(namespace), Name: u.ref.Name}
}

// check says what is wrong with what was found, in the namespace of who refers to it.
func (u secretUse) check(v *Verdict, namespace string, found Known[Secret]) {
	if u.ref.Name == "" {
		return
	}
	at := u.at(namespace)
	switch s := found.Value; {
	case found.Err != nil:
		v.unknown(u.field, "secret "+at.String(), found.Err)
	case s == nil:
		v.refuse(u.part("name"), at.Name, "is no secret in namespace "+at.Namespace, "create it first")
	case at.Namespace != namespace && !v1alpha1.Granted(s.GrantedTo, namespace):
		v.refuse(u.part("namespace"), at.Namespace, "does not grant its secret "+at.Name+" to namespace "+namespace,
			fmt.Sprintf("annotate the secret there with %s: %q, or copy it", v1alpha1.GrantAnnotation, namespace))
	case !slices.Contains(s.Keys, u.ref.KeyName()):
		v.refuse(u.part("key"), u.ref.KeyName(), "is no key of the secret "+at.String(), system.OneOf(u.ref.KeyName(), s.Keys))
	}
}

// secrets checks what members are asked with when it is written, and before members are replaced.
func (e *edit) secrets() {
	uses := askingWith(&e.new.Spec)
	if c := e.change(); c != created && c != moved && reflect.DeepEqual(uses, askingWith(&e.old.Spec)) {
		return
	}
	for _, u := range uses {
		u.check(&e.Verdict, e.new.Namespace, e.facts.Secrets[u.at(e.new.Namespace)])
	}
}
