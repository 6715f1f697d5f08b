package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// authority signs certificates, and writes them as files of a test.
type authority struct {
	testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
}

func newAuthority(t testing.TB, dir, name string) *authority {
	t.Helper()
	a := &authority{TB: t, dir: dir, key: newKey(t)}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der := a.sign(template, template, a.key)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pem(name+".pem", "CERTIFICATE", der)
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	a.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, a.key)
	if err != nil {
		a.Fatal(err)
	}
	return der
}

func (a *authority) pem(file, kind string, der []byte) {
	a.Helper()
	if err := os.WriteFile(a.dir+"/"+file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.Fatal(err)
	}
}

// issue writes NAME.pem and NAME-key.pem, for these addresses and uses.
func (a *authority) issue(name string, uses []x509.ExtKeyUsage, addresses ...string) {
	a.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: uses}
	for _, address := range addresses {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(address))
	}
	key := newKey(a.TB)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.Fatal(err)
	}
	a.pem(name+".pem", "CERTIFICATE", a.sign(template, a.cert, key))
	a.pem(name+"-key.pem", "PRIVATE KEY", private)
}

var (
	asServer = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} // the gateway of etcd calls its own member with it
	asClient = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
)

// TestEtcdTLS upgrades an etcd whose clients and peers show certificates, each member with files of its own, with a backup. Then the
// client's certificate is of another authority, and after that its key is none.
func TestEtcdTLS(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	ours := newAuthority(t, dir, "ca")
	// Members have certificates for their addresses, so these are given. No cluster gets such by itself.
	var hosts []string
	for i := range 3 {
		hosts = append(hosts, fmt.Sprintf("127.9.%d.%d", os.Getpid()%254+1, i+1))
	}
	ours.issue("client", asClient)
	config := clientConfig(t, dir)
	c := newEtcd(t, etcdSetup{version: etcd36, tls: config, upgrade: "soak: 1s, progressDeadline: 1m", options: `snapshotCount: "1000"`,
		etcd: fmt.Sprintf(`addresses: [%s], tls: {client: %s, peer: %s}`, strings.Join(hosts, ", "),
			files(dir, "serverCert: DIR/server-${m.name}.pem, serverKey: DIR/server-${m.name}-key.pem, ca: DIR/ca.pem, cert: DIR/client.pem, key: DIR/client-key.pem"),
			files(dir, "ca: DIR/ca.pem, cert: DIR/peer-${m.name}.pem, key: DIR/peer-${m.name}-key.pem"))})
	for i, host := range hosts {
		ours.issue("server-"+c.member(i), asServer, host)
		ours.issue("peer-"+c.member(i), asServer, host, "127.0.0.1") // the address that a peer calls from
	}
	c.up()
	c.measured()
	w := c.clients()
	c.must(0, "upgrade", c.name, "--to", etcd37)
	c.runs(etcd37, "3.7.0")
	w.check()
	if got := c.backups("Complete"); len(got) != 1 {
		t.Errorf("complete backups: %q, want one", got)
	}

	all := []string{"client.pem", "client-key.pem"}
	newAuthority(t, dir, "other").issue("client", asClient)
	c.noneReady("certificate", dir, all)
	if err := os.WriteFile(dir+"/client-key.pem", []byte("this is not a key and it is a secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.noneReady("tls.key", dir, all)
	ours.issue("client", asClient)
	c.await("all ready again", func() bool { return strings.Contains(c.theseus("status", c.name).out, "3 of 3") })
}

// measured lets the command measure for some seconds, with the files that the cluster names.
func (c *etcdCluster) measured() {
	c.Helper()
	r := c.theseus("probe", c.name, "--rate", "50", "--baseline", "1s", "--settle", "1s", "--duration", "1s", "--out", c.path("verdict"))
	text, err := os.ReadFile(c.path("verdict") + "/verdict.json")
	if err != nil {
		c.Fatalf("%v: %s", err, r)
	}
	verdict := struct {
		Result struct {
			Ledger struct{ Acked, Lost, Keepsakes int64 } `json:"ledger"`
		} `json:"result"`
	}{}
	if err := json.Unmarshal(text, &verdict); err != nil {
		c.Fatal(err)
	}
	if l := verdict.Result.Ledger; l.Acked == 0 || l.Lost > 0 || l.Keepsakes == 0 {
		c.Errorf("the ledger is %+v: %s", l, r)
	}
}

func files(dir, list string) string {
	return `{` + strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(list, "DIR", dir), ": /", `: "/`), ".pem", `.pem"`) + `}`
}

// clientConfig is what clients of the cluster use: the files as they are now.
func clientConfig(t testing.TB, dir string) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(dir+"/client.pem", dir+"/client-key.pem")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(dir + "/ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool}
}

// noneReady checks that no member can be asked, and that the message says why and shows nothing of the files.
func (c *etcdCluster) noneReady(why, dir string, names []string) {
	c.Helper()
	r := c.theseus("status", c.name)
	if !strings.Contains(r.out, "0 of 3") && !strings.Contains(r.out, "none of 3") {
		c.Errorf("with a wrong certificate members are ready:\n%s", r)
	}
	if !strings.Contains(r.out, why) {
		c.Errorf("the status has no word %q:\n%s", why, r)
	}
	for _, name := range names {
		c.hides(r.String()+c.must(0, "status", c.name, "--json").out, dir+"/"+name)
	}
}
