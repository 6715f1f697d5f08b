package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

const defaultMinFree = 64 << 20

// preparations are what this driver found out about revisions. Nothing of it is durable: whoever comes next looks for
// himself, and what was downloaded is there.
type preparations struct {
	mu     sync.Mutex
	byRev  map[string]upgrade.Outcome
	cancel context.CancelFunc
	ctx    context.Context
	work   sync.WaitGroup
}

// outcomes shows a failure once and then forgets it, so that the next time someone asks it is looked at anew.
func (p *preparations) outcomes() map[string]upgrade.Outcome {
	p.mu.Lock()
	defer p.mu.Unlock()
	shown := map[string]upgrade.Outcome{}
	for rev, o := range p.byRev {
		shown[rev] = o
		if o.Phase == upgrade.Failed {
			delete(p.byRev, rev)
		}
	}
	return shown
}

// begin runs what prepares a revision, unless it runs or is done.
func (p *preparations) begin(rev string, what string, do func(context.Context) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byRev == nil {
		p.byRev = map[string]upgrade.Outcome{}
		p.ctx, p.cancel = context.WithCancel(context.Background())
	}
	if p.byRev[rev].Phase != upgrade.NotBegun {
		return
	}
	p.byRev[rev] = upgrade.Outcome{Phase: upgrade.Underway, Message: what}
	p.work.Go(func() {
		o := upgrade.Outcome{Phase: upgrade.Succeeded}
		if err := do(p.ctx); err != nil {
			o = upgrade.Outcome{Phase: upgrade.Failed, Message: err.Error()}
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.byRev[rev] = o
	})
}

func (p *preparations) close() {
	p.mu.Lock()
	if p.cancel != nil {
		p.cancel()
	}
	p.mu.Unlock()
	p.work.Wait()
}

// prepare finds what would keep members of a revision from starting, before it costs one: the program, room for data, and
// an address for those that do not run.
func (p *Platform) prepare(s runner.Scene, i v1alpha1.Intent, pinned *v1alpha1.Pinned) error {
	if pinned == nil || s.Systems[pinned.System.Hash] == nil {
		return errRevision(i)
	}
	sys := s.Systems[pinned.System.Hash]
	views, err := p.State.Views(sys, &pinned.Spec, i.Component, i.Version)
	if err != nil {
		return err
	}
	absent := p.absent(views)
	p.prepared.begin(i.Revision, "the program of version "+i.Version, func(ctx context.Context) error {
		return p.check(ctx, sys, pinned, i, views, absent)
	})
	return nil
}

func (p *Platform) absent(views []*system.Member) map[string]bool {
	absent := map[string]bool{}
	for _, v := range views {
		absent[v.Name] = !p.State.keeper(v.Name).present()
	}
	return absent
}

func (p *Platform) check(ctx context.Context, sys *system.System, pinned *v1alpha1.Pinned, i v1alpha1.Intent, views []*system.Member, absent map[string]bool) error {
	for n, v := range views {
		sc := &system.Scope{Cluster: p.State.name, Version: i.Version, From: i.From, M: v, All: views}
		proc, err := sys.Process(i.Component, &pinned.Spec, sc)
		if err != nil {
			return fmt.Errorf("start command of %s: %w", v.Name, err)
		}
		if n == 0 {
			if _, err := p.finder().obtain(ctx, proc, i.Version); err != nil {
				return err
			}
		}
		if err := p.checkData(v.Data); err != nil {
			return fmt.Errorf("member %s: %w", v.Name, err)
		}
		if absent[v.Name] {
			if err := portsFree(v.Host, sys.Component(i.Component)); err != nil {
				return fmt.Errorf("member %s: %w; end that program", v.Name, err)
			}
		}
	}
	return nil
}

// checkData says whether a data folder, or the place where it will be, can be written and has room.
func (p *Platform) checkData(path string) error {
	at := path
	for {
		_, err := os.Stat(at)
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("data folder %s: %w", path, err)
		}
		at = filepath.Dir(at)
	}
	if err := unix.Access(at, unix.W_OK); err != nil {
		return fmt.Errorf("data folder %s: it cannot be written: %w; mount it writable or change its owner", path, err)
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(at, &fs); err != nil {
		return fmt.Errorf("data folder %s: %w", path, err)
	}
	need := p.MinFree
	if need == 0 {
		need = defaultMinFree
	}
	if free := fs.Bavail * uint64(fs.Bsize); free < need {
		return fmt.Errorf("data folder %s: %d MiB are free and at least %d MiB are needed; make room", path, free>>20, need>>20)
	}
	return nil
}
