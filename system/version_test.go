package system

import (
	"cmp"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"theseus.dev/api/v1alpha1"
)

func TestCompareVersions(t *testing.T) {
	tests := []struct {
		meaning v1alpha1.SuffixMeaning
		sorted  []string // ascending
	}{
		{v1alpha1.SuffixRefuse, []string{"3.4.20", "3.5", "3.5.1", "3.5.10", "3.6.0", "10.0"}},
		{v1alpha1.SuffixBuild, []string{"0.5.0", "0.5.0-1", "0.5.0-2", "0.5.0-10", "0.5.1"}}, // Pravega
		{v1alpha1.SuffixBuild, []string{"4.2.0.9", "4.2.0.10", "4.2.1"}},                     // Aerospike
		{v1alpha1.SuffixBuild, []string{"15.0.0.Dev01", "15.0.0.Dev2", "15.0.0.Final", "15.0.1.Final"}},
		{v1alpha1.SuffixPreRelease, []string{"1.2.0-alpha", "1.2.0-rc.9", "1.2.0-rc.10", "1.2.0", "1.2.1-rc1", "1.2.1"}},
	}
	for _, test := range tests {
		s := &System{api: &v1alpha1.System{SystemSpec: v1alpha1.SystemSpec{Versions: v1alpha1.Versions{Suffix: test.meaning}}}}
		for i, a := range test.sorted {
			for j, b := range test.sorted {
				if got, want := s.Compare(a, b), cmp.Compare(i, j); got != want {
					t.Errorf("%s: compare %s with %s is %d, want %d", test.meaning, a, b, got, want)
				}
			}
		}
	}
}

func TestSameVersion(t *testing.T) {
	s := &System{api: &v1alpha1.System{}}
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"3.6.0", "3.6", true},
		{"3.6.0.0", "3.6", true},
		{"3.06", "3.6", true},
		{"3.6.1", "3.6", false},
		{"3.6-1", "3.6.0-1", true},
		{"3.6-1", "3.6-01", false}, // texts decide, so that equal means equal
		{"3.6", "3.6-1", false},
		{"latest", "latest", true},
		{"latest", "3.6", false},
		{"", "3.6", false},
	} {
		if got := s.SameVersion(test.a, test.b); got != test.want {
			t.Errorf("%q and %q: %t, want %t", test.a, test.b, got, test.want)
		}
	}
}

func TestUnreadableSortsFirst(t *testing.T) {
	s := &System{api: &v1alpha1.System{}}
	got := []string{"1.0", "x", "0.1", ""}
	slices.SortFunc(got, s.Compare)
	if want := []string{"", "x", "0.1", "1.0"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// versionGen makes versions that differ little, so that equal ones are met.
func versionGen() *rapid.Generator[string] {
	return rapid.StringMatching(`[0-3](\.[0-2]|\.0[0-9]|\.10){0,3}(|-[0-9]{1,2}|\.[A-C][a-b]?|-rc\.?[0-9]{1,2}|\+x|x)`)
}

// TestVersionOrder: a total order under every meaning of a suffix.
func TestVersionOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		meaning := rapid.SampledFrom([]v1alpha1.SuffixMeaning{v1alpha1.SuffixRefuse, v1alpha1.SuffixBuild, v1alpha1.SuffixPreRelease}).Draw(t, "meaning")
		s := &System{api: &v1alpha1.System{SystemSpec: v1alpha1.SystemSpec{Versions: v1alpha1.Versions{Suffix: meaning}}}}
		a, b, c := versionGen().Draw(t, "a"), versionGen().Draw(t, "b"), versionGen().Draw(t, "c")
		if s.Compare(a, b) != -s.Compare(b, a) {
			t.Fatalf("compare of %q and %q is not antisymmetric", a, b)
		}
		if s.Compare(a, b) <= 0 && s.Compare(b, c) <= 0 && s.Compare(a, c) > 0 {
			t.Fatalf("compare of %q, %q and %q is not transitive", a, b, c)
		}
		if s.Compare(a, b) == 0 && s.Compare(a, c) != s.Compare(b, c) {
			t.Fatalf("%q and %q are equal and compare differently with %q", a, b, c)
		}
	})
}

func FuzzVersion(f *testing.F) {
	for _, seed := range []string{"3.5.1", "0.5.0-1", "15.0.0.Final", "v1", "1.", "1..2", "99999999999999999999"} {
		f.Add(seed, "1.0")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		x, errA := parseNumber(a)
		y, errB := parseNumber(b)
		if errA != nil || errB != nil {
			return
		}
		if x.compare(y, v1alpha1.SuffixBuild) != -y.compare(x, v1alpha1.SuffixBuild) {
			t.Errorf("%q and %q", a, b)
		}
		if exact, err := parseRange(a); err != nil || !exact.match(x) {
			if _, wild := err, len(a) > 2 && a[len(a)-2:] == ".x"; !wild {
				t.Errorf("the range %q does not match itself: %v", a, err)
			}
		}
	})
}
