package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"theseus.dev/api/v1alpha1"
)

type upgradeFlags struct {
	wish
	dryRun bool
	force  bool
}

// wish is what a person wants of the next upgrade.
type wish struct {
	to  string
	set map[string]string // options that change together with the version
}

// flags defines the flags of a wish. A value may hold commas.
func (f *wish) flags(c *cobra.Command, a *app, to string) {
	c.Flags().StringVar(&f.to, "to", "", to)
	c.Flags().Var((*settings)(&f.set), "set", "an option that changes together with the version, as name=value; may be repeated")
	if err := c.RegisterFlagCompletionFunc("to", a.completeVersions); err != nil {
		panic(err) // the flag is defined above
	}
}

// settings are name=value, each once.
type settings map[string]string

func (s *settings) String() string { return "" }
func (s *settings) Type() string   { return "name=value" }
func (s *settings) Set(text string) error {
	name, value, ok := strings.Cut(text, "=")
	if !ok || name == "" {
		return fmt.Errorf("%q is not name=value", text)
	}
	if *s == nil {
		*s = settings{}
	}
	(*s)[name] = value
	return nil
}

func newUpgrade(a *app) *cobra.Command {
	var f upgradeFlags
	c := &cobra.Command{
		Use:   "upgrade NAME [--to VERSION]",
		Short: "Upgrade a cluster, or go on with an upgrade that was interrupted",
		Long: `Upgrade a cluster to a version, in as many hops as its System needs, with a
backup first where the hop asks for one. Without --to it goes on where an
earlier command stopped. Ctrl-C leaves the members serving; the next
command continues. With --set an option changes together with the version,
where the System lists it for the way there: each member is replaced once.

On Kubernetes it edits spec.version and watches what the operator does; Ctrl-C
stops watching, and the operator goes on. Where another tool keeps the version
(Argo CD, Flux, Helm) it is refused and the tool is named, because it would set
the version back; --force edits all the same.`,
		Example: `  theseus upgrade kv --to 3.6.16
  theseus upgrade kv --to 3.7.3 --dry-run
  theseus upgrade kv                        go on
  theseus upgrade kv --to 3.6.16 --context lab --namespace prod`,
		Args:              a.oneName,
		ValidArgsFunction: a.completeNames,
		RunE:              func(c *cobra.Command, args []string) error { return a.upgrade(c.Context(), args[0], f) },
	}
	f.flags(c, a, "the version to go to")
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "show the plan and change nothing")
	forceFlag(c, &f.force)
	return c
}

func (a *app) upgrade(ctx context.Context, name string, f upgradeFlags) error {
	if f.dryRun {
		return a.showPlan(ctx, name, f.wish)
	}
	k, err := a.open(ctx, name)
	if err != nil {
		return err
	}
	if f.to == "" && len(f.set) > 0 {
		return inputErrorf("--set goes with --to; to change an option alone, edit the cluster's file and bring it up again")
	}
	if f.to == "" {
		return k.driveTo(ctx, wantEnd, nil)
	}
	p, err := k.planTo(ctx, f.wish)
	if err != nil {
		return err
	}
	for _, w := range p.warnings() {
		k.talkf("warning: %s", w)
	}
	if at := k.attempt(); notTaken(at, f.to) != "" && at.Phase == v1alpha1.PhaseRollingBack {
		return k.driveTo(ctx, wantEnd, nil)
	}
	if k.foreign() != nil {
		return k.followTemplate(ctx, f.to, p.again)
	}
	want := p.proposal(k)
	want.force = f.force
	if err := k.site.permit(ctx, want); err != nil {
		return err
	}
	return k.accept(ctx, want, p.again, "upgrade --to "+f.to)
}

// followTemplate watches how members are replaced whose template says the version already. There is nothing to edit.
func (k *opened) followTemplate(ctx context.Context, version string, retry bool) error {
	if !retry { // else the operator looks at the template when it answers
		if err := k.awaitTemplate(ctx, version); err != nil {
			return k.notBegun(err)
		}
	}
	err := k.driveTo(ctx, wantEnd, func() error {
		if !retry {
			return nil
		}
		return k.at.ask(ctx, retryFor("upgrade --to "+version))
	})
	if err != nil || k.system.SameVersion(k.cluster.Status.CurrentVersion, version) {
		return err
	}
	return &exitError{code: exitWaiting, err: fmt.Errorf("%s: %s has not begun to replace its members by %s yet", k.name, theOperator, version), next: "to watch: " + k.command("status", k.name, "--watch")}
}

// awaitTemplate waits until the operator acts on what a template says, or does not for as long as patience: the template may have been changed just now.
func (k *opened) awaitTemplate(ctx context.Context, version string) error {
	before := k.last()
	seen := func(c *v1alpha1.Cluster) bool {
		return k.system.SameVersion(c.Status.CurrentVersion, version) || before.drove(c.Status.Attempt)
	}
	patient, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for c := k.cluster; !seen(c); {
		next, err := k.at.next(patient)
		if patient.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		c = next
	}
	return nil
}

func forceFlag(c *cobra.Command, force *bool) {
	c.Flags().BoolVar(force, "force", false, "on Kubernetes: edit what another tool keeps")
}
