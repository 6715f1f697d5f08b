package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newHistory(a *app) *cobra.Command {
	var events bool
	c := &cobra.Command{
		Use:   "history NAME",
		Short: "Show past attempts, and with --events everything that happened",
		Example: `  theseus history kv
  theseus history kv --events
  theseus history kv --context lab --namespace prod`,
		Args:              a.oneName,
		ValidArgsFunction: a.completeNames,
		RunE: func(c *cobra.Command, args []string) error {
			k, err := a.open(c.Context(), args[0])
			if err != nil {
				return err
			}
			a.printHistory(k, events)
			return nil
		},
	}
	c.Flags().BoolVarP(&events, "events", "e", false, "show events too")
	return c
}

func (a *app) printHistory(k *opened, events bool) {
	st := &k.cluster.Status
	if a.json {
		out := map[string]any{"attempts": st.Attempts, "versions": st.VersionHistory, "requests": st.Requests}
		if events {
			out["events"] = st.Events
		}
		a.printJSON(out)
		return
	}
	var rows [][]string
	for _, t := range st.Attempts {
		rows = append(rows, []string{fmt.Sprint(t.ID), strings.ToLower(string(t.Kind)), or(t.From, "-"), t.To, phaseWord(t.Outcome), or(t.At, "-"),
			t.Started.Local().Format(time.DateTime), roughly(t.Ended.Sub(t.Started.Time)), cut(strings.Join(append(t.Overrides, t.Message), " "), 80)})
	}
	a.table([]string{"ATTEMPT", "KIND", "FROM", "TO", "OUTCOME", "AT", "STARTED", "TOOK", "MESSAGE"}, rows)
	for _, t := range st.Attempts {
		for _, b := range t.Backups {
			a.printf("attempt %d took backup %s\n", t.ID, b)
		}
	}
	if !events {
		return
	}
	a.printf("\n")
	story := newStory()
	for _, e := range st.Events {
		l := story.tell(e)
		a.printf("%s\n", plain(e.At.Local().Format(time.DateTime), l))
	}
}
