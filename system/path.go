package system

import (
	"slices"

	"theseus.dev/api/v1alpha1"
)

// Hop is one edge taken, from one version to another.
type Hop struct {
	From, To string
	// Edge is the index of the edge in the System, Rules the edge itself.
	Edge  int
	Rules *v1alpha1.Edge
}

// listed is a version of the list, read.
type listed struct {
	text string
	number
}

// edge is an edge with its ranges read.
type edge struct {
	from, to versions
	within   int // leading numbers that must stay
}

var withinParts = map[v1alpha1.Part]int{"": 0, v1alpha1.Major: 1, v1alpha1.Minor: 2, v1alpha1.Patch: 3}

// allows says whether the edge leads from one version to a later one.
func (e *edge) allows(from, to number, meaning v1alpha1.SuffixMeaning) bool {
	return from.compare(to, meaning) < 0 && e.from.match(from) && e.to.match(to) && sameLeading(from, to, e.within)
}

// edgeBetween is the first edge that leads from one version to the other, or -1.
func (s *System) edgeBetween(from, to number) int {
	return slices.IndexFunc(s.edges, func(e edge) bool { return e.allows(from, to, s.api.Versions.Suffix) })
}

// Edge is the edge at an index of the System's list.
func (s *System) Edge(i int) *v1alpha1.Edge { return &s.api.Edges[i] }

// Path is the way from one version to another: with the fewest hops and, of
// those, by the newest versions. It is empty when both are the same. Versions
// between are listed ones. The errors are *VersionError, *DowngradeError and
// *NoPathError.
func (s *System) Path(from, to string) ([]Hop, error) {
	for _, v := range []string{from, to} {
		if err := s.CheckVersion(v); err != nil {
			return nil, err
		}
	}
	if c := s.Compare(from, to); c == 0 {
		return nil, nil
	} else if c > 0 {
		return nil, s.lower(from, to)
	}
	nodes := s.nodes(from, to)
	distance := s.distances(nodes, len(nodes)-1)
	if distance[0] < 0 {
		return nil, &NoPathError{s.Name(), from, to, s.Reachable(from), s.ranges(from), !s.IsListed(to)}
	}
	return s.walk(nodes, distance), nil
}

// lower says that a version is lower, or that it is only the beginning of what was meant: 3.7 where 3.7.3 runs.
func (s *System) lower(from, to string) error {
	first, _ := s.parse(from)
	last, _ := s.parse(to)
	count := len(last.parts)
	complete := func(l listed) bool { return len(l.parts) <= count }
	begins := last.suffix == "" && count < len(first.parts) && sameLeading(first, last, count)
	if begins && !slices.ContainsFunc(s.listed, complete) {
		return &VersionError{s.Name(), to, "is not written in full, and lower than " + from, "write all numbers, like " + s.exampleVersion()}
	}
	return &DowngradeError{s.Name(), from, to}
}

// ranges are where edges lead to from a version, where others than listed ones may be wanted.
func (s *System) ranges(from string) []string {
	start, _ := s.parse(from)
	if s.api.Versions.Unlisted == v1alpha1.UnlistedRefuse {
		return nil
	}
	var list []string
	for i, e := range s.edges {
		if !e.from.match(start) {
			continue
		}
		text := s.Edge(i).To
		if e.within > 0 {
			text += " within " + string(s.Edge(i).Within)
		}
		if !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	return list
}

// nodes are the start, the listed versions between, ascending, and the end.
func (s *System) nodes(from, to string) []listed {
	first, _ := s.parse(from)
	last, _ := s.parse(to)
	nodes := []listed{{from, first}}
	for _, l := range s.listed {
		if first.compare(l.number, s.api.Versions.Suffix) < 0 && l.number.compare(last, s.api.Versions.Suffix) < 0 {
			nodes = append(nodes, l)
		}
	}
	return append(nodes, listed{to, last})
}

// distances are the hops from each node to the end, -1 where there is no way.
// Edges lead upwards and nodes ascend, so one pass from the end is enough.
func (s *System) distances(nodes []listed, end int) []int {
	distance := make([]int, len(nodes))
	for i := end - 1; i >= 0; i-- {
		distance[i] = -1
		for j := i + 1; j <= end; j++ {
			near := distance[j] >= 0 && (distance[i] < 0 || distance[j]+1 < distance[i])
			if near && s.edgeBetween(nodes[i].number, nodes[j].number) >= 0 {
				distance[i] = distance[j] + 1
			}
		}
	}
	return distance
}

// walk follows falling distances, at each step to the newest version.
func (s *System) walk(nodes []listed, distance []int) []Hop {
	var hops []Hop
	for i := 0; distance[i] > 0; {
		for j := len(nodes) - 1; j > i; j-- {
			if distance[j] != distance[i]-1 {
				continue
			}
			if e := s.edgeBetween(nodes[i].number, nodes[j].number); e >= 0 {
				hops = append(hops, Hop{nodes[i].text, nodes[j].text, e, s.Edge(e)})
				i = j
				break
			}
		}
	}
	return hops
}

// Reachable are the listed versions that edges lead to, in one hop or several, ascending.
func (s *System) Reachable(from string) []string {
	start, err := s.parse(from)
	if err != nil {
		return nil
	}
	reached := []number{start}
	var list []string
	for _, l := range s.listed {
		if slices.ContainsFunc(reached, func(n number) bool { return s.edgeBetween(n, l.number) >= 0 }) {
			reached = append(reached, l.number)
			list = append(list, l.text)
		}
	}
	return list
}
