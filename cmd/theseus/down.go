package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

type downFlags struct {
	deleteData bool
	yes        bool
}

func newDown(a *app) *cobra.Command {
	var f downFlags
	c := &cobra.Command{
		Use:   "down NAME",
		Short: "Stop all members; their data stays",
		Long: `Stop all members gracefully. Their data, the journal and the backups stay, and
"theseus up" starts them again. With --delete-data the data and the journal are
deleted too, after a question; backups stay.

On Kubernetes it deletes the Cluster, and so its journal, after a question. The
members' volumes stay, and "theseus up" takes them up again; --delete-data
deletes them too.`,
		Example: `  theseus down kv
  theseus down kv --delete-data
  theseus down kv --context lab --namespace prod --yes`,
		Args:              a.oneName,
		ValidArgsFunction: a.completeNames,
		RunE:              func(c *cobra.Command, args []string) error { return a.down(c.Context(), args[0], f) },
	}
	c.Flags().BoolVar(&f.deleteData, "delete-data", false, "delete the members' data and the journal too")
	c.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask before deleting")
	return c
}

func (a *app) down(ctx context.Context, name string, f downFlags) error {
	k, err := a.find(ctx, name)
	if err != nil {
		return err
	}
	if err := k.reload(ctx); err != nil { // what a newer Theseus keeps is left alone
		return err
	}
	if question := k.at.atStake(f.deleteData); question != "" && !f.yes {
		if err := a.confirm(question+" Type its name: ", name); err != nil {
			return err
		}
	}
	d, err := k.at.down(ctx, f.deleteData)
	if err != nil {
		return err
	}
	if a.json {
		a.printJSON(d)
	} else {
		a.printf("%s\n", d.words)
	}
	for _, next := range d.next {
		a.talkf("%s", next)
	}
	return nil
}

// confirm asks a person. Where nobody answers, the answer is no.
func (a *app) confirm(question, want string) error {
	fmt.Fprint(a.err, question)
	line, err := bufio.NewReader(a.in).ReadString('\n')
	if strings.TrimSpace(line) != want {
		if err != nil {
			a.talkf("")
		}
		return inputErrorf("not confirmed; nothing was changed (--yes answers beforehand)")
	}
	return nil
}
