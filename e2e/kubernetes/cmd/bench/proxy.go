//go:build linux

package main

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

// proxy stands between the operator and the API server, and counts.
type proxy struct {
	*httptest.Server
	mu      sync.Mutex
	counted calls
	changed time.Time // last write but for leases
}

// calls are numbers by verb and resource: "PATCH clusters/status".
type calls map[string]int

func (k *kube) newProxy() (*proxy, error) {
	transport, err := rest.TransportFor(k.config)
	if err != nil {
		return nil, err
	}
	target, err := url.Parse(k.config.Host)
	if err != nil {
		return nil, err
	}
	p := &proxy{counted: calls{}, changed: time.Now()}
	to := &httputil.ReverseProxy{FlushInterval: -1, Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.count(r)
		to.ServeHTTP(w, r)
	}))
	return p, nil
}

func (p *proxy) count(r *http.Request) {
	verb := r.Method
	if r.URL.Query().Get("watch") != "" {
		verb = "WATCH"
	}
	resource := resourceOf(r.URL.Path)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counted[verb+" "+resource]++
	if writes(verb) && resource != "leases" {
		p.changed = time.Now()
	}
}

func writes(verb string) bool { return verb != http.MethodGet && verb != "WATCH" }

// resourceOf a path like /apis/GROUP/VERSION/namespaces/NAMESPACE/RESOURCE/NAME/SUBRESOURCE, without what names one object.
func resourceOf(path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	skip := 2 // api/v1
	if parts[0] == "apis" {
		skip = 3
	}
	parts = parts[min(skip, len(parts)):]
	if len(parts) > 2 && parts[0] == "namespaces" {
		parts = parts[2:]
	}
	switch len(parts) {
	case 0:
		return "discovery"
	case 1, 2:
		return parts[0]
	}
	return parts[0] + "/" + parts[2]
}

func (p *proxy) calls() calls {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.counted)
}

// quiet says when something other than a lease was last written.
func (p *proxy) quiet() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.changed)
}

func (c calls) since(before calls) calls {
	more := calls{}
	for what, n := range c {
		if n > before[what] {
			more[what] = n - before[what]
		}
	}
	return more
}

// sum is how many there are of such.
func (c calls) sum(such func(verb, resource string) bool) (n int) {
	for what, count := range c {
		if verb, resource, _ := strings.Cut(what, " "); such(verb, resource) {
			n += count
		}
	}
	return n
}

func (c calls) writes() int {
	return c.sum(func(verb, resource string) bool { return writes(verb) && resource != "leases" })
}

func (c calls) leases() int {
	return c.sum(func(verb, resource string) bool { return writes(verb) && resource == "leases" })
}

func (c calls) reads() int {
	return c.sum(func(verb, resource string) bool { return verb == http.MethodGet && resource != "leases" })
}

// most names the most frequent ones, for a person.
func (c calls) most(n int) string {
	names := slices.SortedFunc(maps.Keys(c), func(a, b string) int { return c[b] - c[a] })
	var list []string
	for _, name := range names[:min(n, len(names))] {
		list = append(list, fmt.Sprintf("%d %s", c[name], name))
	}
	return strings.Join(list, ", ")
}

// kubeconfig of the proxy, in a folder that is there.
func (p *proxy) kubeconfig(dir string) (string, error) {
	path := filepath.Join(dir, "kubeconfig")
	text := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: x, clusters: [{name: x, cluster: {server: %q}}], users: [{name: x}], contexts: [{name: x, context: {cluster: x, user: x}}]}`, p.URL)
	return path, os.WriteFile(path, []byte(text), 0o600)
}
