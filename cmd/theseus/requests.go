package main

import (
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
)

// requestCommand is one command that puts a request.
type requestCommand struct {
	kind    v1alpha1.RequestKind
	use     string
	short   string
	example string
}

var requestCommands = []requestCommand{
	{v1alpha1.RequestPause, "pause", "No new disruption; the member in hand is finished first", "  theseus pause kv --reason 'lunch'"},
	{v1alpha1.RequestResume, "resume", "Go on with a paused attempt; what failed is tried again", "  theseus resume kv"},
	{v1alpha1.RequestAbort, "abort", "Give an attempt up before its first disruption", "  theseus abort kv"},
	{v1alpha1.RequestRollback, "rollback", "Go back to the version at which the current hop began", "  theseus rollback kv --reason 'clients see errors'"},
	{v1alpha1.RequestFinalize, "finalize", "Approve what makes the hop irreversible", "  theseus finalize kv"},
	{v1alpha1.RequestRetry, "retry", "Let a failed upgrade be tried again", "  theseus retry kv"},
	{v1alpha1.RequestAdoptSystem, "adopt-system", "Take a repaired System file into the running attempt", "  theseus adopt-system kv"},
}

func newRequests(a *app) []*cobra.Command {
	var out []*cobra.Command
	for _, k := range requestCommands {
		r := v1alpha1.Request{Kind: k.kind}
		c := &cobra.Command{Use: k.use + " NAME", Short: k.short, Example: k.example, Args: oneName, ValidArgsFunction: a.completeNames,
			RunE: func(c *cobra.Command, args []string) error { return a.request(c.Context(), args[0], r) }}
		reasonFlag(c, &r)
		out = append(out, c)
	}
	return append(out, newOverride(a))
}

func reasonFlag(c *cobra.Command, r *v1alpha1.Request) {
	c.Flags().StringVar(&r.Reason, "reason", "", "why, kept in the history")
}

func newOverride(a *app) *cobra.Command {
	r := v1alpha1.Request{Kind: v1alpha1.RequestOverride}
	var lasts time.Duration
	c := &cobra.Command{
		Use:   "override NAME RULE",
		Short: "Let an attempt pass one rule for a while",
		Long: `Let an attempt go on without one rule for a while. The rule is the one that
"theseus status" shows as waited for. It is written to the history, with the
reason. Rules that keep a promise, as the budget, cannot be passed.`,
		Example: `  theseus override kv 'settled/one leader' --for 5m --reason 'seen by hand'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return inputErrorf("give the name of a cluster and a rule; `theseus status NAME` shows the rule that is waited for")
			}
			return nil
		},
		ValidArgsFunction: a.completeNames,
		RunE: func(c *cobra.Command, args []string) error {
			if lasts <= 0 {
				return inputErrorf("--for %s: it must be more than nothing, for example 10m", lasts)
			}
			r.Rule, r.For = args[1], &metav1.Duration{Duration: lasts}
			return a.request(c.Context(), args[0], r)
		},
	}
	c.Flags().DurationVar(&lasts, "for", 10*time.Minute, "how long")
	reasonFlag(c, &r)
	return c
}

func newRestart(a *app) *cobra.Command {
	r := v1alpha1.Request{Kind: v1alpha1.RequestRestart}
	c := &cobra.Command{Use: "restart NAME", Short: "Restart the members one after the other, with all checks", Example: "  theseus restart kv",
		Args: oneName, ValidArgsFunction: a.completeNames,
		RunE: func(c *cobra.Command, args []string) error { return a.request(c.Context(), args[0], r) }}
	reasonFlag(c, &r)
	return c
}
