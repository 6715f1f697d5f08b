package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/upgrade"
)

func newStatus(a *app) *cobra.Command {
	var watch bool
	c := &cobra.Command{
		Use:   "status [NAME]",
		Short: "Show clusters, or one with its attempt and what it waits for",
		Long: `Show all clusters, or one as a fresh look at its members shows it: where they are
reached, their versions and roles, the attempt that runs or was the last one, and
what it waits for. On Kubernetes versions and roles are not asked for. With --watch go on and
print what happens, until the attempt that runs, or the next one, has ended;
with --json too, an event a line.`,
		Example: `  theseus status
  theseus status kv
  theseus status kv --watch
  theseus status kv --json | jq .status.conditions
  theseus status kv --json | jq -r '.members[] | "\(.address):\(.ports.client)"'
  theseus status kv --context lab --namespace prod
  theseus status --context lab --all-namespaces
  kubectl theseus status kv`,
		Args:              atMostOneName,
		ValidArgsFunction: a.completeNames,
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case len(args) == 0 && watch:
				return inputErrorf("--watch: name the cluster to watch")
			case len(args) == 1 && a.kube.everywhere:
				return inputErrorf("--all-namespaces lists the clusters of all namespaces; leave it out, or the name")
			case len(args) == 0:
				return a.statusOfAll(c.Context())
			case watch:
				return a.watchStatus(c.Context(), args[0])
			}
			return a.statusOf(c.Context(), args[0])
		},
	}
	c.Flags().BoolVarP(&watch, "watch", "w", false, "go on and print what happens until the attempt ends")
	c.Flags().BoolVarP(&a.kube.everywhere, "all-namespaces", "A", false, "the clusters of all namespaces of Kubernetes")
	return c
}

// statusOfAll prints a line for each cluster. One that cannot be read hides no other.
func (a *app) statusOfAll(ctx context.Context) error {
	s, err := a.site()
	if err != nil {
		return err
	}
	found, err := s.all(ctx)
	if err != nil {
		return err
	}
	var rows [][]string
	all := []*v1alpha1.Cluster{}
	var unread error
	for _, at := range found {
		c, doing, err := a.seen(ctx, s, at)
		if err != nil {
			unread = firstError(unread, err)
			rows = append(rows, []string{"?", at.name(), "?", "?", "?", "?", "?", cut(err.Error(), 100)})
			continue
		}
		rows = append(rows, append([]string{c.Namespace}, row(c, doing)...))
		all = append(all, c)
	}
	switch {
	case a.json:
		a.printJSON(all)
	case len(rows) == 0:
		a.talkf("there is no cluster yet; to make one: %s", a.command("up", "FILE"))
		if !a.remote() {
			a.talkf("those of Kubernetes are shown with --namespace or --all-namespaces")
		}
	default:
		a.table(a.shown(rows))
	}
	return unread
}

// shown are the columns of a list of clusters, with the namespace where that is not the same for all.
func (a *app) shown(rows [][]string) (columns []string, shown [][]string) {
	columns = []string{"NAMESPACE", "NAME", "VERSION", "DESIRED VERSION", "DESIRED MEMBERS", "READY MEMBERS", "AGE", "DOING"}
	if a.kube.everywhere {
		return columns, rows
	}
	for _, row := range rows {
		shown = append(shown, row[1:])
	}
	return columns[1:], shown
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// seen is a cluster with what it does now. Nobody writes down on this machine what happens while no command runs, so its members are asked; on
// Kubernetes the operator has asked them.
func (a *app) seen(ctx context.Context, s site, at access) (c *v1alpha1.Cluster, doing string, err error) {
	if err := at.complete(); err != nil {
		return nil, "", err
	}
	if a.remote() {
		c, err := at.load(ctx)
		if err != nil {
			return nil, "", err
		}
		return c, nowLine(&c.Status), nil
	}
	k := a.openedAt(s, at)
	if err := k.reload(ctx); err != nil {
		return nil, "", err
	}
	members, err := k.refresh(ctx)
	if err != nil {
		return nil, "", err
	}
	doing = nowLine(&k.cluster.Status)
	if stopped(members) {
		doing = strings.TrimPrefix(doing+"; stopped", "; ")
	}
	return k.cluster, doing, nil
}

func row(c *v1alpha1.Cluster, doing string) []string {
	st := &c.Status
	return []string{c.Name, or(st.CurrentVersion, "-"), desired(c), fmt.Sprint(st.Replicas), fmt.Sprint(st.ReadyReplicas),
		roughly(time.Since(c.CreationTimestamp.Time)), or(doing, "-")}
}

// desired is the version that is wanted: that of the spec, or of a workload which somebody else changes.
func desired(c *v1alpha1.Cluster) string { return withSeen(&c.Spec, &c.Status).Version }

// statusOf prints one cluster as a fresh look shows it. The journal is not written.
func (a *app) statusOf(ctx context.Context, name string) error {
	k, err := a.open(ctx, name)
	if err != nil {
		return err
	}
	members, err := k.refresh(ctx)
	if err != nil {
		return err
	}
	if a.json {
		a.printJSON(shownCluster{k.cluster, members})
		return nil
	}
	k.printStatus(stopped(members))
	k.printMembers(members)
	if at := k.cluster.Status.Attempt; at != nil {
		k.printAttempt(at)
	}
	return nil
}

// watchStatus prints events and waits as they come, until the attempt that runs, or the next one, has ended.
func (a *app) watchStatus(ctx context.Context, name string) error {
	k, err := a.open(ctx, name)
	if err != nil {
		return err
	}
	before := k.last()
	show := newProgress(a, &k.cluster.Status)
	show.lines = a.json
	a.printed = a.json // what was printed are lines, and a failure is no event
	defer show.close()
	a.talkf("%s", or(nowLine(&k.cluster.Status), name+": nothing is under way; waiting for an attempt (Ctrl-C ends)"))
	for {
		c, err := k.at.next(ctx)
		if ctx.Err() != nil {
			return nil // who has seen enough has
		}
		if err == nil {
			err = k.take(ctx, c)
		}
		if err != nil {
			return err
		}
		show.status(&k.cluster.Status)
		if at := k.cluster.Status.Attempt; before.drove(at) && at.Phase.Ended() {
			show.close()
			return k.outcome(wantEnd, at)
		}
	}
}

func (k *opened) printStatus(stopped bool) {
	cl, st := k.cluster, &k.cluster.Status
	rows := [][]string{
		{"cluster", cl.Name},
		{"system", cl.Spec.System},
		{"version", or(st.CurrentVersion, "none")},
		{"members", fmt.Sprintf("%d of %d ready", st.ReadyReplicas, st.Replicas)},
	}
	if stopped {
		rows[3][1] += "; all are stopped: " + k.command("up", "FILE") + " starts them"
	}
	if want := desired(cl); want != st.CurrentVersion {
		rows = append(rows, []string{"desired", want})
	}
	if len(st.Members.Unready) > 0 {
		rows = append(rows, []string{"not ready", strings.Join(st.Members.Unready, " ")})
	}
	if why := unreadyBecause(st); why != "" {
		rows = append(rows, []string{"because", cut(why, 300)})
	}
	if st.FailedTarget != "" {
		rows = append(rows, []string{"failed", "the upgrade to " + st.FailedTarget + "; it is not tried again by itself"})
		if applied := st.Applied; applied != nil && desired(cl) != applied.Spec.Version && k.attempt() == nil {
			rows = append(rows, []string{"", "to stay at " + applied.Spec.Version + ": " + k.command("upgrade", k.name, "--to", applied.Spec.Version)})
		}
	}
	for _, o := range st.Overrides {
		rows = append(rows, []string{"override", o.Rule + " until " + o.Until.Local().Format(time.TimeOnly)})
	}
	k.table(nil, append(rows, conditionRows(st)...))
}

// unreadyBecause is what the core says of a member that is not ready while no attempt runs; an attempt's wait says more.
func unreadyBecause(st *v1alpha1.ClusterStatus) string {
	c := meta.FindStatusCondition(st.Conditions, v1alpha1.ConditionReady)
	if c == nil || c.Status == metav1.ConditionTrue {
		return ""
	}
	_, why, _ := strings.Cut(c.Message, "; ")
	return why
}

// conditionRows are the conditions that say more than that all is well; --json has all.
func conditionRows(st *v1alpha1.ClusterStatus) [][]string {
	var rows [][]string
	for _, c := range st.Conditions {
		if c.Type != v1alpha1.ConditionReady && c.Status == metav1.ConditionTrue {
			rows = append(rows, []string{strings.ToLower(c.Type), strings.TrimSuffix(c.Reason+": "+cut(c.Message, 400), ": ")})
		}
	}
	return rows
}

func or(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}

func (k *opened) printAttempt(at *v1alpha1.Attempt) {
	k.printf("\nattempt %d: %s: %s", at.ID, strings.TrimPrefix(describe(at), "the "), phaseWord(at.Phase))
	if len(at.Hops) > 1 {
		k.printf(", hop %d of %d (%s to %s)", at.Hop+1, len(at.Hops), at.Hops[at.Hop].From, at.Hops[at.Hop].To)
	}
	k.printf("\n")
	if at.Failure != nil {
		k.printf("  because of %s: %s\n", at.Failure.Object, strings.ReplaceAll(telling(at.Failure.Message), "\n", "\n    "))
		if name, ok := strings.CutPrefix(at.Failure.Object, "member "); ok {
			k.printf("  what it wrote: %s\n", k.command("logs", k.name, name))
		}
	} else if at.Rest != "" {
		k.printf("  %s\n", at.Rest)
	}
	var rows [][]string
	for i := range at.Steps {
		rows = append(rows, stepRow(&at.Steps[i]))
	}
	k.table(nil, rows)
	if w := at.WaitingFor; w != nil {
		k.printWait(w)
	}
	if next := k.advice(at); next != "" {
		k.printf("%s\n", next)
	}
}

func phaseWord(p v1alpha1.AttemptPhase) string {
	switch p {
	case v1alpha1.PhaseRollingBack:
		return "going back"
	case v1alpha1.PhaseRolledBack:
		return "rolled back"
	}
	return strings.ToLower(string(p))
}

func stepRow(st *v1alpha1.StepStatus) []string {
	detail := st.Message
	if h := st.Hand; h != nil {
		detail = strings.TrimPrefix(detail+", ", ", ") + h.Member + " " + strings.ToLower(string(h.Phase))
	}
	took := ""
	if st.Begun != nil && st.Ended != nil {
		took = roughly(st.Ended.Sub(st.Begun.Time))
	}
	phase := strings.ToLower(string(st.Phase))
	if st.Kind == upgrade.KindBackup && st.Phase == v1alpha1.StepUndone {
		phase = "kept"
	}
	return []string{"  " + mark(st.Phase), st.Name, phase, took, strings.TrimSpace(detail)}
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

func (k *opened) printWait(w *v1alpha1.WaitingFor) {
	k.printf("waits for %s\n  since %s%s\n", waitText(w), w.Since.Local().Format(time.TimeOnly), until(w))
	if w.Override != "" && w.Deadline != nil && w.Rule != "soak" && time.Since(w.Since.Time) >= longWait { // who waits a moment needs no way around it
		k.printf("  it is waited for because going on is not known to be safe; to go on all the same: %s\n", k.command(asks(w.Override, k.name)))
	}
}
