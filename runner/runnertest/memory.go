package runnertest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// Memory is a place for one Cluster in memory: every port of package runner at once, with members that come and go at
// once and do what they are told. Any number of runners may share it, one after the other.
type Memory struct {
	// Answer says what a running member answers. It is called with the lock held.
	Answer func(m *MemoryMember, all []*MemoryMember) system.Answers
	// Act does an action to a member; an error is a failed run. Nil: every action works and does nothing.
	Act func(m *MemoryMember, i v1alpha1.Intent) error

	mu          sync.Mutex
	cluster     *v1alpha1.Cluster
	mark        int64
	inbox       []v1alpha1.Request
	known       map[string]*system.System
	kept        map[string]*system.System
	members     map[string]*MemoryMember
	configured  map[string]string
	prepared    map[string]upgrade.Outcome
	runs        map[int64]upgrade.Outcome
	backups     map[string]upgrade.Outcome
	incarnation int
	renewed     map[string]upgrade.Member // with volumes that were made anew, as they are while absent
	workloads   map[string]upgrade.Workload
}

// MemoryMember is a member in memory. A test may change it in Change.
type MemoryMember struct {
	upgrade.Member
	// Mute is set for one that does not answer.
	Mute bool
}

var (
	_ runner.Journal  = (*Memory)(nil)
	_ runner.Inbox    = (*Memory)(nil)
	_ runner.Library  = (*Memory)(nil)
	_ runner.Platform = (*Memory)(nil)
)

// NewMemory is a place for a Cluster that knows the Systems.
func NewMemory(c *v1alpha1.Cluster, known ...*system.System) *Memory {
	m := &Memory{cluster: c.DeepCopy(), known: map[string]*system.System{}, kept: map[string]*system.System{}, members: map[string]*MemoryMember{},
		configured: map[string]string{}, prepared: map[string]upgrade.Outcome{}, runs: map[int64]upgrade.Outcome{}, backups: map[string]upgrade.Outcome{},
		renewed: map[string]upgrade.Member{}}
	for _, s := range known {
		m.known[s.Name()] = s
	}
	return m
}

// Load is part of runner.Journal.
func (m *Memory) Load(context.Context) (*v1alpha1.Cluster, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cluster.DeepCopy(), strconv.FormatInt(m.mark, 10), nil
}

// Save is part of runner.Journal.
func (m *Memory) Save(_ context.Context, status *v1alpha1.ClusterStatus, mark string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if mark != strconv.FormatInt(m.mark, 10) {
		return "", runner.ErrConflict
	}
	m.mark++
	m.cluster.Status = *status.DeepCopy()
	return strconv.FormatInt(m.mark, 10), nil
}

// Edit replaces the spec, as a person does.
func (m *Memory) Edit(spec *v1alpha1.ClusterSpec) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cluster.Spec = *spec.DeepCopy()
	m.cluster.Generation++
}

// Ask puts a request into the inbox.
func (m *Memory) Ask(r v1alpha1.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.ContainsFunc(m.inbox, func(o v1alpha1.Request) bool { return o.ID == r.ID }) {
		m.inbox = append(m.inbox, r)
	}
}

// Requests is part of runner.Inbox.
func (m *Memory) Requests(context.Context) ([]v1alpha1.Request, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.inbox), nil
}

// Answered is part of runner.Inbox.
func (m *Memory) Answered(_ context.Context, answers []v1alpha1.RequestAnswer) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inbox = slices.DeleteFunc(m.inbox, func(r v1alpha1.Request) bool {
		return slices.ContainsFunc(answers, func(a v1alpha1.RequestAnswer) bool { return a.ID == r.ID })
	})
	return nil
}

// Known is part of runner.Library.
func (m *Memory) Known(_ context.Context, name string) (*system.System, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.known[name]; s != nil {
		return s, nil
	}
	return nil, &runner.UnusableError{Name: name, Err: errors.New("nobody knows it")}
}

// Keep is part of runner.Library.
func (m *Memory) Keep(_ context.Context, s *system.System) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept[s.Hash()] = s
	return nil
}

// Pinned is part of runner.Library.
func (m *Memory) Pinned(_ context.Context, hash string) (*system.System, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.kept[hash]; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("the System %s was never kept", hash)
}

// Look is part of runner.Platform.
func (m *Memory) Look(ctx context.Context, s runner.Scene) (upgrade.Look, error) {
	if err := ctx.Err(); err != nil {
		return upgrade.Look{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	look := upgrade.Look{Complete: true, Configured: maps.Clone(m.configured), Prepared: maps.Clone(m.prepared), Runs: maps.Clone(m.runs), Backups: maps.Clone(m.backups)}
	all := m.sorted()
	for _, member := range all {
		seen := member.Member
		if seen.State == upgrade.ProcessRunning && !member.Mute && m.Answer != nil {
			seen.View.Answers = m.Answer(member, all)
		}
		look.Members = append(look.Members, seen)
	}
	m.lookAtWorkloads(s, &look)
	for name, absent := range m.renewed {
		if m.members[name] == nil {
			look.Members = append(look.Members, absent)
		}
	}
	return look, nil
}

func (m *Memory) sorted() []*MemoryMember {
	var all []*MemoryMember
	for _, name := range slices.Sorted(maps.Keys(m.members)) {
		all = append(all, m.members[name])
	}
	return all
}

// Do is part of runner.Platform.
func (m *Memory) Do(_ context.Context, s runner.Scene, i v1alpha1.Intent, pinned *v1alpha1.Pinned) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch i.Act {
	case v1alpha1.ActPrepare:
		m.prepared[i.Revision] = upgrade.Outcome{Phase: upgrade.Succeeded}
	case v1alpha1.ActGrow, v1alpha1.ActShrink, v1alpha1.ActRemove:
		m.scale(i)
	case v1alpha1.ActConfigure:
		if i.Workload != "" {
			m.makeWorkload(i)
			return nil
		}
		m.configured[i.Component] = i.Revision
	case v1alpha1.ActStart:
		return m.start(s, i, pinned)
	case v1alpha1.ActStop:
		if o := m.members[i.Member]; o != nil && o.Incarnation == i.Incarnation {
			delete(m.members, i.Member)
		}
	case v1alpha1.ActRenew:
		if m.members[i.Member] == nil && m.renewed[i.Member].Volume == i.Volume {
			m.renewed[i.Member] = upgrade.Member{View: system.Member{Name: i.Member, Component: i.Component}, State: upgrade.ProcessAbsent, Volume: i.Name}
		}
	case v1alpha1.ActRun:
		m.run(i)
	case v1alpha1.ActBackup:
		m.backups[i.Name] = upgrade.Outcome{Phase: upgrade.Succeeded}
	}
	return nil
}

func (m *Memory) start(s runner.Scene, i v1alpha1.Intent, pinned *v1alpha1.Pinned) error {
	if pinned == nil || s.Systems[pinned.System.Hash] == nil {
		return errors.New("nothing knows what the revision was made from")
	}
	if m.members[i.Member] != nil || m.renewed[i.Member].Volume != i.Volume {
		return nil
	}
	ordinal := 0
	for upgrade.MemberName(m.cluster.Name, i.Component, ordinal) != i.Member {
		if ordinal++; ordinal > 99 {
			return fmt.Errorf("component %s has no member %s", i.Component, i.Member)
		}
	}
	m.incarnation++
	m.members[i.Member] = &MemoryMember{Member: upgrade.Member{
		View:  system.Member{Name: i.Member, Component: i.Component, Ordinal: ordinal, Host: i.Member + ".test", Version: i.Version},
		State: upgrade.ProcessRunning, Incarnation: strconv.Itoa(m.incarnation), Revision: i.Revision, Volume: i.Volume,
	}}
	return nil
}

func (m *Memory) run(i v1alpha1.Intent) {
	if m.runs[i.ID].Phase != upgrade.NotBegun {
		return
	}
	o := upgrade.Outcome{Phase: upgrade.Succeeded}
	member := m.members[i.Member]
	switch {
	case member == nil:
		o = upgrade.Outcome{Phase: upgrade.Failed, Message: i.Member + " does not run"}
	case m.Act != nil:
		if err := m.Act(member, i); err != nil {
			o = upgrade.Outcome{Phase: upgrade.Failed, Message: err.Error()}
		}
	}
	m.runs[i.ID] = o
}

// Change changes a member, if it is there.
func (m *Memory) Change(member string, change func(*MemoryMember)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if o := m.members[member]; o != nil {
		change(o)
	}
}

// Crash ends a member's process, which comes back at once.
func (m *Memory) Crash(member string) {
	m.Change(member, func(o *MemoryMember) {
		o.Crashes++
		o.Message = "it was crashed"
	})
}

// Lose takes a member's process away with what keeps it.
func (m *Memory) Lose(member string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.members, member)
}
