package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

func newOverride(a *app) *cobra.Command {
	r := newRequest(v1alpha1.RequestOverride)
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
				return inputErrorf("give the name of a cluster and a rule; \"%s\" shows the rule that is waited for", a.command("status", "NAME"))
			}
			return nil
		},
		ValidArgsFunction: a.completeRules,
		RunE: func(c *cobra.Command, args []string) error {
			if lasts <= 0 {
				return inputErrorf("--for %s: it must be more than nothing, for example 10m", lasts)
			}
			if err := a.checkRule(c.Context(), args[0], args[1]); err != nil {
				return err
			}
			r.Rule, r.For = args[1], &metav1.Duration{Duration: lasts}
			return a.request(c.Context(), args[0], r)
		},
	}
	c.Flags().DurationVar(&lasts, "for", 10*time.Minute, "how long")
	reasonFlag(c, &r)
	return c
}

// checkRule refuses what no rule is called, which the core would keep and never use.
func (a *app) checkRule(ctx context.Context, name, rule string) error {
	k, err := a.open(ctx, name)
	if err != nil {
		return err
	}
	rules := k.rules()
	if slices.Contains(rules, rule) || k.attempt() == nil { // without one the core says why not
		return nil
	}
	for _, prefix := range []string{"run/", "before/", "after/", "verify/", "needs/", "backup"} {
		if strings.HasPrefix(rule, prefix) {
			return nil
		}
	}
	if near := system.Nearest(rule, rules); near != "" {
		return inputErrorf("there is no rule %q; did you mean '%s'?", rule, near)
	}
	return inputErrorf("there is no rule %q; there are '%s'", rule, strings.Join(rules, "', '"))
}

// rules are those that an attempt may wait for: what is waited for now first, then those of members and of the System.
func (k *opened) rules() []string {
	var out []string
	if at := k.attempt(); at != nil && at.WaitingFor != nil {
		out = append(out, at.WaitingFor.Rule)
	}
	out = append(out, "ready", "version", "role", "handover", "soak")
	for _, c := range k.system.Components() {
		for _, r := range c.API().Settled {
			out = append(out, "settled/"+r.Rule)
		}
	}
	slices.Sort(out[min(1, len(out)):])
	return slices.Compact(out)
}
