package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/manifest"
	"theseus.dev/upgrade"
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
		return k.driveTo(ctx, outcomeUpgrade, nil)
	}
	want := k.cluster.DeepCopy()
	want.Spec.Version = f.to
	if err := k.mayUpgrade(ctx, want); err != nil {
		return err
	}
	again := k.cluster.Status.FailedTarget == f.to
	return k.driveTo(ctx, outcomeUpgrade, func() error {
		if again && k.cluster.Status.FailedTarget == f.to { // asked for by name: that is asking for another try
			if _, err := k.put(v1alpha1.Request{Kind: v1alpha1.RequestRetry, Reason: "upgrade --to " + f.to}); err != nil {
				return err
			}
		}
		return k.state.AcceptSpec(&want.Spec)
	})
}

// mayUpgrade refuses what can be known to be wrong before anything changes.
func (k *opened) mayUpgrade(ctx context.Context, want *v1alpha1.Cluster) error {
	if k.cluster.Status.Applied == nil {
		return &exitError{code: exitInput, err: fmt.Errorf("%s was never started to its end", want.Name), next: "bring it up first: theseus upgrade " + want.Name}
	}
	if err := k.system.CheckVersion(want.Spec.Version); err != nil {
		return inputError(fmt.Errorf("--to %w", err))
	}
	if errs := manifest.ValidateCluster(want, k.system); len(errs) > 0 {
		return errs
	}
	if err := upgrade.CheckEdit(k.system, &k.cluster.Status, &k.cluster.Spec, &want.Spec); err != nil {
		return inputError(err)
	}
	plan, err := k.planFor(ctx, &want.Spec)
	if err != nil || plan == nil {
		return err
	}
	for _, w := range plan.Warnings {
		k.talkf("warning: %s", w)
	}
	for _, h := range plan.Hops {
		if err := k.programsFor(k.system, &want.Spec, h.To); err != nil {
			return err
		}
	}
	return nil
}
