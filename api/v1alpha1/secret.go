package v1alpha1

import (
	"slices"
	"strings"
)

// GrantAnnotation on a secret names the namespaces whose objects may refer to it from elsewhere, with commas between them.
const GrantAnnotation = "theseus.dev/granted-to"

// DefaultKey is the key of a secret where none is named.
const DefaultKey = "key.json"

// In is the namespace of the secret, for an object of a namespace that refers to it.
func (k *SecretKey) In(namespace string) string {
	if k.Namespace == "" {
		return namespace
	}
	return k.Namespace
}

// KeyName is the key whose value is read.
func (k *SecretKey) KeyName() string {
	if k.Key == "" {
		return DefaultKey
	}
	return k.Key
}

// Granted says whether the value of a GrantAnnotation names a namespace.
func Granted(to, namespace string) bool {
	return slices.ContainsFunc(strings.Split(to, ","), func(name string) bool { return strings.TrimSpace(name) == namespace })
}
