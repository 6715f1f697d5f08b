package system

import (
	"errors"
	"fmt"
	"strings"
)

// versions is a range: every term must match. It looks at the numbers of a
// version; only an exact version with a suffix asks for that suffix.
type versions []term

// term is one word of a range: an operator with numbers, or leading numbers.
type term struct {
	op     string // "<", "<=", ">", ">=", "=", or "x" for leading numbers
	number number
}

var comparisons = []string{">=", "<=", ">", "<", "="}

// parseRange reads a range. The grammar, of words with spaces between them:
//
//	3.5.x  3.x  x  *       leading numbers that must be equal
//	3.5.1  4.2.0.10        this version
//	>=4.0  <4.2  >3  <=5   comparisons of the numbers
func parseRange(text string) (versions, error) {
	words := strings.Fields(text)
	if len(words) == 0 {
		return nil, errors.New("is empty")
	}
	if len(words) > 8 {
		return nil, errors.New("has more than 8 terms")
	}
	terms := make(versions, len(words))
	for i, word := range words {
		t, err := parseTerm(word)
		if err != nil {
			return nil, err
		}
		terms[i] = t
	}
	return terms, nil
}

func parseTerm(word string) (term, error) {
	for _, op := range comparisons {
		if rest, ok := strings.CutPrefix(word, op); ok {
			return parseComparison(op, rest)
		}
	}
	if word == "*" || word == "x" {
		return term{op: "x"}, nil
	}
	if lead, ok := strings.CutSuffix(word, ".x"); ok {
		return parseLeading(word, lead)
	}
	n, err := parseNumber(word)
	if err != nil {
		return term{}, fmt.Errorf("has the term %q, which %w", word, err)
	}
	return term{op: "=", number: n}, nil
}

func parseComparison(op, rest string) (term, error) {
	n, err := parseNumber(rest)
	if err != nil {
		return term{}, fmt.Errorf("has the term %q, which is not %s and a version", op+rest, op)
	}
	if n.suffix != "" && op != "=" {
		return term{}, fmt.Errorf("has the term %q: comparisons look at the numbers only", op+rest)
	}
	return term{op: op, number: n}, nil
}

func parseLeading(word, lead string) (term, error) {
	n, err := parseNumber(lead)
	if err != nil || n.suffix != "" {
		return term{}, fmt.Errorf("has the term %q, which is not numbers before .x", word)
	}
	return term{op: "x", number: n}, nil
}

// plain refuses suffixes, for Systems whose versions have none.
func (v versions) plain() error {
	for _, t := range v {
		if t.number.suffix != "" {
			return fmt.Errorf("has the suffix %q, and versions.suffix does not say what a suffix means", t.number.suffix)
		}
	}
	return nil
}

func (v versions) match(n number) bool {
	for _, t := range v {
		if !t.match(n) {
			return false
		}
	}
	return true
}

func (t term) match(n number) bool {
	c := n.compareParts(t.number)
	switch t.op {
	case "x":
		return sameLeading(n, t.number, len(t.number.parts))
	case "=":
		return c == 0 && (t.number.suffix == "" || t.number.suffix == n.suffix)
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	}
	return c >= 0
}

// sameLeading says whether the first count numbers of two versions are equal.
func sameLeading(a, b number, count int) bool {
	for i := range count {
		if a.part(i) != b.part(i) {
			return false
		}
	}
	return true
}
