//go:build linux

package lab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// authority signs every certificate of the cluster. A lab lives for a day at
// most, so nothing is renewed.
type authority struct {
	dir  string // where certificates and keys go, as NAME.crt and NAME.key
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(dir string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	a := &authority{dir: dir, key: key}
	a.cert = blank(pkix.Name{CommonName: "lab"})
	a.cert.IsCA, a.cert.BasicConstraintsValid = true, true
	a.cert.KeyUsage |= x509.KeyUsageCertSign
	return a, a.sign("ca", a.cert, key)
}

func blank(subject pkix.Name) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100)) // does not fail
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      subject,
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(1, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

// server issues the certificate of a server, for host names and addresses.
func (a *authority) server(name string, subject pkix.Name, hosts ...string) error {
	c := blank(subject)
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, h := range hosts {
		if address := net.ParseIP(h); address != nil {
			c.IPAddresses = append(c.IPAddresses, address)
		} else {
			c.DNSNames = append(c.DNSNames, h)
		}
	}
	return a.issue(name, c)
}

// client issues the certificate with which somebody comes to the API server,
// and a kubeconfig NAME.kubeconfig that holds it.
func (a *authority) client(name, user string, groups ...string) error {
	c := blank(pkix.Name{CommonName: user, Organization: groups})
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if err := a.issue(name, c); err != nil {
		return err
	}
	return a.kubeconfig(name, filepath.Join(a.dir, name+".kubeconfig"))
}

func (a *authority) issue(name string, c *x509.Certificate) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	return a.sign(name, c, key)
}

func (a *authority) sign(name string, c *x509.Certificate, key *ecdsa.PrivateKey) error {
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key.Public(), a.key)
	if err != nil {
		return err
	}
	return errors.Join(a.write(name+".crt", "CERTIFICATE", der), a.writeKey(name, key))
}

// keyPair writes NAME.key and NAME.pub, for signing what is no certificate.
func (a *authority) keyPair(name string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	return errors.Join(err, a.write(name+".pub", "PUBLIC KEY", der), a.writeKey(name, key))
}

func (a *authority) writeKey(name string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	return errors.Join(err, a.write(name+".key", "EC PRIVATE KEY", der))
}

func (a *authority) write(file, kind string, der []byte) error {
	return os.WriteFile(filepath.Join(a.dir, file), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// kubeconfig writes a file that holds all that it needs, so it can be copied.
func (a *authority) kubeconfig(name, file string) error {
	ca, err := os.ReadFile(filepath.Join(a.dir, "ca.crt"))
	cert, certErr := os.ReadFile(filepath.Join(a.dir, name+".crt"))
	key, keyErr := os.ReadFile(filepath.Join(a.dir, name+".key"))
	if err := errors.Join(err, certErr, keyErr); err != nil {
		return err
	}
	c := api.NewConfig()
	c.Clusters["lab"] = &api.Cluster{Server: apiURL, CertificateAuthorityData: ca}
	c.AuthInfos["lab"] = &api.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}
	c.Contexts["lab"] = &api.Context{Cluster: "lab", AuthInfo: "lab"}
	c.CurrentContext = "lab"
	return clientcmd.WriteToFile(*c, file)
}
