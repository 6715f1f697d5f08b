package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"theseus.dev/api/v1alpha1"
)

// release is set when a release is built.
var release = "dev"

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Say which Theseus this is", Args: noArguments, Example: "  theseus version --json",
		RunE: func(*cobra.Command, []string) error {
			v := map[string]any{"theseus": release, "go": runtime.Version(), "journal": v1alpha1.JournalVersion, "api": v1alpha1.GroupVersion.String()}
			if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
				v["module"] = info.Main.Version
			}
			if a.json {
				a.printJSON(v)
				return nil
			}
			a.printf("%s\n", versionLine())
			return nil
		},
	}
}

func versionLine() string {
	return fmt.Sprintf("theseus %s (%s, journal %d, %s)", release, runtime.Version(), v1alpha1.JournalVersion, v1alpha1.GroupVersion)
}
