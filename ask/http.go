package ask

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

type httpCall struct {
	method string
	url    *url.URL
	header http.Header
	body   []byte
	client *http.Client
	secret secret
	read   reading
}

func (a *Asker) newHTTPCall(method, address string, c *v1alpha1.Call, t Target, r reading) (*httpCall, error) {
	u, files, err := a.url(address, t.Scope)
	if err != nil {
		return nil, err
	}
	body, err := a.system.Expand(c.Body, t.Scope)
	if err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	headers, err := a.expandAll(c.Headers, t.Scope)
	if err != nil {
		return nil, fmt.Errorf("headers: %w", err)
	}
	s, err := a.secret(c.Credentials)
	if err != nil {
		return nil, err
	}
	client, err := a.client(files, r.action)
	if err != nil {
		return nil, err
	}
	h := &httpCall{method: method, url: u, body: []byte(body), client: client, secret: s, read: r}
	h.header = h.headers(headers)
	return h, nil
}

// client for questions shares connections. An action gets its own: a kept connection that its server is just
// closing would turn a harmless action into one of unknown outcome.
func (a *Asker) client(files tlsFiles, action bool) (*http.Client, error) {
	id, err := a.identity(files)
	if err != nil {
		return nil, err
	}
	transport := id.transport
	if action {
		transport = a.transport(id.config, 64)
	}
	return &http.Client{
		Transport: transport,
		// Another server's answer is not this member's: a redirect is an answer, and is not followed.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

func (c *httpCall) headers(given map[string]string) http.Header {
	h := http.Header{}
	if len(c.body) > 0 {
		h.Set("Content-Type", "application/json")
	}
	if c.read.as == v1alpha1.FormatPrometheus {
		h.Set("Accept", "text/plain;version=0.0.4")
	}
	for k, v := range given {
		h.Set(k, v)
	}
	if c.secret.header != "" {
		h.Set("Authorization", c.secret.header)
	}
	if !c.read.action {
		h["Idempotency-Key"] = nil // not sent; it lets the transport ask again when a kept connection turns out to be closed
	}
	return h
}

func (c *httpCall) String() string { return c.method + " " + c.url.Redacted() }

func (c *httpCall) close() {
	if c.read.action {
		c.client.CloseIdleConnections()
	}
}

func (c *httpCall) once(ctx context.Context) (*answer, error) {
	var connected atomic.Bool // from here on something may have been sent
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	req, err := http.NewRequestWithContext(ctx, c.method, c.url.String(), bytes.NewReader(c.body))
	if err != nil {
		return nil, unsent{c.secret.hide(err)}
	}
	req.Header = c.header.Clone()
	req.Host = c.header.Get("Host")
	resp, err := c.client.Do(req)
	if err != nil {
		err = c.secret.hide(withoutURL(err))
		if !connected.Load() {
			err = unsent{err}
		}
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := c.answer(resp)
	return answer, c.secret.hide(err)
}

// withoutURL drops what the client library adds: the call's name is in front already.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func (c *httpCall) answer(resp *http.Response) (*answer, error) {
	good := resp.StatusCode/100 == 2
	if c.read.as == v1alpha1.FormatPrometheus {
		if !good {
			return nil, fmt.Errorf("HTTP status %d", resp.StatusCode)
		}
		values, err := c.read.metricsOf(resp.Body)
		return &answer{values: values}, err
	}
	values := map[string]any{"status": int64(resp.StatusCode)}
	err := c.read.into(values, resp.Body, good)
	if err != nil && (!c.read.action || resp.StatusCode < 400) { // an action that was refused is so however its reply ends
		return nil, err
	}
	a := &answer{values: values}
	if !good {
		a.fault = c.secret.hideText(fmt.Sprintf("HTTP status %d%s", resp.StatusCode, excerpt(values["text"])))
	}
	return a, nil
}

// excerpt returns ": " and the last line of a reply, shortened, for an error.
func excerpt(text any) string {
	s, _ := text.(string)
	s = strings.TrimSpace(s)
	s = s[strings.LastIndexByte(s, '\n')+1:]
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "…"
	}
	if s == "" {
		return ""
	}
	return ": " + s
}

// url returns where a call goes: ":PORT/path" is the member's named port, everything else a whole URL. TLS files are those of the
// member and port that the address belongs to.
func (a *Asker) url(address string, sc *system.Scope) (*url.URL, tlsFiles, error) {
	address, err := a.system.Expand(address, sc)
	if err != nil {
		return nil, tlsFiles{}, fmt.Errorf("address: %w", err)
	}
	if rest, named := strings.CutPrefix(address, ":"); named {
		return portURL(rest, sc.M)
	}
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, tlsFiles{}, errors.New(`address: want ":PORT/path" with the name of a port, or a URL with http or https`)
	}
	return u, filesFor(u, sc), nil
}

// portURL resolves "client/health?x=1".
func portURL(rest string, m *system.Member) (*url.URL, tlsFiles, error) {
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	name, path := rest[:end], rest[end:]
	host, files, isTLS, err := portOf(m, name)
	if err != nil {
		return nil, tlsFiles{}, err
	}
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	u, err := url.ParseRequestURI(path)
	if err != nil {
		return nil, tlsFiles{}, fmt.Errorf("address: path after :%s is not valid", name)
	}
	u.Scheme, u.Host = "http", host
	if isTLS {
		u.Scheme = "https"
	}
	return u, files, nil
}

// portOf returns host:port of a member's named port, and its TLS files where it speaks TLS.
func portOf(m *system.Member, name string) (host string, files tlsFiles, isTLS bool, err error) {
	number, ok := m.Port[name]
	if !ok {
		return "", tlsFiles{}, false, fmt.Errorf("port %q: component %s has no port of that name", name, m.Component)
	}
	files, isTLS = filesOf(m, name)
	return net.JoinHostPort(m.Host, strconv.FormatInt(number, 10)), files, isTLS, nil
}

// filesFor finds the TLS files of a whole URL that leads to a port of a member in scope.
func filesFor(u *url.URL, sc *system.Scope) tlsFiles {
	if u.Scheme != "https" {
		return tlsFiles{}
	}
	for _, m := range append([]*system.Member{sc.M, sc.To}, sc.All...) {
		if m == nil || m.Host != u.Hostname() {
			continue
		}
		for name, number := range m.Port {
			if strconv.FormatInt(number, 10) == u.Port() {
				files, _ := filesOf(m, name)
				return files
			}
		}
	}
	return tlsFiles{}
}
