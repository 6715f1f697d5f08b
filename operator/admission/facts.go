package admission

import (
	"fmt"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// Known is the outcome of a look-up: a value, nothing where there is none, or an error where nobody knows.
type Known[T any] struct {
	Value *T
	Err   error
}

// PlaceFacts are about a place for backups.
type PlaceFacts struct {
	// Secret that the place refers to; not looked at where it refers to none.
	Secret Known[Secret]
	// Claim that the place refers to; its value has no meaning.
	Claim Known[struct{}]
}

// SystemFacts are about a System by name.
type SystemFacts struct {
	Known[system.System]
	// Broken says why there is none that can be used: its name is not known, or it does not compile.
	Broken error
}

// check says what is wrong with the System, if anything.
func (f *SystemFacts) check(v *Verdict, field, name string) bool {
	switch {
	case f.Err != nil:
		v.unknown(field, fmt.Sprintf("System %q", name), f.Err)
	case f.Broken != nil:
		v.refuse(field, name, "cannot be used: "+f.Broken.Error(), "")
	case f.Value == nil:
		v.refuse(field, name, "is not known", "apply the System first, or use one of those that \"theseus systems\" lists")
	default:
		return true
	}
	return false
}

// check says what is wrong with a place in Kubernetes, in the namespace of who refers to it.
func (f *PlaceFacts) check(v *Verdict, field, namespace string, place *v1alpha1.BackupPlace) {
	switch ref := place.Secret; {
	case ref == nil:
	case ref.In(namespace) == namespace && apierrors.IsForbidden(f.Secret.Err): // its kubelets mount it, and the operator needs no leave
		v.warn(fmt.Sprintf("%s.secret: secret %s was not looked for, because the operator may not read it; to have it looked at beforehand, add it to rbac.secretNames of the chart", field, ref.Name))
	default:
		secretUse{field: field + ".secret", ref: *ref}.check(v, namespace, f.Secret)
	}
	file := isFile(place)
	switch {
	case file && place.Claim == "":
		v.refuse(field+".claim", "", "is missing, and a place of the scheme file needs it in Kubernetes", "name a PersistentVolumeClaim in namespace "+namespace)
	case !file && place.Claim != "":
		v.refuse(field+".claim", place.Claim, "is of no use for a place that is not of the scheme file", "leave it away")
	case place.Claim == "":
	case f.Claim.Err != nil:
		v.unknown(field+".claim", fmt.Sprintf("PersistentVolumeClaim %s/%s", namespace, place.Claim), f.Claim.Err)
	case f.Claim.Value == nil:
		v.refuse(field+".claim", place.Claim, "is no PersistentVolumeClaim in namespace "+namespace, "create it first")
	}
}

func isFile(place *v1alpha1.BackupPlace) bool {
	u, err := url.Parse(place.URL)
	return err == nil && u.Scheme == "file"
}
