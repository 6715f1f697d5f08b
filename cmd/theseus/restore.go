package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/ask"
	"theseus.dev/backup"
	"theseus.dev/backup/cloud"
	"theseus.dev/local"
	"theseus.dev/system"
)

func newRestore(a *app) *cobra.Command {
	var from, url string
	c := &cobra.Command{
		Use:   "restore FILE --from BACKUP",
		Short: "Make a new cluster from a backup, beside the old one",
		Long: `Make the new cluster that FILE describes, with the data of a backup. Nothing is
ever restored over a cluster that exists: give the new one a name of its own,
look at it, and switch clients over yourself.`,
		Example: "  theseus backup kv --list\n  theseus restore kv-restored.yaml --from kv-3.5.35-3.6.16-a2-7",
		Args:    oneFile, ValidArgsFunction: yamlFiles,
		RunE: func(c *cobra.Command, args []string) error { return a.restore(c.Context(), args[0], from, url) },
	}
	c.Flags().StringVar(&from, "from", "", "the backup, by its name")
	c.Flags().StringVar(&url, "url", "", "where the backup is (default: spec.backup.url of FILE)")
	return c
}

func (a *app) restore(ctx context.Context, file, from, url string) error {
	m, err := a.thisMachine("restore")
	if err != nil {
		return err
	}
	f, err := readCluster(ctx, m, file)
	if err != nil {
		return err
	}
	if from == "" {
		return inputErrorf("--from: name the backup; \"%s\" lists them", a.command("backup", "NAME", "--list"))
	}
	if f.system.API().Restore == nil {
		return inputErrorf("System %s does not say how a backup is restored", f.system.Name())
	}
	if url == "" && f.cluster.Spec.Backup != nil {
		url = f.cluster.Spec.Backup.URL
	}
	if url == "" {
		return inputErrorf("--url: say where the backup is, or set spec.backup.url in %s", file)
	}
	k, err := a.openFile(ctx, m, f)
	if err != nil {
		return err
	}
	if k.at != nil {
		return inputNext("give the new cluster another metadata.name in "+file, "cluster %s exists, and nothing is restored over a cluster that exists", k.name)
	}
	return m.restoreInto(ctx, k, f, from, url)
}

// restoreInto gets the backup, makes every member's data folder from it, and starts the cluster. If the data cannot be made,
// nothing of the new cluster stays.
func (m *machine) restoreInto(ctx context.Context, k *opened, f *clusterFile, from, url string) error {
	p := k.propose(&f.cluster.Spec, f.cluster.Spec.Version)
	p.file = f
	if err := m.permit(ctx, p); err != nil {
		return err
	}
	store, err := cloud.Open(ctx, url, nil)
	if err != nil {
		return inputError(err)
	}
	defer store.Close()
	name, err := m.findBackup(ctx, store, from)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "theseus-restore-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	got := filepath.Join(work, "backup")
	proof, err := k.fetch(ctx, store, name, got)
	if err != nil {
		return err
	}
	if v := f.cluster.Spec.Version; name.From != v {
		k.talkf("warning: the backup was taken at %s and %s runs %s", name.From, k.name, v)
	}
	at, err := m.createFilled(ctx, k, f, got)
	if err != nil {
		return err
	}
	k.at = at
	if err := k.driveTo(ctx, wantEnd, nil); err != nil {
		return err
	}
	k.talkf("%s has the data of %s, taken %s; what was written after that is not in it", k.name, name, proof.Started.Local().Format(time.DateTime))
	return nil
}

// fetch gets a backup that is whole and of this System. What is not is the user's to choose anew: nothing was made yet.
func (k *opened) fetch(ctx context.Context, store *backup.Store, name backup.Name, into string) (backup.Proof, error) {
	k.talkf("getting %s", name)
	proof, err := store.Get(ctx, name, into)
	switch {
	case errors.Is(err, context.Canceled):
		return proof, err
	case err != nil:
		return proof, inputNext("choose another: "+k.command("backup", name.Cluster, "--list"), "backup %s: %w", name, err)
	case proof.System.Name != k.system.Name():
		return proof, inputErrorf("backup %s: it is one of %s, and %s is a %s", name, proof.System.Name, k.name, k.system.Name())
	}
	return proof, nil
}

// createFilled makes the new cluster with its data. A mark stands beside it until the data is whole, so that a cluster
// with half of its data is never started.
func (m *machine) createFilled(ctx context.Context, k *opened, f *clusterFile, got string) (*process, error) {
	mark := restoreMark(m.home, k.name)
	if err := os.MkdirAll(string(m.home), 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		return nil, err
	}
	at, err := m.make(f)
	if err != nil {
		return nil, errors.Join(err, os.Remove(mark))
	}
	if err := at.fillMembers(ctx, f, got); err != nil {
		return nil, errors.Join(fmt.Errorf("restore: %w; the new cluster was taken away again", err), m.home.Delete(k.name), os.Remove(mark))
	}
	return at, os.Remove(mark)
}

func restoreMark(home local.Home, name string) string {
	return filepath.Join(string(home), ".restoring-"+name)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// interruptedRestore refuses a cluster whose data is not whole.
func (m *machine) interruptedRestore(name string) error {
	if !exists(restoreMark(m.home, name)) {
		return nil
	}
	return inputNext(fmt.Sprintf("if that does not run any more: %s, then restore again", m.command("down", name, "--delete-data")), "%s: its restore has not ended", name)
}

// fillMembers makes the data folder of each member of the restored component.
func (m *process) fillMembers(ctx context.Context, f *clusterFile, got string) error {
	method, spec := f.system.API().Restore, &f.cluster.Spec
	component := method.Component
	if component == "" {
		component = f.system.Components()[0].Name()
	}
	// Of members that never ran a look shows nothing but the name.
	all, err := m.state.Views(f.system, spec, component, spec.Version)
	if err != nil {
		return err
	}
	asker := ask.New(f.system)
	asker.Program = func(name string) (string, error) { return local.FindProgram(m.programFolders(), name) }
	defer asker.Close()
	filler := &filler{asker: asker, system: f.system, cluster: m.name(), spec: spec, all: all, got: got}
	for _, member := range all {
		m.talkf("making the data of %s", member.Name)
		if err := filler.fill(ctx, member); err != nil {
			return fmt.Errorf("member %s: %w", member.Name, err)
		}
	}
	return nil
}

// filler makes the data folders of members from a backup, by the System's method.
type filler struct {
	asker   *ask.Asker
	system  *system.System
	cluster string
	spec    *v1alpha1.ClusterSpec
	all     []*system.Member
	got     string // the folder with the backup
}

func (f *filler) fill(ctx context.Context, m *system.Member) error {
	method := f.system.API().Restore
	limit := 10 * time.Minute
	if method.Timeout != nil {
		limit = method.Timeout.Duration
	}
	sc := system.Scope{Cluster: f.cluster, Version: f.spec.Version, From: f.spec.Version, Options: f.system.Options(f.spec), M: m, All: f.all, Out: f.got, File: filepath.Join(f.got, "data")}
	reply, err := f.asker.Run(ctx, limit, method.Run, method.Env, ask.Target{Scope: &sc, Dir: f.got})
	if err != nil {
		if text, ok := reply.Values["stderr"].(string); ok && text != "" {
			return fmt.Errorf("%w: %s", err, text)
		}
	}
	return err
}
