package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// Warnings are what is allowed in a valid Cluster and likely not meant.
func Warnings(c *v1alpha1.Cluster, s *system.System) []string {
	var list []string
	if text := Unlisted(s, c.Spec.Version); text != "" {
		list = append(list, "spec.version: "+text)
	}
	for _, component := range s.Components() {
		list = append(list, unavailable(c, component)...)
	}
	list = append(list, s.OptionWarnings(&c.Spec)...)
	return append(list, credentialWarnings(c, s)...)
}

// Unlisted warns of a version that the System does not list, with the one that was perhaps meant; empty where it is listed.
func Unlisted(s *system.System, version string) string {
	if s.IsListed(version) {
		return ""
	}
	text := fmt.Sprintf("%q is not listed by %s: nobody says that it works", version, s.Name())
	if meant := Meant(s, version); meant != "" {
		text += "; did you mean " + meant + "?"
	}
	return text
}

// Meant is the last listed version that begins with one that is not listed as it is written: 3.7.3 for 3.7, though that is the same version as
// 3.7.0. It is empty where there is none.
func Meant(s *system.System, version string) string {
	list := s.Listed()
	if slices.Contains(list, version) {
		return ""
	}
	for _, listed := range slices.Backward(list) {
		if strings.HasPrefix(listed, version+".") {
			return listed
		}
	}
	return ""
}

// unavailable warns where an upgrade must or may stop all members of a component.
func unavailable(c *v1alpha1.Cluster, component *system.Component) []string {
	replicas := component.Replicas(&c.Spec)
	budget := max(1, int(c.Spec.Upgrade.MaxUnavailable))
	path := "spec.components." + component.Name()
	switch {
	case replicas == 1 && !c.Spec.Upgrade.AllowDowntime:
		return []string{path + ": a group of one cannot be upgraded while it serves; set spec.upgrade.allowDowntime to let it stop for a moment"}
	case replicas == 2 && len(component.API().Roles) > 0:
		return []string{path + ".replicas: 2: a group that votes cannot lose either of two without stopping; run three"}
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
