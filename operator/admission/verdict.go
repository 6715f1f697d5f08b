package admission

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// Verdict is what is said about one operation. It is allowed if there is no problem.
type Verdict struct {
	Warnings []string
	Problems []Problem
}

// Problem is one reason to refuse an operation.
type Problem struct {
	// Field of the object, dotted: spec.backup.secret.key.
	Field string
	// Message has the value, what is wrong with it, and what to do.
	Message string
	// Unknown is set where a look-up failed: the same request may be accepted later.
	Unknown bool
}

func (p Problem) String() string {
	if p.Field == "" {
		return p.Message
	}
	return p.Field + ": " + p.Message
}

// Allowed says whether the operation may be done.
func (v *Verdict) Allowed() bool { return len(v.Problems) == 0 }

// Unknown says whether there are only problems that may be gone when the operation is repeated.
func (v *Verdict) Unknown() bool {
	return len(v.Problems) > 0 && !slices.ContainsFunc(v.Problems, func(p Problem) bool { return !p.Unknown })
}

// Message is all problems, a line each.
func (v *Verdict) Message() string {
	lines := make([]string, len(v.Problems))
	for i, p := range v.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// refuse adds a problem. The parts make a sentence: "3.9" is not listed; use 3.7.
func (v *Verdict) refuse(field, value, problem, remedy string) {
	e := system.Error{Value: value, Problem: problem, Remedy: remedy}
	v.add(Problem{Field: field, Message: e.Error()})
}

// unknown adds a problem that nobody can judge now.
func (v *Verdict) unknown(field, what string, err error) {
	v.add(Problem{Field: field, Unknown: true, Message: fmt.Sprintf("%s is not known now: %v; try again, and see the log of the operator if it stays so", what, err)})
}

func (v *Verdict) add(list ...Problem) {
	for _, p := range list {
		if !slices.Contains(v.Problems, p) {
			v.Problems = append(v.Problems, p)
		}
	}
}

func (v *Verdict) warn(list ...string) {
	for _, w := range list {
		if !slices.Contains(v.Warnings, w) {
			v.Warnings = append(v.Warnings, w)
		}
	}
}

// ratchet adds what is wrong now and was not before; what was is only worth a warning.
func (v *Verdict) ratchet(now, before []Problem) {
	for _, p := range now {
		if !p.Unknown && slices.Contains(before, p) {
			v.warn(p.String() + " (it was so before)")
		} else {
			v.add(p)
		}
	}
}

// problemsOf turns errors of other packages into problems. Field is for those that do not name one.
func problemsOf(field string, err error) []Problem {
	if err == nil {
		return nil
	}
	var list system.Errors
	var refused *upgrade.RefusedError
	switch {
	case errors.As(err, &list):
		problems := make([]Problem, len(list))
		for i, e := range list {
			bare := *e
			bare.Path = ""
			problems[i] = Problem{Field: e.Path, Message: bare.Error()}
		}
		return problems
	case errors.As(err, &refused):
		e := *refused
		e.Field, e.Value = "", ""
		message := strings.TrimPrefix(e.Error(), ": ")
		if refused.Value != "" {
			message = fmt.Sprintf("%q: %s", refused.Value, message)
		}
		return []Problem{{Field: refused.Field, Message: message}}
	}
	return []Problem{{Field: field, Message: err.Error()}}
}
