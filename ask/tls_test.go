package ask

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

// issue writes a certificate for 127.0.0.1 or for name to dir, as ca, cert and key.
func (a *authority) issue(t *testing.T, dir, name string) map[string]string {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "leaf"}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if template.DNSNames = []string{name}; name == "" {
		template.DNSNames, template.IPAddresses = nil, []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for file, block := range map[string]*pem.Block{
		"ca":   {Type: "CERTIFICATE", Bytes: a.cert.Raw},
		"cert": {Type: "CERTIFICATE", Bytes: der},
		"key":  {Type: "PRIVATE KEY", Bytes: private},
	} {
		files[file] = filepath.Join(dir, file+".pem")
		write(t, files[file], string(pem.EncodeToMemory(block)))
	}
	return files
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// mutual is a server's configuration that demands a client certificate of the same authority.
func (a *authority) mutual(t *testing.T, name string) *tls.Config {
	t.Helper()
	files := a.issue(t, t.TempDir(), name)
	pair, err := tls.LoadX509KeyPair(files["cert"], files["key"])
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
}

func serveTLS(t *testing.T, config *tls.Config, handler http.HandlerFunc) *system.Member {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.TLS = config
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients are meant to be refused
	server.StartTLS()
	t.Cleanup(server.Close)
	return at(t, server.URL)
}

func TestTLSWithClientCertificates(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	m := serveTLS(t, ours.mutual(t, ""), func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") })
	whole := fmt.Sprintf("https://%s:%d/", m.Host, m.Port["client"])
	dir := t.TempDir()
	good := ours.issue(t, dir, "")
	tests := []struct {
		name  string
		files map[string]string
		ask   string
		want  string // in the error
	}{
		{name: "as it should be", files: good},
		{name: "whole URL", files: good, ask: whole},
		{name: "no client certificate", files: map[string]string{"ca": good["ca"]}, want: "certificate required"},
		{name: "client certificate of another authority", files: theirs.issue(t, t.TempDir(), ""), want: "certificate signed by unknown authority"},
		{name: "another server name", files: map[string]string{"ca": good["ca"], "cert": good["cert"], "key": good["key"], "serverName": "kv.example"}, want: "kv.example"},
		{name: "no such file", files: map[string]string{"ca": dir + "/none.pem"}, want: "tls: stat " + dir + "/none.pem"},
		{name: "no certificate in it", files: map[string]string{"ca": good["key"]}, want: "holds no PEM certificate"},
		{name: "key of another certificate", files: map[string]string{"ca": good["ca"], "cert": good["ca"], "key": good["key"]}, want: "private key does not match"},
		{name: "no key", files: map[string]string{"ca": good["ca"], "cert": good["cert"]}, want: "tls.cert"},
	}
	for _, test := range tests {
		m := *m
		m.TLS = map[string]map[string]string{"client": test.files}
		if test.ask == "" {
			test.ask = ":client/"
		}
		_, err := asker(t, words{}).Question(t.Context(), "q", get(test.ask), to(&m))
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: got %v, want %q in it", test.name, err, test.want)
		}
	}
}

func TestARefusedHandshakeIsAFailure(t *testing.T) {
	ours := newAuthority(t)
	m := serveTLS(t, ours.mutual(t, ""), func(http.ResponseWriter, *http.Request) { t.Error("a request came through") })
	m.TLS = map[string]map[string]string{"client": newAuthority(t).issue(t, t.TempDir(), "")}
	_, err := asker(t, words{}).Do(t.Context(), &v1alpha1.Action{Call: v1alpha1.Call{Post: ":client/"}}, to(m))
	if outcomeOf(err) != "failed" {
		t.Errorf("server is not trusted: got %v, want failed: nothing was sent", err)
	}
}

func TestTLSFilesAreReadAgain(t *testing.T) {
	old, renewed := newAuthority(t), newAuthority(t)
	m := serveTLS(t, renewed.mutual(t, ""), func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") })
	dir := t.TempDir()
	m.TLS = map[string]map[string]string{"client": old.issue(t, dir, "")}
	a := asker(t, words{})
	if _, err := a.Question(t.Context(), "q", get(":client/"), to(m)); err == nil {
		t.Fatal("the old certificate was good for the renewed authority")
	}
	renewed.issue(t, dir, "")
	for _, path := range m.TLS["client"] { // whatever the resolution of the file system's times
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Question(t.Context(), "q", get(":client/"), to(m)); err != nil {
		t.Errorf("after the files were renewed: %v", err)
	}
	if len(a.identities) != 1 {
		t.Errorf("kept %d identities, want 1", len(a.identities))
	}
}

// TestTLSFromElsewhere reads what is no file, and takes a change at the next call.
func TestTLSFromElsewhere(t *testing.T) {
	old, renewed := newAuthority(t), newAuthority(t)
	m := serveTLS(t, renewed.mutual(t, ""), func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") })
	m.TLS = map[string]map[string]string{"client": {"ca": "elsewhere:ca", "cert": "elsewhere:cert", "key": "elsewhere:key"}}
	files := old.issue(t, t.TempDir(), "")
	a := asker(t, words{})
	a.ReadFile = func(name string) ([]byte, error) {
		kind, ok := strings.CutPrefix(name, "elsewhere:")
		if !ok {
			t.Errorf("%s was read", name)
		}
		return os.ReadFile(files[kind])
	}
	if _, err := a.Question(t.Context(), "q", get(":client/"), to(m)); err == nil {
		t.Fatal("the old certificate was good for the renewed authority")
	}
	files = renewed.issue(t, t.TempDir(), "")
	for range 2 {
		if _, err := a.Question(t.Context(), "q", get(":client/"), to(m)); err != nil {
			t.Errorf("after the content was renewed: %v", err)
		}
	}
	id := a.identities[tlsFiles{ca: "elsewhere:ca", cert: "elsewhere:cert", key: "elsewhere:key"}]
	if _, err := a.Question(t.Context(), "q", get(":client/"), to(m)); err != nil || len(a.identities) != 1 || id == nil || a.identities[tlsFiles{ca: "elsewhere:ca", cert: "elsewhere:cert", key: "elsewhere:key"}] != id {
		t.Errorf("connections were not kept while nothing changed: %v", err)
	}
}

func TestTCPOverTLS(t *testing.T) {
	ours := newAuthority(t)
	for name, files := range map[string]map[string]string{"": {}, "kv.example": {"serverName": "kv.example"}} {
		l, err := tls.Listen("tcp", "127.0.0.1:0", ours.mutual(t, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			line, _ := bufio.NewReader(c).ReadString('\n')
			io.WriteString(c, "+"+line)
		}()
		m := at(t, l.Addr().String())
		m.TLS = map[string]map[string]string{"client": ours.issue(t, t.TempDir(), "")}
		m.TLS["client"]["serverName"] = files["serverName"]
		q := &v1alpha1.Question{Call: v1alpha1.Call{TCP: &v1alpha1.TCP{Port: "client", Send: "PING\n", Expect: `\+PING`}}}
		if got, err := asker(t, words{}).Question(t.Context(), "q", q, to(m)); err != nil || got.(map[string]any)["ok"] != true {
			t.Errorf("server name %q: got %v, %v", name, got, err)
		}
	}
}

func TestGRPCHealth(t *testing.T) {
	ours := newAuthority(t)
	for _, secure := range []bool{false, true} {
		var options []grpc.ServerOption
		if secure {
			options = append(options, grpc.Creds(credentials.NewTLS(ours.mutual(t, ""))))
		}
		server := grpc.NewServer(options...)
		state := health.NewServer()
		state.SetServingStatus("draining", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
		grpc_health_v1.RegisterHealthServer(server, state)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go server.Serve(l)
		t.Cleanup(server.Stop)
		m := at(t, l.Addr().String())
		if secure {
			m.TLS = map[string]map[string]string{"client": ours.issue(t, t.TempDir(), "")}
		}
		a := asker(t, words{})
		for service, want := range map[string][2]string{
			"":         {"SERVING", "worked"},
			"draining": {"NOT_SERVING", "failed"},
			"other":    {"SERVICE_UNKNOWN", "failed"},
		} {
			call := v1alpha1.Call{GRPCHealth: &v1alpha1.GRPCHealth{Port: "client", Service: service}}
			got, err := a.Question(t.Context(), "q", &v1alpha1.Question{Call: call}, to(m))
			if err != nil || got.(map[string]any)["status"] != want[0] {
				t.Errorf("tls %t, service %q: got %v, %v, want %s", secure, service, got, err, want[0])
			}
			if _, err := a.Do(t.Context(), &v1alpha1.Action{Call: call}, to(m)); outcomeOf(err) != want[1] {
				t.Errorf("tls %t, service %q as an action: got %v, want %s", secure, service, err, want[1])
			}
		}
	}
}

func TestGRPCHealthWithoutTheService(t *testing.T) {
	server := grpc.NewServer()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(l)
	t.Cleanup(server.Stop)
	q := &v1alpha1.Question{Call: v1alpha1.Call{GRPCHealth: &v1alpha1.GRPCHealth{Port: "client"}}}
	got, err := asker(t, words{}).Question(t.Context(), "q", q, to(at(t, l.Addr().String())))
	if err == nil || !strings.Contains(err.Error(), "unknown service grpc.health.v1.Health") {
		t.Errorf("got %v, %v, want no answer with the reason", got, err)
	}
}

func TestGRPCHealthOfASilentServer(t *testing.T) {
	m := listen(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	q := &v1alpha1.Question{Call: v1alpha1.Call{GRPCHealth: &v1alpha1.GRPCHealth{Port: "client"}}, Timeout: within(50 * time.Millisecond)}
	_, err := asker(t, words{}).Question(t.Context(), "q", q, to(m))
	if err == nil || !strings.HasSuffix(err.Error(), "no answer within 50ms") {
		t.Errorf("got %v, want no answer in time", err)
	}
}

func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/password", "open sesame\n")
	write(t, dir+"/token", "first\n")
	write(t, dir+"/empty", "\n")
	m := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Header.Get("Authorization")) })
	a := asker(t, words{})
	a.Credentials = map[string]v1alpha1.Credentials{
		"basic":  {Username: "admin", PasswordFile: dir + "/password"},
		"bearer": {TokenFile: dir + "/token"},
		"empty":  {TokenFile: dir + "/empty"},
		"absent": {TokenFile: dir + "/absent"},
		"none":   {Username: "admin"},
	}
	ask := func(name string) (any, error) {
		q := &v1alpha1.Question{Call: v1alpha1.Call{Get: ":client/", Credentials: name}, As: v1alpha1.FormatText}
		got, err := a.Question(t.Context(), "q", q, to(m))
		if err != nil {
			return nil, err
		}
		return got.(map[string]any)["text"], nil
	}
	want := func(name, text string) {
		t.Helper()
		if got, err := ask(name); err != nil || got != text {
			t.Errorf("%s: got %v, %v, want %s", name, got, err, text)
		}
	}
	want("", "")
	want("basic", "Basic "+base64.StdEncoding.EncodeToString([]byte("admin:open sesame")))
	want("bearer", "Bearer first")
	write(t, dir+"/token", "second")
	want("bearer", "Bearer second")
	for name, fault := range map[string]string{"empty": "is empty", "absent": "no such file", "none": "give passwordFile or tokenFile"} {
		if _, err := ask(name); err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("%s: got %v, want %q in it", name, err, fault)
		}
	}
}

// TestNoErrorShowsASecret lets servers and libraries do their worst to get one into an error.
func TestNoErrorShowsASecret(t *testing.T) {
	const password = "correct-horse"
	basic := base64.StdEncoding.EncodeToString([]byte("admin:" + password))
	dir := t.TempDir()
	write(t, dir+"/password", password)
	write(t, dir+"/token", password)
	write(t, dir+"/broken", password+"\nX: y")
	parrot := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, "what is %q, %s?", r.Header.Get("Authorization"), password)
	})
	noHTTP := listen(t, func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err == nil {
			io.WriteString(c, r.Header.Get("Authorization")+"\r\n\r\n")
		}
	})
	dead := at(t, "127.0.0.1:1")
	a := asker(t, words{expect: func(map[string]any) (system.Answer, string) { return system.No, "it is not" }})
	a.Credentials = map[string]v1alpha1.Credentials{
		"basic":  {Username: "admin", PasswordFile: dir + "/password"},
		"bearer": {TokenFile: dir + "/token"},
		"broken": {TokenFile: dir + "/broken"},
	}
	for _, m := range []*system.Member{parrot, noHTTP, dead} {
		for name := range a.Credentials {
			whole := fmt.Sprintf("http://admin:%s@%s:%d/", password, m.Host, m.Port["client"])
			for _, address := range []string{":client/", whole} {
				call := v1alpha1.Call{Post: address, Credentials: name}
				_, err := a.Do(t.Context(), &v1alpha1.Action{Call: call}, to(m))
				shows(t, err, password, basic)
				_, err = a.Do(t.Context(), &v1alpha1.Action{Call: call, Expect: "e"}, to(m))
				shows(t, err, password, basic)
				q := &v1alpha1.Question{Call: call, As: v1alpha1.FormatPrometheus}
				_, err = a.Question(t.Context(), "q", q, to(m))
				shows(t, err, password, basic)
			}
		}
	}
}

func shows(t *testing.T, err error, secrets ...string) {
	t.Helper()
	if err == nil {
		t.Error("there was no error to look at")
		return
	}
	for _, s := range secrets {
		if strings.Contains(err.Error(), s) || strings.Contains(fmt.Sprintf("%+v %#v", err, err), s) {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
}

func TestManyIdentitiesAtOnce(t *testing.T) {
	ours := newAuthority(t)
	m := serveTLS(t, ours.mutual(t, ""), func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") })
	m.TLS = map[string]map[string]string{"client": ours.issue(t, t.TempDir(), "")}
	a := asker(t, words{})
	var targets []Target
	for i := range 20 {
		copied := *m
		copied.Name = fmt.Sprint("kv-", i)
		targets = append(targets, to(&copied))
	}
	q := *get(":client/")
	q.Timeout = within(maxQuestionTimeout)
	for name, look := range a.All(context.WithoutCancel(t.Context()), map[string]v1alpha1.Question{"a": q, "b": q}, targets) {
		if len(look.Answers) != 2 {
			t.Errorf("%s: %v", name, look.Missing)
		}
	}
}
