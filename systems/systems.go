// Package systems holds what Theseus knows about software: one file for each
// System that is shipped, in the words that anyone would write one. Nothing
// here is code; manifest reads the files and system compiles them.
package systems

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed *.yaml
var files embed.FS

// List names the Systems that are shipped, sorted.
func List() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // the folder is in the binary
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), ".yaml")
	}
	return names
}

// Load is the file of a shipped System, as it was written.
func Load(name string) ([]byte, error) {
	text, err := files.ReadFile(name + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("no System %q is shipped; there are %s", name, strings.Join(List(), ", "))
	}
	return text, nil
}
