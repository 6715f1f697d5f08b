package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"theseus.dev/upgrade"
)

func newPlan(a *app) *cobra.Command {
	var to string
	c := &cobra.Command{
		Use:   "plan NAME [--to VERSION]",
		Short: "Show what an upgrade would do, and change nothing",
		Long: `Show the steps of an upgrade in order, what each waits for, how long it is
likely to take, and where availability or a way back cannot be promised.
Nothing is changed.`,
		Example: `  theseus plan kv --to 3.7.3
  theseus plan kv --to 3.7.3 --json`,
		Args:              oneName,
		ValidArgsFunction: a.completeNames,
		RunE: func(c *cobra.Command, args []string) error {
			return a.showPlan(c.Context(), args[0], to)
		},
	}
	c.Flags().StringVar(&to, "to", "", "the version to go to (default: what the spec asks for)")
	return c
}

func (a *app) showPlan(ctx context.Context, name, to string) error {
	k, err := a.open(name)
	if err != nil {
		return err
	}
	if to != "" {
		k.cluster.Spec.Version = to
	}
	p, err := k.plan(ctx)
	if err != nil {
		return err
	}
	a.printPlan(name, p)
	return nil
}

func (a *app) printPlan(name string, p *upgrade.Plan) {
	if a.json {
		a.printJSON(p)
		return
	}
	if p == nil {
		a.printf("nothing to do: %s is as its spec says\n", name)
		return
	}
	a.printf("%s %s", strings.ToLower(string(p.Kind)), name)
	if p.From != "" && p.From != p.To {
		a.printf(" from %s", p.From)
	}
	a.printf(" to %s, in about %s\n", p.To, seconds(p.Seconds))
	for i, h := range p.Hops {
		if len(p.Hops) > 1 {
			a.printf("\nhop %d of %d: %s to %s\n", i+1, len(p.Hops), h.From, h.To)
		}
		if h.Note != "" {
			a.printf("  note: %s\n", h.Note)
		}
		a.table(nil, planRows(h.Steps))
	}
	for _, w := range p.Warnings {
		a.printf("\nwarning: %s", w)
	}
	if len(p.Warnings) > 0 {
		a.printf("\n")
	}
}

func planRows(steps []upgrade.PlannedStep) [][]string {
	var rows [][]string
	for _, st := range steps {
		name := st.Name
		if st.Disrupts {
			name += " (one member after the other)"
		}
		if st.Irreversible {
			name += ", no plain way back behind it"
		}
		took := ""
		if st.Seconds > 0 {
			took = "~" + seconds(st.Seconds)
		}
		first := ""
		if len(st.Waits) > 0 {
			first = "waits for " + st.Waits[0]
		}
		rows = append(rows, []string{"  · " + name, took, first})
		for _, w := range rest(st.Waits) {
			rows = append(rows, []string{"", "", "          " + w})
		}
	}
	return rows
}

func rest(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	return list[1:]
}

func oneName(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return inputErrorf("give the name of one cluster; `theseus status` lists them")
	}
	return nil
}

func atMostOneName(_ *cobra.Command, args []string) error {
	if len(args) > 1 {
		return inputErrorf("give the name of one cluster, got %s", strings.Join(args, " "))
	}
	return nil
}

func oneFile(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return inputErrorf("give one file, got %d", len(args))
	}
	return nil
}
