//go:build linux

package lab

import (
	"fmt"
	"log"
	"maps"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"
)

// keeper runs parts, and starts one again that ends unasked, as a service
// manager would.
type keeper struct {
	logs  func(part string) string // where a part's output goes
	ended func(error)              // told of a part that ended unasked

	mu      sync.Mutex
	running map[string]*running
}

// running is a part that has been started, with what became of it.
type running struct {
	part
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process has ended
	asked bool          // the end was asked for
}

// start starts parts that do not run.
func (k *keeper) start(parts ...part) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range parts {
		if err := k.launch(&running{part: p}); err != nil {
			return err
		}
	}
	return nil
}

// launch starts the process and takes note. The caller holds the lock.
func (k *keeper) launch(r *running) error {
	out, err := os.OpenFile(k.logs(r.name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	r.cmd = exec.Command(r.args[0], r.args[1:]...)
	r.cmd.Stdout, r.cmd.Stderr = out, out
	if err := r.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", r.name, err)
	}
	log.Printf("started %s", r.name)
	r.asked, r.ended = false, make(chan struct{})
	k.running[r.name] = r
	go k.follow(r, r.cmd, r.ended)
	return nil
}

// follow waits for the end of a process. It pauses before it starts a part
// again, so that one that cannot live does not eat a processor.
func (k *keeper) follow(r *running, cmd *exec.Cmd, ended chan struct{}) {
	err := cmd.Wait()
	close(ended)
	k.mu.Lock()
	asked := r.asked
	k.mu.Unlock()
	log.Printf("%s ended, asked for: %v: %v", r.name, asked, err)
	if asked {
		return
	}
	k.ended(fmt.Errorf("%s ended: %w: %s", r.name, err, tail(k.logs(r.name))))
	time.Sleep(time.Second)
	k.mu.Lock()
	defer k.mu.Unlock()
	if r.asked {
		return // meanwhile
	}
	if err := k.launch(r); err != nil {
		log.Print(err)
	}
}

// stop kills a part; it does not come back by itself.
func (k *keeper) stop(name string) error {
	k.mu.Lock()
	r, err := k.find(name)
	if err != nil {
		k.mu.Unlock()
		return err
	}
	r.asked = true
	ended := r.ended
	_ = r.cmd.Process.Kill() // it may have ended
	k.mu.Unlock()
	<-ended
	return nil
}

// restart starts a part again that was stopped.
func (k *keeper) restart(name string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	r, err := k.find(name)
	if err != nil {
		return err
	}
	if !r.asked {
		return fmt.Errorf("%s was not stopped", name)
	}
	return k.launch(r)
}

func (k *keeper) find(name string) (*running, error) {
	r, ok := k.running[name]
	if !ok {
		return nil, fmt.Errorf("no part is called %q; there are %v", name, slices.Sorted(maps.Keys(k.running)))
	}
	return r, nil
}

// tail is the end of a log.
func tail(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2000):])
}
