package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"theseus.dev/ask"
	"theseus.dev/backup"
	"theseus.dev/backup/cloud"
	"theseus.dev/local"
	"theseus.dev/operator"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// inPod is the main function of a Job: work gets its order, and its result is the termination message.
func inPod[Order any](work func(context.Context, *Order) (any, error), failed func(error) any) func([]string) int {
	return func([]string) int {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		code := 0
		order := new(Order)
		err := json.Unmarshal([]byte(os.Getenv(operator.OrderVariable)), order)
		if err != nil {
			err = fmt.Errorf("read the order: %w", err)
		}
		// The programs of Systems, which are this one's children, need not know.
		err = errors.Join(err, os.Unsetenv(operator.OrderVariable))
		var result any
		if err == nil {
			result, err = work(ctx, order)
		}
		if err != nil {
			result, code = failed(err), 1
		}
		text, err := json.Marshal(result)
		if err == nil {
			err = os.WriteFile("/dev/termination-log", text, 0o600)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(string(text))
		return code
	}
}

func beginning(text string, most int) string { return text[:min(most, len(text))] }

// why is as much of an error as a termination message can hold.
func why(err error) string { return beginning(err.Error(), 3000) }

var takeBackupInPod = inPod(podBackup, func(err error) any { return operator.BackupResult{Error: why(err)} })

func podBackup(ctx context.Context, in *operator.BackupOrder) (any, error) {
	sys, err := keptSystem(in.System.Hash)
	if err != nil {
		return nil, err
	}
	key, err := podKey(in.Key)
	if err != nil {
		return nil, err
	}
	o := &backupOrder{Name: in.Name, URL: in.URL, key: key, System: in.System, Spec: in.Spec, Version: in.Name.To, From: in.Name.From, Member: in.Member, All: in.All}
	proof, err := takeBackup(ctx, sys, o, filepath.Join(operator.WorkFolder, "job"), func(string) {})
	if err != nil {
		return nil, err
	}
	result := operator.BackupResult{Name: proof.Name.String(), Bytes: proof.Total, SHA256: proof.Seal}
	if proof.Check != nil {
		result.Check = beginning(proof.Check.Output, 1000)
	}
	return result, nil
}

// podKey reads the key of a place. It is read when it is needed, and is in no environment that others inherit.
func podKey(file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	return os.ReadFile(file)
}

// podStore opens a place with the key that a file holds.
func podStore(ctx context.Context, url, keyFile string) (*backup.Store, error) {
	key, err := podKey(keyFile)
	if err != nil {
		return nil, err
	}
	return cloud.Open(ctx, url, key)
}

func keptSystem(hash string) (*system.System, error) {
	text, err := os.ReadFile(operator.SystemFile)
	if err != nil {
		return nil, err
	}
	sys, err := operator.CompileKept(string(text), hash)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", operator.SystemFile, err)
	}
	return sys, nil
}

// podAsker starts programs in this pod, which has the image of a version.
func podAsker(sys ask.Expander, version string) *ask.Asker {
	asker := ask.New(sys)
	asker.Program = inImage(version, func(name string) (string, error) { return local.FindProgram(nil, name) })
	return asker
}

var restoreMemberInPod = inPod(podRestore, func(err error) any { return operator.RestoreResult{Error: why(err)} })

func podRestore(ctx context.Context, in *operator.RestoreOrder) (any, error) {
	if in.Volume == "" {
		return restoreFrom(ctx, in) // the Job is done once, and this into a member that runs
	}
	return podFill(ctx, in)
}

// podFill fills the volume of one member. A mark beside the data says when it is whole: what is there without it was left by a
// pod that was cut off, and is made anew.
func podFill(ctx context.Context, in *operator.RestoreOrder) (any, error) {
	mark := filepath.Join(in.Volume, ".theseus-restored-"+in.ID)
	if text, err := os.ReadFile(mark); err == nil {
		result := operator.RestoreResult{}
		return result, json.Unmarshal(text, &result)
	}
	if err := os.RemoveAll(in.Member.Data); err != nil {
		return nil, fmt.Errorf("clear what a try before has left: %w", err)
	}
	result, err := restoreFrom(ctx, in)
	if err != nil {
		return nil, err
	}
	return result, leaveMark(mark, result)
}

// restoreFrom gets the backup, which is whole and of this System, and has the System's program restore it.
func restoreFrom(ctx context.Context, in *operator.RestoreOrder) (operator.RestoreResult, error) {
	none := operator.RestoreResult{}
	sys, err := keptSystem(in.System.Hash)
	if err != nil {
		return none, err
	}
	got := filepath.Join(operator.WorkFolder, "got")
	if err := os.RemoveAll(got); err != nil {
		return none, err
	}
	proof, err := podGet(ctx, in, got)
	if err != nil {
		return none, err
	}
	if proof.System.Name != in.System.Name {
		return none, fmt.Errorf("backup %s is one of %s, and cluster %s is a %s", proof.Name, proof.System.Name, in.Cluster, in.System.Name)
	}
	asker := podAsker(sys, in.Member.Version)
	defer asker.Close()
	f := &filler{asker: asker, system: sys, cluster: in.Cluster, spec: &in.Spec, all: in.All, got: got}
	if err := f.fill(ctx, &in.Member); err != nil {
		return none, err
	}
	return operator.RestoreResult{Name: proof.Name.String()}, nil
}

func podGet(ctx context.Context, in *operator.RestoreOrder, got string) (backup.Proof, error) {
	name, err := backup.ParseName(in.Name)
	if err != nil {
		return backup.Proof{}, err
	}
	store, err := podStore(ctx, in.URL, in.Key)
	if err != nil {
		return backup.Proof{}, err
	}
	defer store.Close()
	return store.Get(ctx, name, got)
}

// leaveMark writes the mark after all data is on disk.
func leaveMark(mark string, result operator.RestoreResult) error {
	syscall.Sync()
	text, err := json.Marshal(result)
	if err != nil {
		return err
	}
	return os.WriteFile(mark, text, 0o600)
}

var forgetBackupInPod = inPod(podForget, func(err error) any { return operator.BackupResult{Error: why(err)} })

// podForget deletes what a backup stored. What is not there counts as deleted.
func podForget(ctx context.Context, in *operator.ForgetOrder) (any, error) {
	name, err := backup.ParseName(in.Name)
	if err != nil {
		return nil, err
	}
	store, err := podStore(ctx, in.URL, in.Key)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	if err := store.Delete(ctx, name); err != nil && !errors.Is(err, backup.ErrNotFound) {
		return nil, err
	}
	return operator.BackupResult{Name: name.String()}, nil
}

var runActionInPod = inPod(podRun, func(err error) any {
	outcome := upgrade.OutcomeUnknown
	if errors.As(err, new(*ask.Failed)) {
		outcome = upgrade.Failed
	}
	return operator.RunResult{Outcome: outcome.String(), Message: why(err)}
})

// podRun does an action once, whose templates are filled in.
func podRun(ctx context.Context, in *operator.RunOrder) (any, error) {
	sys, err := keptSystem(in.System.Hash)
	if err != nil {
		return nil, &ask.Failed{Err: err}
	}
	kept, err := sys.Action(in.Action)
	if err != nil {
		return nil, &ask.Failed{Err: err}
	}
	action := *kept
	action.Run, action.Env = in.Run, in.Env
	asker := podAsker(filledIn{sys}, in.Version)
	defer asker.Close()
	if _, err := asker.Do(ctx, &action, ask.Target{Scope: &system.Scope{M: &system.Member{Name: in.Member}}}); err != nil {
		return nil, err
	}
	return operator.RunResult{Outcome: upgrade.Succeeded.String()}, nil
}

// filledIn is a System whose templates are filled in already: what they came to may look like one.
type filledIn struct{ *system.System }

func (filledIn) Expand(text string, _ *system.Scope) (string, error) { return text, nil }
