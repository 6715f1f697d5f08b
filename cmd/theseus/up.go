package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/upgrade"
)

func newUp(a *app) *cobra.Command {
	var dry bool
	c := &cobra.Command{
		Use:   "up FILE",
		Short: "Start a cluster from its file, or bring it to what the file says",
		Long: `Start the members of a cluster as processes on this machine. They outlive the
command. Again with the same file it starts members that do not run; with
changed options it restarts the members one after the other. For another
version use "theseus upgrade".`,
		Example:           "  theseus up kv.yaml\n  theseus up kv.yaml --dry-run",
		Args:              oneFile,
		ValidArgsFunction: yamlFiles,
		RunE:              func(c *cobra.Command, args []string) error { return a.up(c.Context(), args[0], dry) },
	}
	c.Flags().BoolVar(&dry, "dry-run", false, "show what would be done and change nothing")
	return c
}

func yamlFiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

func (a *app) up(ctx context.Context, file string, dry bool) error {
	f, err := readCluster(file)
	if err != nil {
		return err
	}
	for _, w := range f.warnings {
		a.talkf("warning: %s", w)
	}
	k, err := a.openFile(ctx, f)
	if err != nil {
		return err
	}
	if err := k.checkUp(f); err != nil {
		return err
	}
	if dry {
		p, err := k.planFor(ctx, &f.cluster.Spec)
		if err != nil {
			return err
		}
		a.printPlan(f.cluster.Name, p)
		return nil
	}
	if err := k.programsFor(f.system, &f.cluster.Spec, f.cluster.Spec.Version); err != nil {
		return err
	}
	return k.bringUp(ctx, f.cluster)
}

// checkUp refuses what up is not for.
func (k *opened) checkUp(f *clusterFile) error {
	if k.cluster == nil {
		return nil
	}
	old, want := &k.cluster.Spec, &f.cluster.Spec
	if applied := k.cluster.Status.Applied; applied != nil && !f.system.SameVersion(applied.Spec.Version, want.Version) && want.Version != old.Version {
		return &exitError{code: exitInput, err: fmt.Errorf("spec.version %s: %s runs %s, and up changes no version", want.Version, f.cluster.Name, applied.Spec.Version),
			next: fmt.Sprintf("to upgrade: theseus upgrade %s --to %s", f.cluster.Name, want.Version)}
	}
	if err := upgrade.CheckEdit(f.system, &k.cluster.Status, old, want); err != nil {
		return inputError(err)
	}
	return nil
}

// bringUp makes the cluster where it is new, or accepts the new spec, and drives.
func (k *opened) bringUp(ctx context.Context, c *v1alpha1.Cluster) error {
	if k.state == nil {
		if err := k.create(c); err != nil {
			return err
		}
		return k.driveTo(ctx, outcomeUpgrade, nil)
	}
	return k.driveTo(ctx, outcomeUpgrade, func() error { return k.state.AcceptSpec(&c.Spec) })
}
