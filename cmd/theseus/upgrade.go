package main

import (
	"context"

	"github.com/spf13/cobra"
)

type upgradeFlags struct {
	to     string
	dryRun bool
}

func newUpgrade(a *app) *cobra.Command {
	var f upgradeFlags
	c := &cobra.Command{
		Use:   "upgrade NAME [--to VERSION]",
		Short: "Upgrade a cluster, or go on with an upgrade that was interrupted",
		Long: `Upgrade a cluster to a version, in as many hops as its System needs, with a
backup first where the hop asks for one. Without --to it goes on where an
earlier command stopped. Ctrl-C leaves the members serving; the next
command continues.`,
		Example: `  theseus upgrade kv --to 3.6.16
  theseus upgrade kv --to 3.7.3 --dry-run
  theseus upgrade kv                        go on`,
		Args:              oneName,
		ValidArgsFunction: a.completeNames,
		RunE:              func(c *cobra.Command, args []string) error { return a.upgrade(c.Context(), args[0], f) },
	}
	c.Flags().StringVar(&f.to, "to", "", "the version to go to")
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "show the plan and change nothing")
	if err := c.RegisterFlagCompletionFunc("to", a.completeVersions); err != nil {
		panic(err) // the flag is defined above
	}
	return c
}

func (a *app) upgrade(ctx context.Context, name string, f upgradeFlags) error {
	if f.dryRun {
		return a.showPlan(ctx, name, f.to)
	}
	k, err := a.open(name)
	if err != nil {
		return err
	}
	if f.to == "" {
		return k.driveTo(ctx, wantEnd, nil)
	}
	p, err := k.planTo(ctx, f.to)
	if err != nil {
		return err
	}
	for _, w := range p.warnings() {
		k.talkf("warning: %s", w)
	}
	if err := k.programsFor(p.spec, p.versions()...); err != nil {
		return err
	}
	return k.accept(ctx, p.spec, p.again, "upgrade --to "+f.to)
}
