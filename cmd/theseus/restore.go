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
look at it, and switch clients over yourself.

Where the System's program writes into members that run, the cluster is started
first, without data; it counts as incomplete until the program has ended well.

On Kubernetes it makes a Restore and then the Cluster, which waits for it, and
watches both to their ends. BACKUP is a Backup of the namespace; with --url it
is the name that the backup has there, as status.name of a Backup says it.`,
		Example: `  theseus backup kv --list
  theseus restore kv-restored.yaml --from kv-3.5.35-3.6.16-a2-7
  theseus restore kv-restored.yaml --from kv-before-the-move --context lab --namespace prod`,
		Args: oneFile, ValidArgsFunction: yamlFiles,
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.site()
			if err != nil {
				return err
			}
			return a.restoreAt(c.Context(), s, args[0], stored{from, url})
		},
	}
	c.Flags().StringVar(&from, "from", "", "the backup, by its name")
	c.Flags().StringVar(&url, "url", "", "where the backup is (default: spec.backup.url of FILE; on Kubernetes where the Backup says)")
	return c
}

func (a *app) restoreAt(ctx context.Context, s site, file string, from stored) error {
	f, err := readCluster(ctx, s, file)
	if err != nil {
		return err
	}
	if from.name == "" {
		return inputErrorf("--from: name the backup; \"%s\" lists them", a.command("backup", "NAME", "--list"))
	}
	if f.system.API().Restore == nil {
		return inputErrorf("System %s does not say how a backup is restored", f.system.Name())
	}
	k, err := a.openFile(ctx, s, f)
	if err != nil {
		return err
	}
	if k.at != nil {
		return inputNext("give the new cluster another metadata.name in "+file, "cluster %s exists, and nothing is restored over a cluster that exists", k.name)
	}
	p := k.propose(&f.cluster.Spec, f.cluster.Spec.Version)
	p.file = f
	if err := s.permit(ctx, p); err != nil {
		return err
	}
	restored, err := s.restore(ctx, k, p, from)
	if err != nil {
		return err
	}
	if err := k.driveTo(ctx, wantEnd, nil); err != nil {
		return err
	}
	k.talkf("%s", restored)
	return nil
}

// restore has the cluster ready to start: with its data, or where the System restores into members that run, without it and with a note of that. Before
// anything is made the backup is read and proved.
func (m *machine) restore(ctx context.Context, k *opened, p *proposal, from stored) (string, error) {
	f, url := p.file, from.url
	if url == "" && f.cluster.Spec.Backup != nil {
		url = f.cluster.Spec.Backup.URL
	}
	if url == "" {
		return "", inputErrorf("--url: say where the backup is, or set spec.backup.url of %s in its file", k.name)
	}
	store, err := cloud.Open(ctx, url, nil)
	if err != nil {
		return "", inputError(err)
	}
	defer store.Close()
	name, err := m.findBackup(ctx, store, from.name)
	if err != nil {
		return "", err
	}
	if err := p.mayRead(k.app, name.From); err != nil { // before it is fetched, which may take long
		return "", err
	}
	get := m.filled
	if f.system.API().Restore.Into == v1alpha1.IntoMembers {
		get = m.toLoad
	}
	at, proof, err := get(ctx, k, f, store, restoring{url, name})
	if err != nil {
		return "", err
	}
	k.at = at
	return fmt.Sprintf("%s has the data of %s, taken %s; what was written after that is not in it", k.name, name, proof.Started.Local().Format(time.DateTime)), nil
}

// mayRead refuses data that a later version wrote than the one that is to read it, and warns of data that an earlier one wrote.
func (p *proposal) mayRead(a *app, wrote string) error {
	v := p.spec.Version
	if p.system.Compare(v, wrote) < 0 {
		return inputErrorf("spec.version: %q is older than %s, at which the backup was taken, and need not be able to read its data; set %s", v, wrote, wrote)
	}
	if !p.system.SameVersion(v, wrote) {
		a.talkf("warning: the backup was taken at %s and %s runs %s", wrote, p.name, v)
	}
	return nil
}

// filled makes the new cluster with the data of every member. If it cannot be made, nothing of the new cluster stays.
func (m *machine) filled(ctx context.Context, k *opened, f *clusterFile, store *backup.Store, what restoring) (*process, backup.Proof, error) {
	work, err := os.MkdirTemp("", "theseus-restore-")
	if err != nil {
		return nil, backup.Proof{}, err
	}
	defer os.RemoveAll(work)
	got := filepath.Join(work, "backup")
	k.talkf("getting %s", what.name)
	proof, err := store.Get(ctx, what.name, got)
	if err := k.usable(what.name, proof, err); err != nil {
		return nil, proof, err
	}
	at, err := m.createFilled(ctx, k, f, got, what.name.From)
	return at, proof, err
}

// usable refuses a backup that is not whole, or not of this System. It is the user's to choose anew: nothing was made yet.
func (k *opened) usable(name backup.Name, proof backup.Proof, err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case err != nil:
		return inputNext("choose another: "+k.command("backup", name.Cluster, "--list"), "backup %s: %w", name, err)
	case proof.System.Name != k.system.Name():
		return inputErrorf("backup %s: it is one of %s, and %s is a %s", name, proof.System.Name, k.name, k.system.Name())
	}
	return nil
}

// createFilled makes the new cluster with its data. It is hollow until the data is whole, so that a cluster with half of its data is
// never started.
func (m *machine) createFilled(ctx context.Context, k *opened, f *clusterFile, got, wrote string) (*process, error) {
	at, err := m.make(f, m.home.CreateHollow)
	if err != nil {
		return nil, err
	}
	if err := at.fillAlone(ctx, f, got); err != nil {
		return nil, errors.Join(fmt.Errorf("restore: %w; the new cluster was taken away again", err), m.home.Delete(k.name))
	}
	return at, at.state.Filled(wrote)
}

// fillAlone fills the members while nobody else may do anything to the cluster.
func (m *process) fillAlone(ctx context.Context, f *clusterFile, got string) error {
	unlock, err := m.state.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	return m.fillMembers(ctx, f, got)
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

// filler has the System's method restore a backup: into the data folder of a member, or into a member that runs.
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
