package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/backup"
	"theseus.dev/backup/cloud"
	"theseus.dev/runner"
)

func newBackup(a *app) *cobra.Command {
	var list bool
	c := &cobra.Command{
		Use:   "backup NAME",
		Short: "Take a backup now, or list those there are",
		Long: `Take a backup of a running cluster to spec.backup.url, by its System's method,
prove it by the System's own check, and read it back. An upgrade takes its own.

On Kubernetes it makes a Backup and waits for its end; it stays.`,
		Example: `  theseus backup kv
  theseus backup kv --list
  theseus backup kv --context lab --namespace prod`,
		Args:              a.oneName,
		ValidArgsFunction: a.completeNames,
		RunE: func(c *cobra.Command, args []string) error {
			k, err := a.open(c.Context(), args[0])
			if err != nil {
				return err
			}
			if list {
				return k.listBackups(c.Context())
			}
			return k.backUp(c.Context())
		},
	}
	c.Flags().BoolVarP(&list, "list", "l", false, "list the backups of the cluster")
	return c
}

func (k *opened) hasBackups() error {
	if k.system.API().Backup == nil {
		return inputErrorf("System %s does not say how a backup is taken", k.system.Name())
	}
	if k.cluster.Spec.Backup == nil {
		return inputNext("set it in the cluster's file, then: "+k.command("up", "FILE"), "%s: spec.backup.url is not set: there is no place for backups", k.name)
	}
	return nil
}

func (k *opened) backUp(ctx context.Context) error {
	if err := k.hasBackups(); err != nil {
		return err
	}
	t, err := k.at.backUp(ctx, k)
	switch {
	case err != nil:
		return err
	case k.json:
		k.printJSON(t.object)
	default:
		k.printf("%s\n", t.line)
	}
	return nil
}

func (k *opened) listBackups(ctx context.Context) error {
	list, err := k.at.backups(ctx, k)
	switch {
	case err != nil:
		return err
	case k.json:
		k.printJSON(list.objects)
	default:
		k.table([]string{"BACKUP", "STATE", "FROM", "TO", "BYTES", "TAKEN"}, list.rows)
	}
	return nil
}

// backUp takes a backup in this process.
func (m *process) backUp(ctx context.Context, k *opened) (taken, error) {
	in, err := k.input(ctx, nil)
	if err != nil {
		return taken{}, err
	}
	version := k.cluster.Status.CurrentVersion
	order, err := (&backups{m}).order(ctx, runner.Scene{Cluster: k.cluster, System: k.system, Systems: in.Systems}, v1alpha1.Intent{From: version, Version: version})
	if err != nil {
		return taken{}, err
	}
	work, err := os.MkdirTemp("", "theseus-backup-")
	if err != nil {
		return taken{}, err
	}
	defer os.RemoveAll(work)
	k.talkf("taking a backup of %s from %s", k.name, order.Member.Name)
	proof, err := takeBackup(ctx, k.system, order, work, func(string) {})
	return taken{proof, fmt.Sprintf("%s  %d bytes, checked and read back", proof.Name, proof.Total)}, err
}

func (m *process) backups(ctx context.Context, k *opened) (takenList, error) {
	if err := k.hasBackups(); err != nil {
		return takenList{}, err
	}
	store, err := cloud.Open(ctx, k.cluster.Spec.Backup.URL, nil, m.state.Dir())
	if err != nil {
		return takenList{}, inputError(err)
	}
	defer store.Close()
	entries, err := store.List(ctx, k.name)
	list := takenList{objects: entries}
	for _, e := range entries {
		list.rows = append(list.rows, []string{e.Name.String(), string(e.State), or(e.Name.From, "-"), or(e.Name.To, "-"), fmt.Sprint(e.Proof.Total), e.Name.Time.Local().Format(time.DateTime)})
	}
	return list, err
}

// shortName is what the journal calls a backup.
func shortName(n backup.Name) string {
	return fmt.Sprintf("%s-%s-%s-%s", n.Cluster, n.From, n.To, n.Attempt)
}

// findBackup finds a backup by its name in the store, or by the journal's, which events, status and history show.
func (a *app) findBackup(ctx context.Context, store *backup.Store, name string) (backup.Name, error) {
	if n, err := backup.ParseName(name); err == nil {
		return n, nil
	}
	clusters, err := store.Clusters(ctx)
	if err != nil {
		return backup.Name{}, err
	}
	var found []backup.Name
	for _, cluster := range clusters {
		if !strings.HasPrefix(name, cluster+"-") {
			continue
		}
		entries, err := store.List(ctx, cluster)
		if err != nil {
			return backup.Name{}, err
		}
		for _, e := range entries {
			if shortName(e.Name) == name {
				found = append(found, e.Name)
			}
		}
	}
	switch len(found) {
	case 0:
		return backup.Name{}, inputErrorf("--from %s: there is no such backup in %s; \"%s\" names them", name, store, a.command("backup", "NAME", "--list"))
	case 1:
		return found[0], nil
	}
	// A cluster that was deleted and made again counts its attempts from the first.
	return backup.Name{}, inputErrorf("--from %s: %d backups in %s have this name; choose one of %v", name, len(found), store, found)
}
