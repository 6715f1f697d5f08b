package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// asPlugin has help and examples speak of "kubectl theseus".
func asPlugin(root *cobra.Command) {
	root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl theseus"}
	root.Example = inExamples(root.Example)
	for _, c := range root.Commands() {
		c.Example = inExamples(c.Example)
	}
}

func inExamples(text string) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if rest, ok := strings.CutPrefix(l, "  theseus "); ok {
			lines[i] = "  kubectl theseus " + rest
		}
	}
	return strings.Join(lines, "\n")
}
