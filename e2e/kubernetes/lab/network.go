//go:build linux

package lab

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// Addresses are the same in every lab: each has a network of its own.
const (
	HostIP = "10.89.0.1" // of node1, the control plane, and of what tests serve

	apiURL       = "https://" + HostIP + ":6443"
	serviceCIDR  = "10.96.0.0/16"
	apiServiceIP = "10.96.0.1"
	podCIDR      = "10.244.0.0/16"
	maxNodes     = 3
)

// node is one machine of the cluster.
type node struct {
	number int // from 1
	lab    record
}

func (r record) nodes() []node {
	var all []node
	for i := range r.Nodes {
		all = append(all, node{i + 1, r})
	}
	return all
}

func (n node) Name() string    { return fmt.Sprintf("node%d", n.number) }
func (n node) IP() string      { return fmt.Sprintf("10.89.0.%d", n.number) }
func (n node) PodCIDR() string { return fmt.Sprintf("10.244.%d.0/24", n.number) }
func (n node) Cgroup() string  { return n.lab.cgroup() + "/" + n.Name() }

// Dir holds what the node keeps on disk.
func (n node) Dir() string { return n.lab.path(n.Name()) }

// Run holds the node's sockets, in the lab's own /run, where paths are short.
func (n node) Run() string { return runDir + "/" + n.Name() }

const runDir = "/run/lab"

// enter is what to put before a command that is to run in the node's network.
func (n node) enter() []string {
	if n.number == 1 {
		return nil
	}
	return []string{"nsenter", "--net=/run/netns/" + n.Name()}
}

// port is the node's end at the bridge, as on a switch.
func (n node) port() string { return "port-" + n.Name() }

// bridge is what the nodes are plugged into. The pair spare keeps it up while
// nobody is. Any default route serves: cluster IPs are rewritten after routing.
const bridge = `
link set lo up
link add lab0 type bridge
link add spare0 type veth peer name spare1
link set spare0 master lab0
link set spare0 up
link set spare1 up
address add ` + HostIP + `/24 dev lab0
link set lab0 up
route add default dev lab0
`

// plug connects a node with a network of its own to the bridge.
func (n node) plug() string {
	return fmt.Sprintf(`
netns add %[1]s
link add %[2]s type veth peer name eth0 netns %[1]s
link set %[2]s master lab0
link set %[2]s up
route add %[3]s via %[4]s
`, n.Name(), n.port(), n.PodCIDR(), n.IP())
}

// inside is the node's own side: routes to the pods of the other nodes, of which those of node1 are
// behind the default one.
func (n node) inside() string {
	script := fmt.Sprintf(`
link set lo up
address add %s/24 dev eth0
link set eth0 up
route add default via %s
`, n.IP(), HostIP)
	for _, other := range n.lab.nodes() {
		if other.number != 1 && other.number != n.number {
			script += fmt.Sprintf("route add %s via %s\n", other.PodCIDR(), other.IP())
		}
	}
	return script
}

// network makes the bridge and the nodes' networks.
func (r record) network(ctx context.Context) error {
	if err := ip(ctx, bridge); err != nil {
		return err
	}
	for _, n := range r.nodes() {
		if n.number > 1 {
			if err := ip(ctx, n.plug()); err != nil {
				return err
			}
			if err := ip(ctx, n.inside(), "-netns", n.Name()); err != nil {
				return err
			}
		}
		forward := append(n.enter(), "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
		if err := run(ctx, forward[0], forward[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// setLink lets a node's port go up or down.
func (n node) setLink(ctx context.Context, state string) error {
	if n.number == 1 {
		return fmt.Errorf("node1 carries the control plane: cut off another")
	}
	return run(ctx, "ip", "link", "set", n.port(), state)
}

// ip runs a script of the program of that name, up to the first error.
func ip(ctx context.Context, script string, options ...string) error {
	cmd := exec.CommandContext(ctx, "ip", append(options, "-batch", "-")...)
	cmd.Stdin = strings.NewReader(strings.TrimSpace(script) + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip: %w: %s in:%s", err, strings.TrimSpace(string(out)), script)
	}
	return nil
}
