package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/klog/v2"
	"k8s.io/streaming/pkg/httpstream"

	"theseus.dev/operator"
)

// tunnels lead to ports of members, through the API server and the kubelets. There is one for each, made anew when it has ended: with its pod, and
// whenever nobody listens behind it.
type tunnels struct {
	pods func(context.Context) ([]corev1.Pod, error)
	// open makes a tunnel to a port of a pod that lasts as long as life at most.
	open func(ctx, life context.Context, pod string, port int) (*tunnel, error)
	life context.Context
	end  context.CancelFunc

	mu    sync.Mutex
	doors map[string]*door
}

// door is where the tunnels to one port of one member begin, one after the other.
type door struct {
	mu  sync.Mutex
	now *tunnel
}

// tunnel is a listener here whose connections go to a port of a pod.
type tunnel struct {
	address string
	ended   <-chan struct{}
}

func (o *object) tunnels() *tunnels {
	life, end := context.WithCancel(context.Background())
	return &tunnels{pods: o.memberPods, open: o.forward, life: life, end: end, doors: map[string]*door{}}
}

// dial connects to a member by its name and port. It may be called from several goroutines.
func (t *tunnels) dial(ctx context.Context, address string) (net.Conn, error) {
	local, err := t.door(address).enter(ctx, t, address)
	if err != nil {
		return nil, err
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", local)
}

func (t *tunnels) door(address string) *door {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.doors[address] == nil {
		t.doors[address] = &door{}
	}
	return t.doors[address]
}

// enter is the address here of a tunnel that has not ended.
func (d *door) enter(ctx context.Context, t *tunnels, address string) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.now != nil && !d.now.isOver() {
		return d.now.address, nil
	}
	member, port, err := hostPort(address)
	if err != nil {
		return "", err
	}
	pod, err := t.podOf(ctx, member)
	if err != nil {
		return "", err
	}
	d.now, err = t.open(ctx, t.life, pod, port)
	if err != nil {
		return "", fmt.Errorf("tunnel to port %d of pod %s: %w", port, pod, err)
	}
	return d.now.address, nil
}

func (t *tunnel) isOver() bool {
	select {
	case <-t.ended:
		return true
	default:
		return false
	}
}

func hostPort(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.Atoi(text)
	return host, port, err
}

// podOf is the pod that is a member now.
func (t *tunnels) podOf(ctx context.Context, member string) (string, error) {
	pods, err := t.pods(ctx)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(pods, func(p corev1.Pod) bool {
		name, _ := operator.MemberOf(&p)
		return name == member && p.Status.Phase == corev1.PodRunning
	})
	if i < 0 {
		return "", fmt.Errorf("member %s has no pod that runs", member)
	}
	return pods[i].Name, nil
}

// forward is what kubectl port-forward does.
func (n *namespace) forward(ctx, life context.Context, pod string, port int) (*tunnel, error) {
	dialer, err := n.upgrader(pod)
	if err != nil {
		return nil, err
	}
	life, cancel := context.WithCancel(klog.NewContext(life, quiet()))
	ready, ended := make(chan struct{}), make(chan struct{})
	f, err := portforward.NewOnAddressesForStreamingWithContext(life, dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", port)}, ready, io.Discard, io.Discard)
	if err != nil {
		cancel()
		return nil, err
	}
	var failed error
	go func() {
		defer cancel()
		defer close(ended)
		failed = f.ForwardPorts()
	}()
	select {
	case <-ready:
	case <-ended:
		return nil, failed
	case <-ctx.Done():
		cancel()
		return nil, ctx.Err()
	}
	ports, err := f.GetPorts()
	if err != nil {
		cancel()
		return nil, err
	}
	return &tunnel{address: net.JoinHostPort("127.0.0.1", strconv.Itoa(int(ports[0].Local))), ended: ended}, nil
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
