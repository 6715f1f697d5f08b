package system

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"theseus.dev/api/v1alpha1"
)

// ImageOf is the image of a component's members in a version, without speaking of one member.
func (s *System) ImageOf(component string, spec *v1alpha1.ClusterSpec, version string) (string, error) {
	c := s.Component(component)
	if c == nil {
		return "", fmt.Errorf("system %s has no component %q", s.Name(), component)
	}
	own := spec.Components[component]
	return s.Expand(s.imageTemplate(c, &own), &Scope{Version: version, Options: s.Options(spec)})
}

// adoptedRevision depends on nothing but what an adopted workload shows: how a System would start its members is not asked.
func (s *System) adoptedRevision(p *v1alpha1.Pinned, component, version string) string {
	a := p.Spec.Components[component].Adopt
	if a.Mode == v1alpha1.AdoptOrder {
		return AdoptedRevision(a.Template, "", 0)
	}
	image, err := s.ImageOf(component, &p.Spec, version)
	if err != nil {
		image = err.Error() // nothing has this image: whoever would write it gets the error again
	}
	return AdoptedRevision(a.Template, image, p.Restart)
}

// AdoptedRevision is the revision of members that were made from the template of an adopted workload: a sum of what somebody else says in
// it, and the image and the count of restarts where Theseus writes these.
func AdoptedRevision(template, image string, restart int64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%d", template, image, restart))
	return hex.EncodeToString(sum[:])[:12]
}
