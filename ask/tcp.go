package ask

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"time"

	"theseus.dev/api/v1alpha1"
)

type tcpCall struct {
	dial    func(context.Context) (net.Conn, error)
	address string
	send    string
	expect  *regexp.Regexp // nil: any line
	read    reading
}

func (a *Asker) newTCPCall(c *v1alpha1.TCP, t Target, r reading) (*tcpCall, error) {
	send, err := a.system.Expand(c.Send, t.Scope)
	if err != nil {
		return nil, fmt.Errorf("tcp.send: %w", err)
	}
	address, files, isTLS, err := portOf(t.Scope.M, c.Port)
	if err != nil {
		return nil, err
	}
	call := &tcpCall{address: address, send: send, read: r}
	if c.Expect != "" {
		if call.expect, err = regexp.Compile(c.Expect); err != nil {
			return nil, fmt.Errorf("tcp.expect: %w", err)
		}
	}
	call.dial = func(ctx context.Context) (net.Conn, error) { return a.Dial(ctx, "tcp", address) }
	if isTLS {
		id, err := a.identity(files)
		if err != nil {
			return nil, err
		}
		call.dial = overTLS(call.dial, id.config, t.Scope.M.Host)
	}
	return call, nil
}

func overTLS(dial func(context.Context) (net.Conn, error), config *tls.Config, host string) func(context.Context) (net.Conn, error) {
	config = config.Clone()
	if config.ServerName == "" {
		config.ServerName = host
	}
	return func(ctx context.Context) (net.Conn, error) {
		raw, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		conn := tls.Client(raw, config)
		if err := conn.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, err
		}
		return conn, nil
	}
}

func (c *tcpCall) String() string { return "TCP " + c.address }
func (c *tcpCall) close()         {}

func (c *tcpCall) once(ctx context.Context) (*answer, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, unsent{err}
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // it fails only on a closed connection
	defer stop()
	if _, err := io.WriteString(conn, c.send); err != nil {
		return nil, err
	}
	text, ok, err := c.listen(conn)
	if err != nil {
		return nil, err
	}
	return c.answer(text, ok)
}

func (c *tcpCall) answer(text []byte, ok bool) (*answer, error) {
	a := &answer{values: map[string]any{"ok": ok}}
	if !ok {
		a.fault = "reply does not match " + c.expect.String()
	}
	return a, c.read.into(a.values, bytes.NewReader(text), ok)
}

// listen reads until the reply matches. To a question, a reply that has not matched when the time is up is a no; an
// action of which the reply is not whole is unknown. Silence is an error in both.
func (c *tcpCall) listen(conn net.Conn) (text []byte, ok bool, err error) {
	if c.send == "" && c.expect == nil {
		return nil, true, nil
	}
	r := &bounded{r: conn, max: maxReply}
	chunk := make([]byte, 4<<10)
	for {
		n, err := r.Read(chunk)
		text = append(text, chunk[:n]...)
		ended := errors.Is(err, io.EOF)
		if c.matches(text, ended) {
			return text, true, nil
		}
		timeUp := errors.Is(err, os.ErrDeadlineExceeded) && !c.read.action
		if len(text) > 0 && c.expect != nil && (ended || timeUp) {
			return text, false, nil
		}
		if ended {
			err = errors.New("connection closed without a reply")
		}
		if err != nil {
			return nil, false, err
		}
	}
}

func (c *tcpCall) matches(text []byte, ended bool) bool {
	if c.expect != nil {
		return c.expect.Match(text)
	}
	return bytes.IndexByte(text, '\n') >= 0 || ended && len(text) > 0
}
