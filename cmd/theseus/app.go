package main

import (
	"path/filepath"
	"slices"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/local"
)

// app is one call of the command: its streams and the flags that all subcommands have.
type app struct {
	streams
	home     string
	programs []string
	json     bool

	began   bool                 // the command line was understood
	printed bool                 // a result is on stdout as JSON
	watch   func(v1alpha1.Event) // told of each event of an attempt that this command drives
}

// homeFolder is an absolute path: shims and jobs work in folders of their own.
func (a *app) homeFolder() (local.Home, error) {
	if a.home == "" {
		home, err := local.DefaultHome()
		return home, inputError(err)
	}
	abs, err := filepath.Abs(a.home)
	return local.Home(abs), inputError(err)
}

// programFolders are where programs are looked up before the PATH.
func (a *app) programFolders() []string {
	folders := slices.Concat(a.programs, local.ProgramsFromEnv())
	for i, f := range folders {
		if abs, err := filepath.Abs(f); err == nil {
			folders[i] = abs
		}
	}
	return folders
}

// names are the clusters of this machine, sorted.
func (a *app) names() ([]string, error) {
	home, err := a.homeFolder()
	if err != nil {
		return nil, err
	}
	return home.List()
}

// printJSON prints the result of a command, once.
func (a *app) printJSON(v any) {
	a.printed = true
	a.streams.printJSON(v)
}
