package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"theseus.dev/api/v1alpha1"
)

func newStatus(a *app) *cobra.Command {
	var watch bool
	c := &cobra.Command{
		Use:   "status [NAME]",
		Short: "Show clusters, or one with its attempt and what it waits for",
		Example: `  theseus status
  theseus status kv
  theseus status kv --watch
  theseus status kv --json | jq .status.conditions`,
		Args:              atMostOneName,
		ValidArgsFunction: a.completeNames,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.statusOfAll()
			}
			if watch {
				return a.watchStatus(c.Context(), args[0])
			}
			return a.statusOf(c.Context(), args[0])
		},
	}
	c.Flags().BoolVarP(&watch, "watch", "w", false, "go on and print what happens until the attempt ends")
	return c
}

func (a *app) printStatus(cl *v1alpha1.Cluster) {
	if a.json {
		a.printJSON(cl)
		return
	}
	st := &cl.Status
	rows := [][]string{
		{"cluster", cl.Name},
		{"system", cl.Spec.System},
		{"version", or(st.CurrentVersion, "none")},
		{"desired", cl.Spec.Version},
		{"members", fmt.Sprintf("%d of %d ready", st.ReadyReplicas, st.Replicas)},
	}
	if len(st.Members.Unready) > 0 {
		rows = append(rows, []string{"not ready", strings.Join(st.Members.Unready, " ")})
	}
	if st.FailedTarget != "" {
		rows = append(rows, []string{"failed", "the upgrade to " + st.FailedTarget + "; it is not tried again by itself"})
	}
	a.table(nil, rows)
	a.printConditions(st)
	if at := st.Attempt; at != nil {
		a.printAttempt(at)
	}
}

func or(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}

func (a *app) printConditions(st *v1alpha1.ClusterStatus) {
	var rows [][]string
	for _, c := range st.Conditions {
		rows = append(rows, []string{"  " + c.Type, string(c.Status), c.Reason, cut(c.Message, 100)})
	}
	if len(rows) > 0 {
		a.printf("\nconditions\n")
		a.table(nil, rows)
	}
}

func (a *app) printAttempt(at *v1alpha1.Attempt) {
	a.printf("\nattempt %d: %s", at.ID, strings.ToLower(string(at.Kind)))
	if at.From != "" && at.From != at.To {
		a.printf(" from %s", at.From)
	}
	a.printf(" to %s, %s", at.To, strings.ToLower(string(at.Phase)))
	if len(at.Hops) > 1 {
		a.printf(", hop %d of %d (%s to %s)", at.Hop+1, len(at.Hops), at.Hops[at.Hop].From, at.Hops[at.Hop].To)
	}
	a.printf("\n")
	if at.Rest != "" {
		a.printf("  %s\n", at.Rest)
	}
	var rows [][]string
	for i := range at.Steps {
		rows = append(rows, stepRow(&at.Steps[i]))
	}
	a.table(nil, rows)
	if w := at.WaitingFor; w != nil {
		a.printWait(w)
	}
}

func stepRow(st *v1alpha1.StepStatus) []string {
	detail := st.Message
	if h := st.Hand; h != nil {
		detail += " " + h.Member + " " + strings.ToLower(string(h.Phase))
	}
	took := ""
	if st.Begun != nil && st.Ended != nil {
		took = roughly(st.Ended.Sub(st.Begun.Time))
	}
	return []string{"  " + mark(st.Phase), st.Name, strings.ToLower(string(st.Phase)), took, strings.TrimSpace(detail)}
}

func mark(p v1alpha1.StepPhase) string {
	switch p {
	case v1alpha1.StepDone:
		return "✓"
	case v1alpha1.StepRunning:
		return "▸"
	case v1alpha1.StepUndoing:
		return "◂"
	case v1alpha1.StepUndone:
		return "↩"
	}
	return "·"
}

func (a *app) printWait(w *v1alpha1.WaitingFor) {
	a.printf("waits for %s\n", waitText(w))
	a.printf("  since %s", w.Since.Local().Format(time.TimeOnly))
	if w.Deadline != nil {
		a.printf(", until %s if nothing gets better", w.Deadline.Local().Format(time.TimeOnly))
	}
	if w.Override != "" {
		a.printf("; to go on without it: %s", w.Override)
	}
	a.printf("\n")
}
