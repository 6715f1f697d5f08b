package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
)

// The files and folders of a cluster.
const (
	clusterFile    = "cluster.json"
	statusFile     = "status.json"
	addressesFile  = "addresses.json"
	configuredFile = "configured.json"
	lockFile       = "lock"
	inboxFolder    = "inbox"
	systemsFolder  = "systems"
	runsFolder     = "runs"
	membersFolder  = "members"
)

// statusFormat is the version of the envelope of status.json; the journal in it has its own.
const statusFormat = 1

// State is the folder of one cluster. Any process may read it and ask; only the one that holds the lock may drive. It is a
// runner.Journal, runner.Inbox and, with Systems set, runner.Library.
type State struct {
	// Fault, if set, is called around each durable write.
	Fault Fault
	// Systems finds a System as it is known now; see Known.
	Systems SystemFinder

	home Home
	name string
	dir  string
}

var (
	_ runner.Journal = (*State)(nil)
	_ runner.Inbox   = (*State)(nil)
	_ runner.Library = (*State)(nil)
)

// NewerError says that a newer Theseus wrote what is here. Nothing was changed; use that one.
type NewerError struct {
	Path  string
	Found string
	Known string
}

func (e *NewerError) Error() string {
	return fmt.Sprintf("%s has format %s and this Theseus knows %s: a newer Theseus wrote it; use that one. Nothing was changed", e.Path, e.Found, e.Known)
}

// BusyError says that another process drives the cluster.
type BusyError struct {
	Cluster string
	// PID is 0 where it is not known.
	PID     int
	Command string
}

func (e *BusyError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("another theseus drives cluster %s; wait for its end or interrupt it", e.Cluster)
	}
	return fmt.Sprintf("process %d (%s) drives cluster %s; wait for its end or interrupt it", e.PID, e.Command, e.Cluster)
}

// Name of the cluster.
func (st *State) Name() string { return st.name }

// Dir is the folder of the cluster.
func (st *State) Dir() string { return st.dir }

func (st *State) path(elem ...string) string {
	return filepath.Join(append([]string{st.dir}, elem...)...)
}

// Lock makes this process the driver until it unlocks or ends. It is a *BusyError where another one is.
func (st *State) Lock() (unlock func(), err error) {
	file, err := hold(st.path(lockFile), false)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, st.busy()
	}
	if err != nil {
		return nil, err
	}
	holder := fmt.Sprintf("%d %s\n", os.Getpid(), strings.Join(os.Args, " "))
	if err := errors.Join(file.Truncate(0), writeAt(file, holder)); err != nil {
		file.Close()
		return nil, fmt.Errorf("lock cluster %s: %w", st.name, err)
	}
	return func() { file.Close() }, nil
}

func writeAt(file *os.File, text string) error {
	_, err := file.WriteAt([]byte(text), 0)
	return err
}

func (st *State) busy() error {
	e := &BusyError{Cluster: st.name}
	text, err := os.ReadFile(st.path(lockFile))
	if err != nil {
		return e
	}
	pid, command, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	// One that has the lock and has not written yet leaves the number of the one before.
	if n, err := strconv.Atoi(pid); err == nil && unix.Kill(n, 0) == nil {
		e.PID, e.Command = n, command
	}
	return e
}

// journal is the content of status.json.
type journal struct {
	Format int `json:"format"`
	// Mark counts the saves.
	Mark   int64                  `json:"mark"`
	Status v1alpha1.ClusterStatus `json:"status"`
}

// decodeJournal looks at the versions before it trusts any other field.
func decodeJournal(path string, data []byte) (*journal, error) {
	var versions struct {
		Format int `json:"format"`
		Status struct {
			Journal int32 `json:"journal"`
		} `json:"status"`
	}
	if err := json.Unmarshal(data, &versions); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	switch {
	case versions.Format > statusFormat:
		return nil, &NewerError{path, strconv.Itoa(versions.Format), strconv.Itoa(statusFormat)}
	case versions.Status.Journal > v1alpha1.JournalVersion:
		return nil, &NewerError{path, fmt.Sprintf("journal %d", versions.Status.Journal), fmt.Sprintf("journal %d", v1alpha1.JournalVersion)}
	case versions.Format < 1:
		return nil, fmt.Errorf("read %s: it has no format: it is not a journal", path)
	}
	j := &journal{}
	if err := json.Unmarshal(data, j); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return j, nil
}

func (st *State) readJournal() (*journal, error) {
	data, err := os.ReadFile(st.path(statusFile))
	if errors.Is(err, fs.ErrNotExist) {
		return &journal{Format: statusFormat}, nil
	}
	if err != nil {
		return nil, err
	}
	return decodeJournal(st.path(statusFile), data)
}

// Load is part of runner.Journal. The mark speaks of the status only: the spec may be edited beside a driver.
func (st *State) Load(context.Context) (*v1alpha1.Cluster, string, error) {
	c, err := readCluster(st.dir)
	if err != nil {
		return nil, "", err
	}
	j, err := st.readJournal()
	if err != nil {
		return nil, "", err
	}
	c.Status = j.Status
	return c, strconv.FormatInt(j.Mark, 10), nil
}

// Save is part of runner.Journal.
func (st *State) Save(_ context.Context, status *v1alpha1.ClusterStatus, mark string) (string, error) {
	next := ""
	err := st.alone(func() error {
		j, err := st.readJournal()
		if err != nil {
			return err
		}
		if strconv.FormatInt(j.Mark, 10) != mark {
			return runner.ErrConflict
		}
		j.Mark++
		j.Format, j.Status = statusFormat, *status
		next = strconv.FormatInt(j.Mark, 10)
		return st.Fault.writeJSON("journal", st.path(statusFile), j)
	})
	if err != nil {
		return "", err
	}
	return next, nil
}

// AcceptSpec replaces the spec of the cluster. A running driver sees it in its next pass; whether the edit is allowed was asked before.
func (st *State) AcceptSpec(spec *v1alpha1.ClusterSpec) error {
	return st.alone(func() error {
		c, err := readCluster(st.dir)
		if err != nil {
			return err
		}
		if _, err := st.readJournal(); err != nil {
			return err // a newer one: change nothing
		}
		if reflect.DeepEqual(&c.Spec, spec) {
			return nil
		}
		c.Spec = *spec.DeepCopy()
		c.Generation++
		return writeCluster(st.Fault, st.dir, c)
	})
}

// alone runs what reads and then writes, one process at a time.
func (st *State) alone(do func() error) error {
	file, err := hold(st.path(".write"), true)
	if err != nil {
		return err
	}
	defer file.Close()
	return do()
}

// Stamp changes with every write of the status. It is cheap: who watches asks it before he reads.
func (st *State) Stamp() string {
	info, err := os.Stat(st.path(statusFile))
	if err != nil {
		return ""
	}
	return info.ModTime().String()
}
