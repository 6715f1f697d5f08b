package ask

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"theseus.dev/system"
)

// tlsFiles names what a connection is made with. The zero value is for ports that speak no TLS.
type tlsFiles struct{ ca, cert, key, serverName string }

// filesOf returns the files of a member's port; ok is false when the port speaks no TLS.
func filesOf(m *system.Member, port string) (files tlsFiles, ok bool) {
	f, ok := m.TLS[port]
	return tlsFiles{ca: f["ca"], cert: f["cert"], key: f["key"], serverName: f["serverName"]}, ok
}

// identity is the files' content and the connections that were made with it.
type identity struct {
	stamp     stamp
	config    *tls.Config
	transport *http.Transport
}

// identity returns the identity of files, read again when a file has changed since.
func (a *Asker) identity(files tlsFiles) (*identity, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	stamp, err := a.stamp(files)
	if err != nil {
		return nil, err
	}
	old := a.identities[files]
	if old != nil && old.stamp.same(stamp) {
		return old, nil
	}
	config, err := files.load(a.readFile)
	if err != nil {
		return nil, err
	}
	if old != nil {
		old.transport.CloseIdleConnections()
	}
	id := &identity{stamp: stamp, config: config, transport: a.transport(config, 4)}
	a.identities[files] = id
	return id, nil
}

// transport speaks HTTP/1.1 without compression, so that bounds are about what is on the wire, and without a proxy:
// a member is spoken to directly or not at all.
func (a *Asker) transport(config *tls.Config, idle int) *http.Transport {
	return &http.Transport{
		DialContext:            a.Dial,
		TLSClientConfig:        config,
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    idle,
		MaxConnsPerHost:        64,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
	}
}

// stamp tells one content of files from another: what the system says about the files, or a sum of what ReadFile gives.
type stamp struct {
	infos [3]os.FileInfo
	sum   [sha256.Size]byte
}

// stamp is taken before the files are read: a change in between is seen at the next call.
func (a *Asker) stamp(f tlsFiles) (s stamp, err error) {
	sum := sha256.New()
	for i, path := range []string{f.ca, f.cert, f.key} {
		switch {
		case path == "":
		case a.ReadFile == nil:
			s.infos[i], err = os.Stat(path)
		default:
			var content []byte
			content, err = a.ReadFile(path)
			fmt.Fprintf(sum, "%d %d ", i, len(content))
			sum.Write(content)
		}
		if err != nil {
			return s, fmt.Errorf("tls: %w", err)
		}
	}
	sum.Sum(s.sum[:0])
	return s, nil
}

func (a *Asker) readFile(name string) ([]byte, error) {
	if a.ReadFile != nil {
		return a.ReadFile(name)
	}
	return os.ReadFile(name)
}

func (s stamp) same(t stamp) bool {
	for i, a := range s.infos {
		b := t.infos[i]
		switch {
		case a == nil && b == nil:
		case a == nil || b == nil:
			return false
		case !os.SameFile(a, b) || !a.ModTime().Equal(b.ModTime()) || a.Size() != b.Size():
			return false
		}
	}
	return s.sum == t.sum
}

// TLSConfig is that of a client with the files of an authority, of a certificate and of its key. Each may be empty; errors name the file.
func TLSConfig(ca, cert, key string) (*tls.Config, error) {
	return tlsFiles{ca: ca, cert: cert, key: key}.load(os.ReadFile)
}

func (f tlsFiles) load(read func(string) ([]byte, error)) (*tls.Config, error) {
	if f == (tlsFiles{}) {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: f.serverName}
	if f.ca != "" {
		pem, err := read(f.ca)
		if err != nil {
			return nil, fmt.Errorf("tls.ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca: %s holds no PEM certificate", f.ca)
		}
	}
	if f.cert != "" || f.key != "" {
		pair, err := f.pair(read)
		if err != nil {
			return nil, fmt.Errorf("tls.cert %s and tls.key %s: %w", f.cert, f.key, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

func (f tlsFiles) pair(read func(string) ([]byte, error)) (tls.Certificate, error) {
	cert, err := read(f.cert)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := read(f.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(cert, key)
}

// secret is an authorization header and the strings in it that no text may show.
type secret struct {
	header string
	hidden []string
}

// secret reads the named credentials. Files are read at each call: a token may be renewed at any time.
func (a *Asker) secret(name string) (secret, error) {
	if name == "" {
		return secret{}, nil
	}
	c, ok := a.Credentials[name]
	if !ok {
		return secret{}, fmt.Errorf("credentials: the cluster has none named %q; add spec.credentials.%s", name, name)
	}
	path := cmp.Or(c.TokenFile, c.PasswordFile)
	if path == "" {
		return secret{}, fmt.Errorf("credentials.%s: give passwordFile or tokenFile", name)
	}
	content, err := a.readFile(path)
	if err != nil {
		return secret{}, fmt.Errorf("credentials.%s: %w", name, err)
	}
	text := strings.TrimSpace(string(content))
	if text == "" {
		return secret{}, fmt.Errorf("credentials.%s: %s is empty", name, path)
	}
	if c.TokenFile != "" {
		return secret{"Bearer " + text, []string{text}}, nil
	}
	basic := base64.StdEncoding.EncodeToString([]byte(c.Username + ":" + text))
	return secret{"Basic " + basic, []string{basic, text}}, nil
}

// hide returns err without the secret in its text. Only an error that shows it loses its chain.
func (s secret) hide(err error) error {
	if err == nil {
		return nil
	}
	if text := s.hideText(err.Error()); text != err.Error() {
		return errors.New(text)
	}
	return err
}

func (s secret) hideText(text string) string {
	for _, h := range s.hidden {
		text = strings.ReplaceAll(text, h, "***")
	}
	return text
}
