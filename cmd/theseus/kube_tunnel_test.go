package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	spdystream "k8s.io/streaming/pkg/httpstream/spdy"
)

// kubelet is the other end of a port-forward: it connects to ports of this machine. Those that are not it refuses, as a kubelet says it.
func kubelet(t *testing.T) *namespace {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := httpstream.Handshake(r, w, []string{portforward.PortForwardProtocolV1Name}); err != nil {
			return // a websocket, which this one does not speak
		}
		streams := make(chan httpstream.Stream, 2)
		conn := spdystream.NewResponseUpgrader().UpgradeResponse(w, r, func(s httpstream.Stream, _ <-chan struct{}) error {
			streams <- s
			return nil
		})
		defer conn.Close()
		wrong, data := <-streams, <-streams
		c, err := net.Dial("tcp", "127.0.0.1:"+data.Headers().Get(corev1.PortHeader))
		if err != nil {
			_, _ = io.WriteString(wrong, err.Error())
			_ = wrong.Close()
			<-conn.CloseChan()
			return
		}
		defer c.Close()
		go func() { _, _ = io.Copy(c, data); c.Close() }()
		_, _ = io.Copy(data, c)
	}))
	t.Cleanup(server.Close)
	config := &rest.Config{Host: server.URL}
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return &namespace{name: "prod", pods: clients, config: config}
}

// TestForward: what is written at one end is read at the other, for as long as both want it.
func TestForward(t *testing.T) {
	n := kubelet(t)
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { echo.Close() })
	go func() {
		for c, err := echo.Accept(); err == nil; c, err = echo.Accept() {
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
	port := echo.Addr().(*net.TCPAddr).Port
	one, err := n.forward(t.Context(), "p", port)
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	two, err := n.forward(t.Context(), "p", port)
	if err != nil {
		t.Fatal(err)
	}
	says := func(c net.Conn, text string) {
		t.Helper()
		got := make([]byte, len(text))
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
			t.Fatalf("got %q, %v; want %q", got, err, text)
		}
	}
	long := strings.Repeat("0123456789", 100_000)
	go func() { _, _ = io.WriteString(one, long) }()
	if got, err := io.ReadAll(io.LimitReader(one, int64(len(long)))); err != nil || string(got) != long {
		t.Errorf("of %d bytes came back %d, %v", len(long), len(got), err)
	}
	says(two, "hello")
	two.Close()
	says(one, "still here")
	if err := one.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("past its deadline a read ends with %v", err)
	}

	echo.Close()
	refused, err := n.forward(t.Context(), "p", port)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := refused.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("where nobody listens a read ends with %v", err)
	}
	if err := one.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	says(one, "and here")
}

// TestForwardGivesUp: who no longer waits gets no connection, and none stays open.
func TestForwardGivesUp(t *testing.T) {
	came, closed := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		came <- struct{}{}
		<-closed
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(closed) })
	config := &rest.Config{Host: server.URL}
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-came
		cancel()
	}()
	if c, err := (&namespace{name: "prod", pods: clients, config: config}).forward(ctx, "p", 1); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v; want that it was given up", c, err)
	}
}
