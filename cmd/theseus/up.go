package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/local"
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

func (a *app) up(ctx context.Context, file string, dry bool) error {
	f, err := readCluster(file)
	if err != nil {
		return err
	}
	k, err := a.openFile(f)
	if err != nil {
		return err
	}
	if err := k.checkUp(file, f); err != nil {
		return err
	}
	spec := &f.cluster.Spec
	plan, err := k.planFor(ctx, spec, false)
	if err != nil {
		return err
	}
	if plan != nil {
		if err := k.programsFor(spec, plan.To); err != nil {
			return err
		}
	}
	if dry {
		a.printPlan(f.cluster.Name, plan)
		return nil
	}
	for _, w := range f.warnings {
		a.talkf("warning: %s", w)
	}
	if k.state != nil {
		return k.accept(ctx, spec, false, "")
	}
	if err := k.create(f.cluster); err != nil {
		return err
	}
	return k.driveTo(ctx, wantEnd, nil)
}

// openFile opens the cluster of a file. A new one has a name, a System, and no state yet.
func (a *app) openFile(f *clusterFile) (*opened, error) {
	home, err := a.homeFolder()
	if err != nil {
		return nil, err
	}
	if err := checkBackupPlace(string(home), f.cluster); err != nil {
		return nil, err
	}
	k, err := a.open(f.cluster.Name)
	if is[*local.UnknownClusterError](err) {
		return &opened{app: a, name: f.cluster.Name, system: f.system, decide: upgrade.New()}, nil
	}
	return k, err
}

// checkUp refuses what up is not for: another version, and what may not change now.
func (k *opened) checkUp(file string, f *clusterFile) error {
	if k.state == nil {
		return nil
	}
	old, want := &k.cluster.Spec, &f.cluster.Spec
	if at := k.attempt(); at != nil && at.Kind == v1alpha1.AttemptUpgrade && !f.system.SameVersion(at.To, want.Version) { // a file that is behind must not turn it back
		return inputNext(fmt.Sprintf("to go back: theseus rollback %s; to change something else: set spec.version: %s in %s", k.name, at.To, file),
			"spec.version %s: %s of %s is under way", want.Version, describe(at), k.name)
	}
	if applied := k.cluster.Status.Applied; applied != nil && !f.system.SameVersion(applied.Spec.Version, want.Version) && want.Version != old.Version {
		next := fmt.Sprintf("to upgrade: theseus upgrade %s --to %s; to change something else: set spec.version: %s in %s", k.name, want.Version, applied.Spec.Version, file)
		if f.system.Compare(want.Version, applied.Spec.Version) < 0 {
			next = fmt.Sprintf("set spec.version: %s in %s; there is no way down", applied.Spec.Version, file)
		}
		return inputNext(next, "spec.version %s: %s runs %s, and up changes no version", want.Version, k.name, applied.Spec.Version)
	}
	return inputError(upgrade.CheckEdit(f.system, &k.cluster.Status, old, want))
}
