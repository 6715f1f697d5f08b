package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/ask"
	"theseus.dev/backup"
	"theseus.dev/backup/cloud"
	"theseus.dev/local"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// A restore into members that run is noted in the new cluster before the first of them starts. When all are ready the command begins a job, which is done
// once at most and outlives it. How that ended whoever reads the cluster sees, and whoever drives it next writes down.

// restoreJob is the hidden subcommand that writes a backup into members that run.
const restoreJob = "__restore"

// theRestore is the id of that job: a cluster has one at most.
const theRestore = "restore"

// restoring is a backup, and where it is.
type restoring struct {
	url  string
	name backup.Name
}

// restoreOrder is what the job needs to know.
type restoreOrder struct {
	URL      string               `json:"url"`
	Name     backup.Name          `json:"name"`
	System   string               `json:"system"` // hash
	Spec     v1alpha1.ClusterSpec `json:"spec"`
	Cluster  string               `json:"cluster"`
	Member   system.Member        `json:"member"`
	All      []*system.Member     `json:"all"`
	State    string               `json:"state"`
	Programs []string             `json:"programs"`
}

// toLoad makes the new cluster without data, and notes what is to be written into it.
func (m *machine) toLoad(ctx context.Context, k *opened, f *clusterFile, store *backup.Store, what restoring) (*process, backup.Proof, error) {
	k.talkf("reading %s", what.name)
	proof, err := store.Verify(ctx, what.name)
	if err := k.usable(what.name, proof, err); err != nil {
		return nil, proof, err
	}
	at, err := m.make(f, m.home.CreateHollow)
	if err != nil {
		return nil, proof, err
	}
	if err := at.state.Loads(what.name.String()); err != nil {
		return nil, proof, errors.Join(fmt.Errorf("restore: %w; the new cluster was taken away again", err), m.home.Delete(k.name))
	}
	at.restores = &what
	return at, proof, nil
}

func (m *process) restoreJobs() local.Jobs { return m.state.Jobs("restores", nil) }

// serves says that the first start has ended well, and nothing was written into the members yet.
func serves(c *v1alpha1.Cluster) bool {
	l := c.Status.Loading
	return l != nil && l.Begun == nil && l.Failed == "" && c.Status.Applied != nil && c.Status.ReadyReplicas == c.Status.Replicas
}

// write has the backup written into the members, and waits for the end of that. The caller drives the cluster.
func (m *process) write(ctx context.Context, p *local.Platform, c *v1alpha1.Cluster) error {
	order, err := m.restoreOrder(ctx, p, c)
	if err != nil {
		return err
	}
	now := metav1.Now()
	if err := m.noteLoading(ctx, func(l *v1alpha1.Loading) { l.Begun = &now }); err != nil {
		return err
	}
	m.talkf("writing %s into %s by way of %s", order.Name, m.name(), order.Member.Name)
	if err := m.restoreJobs().Begin(ctx, theRestore, []string{restoreJob}, order); err != nil {
		return err
	}
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for m.restoreJobs().Outcome(theRestore).Phase == upgrade.Underway {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
	return m.loaded(ctx)
}

func (m *process) restoreOrder(ctx context.Context, p *local.Platform, c *v1alpha1.Cluster) (*restoreOrder, error) {
	pinned := c.Status.Applied
	sys, err := m.state.Pinned(ctx, pinned.System.Hash)
	if err != nil {
		return nil, err
	}
	look, err := p.Look(ctx, runner.Scene{Cluster: c, System: sys, Systems: map[string]*system.System{sys.Hash(): sys}})
	if err != nil {
		return nil, err
	}
	member, all, err := upgrade.LoadMember(sys, c, &look)
	if err != nil {
		return nil, err
	}
	return &restoreOrder{URL: m.restores.url, Name: m.restores.name, System: sys.Hash(), Spec: pinned.Spec, Cluster: m.name(), Member: member, All: all,
		State: m.state.Dir(), Programs: m.programFolders()}, nil
}

// noteLoading changes what the journal says of the restore.
func (m *process) noteLoading(ctx context.Context, change func(*v1alpha1.Loading)) error {
	c, mark, err := m.state.Load(ctx)
	if err != nil || c.Status.Loading == nil {
		return err
	}
	change(c.Status.Loading)
	_, err = m.state.Save(ctx, &c.Status, mark)
	return err
}

// seeLoading puts into a status how the restore into the members ended, as its job says, and whether that is another thing than before.
func (m *process) seeLoading(st *v1alpha1.ClusterStatus) (changed bool) {
	l := st.Loading
	if l == nil || l.Failed != "" {
		return false
	}
	switch o := m.restoreJobs().Outcome(theRestore); {
	case o.Phase == upgrade.Succeeded:
		st.Loading = nil
	case o.Phase == upgrade.Failed, o.Phase == upgrade.OutcomeUnknown:
		l.Failed = fmt.Sprintf("restore %s failed, and the data is not complete: %s; %s", l.Restore, m.again(), o.Message)
	case o.Phase == upgrade.NotBegun && m.restores == nil && m.driver() == "":
		l.Failed = fmt.Sprintf("restore %s was cut off before anything was written: %s", l.Restore, m.again())
	default:
		return false
	}
	return true
}

func (m *process) again() string {
	return m.command("down", m.name(), "--delete-data") + ", then restore again"
}

// loaded writes down how the restore into the members ended, and refuses to go on with a cluster whose data is not complete. The caller drives it.
func (m *process) loaded(ctx context.Context) error {
	c, mark, err := m.state.Load(ctx)
	if err != nil {
		return nil //nolint:nilerr // whoever drives reads it once more, and says what is wrong with it
	}
	if m.seeLoading(&c.Status) {
		if _, err := m.state.Save(ctx, &c.Status, mark); err != nil {
			return err
		}
	}
	switch l := c.Status.Loading; {
	case l == nil, l.Failed == "" && m.restores != nil:
		return nil
	case l.Failed != "":
		return &exitError{code: exitFailed, err: fmt.Errorf("%s: %s", m.name(), l.Failed), next: m.again()}
	default:
		progress := m.restoreJobs().Outcome(theRestore).Message
		return &exitError{code: exitWaiting, err: fmt.Errorf("%s: restore %s is being written into the members: %s", m.name(), l.Restore, progress), next: "to see how far it is: " + m.command("status", m.name())}
	}
}

// runRestoreJob is the main function of the job: get, prove, write, and leave the outcome.
func runRestoreJob(args []string) int {
	return local.Worker{Fault: faults("restore", filepath.Join(args...))}.Work(args, func(ctx context.Context, j *local.Job) upgrade.Outcome {
		order := &restoreOrder{}
		err := j.Input(order)
		if err == nil {
			err = order.write(ctx, j)
		}
		if err != nil {
			return upgrade.Outcome{Phase: upgrade.Failed, Message: err.Error()}
		}
		return upgrade.Outcome{Phase: upgrade.Succeeded}
	})
}

func (o *restoreOrder) write(ctx context.Context, j *local.Job) error {
	sys, err := systemInFile(filepath.Join(o.State, "systems", o.System+".yaml"))
	if err != nil {
		return err
	}
	store, err := cloud.Open(ctx, o.URL, nil)
	if err != nil {
		return err
	}
	defer store.Close()
	got := filepath.Join(j.Dir, "got")
	defer os.RemoveAll(got)
	j.Progress("getting " + o.Name.String())
	if _, err := store.Get(ctx, o.Name, got); err != nil {
		return err
	}
	j.Progress("writing by way of " + o.Member.Name)
	asker := ask.New(sys)
	asker.Program = func(name string) (string, error) { return local.FindProgram(o.Programs, name) }
	defer asker.Close()
	return (&filler{asker: asker, system: sys, cluster: o.Cluster, spec: &o.Spec, all: o.All, got: got}).fill(ctx, &o.Member)
}
