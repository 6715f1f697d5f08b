package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/manifest"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

func newPlan(a *app) *cobra.Command {
	var f wish
	c := &cobra.Command{
		Use:   "plan NAME [--to VERSION]",
		Short: "Show what an upgrade would do, and change nothing",
		Long: `Show the steps of an upgrade in order, what each waits for, how long it is
likely to take, and where availability or a way back cannot be promised.
Of an attempt that is under way it shows what is left to do, or to take back.
Nothing is changed. On Kubernetes it asks the API server, and so the webhook,
what it would say to the edit; members are not asked from outside.`,
		Example: `  theseus plan kv --to 3.7.3
  theseus plan kv --to 3.7.3 --json
  theseus plan kv --to 3.7.3 --context lab --namespace prod`,
		Args:              a.oneName,
		ValidArgsFunction: a.completeNames,
		RunE: func(c *cobra.Command, args []string) error {
			return a.showPlan(c.Context(), args[0], f)
		},
	}
	f.flags(c, a, "the version to go to (default: what the spec asks for)")
	return c
}

// target is a spec with the version that is wanted, and the plan to it.
type target struct {
	spec   *v1alpha1.ClusterSpec
	system *system.System // that is taken
	plan   *upgrade.Plan  // nil: nothing to do
	again  bool           // it failed before, and who names it asks for another try
}

// planTo plans the way to a version, or refuses it. Nothing is changed.
func (k *opened) planTo(ctx context.Context, f wish) (*target, error) {
	version := f.to
	next, err := k.systemNext(ctx)
	if err != nil {
		return nil, err
	}
	t := &target{spec: k.cluster.Spec.DeepCopy(), system: next, again: version != "" && k.cluster.Status.FailedTarget == version}
	if version != "" {
		if k.foreign() == nil {
			t.spec.Version = version
		}
		if t.spec.Options == nil && len(f.set) > 0 {
			t.spec.Options = map[string]string{}
		}
		maps.Copy(t.spec.Options, f.set)
		if err := k.mayGoTo(version, next); err != nil {
			return nil, err
		}
		if err := k.mayOrder(ctx, next, f); err != nil {
			return nil, err
		}
		if err := checkSet(next, t.spec, f.set); err != nil {
			return nil, err
		}
		// Without an attempt, what may change together is what the System says that the upgrade would take: planFor asks it.
		if k.attempt() != nil {
			if err := upgrade.CheckEdit(k.system, &k.cluster.Status, &k.cluster.Spec, t.spec); err != nil {
				return nil, inputError(err)
			}
		}
	}
	if t.plan, err = k.planFor(ctx, t.spec, t.again); err != nil {
		return nil, k.refused(err)
	}
	if t.plan != nil {
		t.plan.Warnings = append(t.plan.Warnings, next.OptionWarnings(t.spec)...)
	}
	if t.plan != nil && version != "" {
		for _, text := range []string{unlisted(next, version), notTaken(k.attempt(), version), t.tried(version)} {
			if text != "" {
				t.plan.Warnings = append(t.plan.Warnings, text)
			}
		}
	}
	return t, nil
}

// tried warns of a version that was tried before. Who names it asks for another try.
func (t *target) tried(version string) string {
	if !t.again {
		return ""
	}
	return version + " failed or was taken back before, and is tried again"
}

// proposal is what is planned, for the site to judge.
func (t *target) proposal(k *opened) *proposal {
	p := k.propose(t.spec, t.versions()...)
	p.system = t.system
	return p
}

func (k *opened) mayGoTo(version string, next *system.System) error {
	if k.cluster.Status.Applied == nil {
		return inputNext("bring it up first: "+k.command("upgrade", k.name), "%s was never started to its end", k.name)
	}
	if err := next.CheckVersion(version); err != nil {
		return inputError(fmt.Errorf("--to: %w", err))
	}
	return nil
}

// mayOrder refuses a version that nobody would go to: where somebody else changes the template of an adopted workload, only that says the version.
func (k *opened) mayOrder(ctx context.Context, next *system.System, f wish) error {
	theirs := k.foreign()
	if theirs == nil {
		return nil
	}
	if len(f.set) > 0 {
		return inputErrorf("--set: options change together with spec.version, and that is not looked at where %s is adopted in mode Order; change them in the Cluster's file, and bring it up", theirs.Object())
	}
	now := k.cluster.DeepCopy()
	if err := k.at.see(ctx, next, now); err != nil {
		return err
	}
	if next.SameVersion(now.Spec.Version, f.to) {
		return nil
	}
	return inputNext(fmt.Sprintf("set the image there to %s (helm upgrade, a commit, kubectl set image statefulset/%s CONTAINER=IMAGE): its members are replaced in order then; to watch: %s",
		f.to, theirs.Workload(), k.command("status", k.name, "--watch")),
		"--to %s: the template of %s says %s, and only who changes that changes the version of %s (adopt.mode: Order)", f.to, theirs.Object(), now.Spec.Version, k.name)
}

// checkSet refuses options and values of --set that there are not, before it is asked whether they may change together.
func checkSet(next *system.System, spec *v1alpha1.ClusterSpec, set map[string]string) error {
	for _, e := range next.CheckOptions(spec) {
		if _, given := set[strings.TrimPrefix(e.Path, "spec.options.")]; given {
			return inputError(fmt.Errorf("--set: %w", e))
		}
	}
	return nil
}

// unlisted warns of a version that the System does not list.
func unlisted(next *system.System, version string) string {
	text := manifest.Unlisted(next, version)
	if text != "" {
		text = "--to: " + text
	}
	return text
}

func (t *target) warnings() []string {
	if t.plan == nil {
		return nil
	}
	return t.plan.Warnings
}

// versions are those that members run on the way.
func (t *target) versions() []string {
	if t.plan == nil {
		return nil
	}
	var out []string
	for _, h := range t.plan.Hops {
		out = append(out, h.To)
	}
	return out
}

func (a *app) showPlan(ctx context.Context, name string, f wish) error {
	k, err := a.open(ctx, name)
	if err != nil {
		return err
	}
	t, err := k.planTo(ctx, f)
	if err != nil {
		return err
	}
	return k.printForesight(ctx, t.plan, t.proposal(k))
}

// printForesight prints a plan with what the site would say to it.
func (k *opened) printForesight(ctx context.Context, plan *upgrade.Plan, p *proposal) error {
	s, err := k.site.foresee(ctx, p)
	if err != nil {
		return err
	}
	if plan != nil {
		for _, w := range s.warnings {
			if !slices.Contains(plan.Warnings, w) { // the webhook warns of some of it too
				plan.Warnings = append(plan.Warnings, w)
			}
		}
	}
	k.printPlan(k.name, plan, s.unseen)
	return nil
}

// showPlanTo prints the plan to a version as talk.
func (a *app) showPlanTo(ctx context.Context, name, to string) error {
	talk := *a
	talk.out, talk.json = a.err, false
	return talk.showPlan(ctx, name, wish{to: to})
}

// shownPlan is a plan for scripts.
type shownPlan struct {
	*upgrade.Plan
	// Unseen is what could not be looked at from here.
	Unseen []string `json:"unseen,omitempty"`
}

func (a *app) printPlan(name string, p *upgrade.Plan, unseen []string) {
	switch {
	case a.json && p == nil:
		a.printJSON(p)
		return
	case a.json:
		a.printJSON(shownPlan{p, unseen})
		return
	case p == nil:
		a.printf("nothing to do: %s is as its spec says\n", name)
		return
	}
	what := strings.ToLower(string(p.Kind)) + " " + name
	if p.From != "" && p.From != p.To {
		what += " from " + p.From
	}
	a.printf("%s to %s, in about %s\n", what, p.To, seconds(p.Seconds))
	for i := range p.Hops {
		a.printHop(p, i)
	}
	if len(p.Warnings)+len(unseen) > 0 {
		a.printf("\n")
	}
	for _, w := range p.Warnings {
		a.printf("warning: %s\n", w)
	}
	for _, u := range unseen {
		a.printf("not looked at: %s\n", u)
	}
}

func (a *app) printHop(p *upgrade.Plan, i int) {
	h := &p.Hops[i]
	a.printf("\n")
	if len(p.Hops) > 1 {
		a.printf("hop %d of %d: %s to %s\n", i+1, len(p.Hops), h.From, h.To)
	}
	if h.Note != "" {
		a.printf("note: %s\n", h.Note)
	}
	width := 0
	for _, st := range h.Steps {
		width = max(width, len(stepTitle(st)))
	}
	for j, st := range h.Steps {
		took := ""
		if st.Seconds > 0 {
			took = "~" + seconds(st.Seconds)
		}
		a.printf("%s\n", strings.TrimRight(fmt.Sprintf("%3d  %-*s  %s", j+1, width, stepTitle(st), took), " "))
		for _, w := range st.Waits {
			a.printf("       until %s\n", w)
		}
	}
}

func stepTitle(st upgrade.PlannedStep) string {
	title := st.Name
	if st.Disrupts {
		title += ", one member after the other"
	}
	if st.Irreversible {
		title += ", no plain way back behind it"
	}
	return title
}
