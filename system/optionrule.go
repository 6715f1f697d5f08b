package system

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"

	"theseus.dev/api/v1alpha1"
)

// optionRule is something that options must keep, compiled.
type optionRule struct {
	api       *v1alpha1.OptionRule
	condition *expression
	versions  versions // zero: all
	ranged    bool
	options   []string // that the rule speaks of
}

func (c *checker) optionRules() {
	seen := map[string]bool{}
	for i := range c.api().Rules {
		r := &c.api().Rules[i]
		path := fmt.Sprintf("rules.%d", i)
		c.name(path+".rule", r.Rule, rulePattern, 63, "letters, digits, spaces, - and _")
		if r.Rule != "" {
			path = "rules." + r.Rule
		}
		if seen[r.Rule] {
			c.errs.Add(path, r.Rule, "is the name of two rules of one list", "give each a name of its own")
		}
		seen[r.Rule] = true
		if r.Remedy == "" {
			c.errs.Add(path+".remedy", "", "is missing", "say what a person is to do where the rule is broken")
		}
		rule := &optionRule{api: r, condition: c.expression(path+".is", r.Is, place{vars: optionVariables, noAnswers: true}, cel.BoolType)}
		if r.Versions != "" {
			rule.versions, rule.ranged = c.ranged(path+".versions", r.Versions), true
		}
		if rule.condition == nil {
			continue
		}
		for _, ch := range rule.condition.uses.chains {
			if ch.root == "options" && len(ch.keys) > 0 && !slices.Contains(rule.options, ch.keys[0]) {
				rule.options = append(rule.options, ch.keys[0])
			}
		}
		c.s.rules = append(c.s.rules, rule)
	}
}

// CheckOptions says what is wrong with the options of a Cluster for its version: their names, their values, and what
// the System's rules say about them together, but for those that only warn.
func (s *System) CheckOptions(spec *v1alpha1.ClusterSpec) Errors {
	var errs Errors
	bad := map[string]bool{}
	known := s.api.Options
	version, unread := s.parse(spec.Version)
	for _, name := range slices.Sorted(maps.Keys(spec.Options)) {
		before := len(errs)
		path, value := optionPath(name), spec.Options[name]
		option, ok := known[name]
		if !ok {
			errs.Add(path, "", "is no option of "+s.Name(), OneOf(name, slices.Collect(maps.Keys(known))))
			continue
		}
		if option.Pattern != "" && !regexp.MustCompile(`^(?:`+option.Pattern+`)$`).MatchString(value) {
			errs.Add(path, value, "does not match "+option.Pattern, "write a value that does")
		}
		if option.Since != "" && unread == nil && s.Compare(spec.Version, option.Since) < 0 {
			errs.Add(path, value, "is an option from version "+option.Since+" on", "leave it away with version "+spec.Version)
		}
		bad[name] = len(errs) > before
	}
	if unread != nil {
		return errs
	}
	return append(errs, s.brokenRules(spec, version, false, bad)...)
}

// OptionWarnings says which rules that only warn the options of a valid Cluster break.
func (s *System) OptionWarnings(spec *v1alpha1.ClusterSpec) []string {
	version, err := s.parse(spec.Version)
	if err != nil {
		return nil
	}
	var list []string
	for _, e := range s.brokenRules(spec, version, true, nil) {
		list = append(list, e.Error())
	}
	return list
}

// brokenRules are those that refuse, or those that warn, without those that speak of an option that is bad by itself.
func (s *System) brokenRules(spec *v1alpha1.ClusterSpec, version number, warn bool, bad map[string]bool) (errs Errors) {
	sc := &Scope{Version: spec.Version, Options: s.Options(spec), Replicas: s.replicasOf(spec)}
	for _, r := range s.rules {
		if r.api.Warn != warn || r.ranged && !r.versions.match(version) || slices.ContainsFunc(r.options, func(o string) bool { return bad[o] }) {
			continue
		}
		if answer, why := r.condition.is(sc); answer != Yes {
			errs = append(errs, r.broken(spec, sc, answer, why))
		}
	}
	return errs
}

func optionPath(name string) string { return "spec.options." + name }

func (s *System) replicasOf(spec *v1alpha1.ClusterSpec) map[string]int64 {
	replicas := map[string]int64{}
	for i := range s.api.Components {
		c := &s.api.Components[i]
		replicas[c.Name] = int64(*c.Replicas)
		if r := spec.Components[c.Name].Replicas; r != nil {
			replicas[c.Name] = int64(*r)
		}
	}
	return replicas
}

// broken names the first option of the rule that the Cluster sets, and shows all values that the rule is about.
func (r *optionRule) broken(spec *v1alpha1.ClusterSpec, sc *Scope, answer Answer, why string) *Error {
	e := &Error{Path: "spec.options", Problem: "does not keep the rule \"" + r.api.Rule + "\"", Remedy: r.api.Remedy}
	if answer == Unknown {
		e.Problem = "cannot be judged by the rule \"" + r.api.Rule + "\": " + why
	}
	var values []string
	for _, name := range r.options {
		values = append(values, name+"="+sc.Options[name])
		if _, set := spec.Options[name]; set && e.Path == "spec.options" {
			e.Path = optionPath(name)
		}
	}
	if e.Path == "spec.options" && len(r.options) > 0 {
		e.Path = optionPath(r.options[0])
	}
	e.Value = strings.Join(values, ", ")
	return e
}
