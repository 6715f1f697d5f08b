// Package etcd drives etcd for the probe.
//
// A try is one RPC on one connection to one member. The driver therefore uses
// the RPC stubs of etcd and not its client library, which repeats reads by
// itself up to a hundred times and moves between members while it does. The one
// repetition left is gRPC's own, of an RPC that a server certainly never began.
package etcd

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"

	"theseus.dev/probe"
)

// Options are the settings of a driver.
type Options struct {
	// Endpoints are the client URLs of the members, one each, such as
	// "http://127.0.0.11:2379". Host and port alone mean http, or https when
	// TLS is set.
	Endpoints []string

	// TLS is used for https, with the client certificate that the members ask
	// for. Nil allows http only.
	TLS *tls.Config

	// ServerNames are expected in the certificates, one for each endpoint or one for all, where
	// TLS says none. Empty: the host of the endpoint.
	ServerNames []string

	// Dial opens every connection to an endpoint's host:port, where names and addresses are not those of this machine. Nil: as usual.
	Dial func(ctx context.Context, address string) (net.Conn, error)

	// FreshEvery makes each n-th try dial a connection of its own, so that
	// clients that come anew are measured beside those that stay. 0: none.
	FreshEvery int
}

// Driver implements probe.Driver and probe.Cleaner.
type Driver struct {
	members []*member
	fresh   int64
	tries   atomic.Int64
}

type member struct {
	url    string
	target string // host and port
	dial   []grpc.DialOption
	conn   *grpc.ClientConn
}

var (
	_ probe.Driver  = (*Driver)(nil)
	_ probe.Cleaner = (*Driver)(nil)
)

// New makes a driver. It connects when first used, so members need not run yet.
func New(o Options) (*Driver, error) {
	if len(o.Endpoints) == 0 {
		return nil, errors.New("etcd driver: no endpoints")
	}
	d := &Driver{fresh: int64(o.FreshEvery)}
	if n := len(o.ServerNames); n > 1 && n != len(o.Endpoints) {
		return nil, fmt.Errorf("etcd driver: %d server names for %d endpoints: want one for each, or one", n, len(o.Endpoints))
	}
	for i, e := range o.Endpoints {
		name := ""
		if n := len(o.ServerNames); n > 0 {
			name = o.ServerNames[i%n]
		}
		m, err := newMember(e, name, o)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("etcd driver: endpoint %q: %w", e, err), d.Close())
		}
		d.members = append(d.members, m)
	}
	return d, nil
}

func newMember(endpoint, serverName string, o Options) (*member, error) {
	config := o.TLS
	target, secure, err := parse(endpoint, config != nil)
	if err != nil {
		return nil, err
	}
	creds := insecure.NewCredentials()
	if secure && config == nil {
		return nil, errors.New("https needs certificates, and none were given")
	}
	if secure {
		config = config.Clone()
		config.ServerName = cmp.Or(config.ServerName, serverName)
		creds = credentials.NewTLS(config)
	}
	m := &member{url: endpoint, target: target, dial: dialOptions(creds)}
	if o.Dial != nil {
		m.dial = append(m.dial, grpc.WithContextDialer(o.Dial))
	}
	m.conn, err = m.connect()
	return m, err
}

// parse splits an endpoint into host:port and whether it is https.
func parse(endpoint string, secure bool) (string, bool, error) {
	if _, port, err := net.SplitHostPort(endpoint); err == nil && !strings.Contains(port, "/") {
		return endpoint, secure, nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Port() == "" {
		return "", false, errors.New("want http://host:port, https://host:port or host:port")
	}
	return u.Host, u.Scheme == "https", nil
}

// dialOptions let a client find a restarted member within half a second: the
// default of gRPC waits for up to two minutes, and the probe would measure that.
func dialOptions(creds credentials.TransportCredentials) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithDisableRetry(),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 500 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 3 * time.Second}),
	}
}

// connect uses the address as it is: no name service, no proxy.
func (m *member) connect() (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+m.target, append(m.dial, grpc.WithNoProxy())...)
}

// Endpoints implements probe.Driver.
func (d *Driver) Endpoints() []string {
	urls := make([]string, len(d.members))
	for i, m := range d.members {
		urls[i] = m.url
	}
	return urls
}

// Repeatable implements probe.Driver: values are unique, so a put done twice
// leaves what it leaves done once.
func (d *Driver) Repeatable(probe.Class) bool { return true }

// Put implements probe.Driver.
func (d *Driver) Put(ctx context.Context, endpoint int, key, value string) error {
	return d.try(endpoint, func(c *grpc.ClientConn, who grpc.CallOption) error {
		_, err := etcdserverpb.NewKVClient(c).Put(ctx, &etcdserverpb.PutRequest{Key: []byte(key), Value: []byte(value)}, who)
		return err
	})
}

// Get implements probe.Driver by a linearizable read.
func (d *Driver) Get(ctx context.Context, endpoint int, key string) (probe.Value, error) {
	var got *etcdserverpb.RangeResponse
	err := d.try(endpoint, func(c *grpc.ClientConn, who grpc.CallOption) (err error) {
		got, err = etcdserverpb.NewKVClient(c).Range(ctx, &etcdserverpb.RangeRequest{Key: []byte(key)}, who)
		return err
	})
	if err != nil || len(got.Kvs) == 0 {
		return probe.Value{}, err
	}
	kv := got.Kvs[0]
	return probe.Value{Data: string(kv.Value), Exists: true, Applied: kv.Version}, nil
}

// try makes one RPC and says of an error whether it may have had an effect.
func (d *Driver) try(endpoint int, rpc func(*grpc.ClientConn, grpc.CallOption) error) error {
	conn, done, err := d.connection(d.members[endpoint])
	if err != nil {
		return fmt.Errorf("connect: %w: %w", probe.ErrNotApplied, err)
	}
	defer done()
	var server peer.Peer // stays empty if no stream was ever opened
	if err = rpc(conn, grpc.Peer(&server)); err == nil {
		return nil
	}
	if server.Addr == nil || refused(err) {
		return fmt.Errorf("%w: %w", probe.ErrNotApplied, err)
	}
	return err
}

// connection returns the lasting connection of a member or, each n-th time, one of its own.
func (d *Driver) connection(m *member) (*grpc.ClientConn, func(), error) {
	if d.fresh <= 0 || d.tries.Add(1)%d.fresh != 0 {
		return m.conn, func() {}, nil
	}
	conn, err := m.connect()
	if err != nil {
		return nil, nil, err
	}
	return conn, func() { _ = conn.Close() }, nil
}

// refused tells the answers that a member gives before it proposes anything.
// The list is short on purpose: whatever is not on it has an unknown outcome.
func refused(err error) bool {
	for _, known := range []error{rpctypes.ErrTooManyRequests, rpctypes.ErrRequestTooLarge, rpctypes.ErrPermissionDenied} {
		if errors.Is(rpctypes.Error(err), known) {
			return true
		}
	}
	return false
}

// Look implements probe.Driver by the maintenance status. A member is ready
// when it answers and has no alarm. That the group has no leader for a moment
// is no fault of a replica: it shows as a gap in the requests.
func (d *Driver) Look(ctx context.Context, endpoint int) (probe.Member, error) {
	s, err := etcdserverpb.NewMaintenanceClient(d.members[endpoint].conn).Status(ctx, &etcdserverpb.StatusRequest{})
	if err != nil {
		return probe.Member{}, err
	}
	alarms := slices.DeleteFunc(s.Errors, func(e string) bool { return e == rpctypes.ErrNoLeader.Error() })
	return probe.Member{Ready: len(alarms) == 0, Version: s.Version}, nil
}

// Clean implements probe.Cleaner: one delete of all keys under the prefix.
func (d *Driver) Clean(ctx context.Context, prefix string) error {
	if prefix == "" {
		return errors.New("clean: an empty prefix would delete everything")
	}
	end := []byte(prefix)
	end[len(end)-1]++ // the probe's prefixes end in "/", so this does not overflow
	_, err := etcdserverpb.NewKVClient(d.members[0].conn).DeleteRange(ctx, &etcdserverpb.DeleteRangeRequest{Key: []byte(prefix), RangeEnd: end})
	return err
}

// Close implements probe.Driver.
func (d *Driver) Close() error {
	var errs []error
	for _, m := range d.members {
		errs = append(errs, m.conn.Close())
	}
	return errors.Join(errs...)
}
