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
		Long: `Print the last lines that members wrote: of one, or of all. A member that has no
log now, as one that is being replaced on Kubernetes, is named, and the others
are printed all the same; where there is nothing of anyone it is an error, with
exit code 2.`,
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
	// Missing is why there is none, as while the member is being replaced.
	Missing string `json:"missing,omitempty"`
	text    string
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
	case len(members) == 0:
		return inputErrorf("%s has no members now", k.name)
	case follow && len(members) > 1:
		return inputErrorf("--follow: name one member of %s: %s", k.name, list(members))
	case follow && k.json:
		return inputErrorf("--follow: a log that goes on cannot be JSON; leave one of --follow and --json")
	case follow:
		return k.at.logs(ctx, k.out, members[0], lines, true)
	}
	all, err := k.readLogs(ctx, members, lines)
	switch {
	case err != nil:
		return err
	case k.json:
		k.printJSON(all)
		return nil
	}
	for _, l := range all {
		switch {
		case l.Missing != "":
			k.talkf("%s", l.Missing)
			continue
		case len(all) > 1:
			k.printf("── %s\n", l.Member)
		}
		k.printf("%s", l.text)
	}
	return nil
}

// readLogs reads what there is. It is an error where there is nothing of anyone.
func (k *opened) readLogs(ctx context.Context, members []string, lines int) ([]memberLog, error) {
	all, read := []memberLog{}, 0
	var missing error
	for _, m := range members {
		l := memberLog{Member: m, Lines: []string{}}
		var text bytes.Buffer
		if err := k.at.logs(ctx, &text, m, lines, false); err != nil {
			missing, l.Missing = firstError(missing, err), err.Error()
		} else {
			read++
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		l.text = text.String()
		if s := strings.TrimSuffix(l.text, "\n"); s != "" {
			l.Lines = strings.Split(s, "\n")
		}
		all = append(all, l)
	}
	if read == 0 {
		return nil, missing
	}
	return all, nil
}
