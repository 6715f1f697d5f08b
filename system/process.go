package system

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"theseus.dev/api/v1alpha1"
)

// Process is how a member is started.
type Process struct {
	// Program is a name to look up, or an absolute path.
	Program string
	// Source is where the Cluster says that the program of this version is, nil where it does not. Its path, if it has
	// one, is Program.
	Source *v1alpha1.Program
	// Image is the container image of the version; empty where the System names none.
	Image string
	// Args without the program word.
	Args []string
	Env  map[string]string
}

// Process says how sc.M is started: with sc.Version and the Cluster's own
// arguments and variables. Options are taken from the spec where sc has none.
// An argument that has expressions and comes out empty is left out, so that an
// option can stand for a whole argument.
func (s *System) Process(component string, spec *v1alpha1.ClusterSpec, sc *Scope) (Process, error) {
	c := s.Component(component)
	if c == nil {
		return Process{}, fmt.Errorf("system %s has no component %q", s.Name(), component)
	}
	if sc.Options == nil {
		with := *sc
		with.Options = s.Options(spec)
		sc = &with
	}
	p := Process{}
	if err := s.program(&p, c, spec, sc); err != nil {
		return Process{}, err
	}
	own := spec.Components[component]
	var err error
	if p.Image, err = s.Expand(s.imageTemplate(c, &own), sc); err != nil {
		return Process{}, fmt.Errorf("image: %w", err)
	}
	if p.Args, err = s.args(slices.Concat(c.api.Start[1:], own.Args), sc); err != nil {
		return Process{}, err
	}
	p.Env, err = s.env(c.api.Env, own.Env, sc)
	return p, err
}

func (s *System) program(p *Process, c *Component, spec *v1alpha1.ClusterSpec, sc *Scope) error {
	if source, ok := s.programOf(spec, sc.Version); ok {
		p.Source = &source
		if source.Path != "" {
			p.Program = source.Path
			return nil
		}
	}
	var err error
	p.Program, err = s.Expand(s.programTemplate(c), sc)
	return err
}

// programTemplate is the template of the program's name, or the first word of
// the start command where there is none.
func (s *System) programTemplate(c *Component) string {
	for _, t := range []string{c.api.Program, s.api.Versions.Program} {
		if t != "" {
			return t
		}
	}
	return c.api.Start[0]
}

// imageTemplate is the Cluster's own, or the System's; empty where there is none.
func (s *System) imageTemplate(c *Component, own *v1alpha1.ComponentSpec) string {
	return cmp.Or(own.Image, c.api.Image, s.api.Versions.Image)
}

// programOf finds what a Cluster says about the program of a version, however
// the version is written there.
func (s *System) programOf(spec *v1alpha1.ClusterSpec, version string) (v1alpha1.Program, bool) {
	if p, ok := spec.Programs[version]; ok {
		return p, true
	}
	for _, v := range slices.Sorted(maps.Keys(spec.Programs)) {
		if s.SameVersion(v, version) {
			return spec.Programs[v], true
		}
	}
	return v1alpha1.Program{}, false
}

func (s *System) args(templates []string, sc *Scope) ([]string, error) {
	args := make([]string, 0, len(templates))
	for _, source := range templates {
		arg, err := s.Expand(source, sc)
		if err != nil {
			return nil, err
		}
		if arg == "" && source != "" {
			continue
		}
		args = append(args, arg)
	}
	return args, nil
}

func (s *System) env(of, own map[string]string, sc *Scope) (map[string]string, error) {
	env := maps.Clone(of)
	if env == nil {
		env = map[string]string{}
	}
	maps.Copy(env, own)
	for name, source := range env {
		value, err := s.Expand(source, sc)
		if err != nil {
			return nil, fmt.Errorf("variable %s: %w", name, err)
		}
		env[name] = value
	}
	return env, nil
}

// Revision is a short hash of everything that makes a member's process what it
// is: members with another revision are outdated. A question, a rule, the
// policy or another component do not count, so repairing them restarts nobody.
// How many members there are and where does not count either.
func (s *System) Revision(p *v1alpha1.Pinned, component, version string) string {
	c := s.Component(component)
	if c == nil {
		return ""
	}
	own := p.Spec.Components[component]
	if own.Adopt != nil {
		return s.adoptedRevision(p, component, version)
	}
	source, _ := s.programOf(&p.Spec, version)
	parts := []any{
		version, p.Restart, s.programTemplate(c), s.api.Versions.Image, source,
		c.api.Start, c.api.Env, c.api.Ports, c.api.Stop,
		s.Options(&p.Spec), own.Args, own.Env, own.TLS,
	}
	// What came later counts only where it is set: a new Theseus must find the revisions that an older one made.
	for _, later := range []any{cmp.Or(own.Image, c.api.Image), c.api.Pod, own.Pod} {
		if !reflect.ValueOf(later).IsZero() {
			parts = append(parts, later)
		}
	}
	text, err := json.Marshal(parts)
	if err != nil {
		panic(err) // strings, maps of strings and numbers always marshal
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])[:12]
}
