package ask

import (
	"cmp"
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
	stamps    [3]os.FileInfo
	config    *tls.Config
	transport *http.Transport
}

// identity returns the identity of files, read again when a file has changed since.
func (a *Asker) identity(files tlsFiles) (*identity, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	stamps, err := files.stamps()
	if err != nil {
		return nil, err
	}
	old := a.identities[files]
	if old != nil && sameStamps(old.stamps, stamps) {
		return old, nil
	}
	config, err := files.load()
	if err != nil {
		return nil, err
	}
	if old != nil {
		old.transport.CloseIdleConnections()
	}
	id := &identity{stamps: stamps, config: config, transport: a.transport(config, 4)}
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

// stamps are taken before the files are read: a change in between is seen at the next call.
func (f tlsFiles) stamps() (s [3]os.FileInfo, err error) {
	for i, path := range []string{f.ca, f.cert, f.key} {
		if path == "" {
			continue
		}
		if s[i], err = os.Stat(path); err != nil {
			return s, fmt.Errorf("tls: %w", err)
		}
	}
	return s, nil
}

func sameStamps(a, b [3]os.FileInfo) bool {
	for i := range a {
		switch {
		case a[i] == nil && b[i] == nil:
		case a[i] == nil || b[i] == nil:
			return false
		case !os.SameFile(a[i], b[i]) || !a[i].ModTime().Equal(b[i].ModTime()) || a[i].Size() != b[i].Size():
			return false
		}
	}
	return true
}

func (f tlsFiles) load() (*tls.Config, error) {
	if f == (tlsFiles{}) {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: f.serverName}
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, fmt.Errorf("tls.ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca: %s holds no PEM certificate", f.ca)
		}
	}
	if f.cert != "" || f.key != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return nil, fmt.Errorf("tls.cert %s and tls.key %s: %w", f.cert, f.key, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
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
	content, err := os.ReadFile(path)
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
