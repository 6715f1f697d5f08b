package local

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// Home is the folder of all clusters on this machine.
type Home string

// DefaultHome is $THESEUS_HOME, else theseus in $XDG_STATE_HOME or ~/.local/state.
func DefaultHome() (Home, error) {
	if dir := os.Getenv("THESEUS_HOME"); dir != "" {
		abs, err := filepath.Abs(dir)
		return Home(abs), err
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return Home(filepath.Join(dir, "theseus")), nil
	}
	user, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the home folder: %w; set $THESEUS_HOME", err)
	}
	return Home(filepath.Join(user, ".local", "state", "theseus")), nil
}

// UnknownClusterError is returned for a name that no cluster here has.
type UnknownClusterError struct {
	Name  string
	Home  Home
	Known []string
}

func (e *UnknownClusterError) Error() string {
	if len(e.Known) == 0 {
		return fmt.Sprintf("there is no cluster %q in %s, and no other; \"theseus up FILE\" makes one", e.Name, e.Home)
	}
	return fmt.Sprintf("there is no cluster %q in %s; there are %s", e.Name, e.Home, strings.Join(e.Known, ", "))
}

// ExistsError is returned by Create for a name that is taken.
type ExistsError struct{ Name string }

func (e *ExistsError) Error() string { return fmt.Sprintf("cluster %q exists", e.Name) }

const programsFolder = "programs"

// List names the clusters, sorted.
func (h Home) List() ([]string, error) {
	entries, err := os.ReadDir(string(h))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(string(h), e.Name(), clusterFile)); err == nil && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// Open finds a cluster by its name. Nothing is locked: see State.Lock.
func (h Home) Open(name string) (*State, error) {
	known, err := h.List()
	if err != nil {
		return nil, err
	}
	if !slices.Contains(known, name) {
		return nil, &UnknownClusterError{name, h, known}
	}
	return &State{home: h, name: name, dir: filepath.Join(string(h), name)}, nil
}

// Create makes the folder of a new cluster, whole or not at all, with an address for each member. It starts nothing.
func (h Home) Create(c *v1alpha1.Cluster, sys *system.System) (*State, error) {
	return h.create(c, sys, false)
}

// CreateHollow is as Create, for a cluster that is restored: it is hollow until Filled says that its members have their data, or Loads that they are to get
// it when they run.
func (h Home) CreateHollow(c *v1alpha1.Cluster, sys *system.System) (*State, error) {
	return h.create(c, sys, true)
}

// hollowFile lies in the folder of a hollow cluster, from the moment that there is one: no crash leaves one without the other.
const hollowFile = "hollow"

// Hollow says that the data of the members is not whole.
func (st *State) Hollow() bool {
	_, err := os.Stat(st.path(hollowFile))
	return err == nil
}

// Filled makes a hollow cluster one as any other, whose data this version wrote.
func (st *State) Filled(wrote string) error {
	return st.unhollow(func(status *v1alpha1.ClusterStatus) { status.Filled = wrote })
}

// Loads makes a hollow cluster one that may start, without data: a restore of this backup is to write into its members.
func (st *State) Loads(backup string) error {
	return st.unhollow(func(status *v1alpha1.ClusterStatus) { status.Loading = &v1alpha1.Loading{Restore: backup} })
}

// unhollow writes down what the cluster has instead of its data first.
func (st *State) unhollow(note func(*v1alpha1.ClusterStatus)) error {
	c, mark, err := st.Load(context.Background())
	if err != nil {
		return err
	}
	c.Status.Journal = v1alpha1.JournalVersion
	note(&c.Status)
	if _, err := st.Save(context.Background(), &c.Status, mark); err != nil {
		return err
	}
	return errors.Join(os.Remove(st.path(hollowFile)), syncFolder(st.dir))
}

func (h Home) create(c *v1alpha1.Cluster, sys *system.System, hollow bool) (*State, error) {
	if c.Name == "" || c.Name != filepath.Base(c.Name) || strings.HasPrefix(c.Name, ".") || c.Name == programsFolder {
		return nil, fmt.Errorf("metadata.name %q: cannot be the name of a folder; choose another", c.Name)
	}
	if err := os.MkdirAll(string(h), 0o700); err != nil {
		return nil, fmt.Errorf("make the home folder: %w", err)
	}
	one, err := hold(filepath.Join(string(h), ".create"), true) // two at once must not choose the same addresses
	if err != nil {
		return nil, err
	}
	defer one.Close()
	if _, err := h.Open(c.Name); err == nil {
		return nil, &ExistsError{c.Name}
	}
	addresses, err := h.allot(c, sys)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(string(h), c.Name)
	if err := h.build(dir, c, addresses, hollow); err != nil {
		return nil, fmt.Errorf("create cluster %s: %w", c.Name, err)
	}
	return &State{home: h, name: c.Name, dir: dir}, nil
}

func (h Home) build(dir string, c *v1alpha1.Cluster, a addresses, hollow bool) error {
	draft := filepath.Join(string(h), ".new-"+c.Name)
	if err := os.RemoveAll(draft); err != nil { // of a Create that was killed
		return err
	}
	for _, sub := range []string{inboxFolder, systemsFolder, runsFolder, membersFolder} {
		if err := os.MkdirAll(filepath.Join(draft, sub), 0o700); err != nil {
			return err
		}
	}
	fresh := c.DeepCopy()
	fresh.Status = v1alpha1.ClusterStatus{}
	fresh.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.KindCluster}
	fresh.Generation = max(1, fresh.Generation)
	fresh.CreationTimestamp = metav1.NewTime(time.Now().Truncate(time.Second))
	var fault Fault
	if err := errors.Join(writeCluster(fault, draft, fresh), fault.writeJSON("addresses", filepath.Join(draft, addressesFile), a)); err != nil {
		return err
	}
	if hollow {
		if err := writeSynced(filepath.Join(draft, hollowFile), nil); err != nil {
			return err
		}
	}
	if err := errors.Join(syncFolder(draft), os.Rename(draft, dir)); err != nil {
		return err
	}
	return syncFolder(string(h))
}

// Delete removes a cluster with all data of its members. Backups lie elsewhere and stay. It is refused while a member runs.
func (h Home) Delete(name string) error {
	st, err := h.Open(name)
	if err != nil {
		return err
	}
	unlock, err := st.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	names, err := st.memberNames()
	if err != nil {
		return err
	}
	for _, m := range names {
		if k := st.keeper(m); k.present() {
			return fmt.Errorf("delete cluster %s: member %s runs; \"theseus down %s\" stops it", name, m, name)
		}
	}
	gone := filepath.Join(string(h), ".gone-"+name)
	if err := errors.Join(os.RemoveAll(gone), os.Rename(st.dir, gone)); err != nil {
		return fmt.Errorf("delete cluster %s: %w", name, err)
	}
	return os.RemoveAll(gone)
}

func writeCluster(f Fault, dir string, c *v1alpha1.Cluster) error {
	accepted := struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata"`
		Spec              v1alpha1.ClusterSpec `json:"spec"`
	}{c.TypeMeta, c.ObjectMeta, c.Spec}
	return f.writeJSON("cluster", filepath.Join(dir, clusterFile), accepted)
}

func readCluster(dir string) (*v1alpha1.Cluster, error) {
	path := filepath.Join(dir, clusterFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c := &v1alpha1.Cluster{}
	if err := json.Unmarshal(data, c); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if got := c.APIVersion; got != v1alpha1.GroupVersion.String() {
		return nil, &NewerError{Path: path, Found: cmp.Or(got, "nothing"), Known: v1alpha1.GroupVersion.String()}
	}
	c.Status = v1alpha1.ClusterStatus{}
	return c, nil
}
