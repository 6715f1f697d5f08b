package operator

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/ask"
	"theseus.dev/runner"
	"theseus.dev/system"
)

// Platform looks at the pods of one Cluster and acts on them. Make it with its fields set and Close it in the end. It may be used by one goroutine
// at a time.
type Platform struct {
	// API writes, Live reads past every cache.
	API  client.Client
	Live client.Reader
	// Pods reads logs and evicts; Config is how its programs are reached.
	Pods   kubernetes.Interface
	Config *rest.Config
	// Key of the Cluster.
	Key types.NamespacedName
	// Image of this program, for Jobs.
	Image string
	// Identity of this process: a run that another one began and did not end has an unknown outcome.
	Identity string
	// Runs of this process, shared by all its Platforms.
	Runs *Runs

	asker     *ask.Asker
	askerKey  string
	seen      map[string]*system.Member // in the last look, with answers
	blocked   map[string]string         // why the eviction of a pod was refused, by UID
	words     map[types.UID]words       // of pods that ended
	rooms     map[string]room           // by member, in the last look
	right     map[string]right          // what was as wanted in the last look at it
	made      map[types.UID]*made       // what adopted pods were made from
	conflict  map[string]conflict       // why an adopted StatefulSet was not written, by component
	silences  map[string]silence        // what said nothing in the last look, and in this one
	silentNow map[string]silence

	mu    sync.Mutex
	hosts map[string]string // addresses of pods by host
	keys  map[string]secretValue
}

var _ runner.Platform = (*Platform)(nil)

// Close lets go of connections. Runs that are under way go on.
func (p *Platform) Close() {
	if p.asker != nil {
		p.asker.Close()
	}
}

// askerFor keeps one Asker for as long as System and credentials stay, and with it the connections.
func (p *Platform) askerFor(s runner.Scene) *ask.Asker {
	credentials, err := json.Marshal(s.Cluster.Spec.Credentials)
	if err != nil {
		panic(err) // strings always marshal
	}
	key := s.System.Hash() + string(credentials)
	if p.asker != nil && p.askerKey == key {
		return p.asker
	}
	p.Close()
	p.asker, p.askerKey = p.newAsker(s), key
	return p.asker
}

func (p *Platform) newAsker(s runner.Scene) *ask.Asker {
	a := ask.New(s.System)
	a.Credentials = fromSecrets(s.Cluster.Spec.Credentials)
	a.ReadFile = p.readSecret
	a.Dial = p.dial
	a.Program = func(name string) (string, error) {
		return "", fmt.Errorf("%s: the member has no container to run it in", name)
	}
	return a
}

// dial goes to the address of a member that the last look showed: DNS may still have that of the pod before. Other hosts are those of services beside, which a
// System asks too.
func (p *Platform) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	ip, member := p.hosts[host]
	p.mu.Unlock()
	switch {
	case !member:
		ip = host
	case ip == "":
		return nil, fmt.Errorf("%s has no address yet", host)
	}
	return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(ip, port))
}

// know remembers the addresses of a look. Connections to an address that is gone would only time out.
func (p *Platform) know(hosts map[string]string) {
	p.mu.Lock()
	moved := false
	for host, ip := range p.hosts {
		moved = moved || hosts[host] != ip
	}
	p.hosts = hosts
	p.mu.Unlock()
	if moved && p.asker != nil {
		p.asker.Close()
	}
}

// blueprintOf finds what an intent's revision is made from.
func (p *Platform) blueprintOf(ctx context.Context, s runner.Scene, i v1alpha1.Intent, pinned *v1alpha1.Pinned) (*blueprint, error) {
	if pinned == nil || s.Systems[pinned.System.Hash] == nil {
		return nil, fmt.Errorf("%s %s%s: nothing knows any more what revision %s was made from", i.Act, i.Component, i.Member, i.Revision)
	}
	sys := s.Systems[pinned.System.Hash]
	c := sys.Component(i.Component)
	if c == nil {
		return nil, fmt.Errorf("%s: system %s has no component %q", i.Act, sys.Name(), i.Component)
	}
	b := &blueprint{cluster: s.Cluster, system: sys, component: c, spec: &pinned.Spec, restart: pinned.Restart, revision: i.Revision, version: i.Version,
		hold: hold{onlyOn: i.OnlyOn, neverOn: i.NeverOn, alone: together(s)}}
	if b.own().Adopt == nil {
		return b, nil
	}
	var err error
	b.adopted, err = p.adoptedSet(ctx, s.Cluster, c)
	if err == nil && b.adopted == nil {
		err = fmt.Errorf("%s: %s is not there", i.Act, b.own().Adopt.Object())
	}
	return b, err
}
