package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
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
deleted too, after a question; backups stay.`,
		Example:           "  theseus down kv\n  theseus down kv --delete-data",
		Args:              oneName,
		ValidArgsFunction: a.completeNames,
		RunE:              func(c *cobra.Command, args []string) error { return a.down(c.Context(), args[0], f) },
	}
	c.Flags().BoolVar(&f.deleteData, "delete-data", false, "delete the members' data and the journal too")
	c.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask before deleting")
	return c
}

func (a *app) down(ctx context.Context, name string, f downFlags) error {
	k, err := a.openAnyway(name)
	if err != nil {
		return err
	}
	if f.deleteData && !f.yes {
		if err := a.confirm(fmt.Sprintf("delete all data of %s (%s)? Type its name: ", name, k.state.Dir()), name); err != nil {
			return err
		}
	}
	if err := k.stopAll(ctx); err != nil {
		return err
	}
	if f.deleteData {
		home, err := a.homeFolder()
		if err != nil {
			return err
		}
		if err := errors.Join(home.Delete(name), os.RemoveAll(restoreMark(home, name))); err != nil {
			return err
		}
	}
	if a.json {
		a.printJSON(map[string]any{"cluster": name, "stopped": true, "deleted": f.deleteData, "folder": k.state.Dir()})
	} else if f.deleteData {
		a.printf("%s is deleted; its backups stay where they are\n", name)
	} else {
		a.printf("the members of %s are stopped; their data stays in %s\n", name, k.state.Dir())
	}
	return nil
}

func (k *opened) stopAll(ctx context.Context) error {
	unlock, err := k.state.Lock()
	if err != nil {
		return busy(k.name, err)
	}
	defer unlock()
	p := k.platform()
	defer p.Close()
	return p.Down(ctx)
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
