package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/ask"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// Platform looks at the members of one cluster and acts on them. Make it with State set. It may be used by one goroutine at a time;
// Close it in the end. Members and jobs go on without it.
type Platform struct {
	State *State
	// Self is the command line that starts this program again, for shims and jobs. Default: the running image.
	Self []string
	// Programs are the folders in which programs are looked up, before PATH.
	Programs []string
	// Backups takes backups. Without it none can be taken.
	Backups Backups
	// MinFree is the space that a data folder must have, in bytes. Default 64 MiB.
	MinFree uint64
	// LogSize and LogKeep bound the log of a member. Default 8 MiB and 3 old files.
	LogSize int64
	LogKeep int

	asker    *ask.Asker
	askerKey string
	seen     map[string]*system.Member // in the last look, with answers
	prepared preparations
	patience map[string]time.Time // by incarnation: when a stop was first asked for
}

var _ runner.Platform = (*Platform)(nil)

// Backups takes backups for a Platform; local knows how to run a job at most once (see Jobs), and not what a backup is.
type Backups interface {
	// Begin begins the backup of the intent's name if it was never begun, and does not wait for it.
	Begin(ctx context.Context, s runner.Scene, intent v1alpha1.Intent) error
	// Outcomes of all backups that were begun, by name.
	Outcomes(ctx context.Context, s runner.Scene) (map[string]upgrade.Outcome, error)
}

// Close lets go of connections and of downloads.
func (p *Platform) Close() {
	if p.asker != nil {
		p.asker.Close()
	}
	p.prepared.close()
}

// Look is part of runner.Platform.
func (p *Platform) Look(ctx context.Context, s runner.Scene) (upgrade.Look, error) {
	look := upgrade.Look{Complete: true}
	a, err := p.State.addresses()
	if err != nil {
		return look, err
	}
	if look.Members, err = p.members(s.System, a); err != nil {
		return look, err
	}
	p.question(ctx, s, look.Members)
	p.confirm(look.Members)
	if look.Configured, err = p.State.configured(); err != nil {
		return look, err
	}
	if look.Runs, err = p.State.runs(); err != nil {
		return look, err
	}
	if p.Backups != nil {
		if look.Backups, err = p.Backups.Outcomes(ctx, s); err != nil {
			return look, fmt.Errorf("look at the backups: %w", err)
		}
	}
	look.Prepared = p.prepared.outcomes()
	p.remember(look.Members)
	return look, ctx.Err()
}

func (p *Platform) remember(members []upgrade.Member) {
	p.seen = map[string]*system.Member{}
	for i := range members {
		p.seen[members[i].View.Name] = &members[i].View
	}
}

// members are those that have an address, whether they run or not, and any other that has a folder.
func (p *Platform) members(sys *system.System, a addresses) ([]upgrade.Member, error) {
	names, err := p.State.memberNames()
	if err != nil {
		return nil, err
	}
	var members []upgrade.Member
	for _, c := range sys.Components() {
		for i, name := range a.of(p.State.name, c) {
			members = append(members, p.member(system.Member{Name: name, Component: c.Name(), Ordinal: i, Host: a[name], Data: p.State.DataDir(name)}))
			names = slices.DeleteFunc(names, func(n string) bool { return n == name })
		}
	}
	for _, name := range names {
		if m := p.member(system.Member{Name: name}); m.State != upgrade.ProcessAbsent {
			members = append(members, m)
		}
	}
	return members, nil
}

// member is what is known without asking it. absent is what it is where nothing was started.
func (p *Platform) member(absent system.Member) upgrade.Member {
	k := p.State.keeper(absent.Name)
	s, err := k.state()
	v, verr := k.volume()
	switch {
	case err != nil || verr != nil:
		return upgrade.Member{View: absent, Message: errors.Join(err, verr).Error()}
	case s == nil:
		return upgrade.Member{View: absent, State: upgrade.ProcessAbsent, Volume: v.Name}
	}
	m := upgrade.Member{View: s.View, Volume: v.Name, Incarnation: s.Incarnation, Revision: s.Revision, Crashes: s.Crashes, Broken: s.Broken}
	m.State, m.Message = s.process()
	if m.State == upgrade.ProcessAbsent {
		return upgrade.Member{View: absent, State: upgrade.ProcessAbsent, Volume: v.Name, Message: m.Message}
	}
	if m.State == upgrade.ProcessExited || s.Crashes > 0 || s.Broken != "" {
		m.Message = join(m.Message, k.lastWords())
	}
	return m
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + ":\n" + b
}

// process is the state of the member's process, and a message. The shim's own death is seen here: nobody else could write it down.
func (s *shimState) process() (upgrade.ProcessState, string) {
	shim, member := s.Shim.alive(), s.Member.alive()
	switch {
	case !shim && !member && s.Phase == shimStopped:
		return upgrade.ProcessAbsent, ""
	case !shim && !member:
		return upgrade.ProcessAbsent, "its shim was killed, and it with it"
	case !shim:
		return upgrade.ProcessRunning, "its shim was killed; it outlived it"
	}
	switch s.Phase {
	case shimStarting:
		return upgrade.ProcessStarting, ""
	case shimStopping:
		return upgrade.ProcessStopping, ""
	case shimStopped:
		return upgrade.ProcessStopping, ""
	case shimRunning:
		if !member {
			return upgrade.ProcessExited, "it has just ended"
		}
		if s.Crashes > 0 {
			return upgrade.ProcessRunning, fmt.Sprintf("started again; before it ended by itself %d times, last with %s", s.Crashes, s.Exit)
		}
		return upgrade.ProcessRunning, ""
	}
	return upgrade.ProcessExited, s.Exit
}

// question puts every question to every member that runs, all at once.
func (p *Platform) question(ctx context.Context, s runner.Scene, members []upgrade.Member) {
	asker := p.askerFor(s)
	var groups sync.WaitGroup
	for _, c := range s.System.Components() {
		var targets []ask.Target
		byName := map[string]*upgrade.Member{}
		all := viewsOf(c.Name(), members)
		for i := range members {
			if m := &members[i]; m.View.Component == c.Name() && m.State == upgrade.ProcessRunning {
				byName[m.View.Name] = m
				targets = append(targets, p.target(s, &m.View, all))
			}
		}
		groups.Go(func() {
			for name, look := range asker.All(ctx, c.API().Ask, targets) {
				byName[name].View.Answers = look.Answers
				byName[name].Message = join(byName[name].Message, look.Why())
			}
		})
	}
	groups.Wait()
}

// confirm takes back the answers of members that are not any more what was asked. One that ended meanwhile and came again answers
// as if nothing had been, and a soak would not see it.
func (p *Platform) confirm(members []upgrade.Member) {
	for i := range members {
		m := &members[i]
		if m.State != upgrade.ProcessRunning {
			continue
		}
		view := m.View
		view.Answers = nil
		if now := p.member(view); now.State != m.State || now.Incarnation != m.Incarnation || now.Crashes != m.Crashes {
			*m = now
		}
	}
}

func viewsOf(component string, members []upgrade.Member) []*system.Member {
	var views []*system.Member
	for _, m := range members {
		if m.View.Component == component {
			view := m.View // answers must not appear while others are asked
			views = append(views, &view)
		}
	}
	return views
}

func (p *Platform) target(s runner.Scene, m *system.Member, all []*system.Member) ask.Target {
	view := *m
	sc := &system.Scope{Cluster: p.State.name, Version: m.Version, Options: s.System.Options(&s.Cluster.Spec), M: &view, All: all}
	return ask.Target{Scope: sc, Dir: p.State.keeper(m.Name).dir, Signal: p.State.keeper(m.Name).signal}
}

// signal sends a signal to the process that the member has now.
func (k keeper) signal(sig syscall.Signal) error {
	s, err := k.state()
	if err != nil {
		return err
	}
	if s == nil {
		return errEnded
	}
	return s.Member.signal(sig)
}

// askerFor keeps one Asker for as long as System and credentials stay, and with it the connections.
func (p *Platform) askerFor(s runner.Scene) *ask.Asker {
	credentials, err := json.Marshal(s.Cluster.Spec.Credentials)
	if err != nil {
		panic(err) // strings always marshal
	}
	key := s.System.Hash() + string(credentials)
	if p.asker != nil && p.askerKey == key {
		return p.asker
	}
	if p.asker != nil {
		p.asker.Close()
	}
	p.asker, p.askerKey = ask.New(s.System), key
	p.asker.Credentials = s.Cluster.Spec.Credentials
	p.asker.Program = p.finder().find
	return p.asker
}

// configured is the revision of each component that new processes get.
func (st *State) configured() (map[string]string, error) {
	c := map[string]string{}
	_, err := readJSON(st.path(configuredFile), &c)
	return c, err
}
