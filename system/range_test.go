package system

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

func TestRanges(t *testing.T) {
	for _, test := range []struct {
		text, version string
		want          bool
	}{
		{"3.5.x", "3.5.0", true},
		{"3.5.x", "3.5", true},
		{"3.5.x", "3.5.1.2", true},
		{"3.5.x", "3.6.0", false},
		{"3.5.x", "3.50.0", false},
		{"3.x", "3.9", true},
		{"3.x", "30.1", false},
		{"*", "0.1", true},
		{"x", "9.9.9", true},
		{"3.5.1", "3.5.1", true},
		{"3.5", "3.5.0", true},
		{"3.5", "3.5.1", false},
		{"4.2.0.10", "4.2.0.10", true},
		{"4.2.0.10", "4.2.0.1", false},
		{">=4.0 <4.2", "4.0", true},
		{">=4.0 <4.2", "4.1.99", true},
		{">=4.0 <4.2", "4.2.0", false},
		{">=4.0 <4.2", "3.99", false},
		{">4.0", "4.0.0", false},
		{">4.0", "4.0.1", true},
		{"<=4.0", "4.0.0", true},
		{"<=4.0", "4.0.1", false},
		{"=4.0", "4.0.0", true},
		{"4.x >=4.1", "4.0.9", false},
		{"4.x >=4.1", "4.1.0", true},
		{"  4.x   >=4.1 ", "4.1.0", true},
		// Suffixes count only where an exact version asks for one.
		{"15.0.x", "15.0.0.Final", true},
		{"15.0.0", "15.0.0.Final", true},
		{"15.0.0.Final", "15.0.0.Final", true},
		{"15.0.0.Final", "15.0.0.CR1", false},
		{"0.5.0-1", "0.5.0", false},
		{"<0.5.0", "0.5.0-rc1", false},
		{">=0.5.0", "0.5.0-rc1", true},
	} {
		r, err := parseRange(test.text)
		if err != nil {
			t.Errorf("%q: %v", test.text, err)
			continue
		}
		n, err := parseNumber(test.version)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.match(n); got != test.want {
			t.Errorf("%q matches %s: %t, want %t", test.text, test.version, got, test.want)
		}
	}
}

func TestBadRanges(t *testing.T) {
	for _, text := range []string{"", " ", "3.x.x", "x.1", "3.5.*", "^3.5", "~3.5", ">", ">=x", ">= 3.5", "3.5,3.6", "3.5||3.6",
		"!=3", ">3.5-1", "a", "-1", "3..5", ".5", "3.", "1 2 3 4 5 6 7 8 9"} {
		if r, err := parseRange(text); err == nil {
			t.Errorf("%q is read as %v", text, r)
		}
	}
}

// TestRangesOfNumbers compares with a twin that counts: versions 0.0 to 3.3.
func TestRangesOfNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		digit := rapid.IntRange(0, 3)
		major, minor := digit.Draw(t, "major"), digit.Draw(t, "minor")
		low, high := digit.Draw(t, "low"), digit.Draw(t, "high")
		r, err := parseRange(fmt.Sprintf(">=%d.%d <%d.%d", low, high, high, low))
		if err != nil {
			t.Fatal(err)
		}
		n := number{parts: []int64{int64(major), int64(minor)}}
		value := major*4 + minor
		if want := value >= low*4+high && value < high*4+low; r.match(n) != want {
			t.Fatalf(">=%d.%d <%d.%d matches %d.%d: %t", low, high, high, low, major, minor, !want)
		}
	})
}

func FuzzRange(f *testing.F) {
	for _, seed := range []string{"3.5.x", "*", ">=4.0 <4.2", "3.5.1-rc", "~1"} {
		f.Add(seed)
	}
	f.Fuzz(func(_ *testing.T, text string) {
		if r, err := parseRange(text); err == nil {
			r.match(number{parts: []int64{3, 5, 1}})
		}
	})
}
