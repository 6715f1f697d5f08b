package system

import (
	"slices"

	"theseus.dev/api/v1alpha1"
)

// Component is a sort of members with its compiled expressions.
type Component struct {
	api     *v1alpha1.Component
	ready   *expression
	version *expression
	role    *expression // nil where members have no roles
	settled []*Rule
	onlyTo  map[string]*expression // handoverOnlyTo by role
}

// Name of the component.
func (c *Component) Name() string { return c.api.Name }

// API is the component as data, defaults applied. It must not be changed.
func (c *Component) API() *v1alpha1.Component { return c.api }

// Replicas is how many members of the component a Cluster wants.
func (c *Component) Replicas(spec *v1alpha1.ClusterSpec) int {
	if r := spec.Components[c.api.Name].Replicas; r != nil {
		return int(*r)
	}
	return int(*c.api.Replicas)
}

// Ready says whether sc.M is ready to serve, and for people why it is not yes.
func (c *Component) Ready(sc *Scope) (Answer, string) { return c.ready.is(sc) }

// Version is the version that sc.M says it runs; false where it is not known.
func (c *Component) Version(sc *Scope) (string, bool) {
	v, ok := c.version.text(sc)
	return v, ok && v != ""
}

// Role is the role of sc.M: "" where the component has none; false where it is
// not known or is none of the declared ones.
func (c *Component) Role(sc *Scope) (string, bool) {
	if c.role == nil {
		return "", true
	}
	role, ok := c.role.text(sc)
	if !ok || c.RoleIndex(role) < 0 {
		return "", false
	}
	return role, true
}

// RoleIndex is the place of a role in the order of replacement, -1 where it is
// not declared.
func (c *Component) RoleIndex(role string) int {
	return slices.IndexFunc(c.api.Roles, func(r v1alpha1.Role) bool { return r.Name == role })
}

// Settled are the rules that say that the group has finished what the last
// change set off.
func (c *Component) Settled() []*Rule { return c.settled }

// MayTakeOver says whether sc.To may take a role, as far as the System
// restricts it; that it must be ready is the caller's rule.
func (c *Component) MayTakeOver(role string, sc *Scope) (Answer, string) {
	e := c.onlyTo[role]
	if e == nil {
		return Yes, ""
	}
	return e.is(sc)
}
