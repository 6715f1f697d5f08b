package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/ask"
	"theseus.dev/backup"
	"theseus.dev/backup/cloud"
	"theseus.dev/local"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// backupJob is the hidden subcommand that takes one backup. It is a process of its own, so that it outlives the driver.
const backupJob = "__backup"

// backups takes backups for the platform. Each is a job under the name that the journal gave it, so that it is begun at
// most once and outlives the driver.
type backups struct{ *process }

// backupOrder is what a job needs to know. It is written before the job starts and holds no secret.
type backupOrder struct {
	Name     backup.Name          `json:"name"`
	URL      string               `json:"url"`
	key      []byte               // of the place; it is in no file. None: what the environment has
	System   v1alpha1.SystemRef   `json:"system"`
	Spec     v1alpha1.ClusterSpec `json:"spec"`
	Version  string               `json:"version"`
	From     string               `json:"from"`
	Member   system.Member        `json:"member"`
	All      []*system.Member     `json:"all"`
	State    string               `json:"state"`
	Home     string               `json:"home"`
	Programs []string             `json:"programs"`
}

func (b *backups) jobs() local.Jobs { return b.state.Jobs("backups", nil) }

// Begin starts the job of an intent, once.
func (b *backups) Begin(ctx context.Context, s runner.Scene, i v1alpha1.Intent) error {
	if b.jobs().Outcome(i.Name).Phase != upgrade.NotBegun {
		return nil
	}
	order, err := b.order(ctx, s, i)
	if err != nil {
		return err
	}
	return b.jobs().Begin(ctx, i.Name, []string{backupJob}, order)
}

// Outcomes says how far every backup is, by its name in the journal.
func (b *backups) Outcomes(context.Context, runner.Scene) (map[string]upgrade.Outcome, error) {
	return b.jobs().Outcomes()
}

// order chooses the member and writes down what the job needs.
func (b *backups) order(ctx context.Context, s runner.Scene, i v1alpha1.Intent) (*backupOrder, error) {
	p := b.platform()
	defer p.Close()
	look, err := p.Look(ctx, s)
	if err != nil {
		return nil, err
	}
	attempt := s.Cluster.Status.Attempt
	spec, ref := s.Cluster.Spec, v1alpha1.SystemRef{Name: s.System.Name(), Hash: s.System.Hash()}
	name := backup.Name{Cluster: b.name(), From: i.From, Kind: backup.Manual, Time: time.Now()}
	if attempt != nil && i.ID != 0 {
		spec = attempt.Target.Spec
		name.To, name.Kind, name.Attempt = i.Version, backup.Auto, fmt.Sprintf("a%d-%d", attempt.ID, i.ID)
	}
	if spec.Backup == nil {
		return nil, fmt.Errorf("spec.backup is not set")
	}
	m, all, err := upgrade.BackupMember(s.System, s.Cluster, &look)
	if err != nil {
		return nil, err
	}
	return &backupOrder{Name: name, URL: spec.Backup.URL, System: ref, Spec: spec, Version: i.Version, From: i.From, Member: m, All: all,
		State: b.state.Dir(), Home: string(b.home), Programs: b.programFolders()}, nil
}

// runBackupJob is the main function of a job: take, prove, and leave the outcome.
func runBackupJob(args []string) int {
	return local.Worker{Fault: faults("backup", filepath.Join(args...))}.Work(args, func(ctx context.Context, j *local.Job) upgrade.Outcome {
		var order backupOrder
		if err := j.Input(&order); err != nil {
			return upgrade.Outcome{Phase: upgrade.Failed, Message: err.Error()}
		}
		sys, err := systemInFile(filepath.Join(order.State, "systems", order.System.Hash+".yaml"))
		if err != nil {
			return upgrade.Outcome{Phase: upgrade.Failed, Message: err.Error()}
		}
		proof, err := takeBackup(ctx, sys, &order, j.Dir, j.Progress)
		if err != nil {
			return upgrade.Outcome{Phase: upgrade.Failed, Message: err.Error()}
		}
		return upgrade.Outcome{Phase: upgrade.Succeeded, Message: fmt.Sprintf("%d bytes in %s, checked", proof.Total, order.Name)}
	})
}

// takeBackup runs the System's method, stores what comes, and reads it back.
func takeBackup(ctx context.Context, sys *system.System, o *backupOrder, dir string, progress func(string)) (backup.Proof, error) {
	method := sys.API().Backup
	var forbidden []string
	if o.State != "" { // on one machine: not where the cluster itself is
		forbidden = append(forbidden, o.State)
	}
	store, err := cloud.Open(ctx, o.URL, o.key, forbidden...)
	if err != nil {
		return backup.Proof{}, err
	}
	defer store.Close()
	store.Progress = func(p backup.Progress) { progress(fmt.Sprintf("%s: %d bytes", p.Path, p.Bytes)) }
	t := &taking{order: o, method: method, limit: 10 * time.Minute, work: filepath.Join(dir, "out")}
	if method.Timeout != nil {
		t.limit = method.Timeout.Duration
	}
	t.asker = ask.New(sys)
	t.asker.Program = inImage(o.Member.Version, func(name string) (string, error) { return local.FindProgram(o.Programs, name) })
	t.asker.Credentials = o.Spec.Credentials
	defer t.asker.Close()
	if err := os.MkdirAll(t.work, 0o700); err != nil {
		return backup.Proof{}, err
	}
	defer os.RemoveAll(t.work)
	t.scope = system.Scope{Cluster: o.Name.Cluster, Version: o.Version, From: o.From, Options: sys.Options(&o.Spec), M: &o.Member, All: o.All, Out: t.work,
		File: filepath.Join(t.work, "data")}
	source, err := t.run(ctx)
	if err != nil {
		return backup.Proof{}, err
	}
	about := backup.About{System: backup.System{Name: o.System.Name, Hash: o.System.Hash}}
	if len(method.Check) > 0 {
		about.Check = t.check
	}
	if _, err := store.Put(ctx, o.Name, source, about); err != nil && !errors.Is(err, backup.ErrExists) {
		return backup.Proof{}, err
	}
	return store.Verify(ctx, o.Name)
}

// taking is one doing of a backup method.
type taking struct {
	order  *backupOrder
	method *v1alpha1.BackupMethod
	limit  time.Duration
	work   string
	asker  *ask.Asker
	scope  system.Scope
}

// run makes the backup in the work folder: as files there, or as the bytes that the program writes.
func (t *taking) run(ctx context.Context) (backup.Source, error) {
	target := ask.Target{Scope: &t.scope, Dir: t.work}
	folder := slices.ContainsFunc(t.method.Run, func(arg string) bool { return usesOut(arg) })
	var file *os.File
	if !folder {
		f, err := os.Create(t.scope.File)
		if err != nil {
			return backup.Source{}, err
		}
		defer f.Close()
		file, target.Stdout = f, io.Writer(f)
	}
	if _, err := t.asker.Run(ctx, t.limit, t.method.Run, t.method.Env, target); err != nil {
		return backup.Source{}, fmt.Errorf("take the backup: %w", err)
	}
	if file != nil {
		if err := file.Sync(); err != nil {
			return backup.Source{}, err
		}
	}
	return backup.FromFolder(t.work), nil
}

func usesOut(arg string) bool {
	i := strings.Index(arg, "${")
	return i >= 0 && strings.Contains(arg[i:], "out")
}

// check runs the System's own check on the files that were stored.
func (t *taking) check(ctx context.Context) (backup.Check, error) {
	reply, err := t.asker.Run(ctx, t.limit, t.method.Check, t.method.Env, ask.Target{Scope: &t.scope, Dir: t.work})
	var failed *ask.Failed
	c := backup.Check{Command: t.method.Check}
	if text, ok := reply.Values["text"].(string); ok {
		c.Output = text
	}
	if errors.As(err, &failed) {
		c.ExitCode, c.Output = 1, c.Output+failed.Error()
		return c, nil
	}
	return c, err
}

// checkBackupPlace refuses a place that cannot be one, before anything is made.
func checkBackupPlace(home string, c *v1alpha1.Cluster) error {
	if c.Spec.Backup == nil {
		return nil
	}
	if err := backup.CheckURL(c.Spec.Backup.URL); err != nil {
		return inputError(fmt.Errorf("spec.backup.url: %w", err))
	}
	path, ok := strings.CutPrefix(c.Spec.Backup.URL, "file://")
	if folder := filepath.Join(home, c.Name); ok && (path == folder || strings.HasPrefix(path, folder+"/")) {
		return inputErrorf("spec.backup.url %s: it lies inside the cluster's own folder %s and would be lost with it; name one beside it", c.Spec.Backup.URL, folder)
	}
	return nil
}
