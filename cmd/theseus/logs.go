package main

import (
	"bytes"
	"context"
	"strings"

	"github.com/spf13/cobra"
)

func newLogs(a *app) *cobra.Command {
	var follow bool
	var lines int
	c := &cobra.Command{
		Use:   "logs NAME [MEMBER]",
		Short: "Print what members wrote",
		Example: `  theseus logs kv                   all members, the last lines of each
  theseus logs kv kv-etcd-1 -f
  theseus logs kv --context lab --namespace prod`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 && len(args) != 2 {
				return inputErrorf("give the name of a cluster, and of a member if you like")
			}
			return nil
		},
		ValidArgsFunction: a.completeMembers,
		RunE: func(c *cobra.Command, args []string) error {
			k, err := a.open(c.Context(), args[0])
			if err != nil {
				return err
			}
			if lines < 0 {
				return inputErrorf("--lines %d: it must be 0 or more", lines)
			}
			return k.logs(c.Context(), args[1:], follow, lines)
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what comes")
	c.Flags().IntVar(&lines, "lines", 20, "how many lines of each")
	return c
}

// memberLog is the end of a member's log.
type memberLog struct {
	Member string   `json:"member"`
	Lines  []string `json:"lines"`
}

// logs prints what members wrote: of those named, or of all.
func (k *opened) logs(ctx context.Context, members []string, follow bool, lines int) error {
	for _, m := range members {
		if err := k.checkMember(m); err != nil {
			return err
		}
	}
	if len(members) == 0 {
		members = k.memberNames()
	}
	switch {
	case follow && len(members) > 1:
		return inputErrorf("--follow: name one member of %s: %s", k.name, list(members))
	case follow && k.json:
		return inputErrorf("--follow: a log that goes on cannot be JSON; leave one of --follow and --json")
	case k.json:
		return k.logsJSON(ctx, members, lines)
	}
	for _, m := range members {
		if len(members) > 1 {
			k.printf("── %s\n", m)
		}
		if err := k.at.logs(ctx, k.out, m, lines, follow); err != nil {
			return err
		}
	}
	return nil
}

func (k *opened) logsJSON(ctx context.Context, members []string, lines int) error {
	all := []memberLog{}
	for _, m := range members {
		var text bytes.Buffer
		if err := k.at.logs(ctx, &text, m, lines, false); err != nil {
			return err
		}
		l := memberLog{Member: m, Lines: []string{}}
		if s := strings.TrimSuffix(text.String(), "\n"); s != "" {
			l.Lines = strings.Split(s, "\n")
		}
		all = append(all, l)
	}
	k.printJSON(all)
	return nil
}
