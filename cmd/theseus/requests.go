package main

import (
	"github.com/spf13/cobra"

	"theseus.dev/api/v1alpha1"
)

// requestCommand is one command that puts a request.
type requestCommand struct {
	kind    v1alpha1.RequestKind
	use     string
	short   string
	long    string
	example string
}

var requestCommands = []requestCommand{
	{v1alpha1.RequestPause, "pause", "Begin no new disruption", `Begin no new disruption. The member in hand is finished first, held requests are
released, and clocks stop. "theseus resume" goes on.`, "  theseus pause kv --reason lunch"},
	{v1alpha1.RequestResume, "resume", "Go on with a paused attempt", `Go on with a paused attempt. What failed is tried again, and every deadline
starts anew.`, "  theseus resume kv"},
	{v1alpha1.RequestAbort, "abort", "Give an attempt up before its first disruption", `Give an attempt up before its first disruption, and take back what was prepared.
Afterwards choose "theseus pause" or "theseus rollback".`, "  theseus abort kv"},
	{v1alpha1.RequestRollback, "rollback", "Go back to where the current hop began", `Go back to the version at which the current hop began, member by member, with the
same checks. It is possible until the hop is finalized.`, "  theseus rollback kv --reason 'clients see errors'"},
	{v1alpha1.RequestFinalize, "finalize", "Approve what makes the hop irreversible", `Approve what makes the hop irreversible. It is asked for where the policy says
spec.upgrade.finalize: Manual, and "theseus status" shows that it is waited for.`, "  theseus finalize kv"},
	{v1alpha1.RequestRetry, "retry", "Try what failed again", `Try what failed again. Nothing that failed is tried again by itself.`, "  theseus retry kv"},
	{v1alpha1.RequestAdoptSystem, "adopt-system", "Take a repaired System file into the running attempt", `Take a repaired System file into the running attempt, which otherwise stays on the
one that it began with.`, "  theseus adopt-system kv"},
}

func newRequests(a *app) []*cobra.Command {
	var out []*cobra.Command
	for _, k := range requestCommands {
		out = append(out, newRequestCommand(a, k))
	}
	return append(out, newOverride(a))
}

func newRequestCommand(a *app, k requestCommand) *cobra.Command {
	r := newRequest(k.kind)
	c := &cobra.Command{Use: k.use + " NAME", Short: k.short, Long: k.long, Example: k.example, Args: a.oneName, ValidArgsFunction: a.completeNames,
		RunE: func(c *cobra.Command, args []string) error { return a.request(c.Context(), args[0], r) }}
	reasonFlag(c, &r)
	return c
}

func reasonFlag(c *cobra.Command, r *v1alpha1.Request) {
	c.Flags().StringVar(&r.Reason, "reason", "", "why, kept in the history")
}
