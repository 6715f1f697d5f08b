package system_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// graph is a System of versions and edges only.
func graph(t interface{ Fatal(...any) }, versions v1alpha1.Versions, edges ...v1alpha1.Edge) *system.System {
	in := &v1alpha1.System{SystemSpec: v1alpha1.SystemSpec{
		Versions: versions, Edges: edges,
		Components: []v1alpha1.Component{{Name: "c", Start: []string{"c"}, Ready: "true", Version: "m.version"}},
	}}
	in.Name = "graph"
	s, err := system.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPath(t *testing.T) {
	etcd := graph(t, v1alpha1.Versions{Listed: []string{"3.4.30", "3.5.0", "3.5.35", "3.6.0", "3.6.16", "3.7.3", "4.0.0"}},
		v1alpha1.Edge{From: "3.x", To: "3.x", Within: v1alpha1.Minor},
		v1alpha1.Edge{From: "3.4.x", To: "3.5.x"},
		v1alpha1.Edge{From: "3.5.x", To: "3.6.x"},
		v1alpha1.Edge{From: "3.6.16", To: "3.7.x"})
	unlisted := graph(t, v1alpha1.Versions{Listed: []string{"1.0", "1.1"}, Unlisted: v1alpha1.UnlistedAllow},
		v1alpha1.Edge{From: "1.x", To: "1.x"})
	patches := graph(t, v1alpha1.Versions{Listed: []string{"3.6.0", "3.7.3"}, Unlisted: v1alpha1.UnlistedAllow},
		v1alpha1.Edge{From: "3.x", To: "3.x", Within: v1alpha1.Minor},
		v1alpha1.Edge{From: "3.6.x", To: "3.7.x"})
	for _, test := range []struct {
		s              *system.System
		from, to, want string
	}{
		{etcd, "3.5.0", "3.5.0", ""},
		{etcd, "3.5.0", "3.5.35", "0>3.5.35"},
		{etcd, "3.5.0", "3.6.0", "2>3.6.0"},
		{etcd, "3.5.0", "3.7.3", "2>3.6.16 3>3.7.3"},
		{etcd, "3.4.30", "3.7.3", "1>3.5.35 2>3.6.16 3>3.7.3"}, // the newest on the way
		{etcd, "3.6.0", "3.7.3", "0>3.6.16 3>3.7.3"},           // a patch first
		{etcd, "3.6.16", "3.6.0", "graph 3.6.16 to 3.6.0 is a downgrade: no edge leads to a lower version; restore a backup into a new cluster instead"},
		{etcd, "3.7.3", "4.0.0", "no edges of graph lead from 3.7.3 to 4.0.0; nothing can be reached from there"},
		{etcd, "3.6.0", "4.0.0", "no edges of graph lead from 3.6.0 to 4.0.0; from there one can reach 3.6.16, 3.7.3"},
		{etcd, "3.5.0", "3.6.1", `version "3.6.1" of graph is not listed; use one of 3.4.30, 3.5.0, 3.5.35, 3.6.0, 3.6.16, 3.7.3, 4.0.0`},
		{etcd, "3.5.0", "new", `version "new" of graph does not begin with a number; write it like 4.0.0`},
		{unlisted, "1.0", "1.2", "0>1.2"},
		{patches, "3.7.3", "3.7.9", "0>3.7.9"},
		{patches, "3.7.3", "3.9.0", "no edges of graph lead from 3.7.3 to 3.9.0, which is not listed; from there one can reach no listed version, and others of 3.x within Minor"},
		{patches, "3.6.0", "3.9.0", "no edges of graph lead from 3.6.0 to 3.9.0, which is not listed; from there one can reach 3.7.3"},
		{patches, "3.7.3", "3.7", `version "3.7" of graph is not written in full, and lower than 3.7.3; write all numbers, like 3.7.3`},
		{patches, "3.7.3", "3.6", "graph 3.7.3 to 3.6 is a downgrade: no edge leads to a lower version; restore a backup into a new cluster instead"},
		{unlisted, "1.1.1", "1.1", "graph 1.1.1 to 1.1 is a downgrade: no edge leads to a lower version; restore a backup into a new cluster instead"},
		{unlisted, "0.9", "1.1", "no edges of graph lead from 0.9 to 1.1; nothing can be reached from there"},
	} {
		hops, err := test.s.Path(test.from, test.to)
		var words []string
		for _, h := range hops {
			words = append(words, fmt.Sprintf("%d>%s", h.Edge, h.To))
		}
		got := strings.Join(words, " ")
		if err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s to %s:\ngot  %s\nwant %s", test.from, test.to, got, test.want)
		}
	}
}

func TestPathErrorTypes(t *testing.T) {
	s := graph(t, v1alpha1.Versions{Listed: []string{"1.0", "2.0"}}, v1alpha1.Edge{From: "1.x", To: "1.x"})
	var down *system.DowngradeError
	if _, err := s.Path("2.0", "1.0"); !errors.As(err, &down) {
		t.Errorf("a downgrade is %T", err)
	}
	var none *system.NoPathError
	if _, err := s.Path("1.0", "2.0"); !errors.As(err, &none) {
		t.Errorf("no path is %T", err)
	}
	var version *system.VersionError
	if _, err := s.Path("1.0", "3.0"); !errors.As(err, &version) {
		t.Errorf("an unlisted version is %T", err)
	}
}

// TestPathHops: every hop is on its edge and upwards, hops join, what lies
// between is listed, and no shorter way exists (found by trying all).
func TestPathHops(t *testing.T) {
	var versions []string
	for i := range 12 {
		versions = append(versions, fmt.Sprintf("%d.%d", i/4, i%4))
	}
	ranges := rapid.SampledFrom([]string{"x", "0.x", "1.x", "2.x", ">=0.2 <1.2", "<1.0", ">1.1", "1.0", "2.1", "0.3"})
	rapid.Check(t, func(t *rapid.T) {
		var edges []v1alpha1.Edge
		for range rapid.IntRange(0, 6).Draw(t, "edges") {
			e := v1alpha1.Edge{From: ranges.Draw(t, "from"), To: ranges.Draw(t, "to")}
			e.Within = rapid.SampledFrom([]v1alpha1.Part{"", v1alpha1.Major}).Draw(t, "within")
			edges = append(edges, e)
		}
		in := &v1alpha1.System{SystemSpec: v1alpha1.SystemSpec{Versions: v1alpha1.Versions{Listed: versions}, Edges: edges,
			Components: []v1alpha1.Component{{Name: "c", Start: []string{"c"}, Ready: "true", Version: "m.version"}}}}
		in.Name = "graph"
		s, err := system.Compile(in)
		if err != nil {
			t.Skip("an edge leads down only")
		}
		i, j := rapid.IntRange(0, 11).Draw(t, "i"), rapid.IntRange(0, 11).Draw(t, "j")
		hops, err := s.Path(versions[i], versions[j])
		least := shortest(s, versions, i, j)
		if (err == nil) != (least >= 0) || err == nil && len(hops) != least {
			t.Fatalf("%s to %s: %v hops (%v), the shortest way has %d", versions[i], versions[j], hops, err, least)
		}
		at := versions[i]
		for _, h := range hops {
			if h.From != at || s.Compare(h.From, h.To) >= 0 || !s.IsListed(h.To) || h.Rules != s.Edge(h.Edge) {
				t.Fatalf("hop %+v after %s", h, at)
			}
			at = h.To
		}
		if err == nil && at != versions[j] {
			t.Fatalf("ends at %s, not %s", at, versions[j])
		}
	})
}

// shortest is the dumb twin: breadth first, with Path of single hops as edges.
func shortest(s *system.System, versions []string, from, to int) int {
	if from > to {
		return -1
	}
	reached := map[int]int{from: 0}
	for queue := []int{from}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		for next := at + 1; next < len(versions); next++ {
			if _, seen := reached[next]; seen {
				continue
			}
			if hops, err := s.Path(versions[at], versions[next]); err == nil && len(hops) == 1 {
				reached[next] = reached[at] + 1
				queue = append(queue, next)
			}
		}
	}
	if hops, ok := reached[to]; ok {
		return hops
	}
	return -1
}
