//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// The caller and the supervisor talk HTTP over a socket in the lab's folder:
// POST /VERB?of=WHAT, answered by 200 when it is done, or 500 and the error.
const socketName = "control.sock"

// serve answers the callers, from now on.
func (s *supervisor) serve() error {
	listener, err := net.Listen("unix", s.path(socketName))
	if err != nil {
		return err
	}
	verbs := map[string]func(ctx context.Context, of string) error{
		"ready":     s.awaitBegun,
		"load":      s.loadImage,
		"stop":      func(_ context.Context, name string) error { return s.parts.stop(name) },
		"run":       func(_ context.Context, name string) error { return s.parts.restart(name) },
		"partition": func(ctx context.Context, name string) error { return s.link(ctx, name, "down") },
		"heal":      func(ctx context.Context, name string) error { return s.link(ctx, name, "up") },
	}
	mux := http.NewServeMux()
	for verb, do := range verbs {
		mux.HandleFunc("POST /"+verb, func(w http.ResponseWriter, r *http.Request) {
			if err := do(r.Context(), r.FormValue("of")); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		})
	}
	go func() { s.fail(http.Serve(listener, mux)) }()
	return nil
}

func (s *supervisor) awaitBegun(ctx context.Context, _ string) error {
	select {
	case <-s.ready:
		return nil
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *supervisor) link(ctx context.Context, name, state string) error {
	n, err := s.nodeCalled(name)
	if err != nil {
		return err
	}
	return n.setLink(ctx, state)
}

// ask has the supervisor do something.
func (l *Lab) ask(ctx context.Context, verb, of string) error {
	err := l.post(ctx, "http://lab/"+verb+"?of="+url.QueryEscape(of))
	if err != nil {
		return fmt.Errorf("lab %s: %s: %w", l.Name, strings.TrimSpace(verb+" "+of), err)
	}
	return nil
}

func (l *Lab) post(ctx context.Context, url string) error {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", l.path(socketName))
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(strings.TrimSpace(string(said)))
	}
	return err
}

// awaitReady waits for the supervisor to listen, and then for the cluster.
func (l *Lab) awaitReady(ctx context.Context) error {
	var gone error
	err := await(ctx, "the supervisor", func() error {
		if !l.Reaper.alive() {
			gone = errors.New("the lab's first process has ended")
			return nil
		}
		_, err := os.Stat(l.path(socketName))
		return err
	})
	if err := errors.Join(err, gone); err != nil {
		return err
	}
	return l.ask(ctx, "ready", "")
}

// lastWords is the end of the supervisor's log, for the error of a lab that did not start.
func (l *Lab) lastWords() error {
	return fmt.Errorf("log of the supervisor:\n%s", tail(l.path("log", "supervisor.log")))
}

// LoadImage makes an image and gives it to every node. Pods that name it run it
// unless they say imagePullPolicy: Always.
func (l *Lab) LoadImage(ctx context.Context, i Image) error {
	file := l.path(fmt.Sprintf("image-%d.tar", time.Now().UnixNano()))
	defer os.Remove(file)
	if err := i.write(file); err != nil {
		return err
	}
	return l.ask(ctx, "load", file)
}

// Partition cuts a node off the others: connections stay open and silent. Not node1.
func (l *Lab) Partition(ctx context.Context, node string) error {
	return l.ask(ctx, "partition", node)
}

// Heal ends a partition. The node is Ready again some seconds later.
func (l *Lab) Heal(ctx context.Context, node string) error { return l.ask(ctx, "heal", node) }

// Stop kills one program of the cluster, such as etcd, kube-apiserver or
// node2/kubelet. It stays down until [Lab.Run].
func (l *Lab) Stop(ctx context.Context, part string) error { return l.ask(ctx, "stop", part) }

// Run starts again what [Lab.Stop] stopped. It does not wait until it serves.
func (l *Lab) Run(ctx context.Context, part string) error { return l.ask(ctx, "run", part) }

// Restart is [Lab.Stop] and [Lab.Run].
func (l *Lab) Restart(ctx context.Context, part string) error {
	return errors.Join(l.Stop(ctx, part), l.Run(ctx, part))
}
