package main

import (
	"github.com/spf13/cobra"

	"theseus.dev/api/v1alpha1"
)

func newRestart(a *app) *cobra.Command {
	return newRequestCommand(a, requestCommand{v1alpha1.RequestRestart, "restart", "Restart the members one after the other",
		`Restart the members one after the other, with all checks of an upgrade. A changed
option or argument needs no request: "theseus up FILE" restarts for it.`,
		"  theseus restart kv"})
}
