package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/upgrade"
)

func newUp(a *app) *cobra.Command {
	var f upFlags
	c := &cobra.Command{
		Use:   "up FILE",
		Short: "Start a cluster from its file, or bring it to what the file says",
		Long: `Start the members of a cluster as processes on this machine. They outlive the
command. Again with the same file it starts members that do not run; with
changed options it restarts the members one after the other. For another
version use "theseus upgrade".

On Kubernetes it applies the Cluster, and Systems that the file has, by
server-side apply as the field manager theseus, and watches until the members
serve. Fields that somebody else keeps are not touched without --force.`,
		Example: `  theseus up kv.yaml
  theseus up kv.yaml --dry-run
  theseus up kv.yaml --context lab --namespace prod`,
		Args:              oneFile,
		ValidArgsFunction: yamlFiles,
		RunE:              func(c *cobra.Command, args []string) error { return a.up(c.Context(), args[0], f) },
	}
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "show what would be done and change nothing")
	forceFlag(c, &f.force)
	return c
}

type upFlags struct{ dryRun, force bool }

func (a *app) up(ctx context.Context, file string, flags upFlags) error {
	s, err := a.site()
	if err != nil {
		return err
	}
	f, err := readCluster(ctx, s, file)
	if err != nil {
		return err
	}
	k, err := a.openFile(ctx, s, f)
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
	p := k.propose(spec)
	p.file, p.force = f, flags.force
	if plan != nil {
		p.versions = []string{plan.To}
	}
	if err := s.permit(ctx, p); err != nil {
		return err
	}
	if flags.dryRun {
		return k.printForesight(ctx, plan, p)
	}
	for _, w := range f.warnings {
		a.talkf("warning: %s", w)
	}
	if err := k.bringUp(ctx, p); err != nil || a.json {
		return err
	}
	return k.tellEndpoints(ctx)
}

// bringUp makes the cluster, or has it follow what its file says now.
func (k *opened) bringUp(ctx context.Context, p *proposal) (err error) {
	if k.at != nil {
		return k.accept(ctx, p, false, "")
	}
	if k.at, err = k.site.create(ctx, p); err != nil {
		return err
	}
	return k.driveTo(ctx, wantEnd, nil)
}

// openFile opens the cluster of a file. A new one has a name, a System, and is nowhere yet.
func (a *app) openFile(ctx context.Context, s site, f *clusterFile) (*opened, error) {
	k, err := a.openIn(ctx, s, f.cluster.Name)
	if is[*noClusterError](err) {
		return &opened{app: a, name: f.cluster.Name, site: s, system: f.system, decide: upgrade.New()}, nil
	}
	return k, err
}

// checkUp refuses what up is not for: another version, and what may not change now.
func (k *opened) checkUp(file string, f *clusterFile) error {
	if k.at == nil {
		return nil
	}
	old, want := k.seen(&k.cluster.Spec), k.seen(&f.cluster.Spec)
	if at := k.attempt(); at != nil && at.Kind == v1alpha1.AttemptUpgrade && !f.system.SameVersion(at.To, want.Version) { // a file that is behind must not turn it back
		return inputNext(fmt.Sprintf("to go back: %s; to change something else: set spec.version: %s in %s", k.command("rollback", k.name), at.To, file),
			"spec.version %s: %s of %s is under way", want.Version, describe(at), k.name)
	}
	if applied := k.cluster.Status.Applied; applied != nil && !f.system.SameVersion(applied.Spec.Version, want.Version) && want.Version != old.Version {
		next := fmt.Sprintf("to upgrade: %s; to change something else: set spec.version: %s in %s", k.command("upgrade", k.name, "--to", want.Version), applied.Spec.Version, file)
		if f.system.Compare(want.Version, applied.Spec.Version) < 0 {
			next = fmt.Sprintf("set spec.version: %s in %s; there is no way down", applied.Spec.Version, file)
		}
		return inputNext(next, "spec.version %s: %s runs %s, and up changes no version", want.Version, k.name, applied.Spec.Version)
	}
	return inputError(upgrade.CheckEdit(f.system, &k.cluster.Status, old, want))
}
