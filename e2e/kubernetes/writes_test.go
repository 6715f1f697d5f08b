//go:build linux

package kubernetes

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// writer writes keys of its own to a cluster of stand-ins, one after the other, and remembers those that were acknowledged.
type writer struct {
	c     *cluster
	name  string
	http  http.Client
	stop  context.CancelFunc
	ended sync.WaitGroup
	mu    sync.Mutex
	acked map[string]string
	url   func(member, n int) string
}

const writtenMembers = 3

// writes starts a writer, after ten keys are acknowledged.
func (c *cluster) writes(name string) *writer {
	c.t.Helper()
	w := &writer{c: c, name: name, url: func(member, n int) string {
		return fmt.Sprintf("http://%s-standin-%d:7000/kv/k%d", name, member%writtenMembers, n)
	}}
	w.start(c.dialPod)
	return w
}

// start writes to where dial leads, until check.
func (w *writer) start(dial func(ctx context.Context, address string) (net.Conn, error)) {
	c := w.c
	c.t.Helper()
	w.acked = map[string]string{}
	w.http = http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
		return dial(ctx, address)
	}, DisableKeepAlives: true}}
	ctx, stop := context.WithCancel(context.WithoutCancel(c.t.Context()))
	w.stop = stop
	w.ended.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			w.put(ctx, n)
		}
	})
	c.t.Cleanup(func() { stop(); w.ended.Wait() })
	c.eventually("ten writes", func(context.Context) error {
		if n := w.count(); n < 10 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
}

func (w *writer) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acked)
}

// put tries all members in turn until one acknowledges.
func (w *writer) put(ctx context.Context, n int) {
	value := fmt.Sprintf("v%d", n)
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for try := n; ctx.Err() == nil; try++ {
		r, err := http.NewRequestWithContext(ctx, http.MethodPut, w.url(try, n), strings.NewReader(value))
		must(w.c.t, err)
		if reply, err := w.http.Do(r); err == nil {
			_ = reply.Body.Close()
			if reply.StatusCode/100 == 2 {
				w.mu.Lock()
				w.acked[fmt.Sprint(n)] = value
				w.mu.Unlock()
				<-pause.C
				return
			}
		}
		<-pause.C
	}
}

// check stops the writer and reads back everything that was acknowledged, from a member that has to be ready.
func (w *writer) check() {
	t := w.c.t
	t.Helper()
	w.stop()
	w.ended.Wait()
	lost, i := 0, 0
	for n, value := range w.acked {
		var got string
		w.c.eventually("key "+n+" is read", func(ctx context.Context) error {
			i++
			var number int
			_, _ = fmt.Sscan(n, &number)
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url(i, number), nil)
			must(t, err)
			reply, err := w.http.Do(r)
			if err != nil {
				return err
			}
			defer reply.Body.Close()
			text, err := io.ReadAll(reply.Body)
			if err == nil && reply.StatusCode >= 500 {
				err = fmt.Errorf("%s: %s", reply.Status, text)
			}
			got = string(text)
			return err
		})
		if got != value {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d acknowledged writes are lost", lost, len(w.acked))
	}
	t.Logf("%s: %d acknowledged writes, %d lost", w.name, len(w.acked), lost)
}
