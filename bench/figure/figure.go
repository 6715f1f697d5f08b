// Package figure is how benchmarks show what they measured. Each program that measures prints one table.
package figure

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// Figure is one line of the result: what was measured, beside what, and what it should not exceed. All but What may be empty.
type Figure struct {
	What, Ours, Theirs, Ratio, Limit string
}

// Print writes the table.
func Print(w io.Writer, figures []Figure) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "FIGURE\tTHESEUS\tBESIDE\tRATIO\tAT MOST")
	for _, f := range figures {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", f.What, f.Ours, f.Theirs, f.Ratio, f.Limit)
	}
	return t.Flush()
}

// Median of a list that is not empty; of an even number the higher of the two in the middle.
func Median(list []float64) float64 {
	s := slices.Sorted(slices.Values(list))
	return s[len(s)/2]
}
