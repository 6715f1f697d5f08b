package system

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"theseus.dev/api/v1alpha1"
)

// number is a version of the Numeric scheme: dotted numbers and what stands
// behind them. The suffix keeps its separator: "-1", ".Final".
type number struct {
	parts  []int64
	suffix string
}

// maxVersion bounds what is read as a version; names of files are made of it.
const maxVersion = 64

// parseNumber reads a version of any suffix meaning but Refuse, which is the
// caller's to check.
func parseNumber(text string) (number, error) {
	if text == "" {
		return number{}, errors.New("is empty")
	}
	if len(text) > maxVersion {
		return number{}, fmt.Errorf("is longer than %d characters", maxVersion)
	}
	n := number{}
	rest := text
	for {
		digits := countDigits(rest)
		if digits == 0 {
			return number{}, startsBadly(text)
		}
		part, err := strconv.ParseInt(rest[:digits], 10, 64)
		if err != nil {
			return number{}, errors.New("has a number that is too large")
		}
		n.parts = append(n.parts, part)
		rest = rest[digits:]
		if len(rest) < 2 || rest[0] != '.' || countDigits(rest[1:]) == 0 {
			break
		}
		rest = rest[1:]
	}
	if !plainSuffix(rest) {
		return number{}, errors.New("is not dotted numbers with a plain suffix")
	}
	n.suffix = rest
	return n, nil
}

func startsBadly(text string) error {
	if text[0] == 'v' || text[0] == 'V' {
		return errors.New("begins with a letter: leave the v away")
	}
	return errors.New("does not begin with a number")
}

func countDigits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

// plainSuffix says whether a suffix is letters and digits, with single separators before them.
func plainSuffix(s string) bool {
	separated := false
	for _, r := range s {
		separator := strings.ContainsRune(".-+_", r)
		letter := r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !separator && !letter || separator && separated {
			return false
		}
		separated = separator
	}
	return !separated
}

// part is the i-th number; one that is missing is zero.
func (n number) part(i int) int64 {
	if i < len(n.parts) {
		return n.parts[i]
	}
	return 0
}

// compareParts compares the numbers only.
func (n number) compareParts(o number) int {
	for i := range max(len(n.parts), len(o.parts)) {
		if c := cmp.Compare(n.part(i), o.part(i)); c != 0 {
			return c
		}
	}
	return 0
}

// compare is a total order; it is 0 only when numbers and suffix are equal.
func (n number) compare(o number, meaning v1alpha1.SuffixMeaning) int {
	if c := n.compareParts(o); c != 0 {
		return c
	}
	if (n.suffix == "") == (o.suffix == "") {
		return compareSuffix(n.suffix, o.suffix)
	}
	later := 1
	if meaning == v1alpha1.SuffixPreRelease {
		later = -1
	}
	if n.suffix == "" {
		return -later
	}
	return later
}

// compareSuffix compares runs of digits as numbers, so that -rc.9 is before
// -rc.10, and everything else as text. Text decides where that is equal.
func compareSuffix(a, b string) int {
	x, y := a, b
	for x != "" && y != "" {
		dx, dy := countDigits(x), countDigits(y)
		if dx == 0 || dy == 0 {
			if x[0] != y[0] {
				return cmp.Compare(x[0], y[0])
			}
			x, y = x[1:], y[1:]
			continue
		}
		if c := compareDigits(x[:dx], y[:dy]); c != 0 {
			return c
		}
		x, y = x[dx:], y[dy:]
	}
	if c := cmp.Compare(len(x), len(y)); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}

func compareDigits(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if c := cmp.Compare(len(a), len(b)); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}

// parse reads a version as this System's versions are read.
func (s *System) parse(v string) (number, error) {
	n, err := parseNumber(v)
	if err != nil {
		return number{}, err
	}
	if n.suffix != "" && s.api.Versions.Suffix == v1alpha1.SuffixRefuse {
		return number{}, fmt.Errorf("has the suffix %q, and versions.suffix does not say what a suffix means", n.suffix)
	}
	return n, nil
}

// CheckVersion says whether a version can be wanted: it must be readable, and
// listed unless the System allows others. The error is a *VersionError.
func (s *System) CheckVersion(v string) error {
	n, err := s.parse(v)
	if err != nil {
		return &VersionError{s.Name(), v, err.Error(), "write it like " + s.exampleVersion()}
	}
	if s.listedIndex(n) < 0 && s.api.Versions.Unlisted == v1alpha1.UnlistedRefuse {
		return &VersionError{s.Name(), v, "is not listed", "use one of " + abbreviate(s.Listed(), 8)}
	}
	return nil
}

func (s *System) exampleVersion() string {
	if len(s.listed) == 0 {
		return "1.2.3"
	}
	return s.listed[len(s.listed)-1].text
}

// IsListed says whether the System lists the version.
func (s *System) IsListed(v string) bool {
	n, err := s.parse(v)
	return err == nil && s.listedIndex(n) >= 0
}

// Listed are the listed versions, ascending.
func (s *System) Listed() []string {
	list := make([]string, len(s.listed))
	for i, l := range s.listed {
		list[i] = l.text
	}
	return list
}

func (s *System) listedIndex(n number) int {
	for i, l := range s.listed {
		if l.number.compare(n, s.api.Versions.Suffix) == 0 {
			return i
		}
	}
	return -1
}

// Compare orders versions: -1, 0 or 1. One that cannot be read sorts first.
func (s *System) Compare(a, b string) int {
	x, errX := parseNumber(a)
	y, errY := parseNumber(b)
	switch {
	case errX != nil && errY != nil:
		return strings.Compare(a, b)
	case errX != nil:
		return -1
	case errY != nil:
		return 1
	}
	return x.compare(y, s.api.Versions.Suffix)
}

// SameVersion says whether two texts name one version: 3.6 and 3.6.0 do.
func (s *System) SameVersion(a, b string) bool {
	return a == b || s.Compare(a, b) == 0
}
