package main

import (
	"github.com/spf13/cobra"
)

func newLogs(a *app) *cobra.Command {
	var follow bool
	var lines int
	c := &cobra.Command{
		Use:   "logs NAME [MEMBER]",
		Short: "Print what members wrote",
		Example: `  theseus logs kv                   all members, the last lines of each
  theseus logs kv kv-etcd-1 -f`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 && len(args) != 2 {
				return inputErrorf("give the name of a cluster, and of a member if you like")
			}
			return nil
		},
		ValidArgsFunction: a.completeMembers,
		RunE: func(c *cobra.Command, args []string) error {
			k, err := a.open(args[0])
			if err != nil {
				return err
			}
			return k.logs(c.Context(), args[1:], follow, lines)
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what comes")
	c.Flags().IntVarP(&lines, "lines", "n", 20, "how many lines of each")
	return c
}
