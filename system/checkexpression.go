package system

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"

	"theseus.dev/api/v1alpha1"
)

// place is where an expression stands: what it may speak of.
type place struct {
	vars variables
	// component whose members m, to and all are; nil where it is not known.
	component *v1alpha1.Component
	// noAnswers is set where members cannot have been asked: before they start.
	noAnswers bool
	// noFolder is set where the folder of a member is not at hand: it runs, and is spoken to.
	noFolder bool
}

// wants are the types that an expression may have, and how to name them.
var wants = map[*cel.Type]struct {
	words string
	types []*cel.Type
}{
	cel.BoolType:   {"true or false", []*cel.Type{cel.BoolType}},
	cel.StringType: {"a text", []*cel.Type{cel.StringType}},
	cel.DoubleType: {"a number", []*cel.Type{cel.DoubleType, cel.IntType, cel.UintType}},
}

// expression compiles one and checks it at its place. It is nil when there was
// an error.
func (c *checker) expression(path, source string, in place, want *cel.Type) *expression {
	if strings.TrimSpace(source) == "" {
		c.errs.Add(path, "", "is missing", "write an expression that is "+wants[want].words)
		return nil
	}
	e, err := c.compile(source)
	if err != nil {
		c.errs.Add(path, source, err.Error(), "write an expression that is "+wants[want].words)
		return nil
	}
	c.placed(path, e, in)
	if e.result.IsExactType(cel.DynType) || slices.ContainsFunc(wants[want].types, e.result.IsExactType) {
		return e
	}
	c.errs.Add(path, source, "is "+withArticle(cel.FormatCELType(e.result)), "write an expression that is "+wants[want].words)
	return nil
}

func withArticle(word string) string {
	if strings.ContainsAny(word[:1], "aeiou") {
		return "an " + word
	}
	return "a " + word
}

// compile compiles every source once.
func (c *checker) compile(source string) (*expression, error) {
	if e := c.s.compiled[source]; e != nil {
		return e, nil
	}
	e, err := newExpression(source)
	if err == nil {
		c.s.compiled[source] = e
	}
	return e, err
}

// template compiles a template with its expressions at their place.
func (c *checker) template(path, source string, in place) {
	t := c.s.templates[source]
	if t == nil {
		var err error
		if t, err = newTemplate(source, c.compile); err != nil {
			c.errs.Add(path, source, err.Error(), "write expressions as ${...}, and $${ for a plain ${")
			return
		}
		c.s.templates[source] = t
	}
	for _, p := range t.parts {
		if p.expr == nil {
			continue
		}
		switch p.expr.result.Kind() {
		case cel.ListKind:
			c.errs.Add(path, source, "has a list where a text is wanted", "make one text of it, as by .join(','), or write an argument for each")
		case cel.MapKind:
			c.errs.Add(path, source, "has a map where a text is wanted", "name one of its values")
		default:
			c.placed(path, p.expr, in)
		}
	}
}

func (c *checker) templateList(path string, list []string, in place) {
	for i, source := range list {
		c.template(fmt.Sprintf("%s.%d", path, i), source, in)
	}
}

func (c *checker) templateMap(path string, entries map[string]string, in place) {
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		c.template(path+"."+name, entries[name], in)
	}
}

// placed checks what an expression speaks of against its place.
func (c *checker) placed(path string, e *expression, in place) {
	for _, name := range e.uses.variables {
		if !slices.Contains(in.vars, name) {
			c.errs.Add(path, e.source, "speaks of "+name+", which there is not here", "use "+strings.Join(in.vars, ", "))
			return
		}
	}
	for _, ch := range e.uses.chains {
		if len(ch.keys) > 0 && !c.selects(path, e, ch, in) {
			return
		}
	}
}

// selects checks one selection: m.health.json, options.quota, reply.status.
func (c *checker) selects(path string, e *expression, ch chain, in place) bool {
	var names []string
	what := ch.root + "." + ch.keys[0]
	switch ch.root {
	case "options":
		names = slices.Collect(maps.Keys(c.api().Options))
	case "reply":
		names = []string{"status", "json", "text"}
	case "replicas":
		for i := range c.api().Components {
			names = append(names, c.api().Components[i].Name)
		}
	case "m", "x", "to", "hand", "then":
		return c.selectsMember(path, e, ch, in)
	default:
		return true
	}
	if slices.Contains(names, ch.keys[0]) {
		return true
	}
	c.errs.Add(path, e.source, "speaks of "+what+", which there is not", OneOf(ch.keys[0], names))
	return false
}

func (c *checker) selectsMember(path string, e *expression, ch chain, in place) bool {
	if in.component == nil {
		return true
	}
	key := ch.keys[0]
	if in.noFolder && key == "data" {
		c.errs.Add(path, e.source, "speaks of the data folder of a member that runs, into which nobody else may write",
			"write to its address, as ${m.host}, or say into: "+string(v1alpha1.IntoFolders))
		return false
	}
	if ch.root != "then" && slices.Contains(memberFields, key) {
		return c.selectsPort(path, e, ch, in)
	}
	if in.noAnswers {
		why := "a member is not asked before it is started"
		if in.noFolder {
			why = "a restore is not told what members answer"
		}
		c.errs.Add(path, e.source, "speaks of "+ch.root+"."+key+", but "+why, OneOf(key, memberFields))
		return false
	}
	questions := slices.Collect(maps.Keys(in.component.Ask))
	if slices.Contains(questions, key) {
		return true
	}
	if ch.root != "then" {
		questions = append(questions, memberFields...)
	}
	c.errs.Add(path, e.source, "speaks of "+ch.root+"."+key+", which is no question of "+in.component.Name, OneOf(key, questions))
	return false
}

// selectsPort checks the port in m.port.client.
func (c *checker) selectsPort(path string, e *expression, ch chain, in place) bool {
	if !slices.Contains([]string{"port", "scheme", "tls"}, ch.keys[0]) || len(ch.keys) < 2 {
		return true
	}
	ports := slices.Collect(maps.Keys(in.component.Ports))
	if slices.Contains(ports, ch.keys[1]) {
		return true
	}
	c.errs.Add(path, e.source, "speaks of the port "+ch.keys[1]+", which "+in.component.Name+" has not", OneOf(ch.keys[1], ports))
	return false
}

// CheckStart checks a template that a Cluster adds to the start of a
// component's members: what it may speak of is what start may.
func (s *System) CheckStart(path, component, source string) Errors {
	// A copy, so that the System itself stays as it was compiled.
	c := &checker{s: &System{api: s.api, compiled: map[string]*expression{}, templates: map[string]*template{}}}
	c.template(path, source, place{vars: startVariables, component: c.known(path, component), noAnswers: true})
	return c.errs
}
