package system

import (
	"slices"
	"strings"
)

// Nearest is the candidate that a misspelled word most likely means, "" where
// none is near: at most a third of its letters may be wrong.
func Nearest(word string, candidates []string) string {
	best, least := "", max(1, len(word)/3)+1
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		if d := distance(strings.ToLower(word), strings.ToLower(c)); d < least {
			best, least = c, d
		}
	}
	return best
}

// distance counts the letters to insert, delete, replace or swap.
func distance(a, b string) int {
	const bound = 64 // what is longer is no misspelled name
	if len(a) > bound || len(b) > bound {
		return bound
	}
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(change, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// OneOf is the remedy for a name that is none of those there are.
func OneOf(word string, names []string) string {
	if near := Nearest(word, names); near != "" {
		return "did you mean " + near + "?"
	}
	if len(names) == 0 {
		return "there is none"
	}
	return "use one of " + strings.Join(slices.Compact(slices.Sorted(slices.Values(names))), ", ")
}
