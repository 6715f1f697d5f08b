package manifest

import (
	"fmt"
	"maps"
	"slices"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// Warnings are what is allowed in a valid Cluster and likely not meant.
func Warnings(c *v1alpha1.Cluster, s *system.System) []string {
	var list []string
	if !s.IsListed(c.Spec.Version) {
		list = append(list, fmt.Sprintf("spec.version: %q is not listed by %s: nobody says that it works", c.Spec.Version, s.Name()))
	}
	for _, component := range s.Components() {
		list = append(list, unavailable(c, component)...)
	}
	return append(list, credentialWarnings(c, s)...)
}

// unavailable warns where an upgrade must or may stop all members of a component.
func unavailable(c *v1alpha1.Cluster, component *system.Component) []string {
	replicas := component.Replicas(&c.Spec)
	budget := max(1, int(c.Spec.Upgrade.MaxUnavailable))
	path := "spec.components." + component.Name()
	switch {
	case replicas == 1 && !c.Spec.Upgrade.AllowDowntime:
		return []string{path + ": a group of one cannot be upgraded while it serves; set spec.upgrade.allowDowntime to let it stop for a moment"}
	case replicas > 1 && budget >= replicas:
		return []string{fmt.Sprintf("spec.upgrade.maxUnavailable: %d lets all %d members of %s be unavailable at once", budget, replicas, component.Name())}
	}
	return nil
}

// credentialWarnings are about credentials that a question refers to and the
// Cluster does not have: members may do without.
func credentialWarnings(c *v1alpha1.Cluster, s *system.System) []string {
	var list []string
	missing := map[string]bool{}
	for _, component := range s.Components() {
		ask := component.API().Ask
		for _, question := range slices.Sorted(maps.Keys(ask)) {
			name := ask[question].Credentials
			if _, ok := c.Spec.Credentials[name]; name == "" || ok || missing[name] {
				continue
			}
			missing[name] = true
			list = append(list, fmt.Sprintf("spec.credentials.%s: is missing, and the question %s of %s refers to it", name, question, component.Name()))
		}
	}
	return list
}
