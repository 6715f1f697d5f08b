package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// forward connects to a port of a pod, through the API server and its kubelet: what kubectl port-forward does, without a port here. Each connection has a
// tunnel of its own: what ends one ends no other. That nobody listens there is seen by the connection's end, not by an error here.
func (n *namespace) forward(ctx context.Context, pod string, port int) (net.Conn, error) {
	dialer, err := n.upgrader(pod)
	if err != nil {
		return nil, err
	}
	type opened struct {
		conn net.Conn
		err  error
	}
	done := make(chan opened, 1)
	go func() {
		conn, err := tunnel(dialer, port)
		done <- opened{conn, err}
	}()
	select {
	case o := <-done:
		return o.conn, o.err
	case <-ctx.Done(): // which the dialer does not look at
		go func() {
			if o := <-done; o.err == nil {
				o.conn.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

// tunnel is the protocol of a port-forward with one connection: a stream for what goes wrong, and one for the bytes.
func tunnel(dialer httpstream.Dialer, port int) (net.Conn, error) {
	streams, _, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
	if err != nil {
		return nil, err
	}
	headers := http.Header{}
	headers.Set(corev1.PortHeader, strconv.Itoa(port))
	headers.Set(corev1.PortForwardRequestIDHeader, "0")
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	wrong, err := streams.CreateStream(headers)
	if err != nil {
		return nil, errors.Join(err, streams.Close())
	}
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := streams.CreateStream(headers)
	if err != nil {
		return nil, errors.Join(err, streams.Close())
	}
	// A pipe, because a stream knows no deadlines.
	here, there := net.Pipe()
	end := func() {
		there.Close()
		streams.Close()
	}
	go func() {
		defer end()
		_, _ = io.Copy(there, data)
	}()
	go func() {
		defer end()
		_, _ = io.Copy(data, there)
	}()
	go func() {
		_ = wrong.Close() // nothing is written to it
		if said, _ := io.ReadAll(wrong); len(said) > 0 {
			end()
		}
	}()
	return here, nil
}

// upgrader opens connections of many streams to a pod: over a websocket, or as older API servers speak.
func (n *namespace) upgrader(pod string) (httpstream.Dialer, error) {
	url := n.pods.CoreV1().RESTClient().Post().Resource("pods").Namespace(n.name).Name(pod).SubResource("portforward").URL()
	transport, upgrade, err := spdy.RoundTripperFor(n.config)
	if err != nil {
		return nil, err
	}
	older := spdy.NewDialerForStreaming(upgrade, &http.Client{Transport: transport}, http.MethodPost, url)
	newer, err := portforward.NewSPDYOverWebsocketDialerForStreamingWithLogger(quiet(), url, n.config)
	if err != nil {
		return nil, err
	}
	return portforward.NewFallbackDialerForStreaming(newer, older, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	}), nil
}
