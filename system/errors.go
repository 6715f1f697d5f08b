package system

import (
	"fmt"
	"strings"
)

// Error is one thing that is wrong with a file, in the words of who wrote it.
type Error struct {
	// Where is the file and line, "kv.yaml:12", where that is known.
	Where string
	// Path of the field, dotted, list entries by name or index: components.etcd.ask.health.timeout.
	Path string
	// Value that is wrong; empty where the field is missing.
	Value string
	// Problem and Remedy are parts of a sentence: "is not a duration", "write it as 10s or 2m".
	Problem, Remedy string
}

func (e *Error) Error() string {
	var b strings.Builder
	for _, place := range []string{e.Where, e.Path} {
		if place != "" {
			b.WriteString(place + ": ")
		}
	}
	if e.Value != "" {
		fmt.Fprintf(&b, "%q ", shorten(e.Value))
	}
	b.WriteString(e.Problem)
	if e.Remedy != "" {
		b.WriteString("; ")
		b.WriteString(e.Remedy)
	}
	return b.String()
}

// shorten keeps a message readable when the value is a whole document.
func shorten(s string) string {
	const limit = 200
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}

// Errors are all that is wrong with a file, a line each.
type Errors []*Error

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find a single Error.
func (e Errors) Unwrap() []error {
	list := make([]error, len(e))
	for i, err := range e {
		list[i] = err
	}
	return list
}

// OrNil is the list as an error: nil when it is empty.
func (e Errors) OrNil() error {
	if len(e) == 0 {
		return nil
	}
	return e
}

// Add appends one error.
func (e *Errors) Add(path, value, problem, remedy string) {
	*e = append(*e, &Error{Path: path, Value: value, Problem: problem, Remedy: remedy})
}

// VersionError says that a version cannot be used with a System.
type VersionError struct {
	System, Version string
	Problem, Remedy string
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("version %q of %s %s; %s", e.Version, e.System, e.Problem, e.Remedy)
}

// DowngradeError says that the wanted version is lower than the one that runs.
type DowngradeError struct {
	System, From, To string
}

func (e *DowngradeError) Error() string {
	return fmt.Sprintf("%s %s to %s is a downgrade: no edge leads to a lower version; "+
		"restore a backup into a new cluster instead", e.System, e.From, e.To)
}

// NoPathError says that no edges lead from one version to the other.
type NoPathError struct {
	System, From, To string
	// Reachable are the listed versions that edges lead to from From, ascending.
	Reachable []string
	// Ranges are where edges lead to from From, in a System that allows versions that are not listed: "3.x within Minor".
	Ranges []string
	// Unlisted says that To is not listed.
	Unlisted bool
}

func (e *NoPathError) Error() string {
	to, reach := e.To, "nothing can be reached from there"
	if e.Unlisted {
		to += ", which is not listed"
	}
	switch {
	case len(e.Reachable) > 0:
		reach = "from there one can reach " + abbreviate(e.Reachable, 8)
	case len(e.Ranges) > 0:
		reach = "from there one can reach no listed version, and others of " + strings.Join(e.Ranges, ", ")
	}
	return fmt.Sprintf("no edges of %s lead from %s to %s; %s", e.System, e.From, to, reach)
}

// abbreviate lists words; of a long list the last ones, which are the newest.
func abbreviate(words []string, limit int) string {
	if len(words) <= limit {
		return strings.Join(words, ", ")
	}
	return fmt.Sprintf("%s and %d older", strings.Join(words[len(words)-limit:], ", "), len(words)-limit)
}
