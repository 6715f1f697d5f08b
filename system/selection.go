package system

import (
	"slices"

	"theseus.dev/api/v1alpha1"
)

// ThenOf is the part of a member's answers that rules compare with later, so
// that the journal stays small.
func (s *System) ThenOf(a Answers) Answers {
	if s.thenWhole {
		return a
	}
	kept := Answers{}
	for _, keys := range s.then {
		copyPath(kept, a, keys)
	}
	return kept
}

// copyPath copies the value at the end of a path, with the maps on its way.
func copyPath(to, from map[string]any, keys []string) {
	value, ok := from[keys[0]]
	if !ok {
		return
	}
	inner, isMap := value.(map[string]any)
	if len(keys) == 1 || !isMap {
		to[keys[0]] = value
		return
	}
	next, ok := to[keys[0]].(map[string]any)
	if !ok {
		next = map[string]any{}
		to[keys[0]] = next
	}
	copyPath(next, inner, keys[1:])
}

// thenPaths are the selections from then in all expressions, the shorter first.
// One that a shorter one covers is left out: that copies the whole value.
func (s *System) thenPaths() (paths [][]string, whole bool) {
	var all [][]string
	for _, e := range s.compiled {
		for _, c := range e.uses.chains {
			if c.root == "then" {
				all = append(all, untilIndex(c.keys))
			}
		}
	}
	slices.SortFunc(all, slices.Compare)
	for _, p := range all {
		covered := slices.ContainsFunc(paths, func(q []string) bool { return len(q) <= len(p) && slices.Equal(q, p[:len(q)]) })
		if !covered {
			paths = append(paths, p)
		}
	}
	return paths, len(paths) > 0 && len(paths[0]) == 0
}

// untilIndex cuts a chain at a selection by number, which a map cannot keep.
func untilIndex(keys []string) []string {
	if i := slices.Index(keys, listIndex); i >= 0 {
		return keys[:i]
	}
	return keys
}

// MetricsOf are the metrics that any expression selects of a question that is
// answered in Prometheus format, sorted. Nil means that an expression uses the
// answer in a way that does not tell: then all are needed.
func (s *System) MetricsOf(component, question string) []string {
	c := s.Component(component)
	if c == nil || c.api.Ask[question].As != v1alpha1.FormatPrometheus {
		return nil
	}
	names := []string{}
	for _, e := range s.compiled {
		if e.uses.dynamic {
			return nil
		}
		for _, chain := range e.uses.chains {
			if len(chain.keys) == 0 || chain.keys[0] != question || !slices.Contains(memberRoots, chain.root) {
				continue
			}
			if len(chain.keys) == 1 {
				return nil
			}
			names = append(names, chain.keys[1])
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// memberRoots are the roots of chains that select a member's answers.
var memberRoots = []string{"m", "to", "x", "then"}
