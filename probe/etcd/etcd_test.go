package etcd_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"theseus.dev/probe"
	"theseus.dev/probe/etcd"
	"theseus.dev/probe/probetest"
)

// server returns the path of a real etcd of the version.
func server(t testing.TB, version string) string {
	t.Helper()
	dir := os.Getenv("THESEUS_SERVERS")
	if dir == "" {
		dir = filepath.Join("..", "..", "bin", "servers")
	}
	path, err := filepath.Abs(filepath.Join(dir, "etcd-"+version))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no etcd %s: run make servers (%v)", version, err)
		}
		t.Skipf("no etcd %s: run make servers (%v)", version, err)
	}
	return path
}

// cluster is a real etcd whose members have loopback addresses of their own.
type cluster struct {
	t       testing.TB
	dir     string
	hosts   []string
	certs   *certificates
	members []*exec.Cmd
}

// clusters numbers the networks of this process, 127.x.y.0.
var clusters atomic.Int32

func startCluster(t testing.TB, version string, size int, certs *certificates) *cluster {
	t.Helper()
	path := server(t, version)
	n := int(clusters.Add(1)) + 8*(os.Getpid()%1000)
	c := &cluster{t: t, dir: t.TempDir(), certs: certs, members: make([]*exec.Cmd, size)}
	for i := range size {
		c.hosts = append(c.hosts, fmt.Sprintf("127.%d.%d.%d", 100+n>>8, n&255, i+1))
	}
	for i := range size {
		c.start(i, path)
	}
	t.Cleanup(func() {
		for i := range c.members {
			c.stop(i)
		}
	})
	c.awaitReady()
	return c
}

func (c *cluster) scheme() string {
	if c.certs != nil {
		return "https"
	}
	return "http"
}

func (c *cluster) urls() []string {
	var urls []string
	for _, h := range c.hosts {
		urls = append(urls, c.scheme()+"://"+h+":2379")
	}
	return urls
}

func (c *cluster) start(i int, path string) {
	c.t.Helper()
	var initial []string
	for j, h := range c.hosts {
		initial = append(initial, fmt.Sprintf("m%d=http://%s:2380", j, h))
	}
	args := []string{
		"--name", fmt.Sprintf("m%d", i),
		"--data-dir", filepath.Join(c.dir, fmt.Sprintf("m%d", i)),
		"--listen-client-urls", c.urls()[i], "--advertise-client-urls", c.urls()[i],
		"--listen-peer-urls", "http://" + c.hosts[i] + ":2380", "--initial-advertise-peer-urls", "http://" + c.hosts[i] + ":2380",
		"--initial-cluster", strings.Join(initial, ","),
		"--log-level", "error",
	}
	cmd := exec.Command(path, append(args, c.certs.flags()...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.OpenFile(c.log(i), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close() // the member has its own descriptor
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		c.t.Fatalf("start member %d: %v", i, err)
	}
	c.members[i] = cmd
}

func (c *cluster) log(i int) string { return filepath.Join(c.dir, fmt.Sprintf("m%d.log", i)) }

// stop ends a member the polite way and waits for it.
func (c *cluster) stop(i int) {
	cmd := c.members[i]
	if cmd == nil {
		return
	}
	c.members[i] = nil
	_ = cmd.Process.Signal(syscall.SIGCONT)
	_ = cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	_ = cmd.Wait()
}

func (c *cluster) broken() bool { return slices.Contains(c.members, nil) }

func (c *cluster) freeze(i int) func() {
	_ = c.members[i].Process.Signal(syscall.SIGSTOP)
	return func() { _ = c.members[i].Process.Signal(syscall.SIGCONT) }
}

func (c *cluster) driver(fresh int) *etcd.Driver {
	c.t.Helper()
	d, err := etcd.New(etcd.Options{Endpoints: c.urls(), TLS: c.certs.client(), ServerNames: []string{"localhost"}, FreshEvery: fresh})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = d.Close() })
	return d
}

// awaitReady waits until every member serves.
func (c *cluster) awaitReady() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	d := c.driver(0)
	for i := range c.members {
		for {
			try, cancel := context.WithTimeout(ctx, time.Second)
			_, err := d.Get(try, i, "ready")
			cancel()
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				log, _ := os.ReadFile(c.log(i))
				c.t.Fatalf("member %d does not serve: %v\n%s", i, err, log)
			}
			time.Sleep(20 * time.Millisecond) // between two looks at another process
		}
	}
}

func TestDriver(t *testing.T) {
	var c *cluster // used until a member is taken away
	probetest.TestDriver(t, func(*testing.T) probetest.Harness {
		if c == nil || c.broken() {
			c = startCluster(t, "3.6.16", 3, nil)
		}
		return probetest.Harness{Driver: c.driver(0), Version: "3.6.16", Down: c.stop, Freeze: c.freeze}
	})
}

// TestDriverWithCertificates asks for a client certificate, and dials anew for
// every other try.
func TestDriverWithCertificates(t *testing.T) {
	certs := newCertificates(t)
	var c *cluster
	probetest.TestDriver(t, func(*testing.T) probetest.Harness {
		if c == nil || c.broken() {
			c = startCluster(t, "3.5.35", 1, certs)
		}
		return probetest.Harness{Driver: c.driver(2), Version: "3.5.35", Down: c.stop}
	})
}

func TestNewRefuses(t *testing.T) {
	for _, tt := range []struct{ name, endpoint, want string }{
		{"no port", "http://127.0.0.1", "want http://host:port"},
		{"other scheme", "ftp://127.0.0.1:21", "want http://host:port"},
		{"https without certificates", "https://127.0.0.1:2379", "https needs certificates"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := etcd.New(etcd.Options{Endpoints: []string{tt.endpoint}})
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.endpoint) {
				t.Errorf("%s: %v; want an error with %q", tt.endpoint, err, tt.want)
			}
		})
	}
}

func TestServerNames(t *testing.T) {
	endpoints := []string{"https://127.0.0.1:1", "https://127.0.0.2:1", "https://127.0.0.3:1"}
	for names, good := range map[string]bool{"": true, "a": true, "a b": false, "a b c": true} {
		d, err := etcd.New(etcd.Options{Endpoints: endpoints, TLS: &tls.Config{MinVersion: tls.VersionTLS12}, ServerNames: strings.Fields(names)})
		if err == nil {
			_ = d.Close()
		}
		if (err == nil) != good {
			t.Errorf("server names %q of three endpoints: %v", names, err)
		}
	}
}

// TestUpgrade measures a rolling upgrade of a real etcd, done by hand here.
func TestUpgrade(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a quarter of a minute")
	}
	c := startCluster(t, "3.5.35", 3, nil)
	next := server(t, "3.6.16")
	d := c.driver(50)
	p, err := probe.New(d, probe.Options{Rate: 300})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer p.Stop()
		<-p.Running()
		time.Sleep(2 * time.Second) // the baseline
		p.Mark(probe.Upgrade, "3.5.35 → 3.6.16")
		for i := range c.members {
			p.Step(fmt.Sprintf("replace m%d", i))
			c.stop(i)
			c.start(i, next)
			c.awaitReady()
			time.Sleep(1500 * time.Millisecond) // long enough for a look at the arrangement
		}
		p.Mark(probe.Settle, "")
		time.Sleep(2 * time.Second)
	}()
	r, err := p.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v := probe.Judge(r, probe.Quick(), probe.Facts{TargetVersion: "3.6.16"})
	dir := t.ArtifactDir() // go test -artifacts keeps it
	if err := v.Write(dir); err != nil {
		t.Fatal(err)
	}
	t.Log(v.Summary(dir))
	for _, l := range v.Levels {
		for _, c := range l.Checks {
			t.Logf("%s %-9s %s: %s (limit %s) %s", l.Level, c.Outcome, c.Name, c.Measured, c.Limit, c.Why)
		}
	}
	// No leader is handed over here, so how long the gaps are is etcd's to
	// say and the machine's; what must hold on any machine:
	for _, name := range []string{"acknowledged writes lost", "writes applied twice", "reads stale or wrong", "versions served side by side"} {
		if o := outcome(v.Of(probe.L3), name); o != probe.Pass {
			t.Errorf("%s: %s, want pass", name, o)
		}
	}
	if o := outcome(v.Of(probe.L1), "every replica on the target version"); o != probe.Pass {
		t.Errorf("target version: %s, want pass", o)
	}
	if r.Ledger.Acked == 0 || r.Totals[probe.Upgrade].Requests == 0 {
		t.Errorf("acknowledged %d, requests in the upgrade %d; want some", r.Ledger.Acked, r.Totals[probe.Upgrade].Requests)
	}
}

// TestSabotageIsSeen spoils what goes to a real etcd.
func TestSabotageIsSeen(t *testing.T) {
	c := startCluster(t, "3.6.16", 1, nil)
	for _, tt := range []struct {
		name  string
		lies  probetest.Lies
		check string
	}{
		{"honest", probetest.Lies{}, ""},
		{"acknowledged writes dropped", probetest.Lies{DropEvery: 40}, "acknowledged writes lost"},
		{"writes done twice", probetest.Lies{DuplicateEvery: 40}, "writes applied twice"},
		{"stale reads", probetest.Lies{StaleEvery: 40}, "reads stale or wrong"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := probetest.Spoil(c.driver(0))
			s.Set(tt.lies)
			p, err := probe.New(s, probe.Options{Rate: 300, Duration: time.Second, Keys: 8, Keepsakes: 8})
			if err != nil {
				t.Fatal(err)
			}
			r, err := p.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			l3 := probe.Judge(r, probe.Quick(), probe.Facts{}).Of(probe.L3)
			for _, name := range []string{"acknowledged writes lost", "writes applied twice", "reads stale or wrong"} {
				want := probe.Pass
				if name == tt.check {
					want = probe.Fail
				}
				if got := outcome(l3, name); got != want {
					t.Errorf("%s: %s, want %s; ledger %+v", name, got, want, r.Ledger)
				}
			}
		})
	}
}

func outcome(l probe.LevelVerdict, name string) probe.Outcome {
	for _, c := range l.Checks {
		if c.Name == name {
			return c.Outcome
		}
	}
	return "no such check"
}

// certificates are an authority, and one key pair for servers and clients.
type certificates struct {
	dir  string
	pair tls.Certificate
	pool *x509.CertPool
}

func (c *certificates) flags() []string {
	if c == nil {
		return nil
	}
	in := func(name string) string { return filepath.Join(c.dir, name) }
	return []string{"--cert-file", in("pair.pem"), "--key-file", in("key.pem"), "--trusted-ca-file", in("ca.pem"), "--client-cert-auth"}
}

func (c *certificates) client() *tls.Config {
	if c == nil {
		return nil
	}
	return &tls.Config{Certificates: []tls.Certificate{c.pair}, RootCAs: c.pool, MinVersion: tls.VersionTLS12}
}

func newCertificates(t *testing.T) *certificates {
	t.Helper()
	caKey, ca := newKey(t), template(1)
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	caDER := sign(t, ca, ca, caKey, caKey)

	key, leaf := newKey(t), template(2)
	leaf.DNSNames = []string{"localhost"}
	leaf.KeyUsage = x509.KeyUsageDigitalSignature
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der := sign(t, leaf, ca, key, caKey)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}

	c := &certificates{dir: t.TempDir(), pool: x509.NewCertPool()}
	caPEM, pairPEM, keyPEM := block("CERTIFICATE", caDER), block("CERTIFICATE", der), block("PRIVATE KEY", keyDER)
	for name, text := range map[string][]byte{"ca.pem": caPEM, "pair.pem": pairPEM, "key.pem": keyPEM} {
		if err := os.WriteFile(filepath.Join(c.dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.pool.AppendCertsFromPEM(caPEM)
	if c.pair, err = tls.X509KeyPair(pairPEM, keyPEM); err != nil {
		t.Fatal(err)
	}
	return c
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func template(serial int64) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: "probe"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
}

func sign(t *testing.T, cert, parent *x509.Certificate, key, by *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
