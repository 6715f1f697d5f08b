package system

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"sync"

	"theseus.dev/api/v1alpha1"
)

// System is a compiled System. It never changes and may be used by any number
// of goroutines at once.
type System struct {
	api        *v1alpha1.System
	hash       string
	source     *v1alpha1.System
	warnings   []string
	listed     []listed
	edges      []edge
	components []*Component
	needs      map[string]*Rule
	rules      []*optionRule
	verify     [][]*Rule
	finalized  []*Rule
	actions    map[string]*v1alpha1.Action
	compiled   map[string]*expression // by source
	templates  map[string]*template   // by source
	then       [][]string             // the values of then that expressions select
	thenWhole  bool                   // or all of it
	late       late
}

// Compile checks a System and makes it usable. It works on a copy with the
// defaults applied. The error is Errors: everything that is wrong, in the
// order of the file.
func Compile(in *v1alpha1.System) (*System, error) { return compile(in, false) }

// CompileKept is Compile for a System that was compiled before, maybe by an earlier Theseus, and that an attempt may be on its way with.
// It leaves out the checks that only keep new Systems from asking for what nobody does: refusing such a one late would strand a Cluster.
// Who calls it knows by the hash that it is the same System.
func CompileKept(in *v1alpha1.System) (*System, error) { return compile(in, true) }

func compile(in *v1alpha1.System, kept bool) (*System, error) {
	s := &System{
		api:       in.DeepCopy(),
		needs:     map[string]*Rule{},
		actions:   map[string]*v1alpha1.Action{},
		compiled:  map[string]*expression{},
		templates: map[string]*template{},
	}
	setDefaults(s.api)
	c := &checker{s: s, kept: kept}
	c.system()
	if err := c.errs.OrNil(); err != nil {
		return nil, err
	}
	hash, err := hashOf(in)
	if err != nil {
		return nil, err
	}
	s.hash, s.source = hash, in.DeepCopy()
	return s, nil
}

// hashOf is the SHA-256 of the name and the content. JSON of our own types has
// its fields in a fixed order and its maps sorted.
func hashOf(api *v1alpha1.System) (string, error) {
	text, err := json.Marshal(struct {
		Name string              `json:"name"`
		Spec v1alpha1.SystemSpec `json:"spec"`
	}{api.Name, api.SystemSpec})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// Name of the System.
func (s *System) Name() string { return s.api.Name }

// Hash of the content as it was written, hexadecimal SHA-256. Defaults are not in it, so that a later Theseus with a
// new default finds the Systems again that an earlier one kept.
func (s *System) Hash() string { return s.hash }

// Source is the System as it was written: compiled again it has the same hash. It must not be changed.
func (s *System) Source() *v1alpha1.System { return s.source }

// API is the System as data, defaults applied. It must not be changed.
func (s *System) API() *v1alpha1.System { return s.api }

// Warnings are what is allowed but likely not meant.
func (s *System) Warnings() []string { return s.warnings }

// Components in the order in which an upgrade replaces them.
func (s *System) Components() []*Component { return s.components }

// Component by name, nil where there is none.
func (s *System) Component(name string) *Component {
	for _, c := range s.components {
		if c.api.Name == name {
			return c
		}
	}
	return nil
}

// Need is a named rule about the whole cluster, nil where there is none.
func (s *System) Need(name string) *Rule { return s.needs[name] }

// Verify are the rules of an edge that must hold once all members are replaced.
func (s *System) Verify(edge int) []*Rule { return s.verify[edge] }

// Finalized confirms that a hop of the edge is finalized; nil where the edge does not say.
func (s *System) Finalized(edge int) *Rule { return s.finalized[edge] }

// Options are the values of all options that a Cluster has: its own, else the
// defaults.
func (s *System) Options(spec *v1alpha1.ClusterSpec) map[string]string {
	options := make(map[string]string, len(s.api.Options))
	for name, option := range s.api.Options {
		options[name] = option.Default
	}
	for name, value := range spec.Options {
		options[name] = value
	}
	return options
}

// late holds templates that came with a Cluster and were compiled when first
// used. It is emptied when it grows, so that edits do not add up.
type late struct {
	sync.Mutex
	templates map[string]*template
}

const maxLate = 512

// templateOf finds or compiles a template.
func (s *System) templateOf(source string) (*template, error) {
	if t := s.templates[source]; t != nil {
		return t, nil
	}
	s.late.Lock()
	defer s.late.Unlock()
	if t := s.late.templates[source]; t != nil {
		return t, nil
	}
	t, err := newTemplate(source, newExpression)
	if err != nil {
		return nil, err
	}
	if s.late.templates == nil || len(s.late.templates) >= maxLate {
		s.late.templates = map[string]*template{}
	}
	s.late.templates[source] = t
	return t, nil
}
