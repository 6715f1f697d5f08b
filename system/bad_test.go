package system_test

import (
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"theseus.dev/system"
)

// TestBad compiles the System of the tests with one edit each: "old => new"
// lines. Rewrite the transcripts with -rewrite and read the difference.
func TestBad(t *testing.T) {
	datadriven.RunTest(t, "testdata/bad", func(t *testing.T, d *datadriven.TestData) string {
		text := kv
		for edit := range strings.SplitSeq(d.Input, "\n") {
			before, after, ok := strings.Cut(edit, " =>")
			after = strings.TrimPrefix(after, " ")
			if !ok {
				d.Fatalf(t, "no => in %q", edit)
			}
			if !strings.Contains(text, before) {
				d.Fatalf(t, "%q is not in the System", before)
			}
			text = strings.Replace(text, before, strings.ReplaceAll(after, `\n`, "\n"), 1)
		}
		s, err := system.Compile(read(t, text))
		if err != nil {
			if d.Cmd != "bad" {
				d.Fatalf(t, "it does not compile: %v", err)
			}
			return err.Error() + "\n"
		}
		if d.Cmd == "bad" {
			d.Fatalf(t, "it compiles")
		}
		return strings.Join(append(s.Warnings(), ""), "\n")
	})
}
