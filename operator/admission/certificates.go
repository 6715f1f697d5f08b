package admission

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

// Keys of the secret.
const (
	bundleKey = "ca.crt" // every CA that is to be trusted, oldest first; the last one signs
	signerKey = "ca.key" // of the last one
	certKey   = "tls.crt"
	keyKey    = "tls.key"
)

const (
	validity = 365 * 24 * time.Hour
	// renewal is the age at which certificates are renewed: there is time left for many tries.
	renewal = validity * 2 / 3
	// spread is how long a new CA is published before it signs what is served, so that every API server has heard of it.
	spread = time.Hour
	// skew is how far clocks may be apart.
	skew = time.Hour
	// every is the time between two passes: two reads each.
	every = time.Minute
	// retry is the time to the next pass after one that did not succeed.
	retry = 2 * time.Second
)

// Certificates keeps the certificate with which the webhook serves: in a secret that all replicas share, renewed before it expires, and trusted by
// the webhook configuration. Every replica runs it; who loses a write reads what the winner wrote.
//
// A CA is renewed in two steps, so that no call ever meets a certificate that its API server does not trust yet: the new one is added to the
// bundle, and an hour later it signs.
type Certificates struct {
	// API reads and writes the secret and the configuration, by name; it must not go through a cache, which would watch all secrets.
	API client.Client
	// Namespace of the operator.
	Namespace string
	// Service by which the API server calls the webhook.
	Service string
	// Secret that holds the certificates. Default: the name of the Service.
	Secret string
	// Configuration is the ValidatingWebhookConfiguration that is to trust them. Default: NAMESPACE-SERVICE.
	Configuration string
	// Now is the clock. Default time.Now.
	Now func() time.Time

	served atomic.Pointer[tls.Certificate]
}

// NewCertificates are those for the Service by which the API server calls, in the operator's namespace. They have a client of their own, which reads two
// objects by name and watches nothing.
func NewCertificates(config *rest.Config, namespace, service string) (*Certificates, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), admissionregistrationv1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	api, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("a client for the certificates of the webhook: %w", err)
	}
	return &Certificates{API: api, Namespace: namespace, Service: service}, nil
}

// Names are those of the secret and of the configuration.
func (c *Certificates) Names() (secret, configuration string) {
	return cmp.Or(c.Secret, c.Service), cmp.Or(c.Configuration, c.Namespace+"-"+c.Service)
}

func (c *Certificates) setDefaults() {
	c.Secret, c.Configuration = c.Names()
	if c.Now == nil {
		c.Now = time.Now
	}
}

// TLS lets a webhook server serve with the certificate of the moment, so that a renewed one needs no restart. It is for webhook.Options.TLSOpts.
func (c *Certificates) TLS(config *tls.Config) {
	config.MinVersion = tls.VersionTLS12
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if served := c.served.Load(); served != nil {
			return served, nil
		}
		return nil, errNoCertificate
	}
}

var errNoCertificate = errors.New("there is no certificate for the webhook yet")

// Ready is a check for readiness: a replica that cannot serve yet must not be called.
func (c *Certificates) Ready(*http.Request) error {
	if c.served.Load() == nil {
		return errNoCertificate
	}
	return nil
}

// NeedLeaderElection says that every replica serves.
func (c *Certificates) NeedLeaderElection() bool { return false }

// Start keeps the certificates until the context ends. It is for Manager.Add.
func (c *Certificates) Start(ctx context.Context) error {
	log := logf.FromContext(ctx).WithName("webhook-certificates")
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		next := every
		if err := c.Keep(ctx); err != nil && ctx.Err() == nil {
			log.Error(err, "the certificates of the webhook are not in order; trying again")
			next = retry
		}
		timer.Reset(next)
	}
}

// Keep makes one pass: it serves what the secret holds, has it trusted, and renews what is due. It is safe to call it at any time.
func (c *Certificates) Keep(ctx context.Context) error {
	c.setDefaults()
	secret, state, err := c.load(ctx)
	if err != nil {
		return err
	}
	c.serve(state)
	// What is trusted goes first: a bundle with one CA more does no harm, and a certificate that nobody trusts does.
	trust := c.trust(ctx, state)
	if trust != nil && state.usable(c.Now(), c.hosts()) {
		return trust // what serves now goes on; nothing new is served before it is trusted
	}
	if !state.renew(c.Now(), c.hosts()) {
		return trust
	}
	if err := c.store(ctx, secret, state); err != nil {
		return err
	}
	c.serve(state)
	return c.trust(ctx, state)
}

// hosts are the names by which the API server calls.
func (c *Certificates) hosts() []string {
	base := c.Service + "." + c.Namespace
	return []string{base + ".svc", base + ".svc.cluster.local", base, c.Service}
}

func (c *Certificates) serve(s *certificates) {
	if s.serving == nil {
		return
	}
	if old := c.served.Load(); old == nil || !bytes.Equal(old.Certificate[0], s.serving.Certificate[0]) {
		c.served.Store(s.serving)
	}
}

// load reads the secret. What cannot be read of it counts as missing, and is made anew.
func (c *Certificates) load(ctx context.Context) (*corev1.Secret, *certificates, error) {
	secret := &corev1.Secret{}
	err := c.API.Get(ctx, types.NamespacedName{Namespace: c.Namespace, Name: c.Secret}, secret)
	switch {
	case apierrors.IsNotFound(err):
		secret = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Secret}, Type: corev1.SecretTypeOpaque}
	case err != nil:
		return nil, nil, fmt.Errorf("read secret %s/%s: %w", c.Namespace, c.Secret, err)
	}
	return secret, parseCertificates(secret.Data), nil
}

// store writes the secret as it was read, with new content. A replica that was faster wins: the next pass serves what it wrote.
func (c *Certificates) store(ctx context.Context, secret *corev1.Secret, s *certificates) error {
	data, err := s.data()
	if err != nil {
		return err
	}
	secret.Data = data
	if secret.ResourceVersion == "" {
		err = c.API.Create(ctx, secret)
	} else {
		err = c.API.Update(ctx, secret)
	}
	switch {
	case err == nil:
		return nil
	case apierrors.IsForbidden(err) && secret.ResourceVersion == "": // the chart gives leave to write this one, and not to create secrets
		return fmt.Errorf("secret %s/%s is gone; helm upgrade with the values of the release makes it again: %w", c.Namespace, c.Secret, err)
	}
	return fmt.Errorf("write secret %s/%s: %w", c.Namespace, c.Secret, err)
}

// trust puts the bundle into the configuration, where it is not there.
func (c *Certificates) trust(ctx context.Context, s *certificates) error {
	bundle := s.bundle()
	if len(bundle) == 0 {
		return nil
	}
	have := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	if err := c.API.Get(ctx, types.NamespacedName{Name: c.Configuration}, have); err != nil {
		return fmt.Errorf("read ValidatingWebhookConfiguration %s: %w", c.Configuration, err)
	}
	next, changed := have.DeepCopy(), false
	for i := range next.Webhooks {
		if w := &next.Webhooks[i]; !bytes.Equal(w.ClientConfig.CABundle, bundle) {
			w.ClientConfig.CABundle, changed = bundle, true
		}
	}
	if !changed {
		return nil
	}
	if err := c.API.Patch(ctx, next, client.MergeFromWithOptions(have, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("have ValidatingWebhookConfiguration %s trust the certificate: %w", c.Configuration, err)
	}
	return nil
}

// certificates are the content of the secret.
type certificates struct {
	cas     []*x509.Certificate
	signer  *ecdsa.PrivateKey
	serving *tls.Certificate
}

func parseCertificates(data map[string][]byte) *certificates {
	s := &certificates{}
	rest := data[bundleKey]
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if ca, err := x509.ParseCertificate(block.Bytes); err == nil && ca.IsCA {
			s.cas = append(s.cas, ca)
		}
	}
	if block, _ := pem.Decode(data[signerKey]); block != nil {
		s.signer, _ = x509.ParseECPrivateKey(block.Bytes)
	}
	if newest := s.newest(); newest == nil || s.signer == nil || !s.signer.PublicKey.Equal(newest.PublicKey) {
		s.signer = nil // it does not belong to the CA
	}
	if pair, err := tls.X509KeyPair(data[certKey], data[keyKey]); err == nil {
		pair.Leaf, _ = x509.ParseCertificate(pair.Certificate[0])
		s.serving = &pair
	}
	return s
}

func (s *certificates) newest() *x509.Certificate {
	if len(s.cas) == 0 {
		return nil
	}
	return s.cas[len(s.cas)-1]
}

func (s *certificates) bundle() []byte {
	var out []byte
	for _, ca := range s.cas {
		out = append(out, encode("CERTIFICATE", ca.Raw)...)
	}
	return out
}

func (s *certificates) data() (map[string][]byte, error) {
	signer, err := x509.MarshalECPrivateKey(s.signer)
	if err != nil {
		return nil, err
	}
	key, err := x509.MarshalECPrivateKey(s.serving.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		return nil, err
	}
	return map[string][]byte{bundleKey: s.bundle(), signerKey: encode("EC PRIVATE KEY", signer),
		certKey: encode("CERTIFICATE", s.serving.Certificate[0]), keyKey: encode("EC PRIVATE KEY", key)}, nil
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// usable says whether what is served now would be accepted by who trusts the bundle.
func (s *certificates) usable(now time.Time, names []string) bool {
	if s.serving == nil || s.serving.Leaf == nil {
		return false
	}
	pool := x509.NewCertPool()
	for _, ca := range s.cas {
		pool.AddCert(ca)
	}
	_, err := s.serving.Leaf.Verify(x509.VerifyOptions{DNSName: names[0], Roots: pool, CurrentTime: now})
	return err == nil
}

// renew makes what is missing or due. It says whether anything changed.
func (s *certificates) renew(now time.Time, names []string) bool {
	changed := false
	usable := s.usable(now, names)
	if ca := s.newest(); s.signer == nil || now.After(ca.NotBefore.Add(skew+renewal)) {
		s.newCA(now)
		changed = true
	}
	if live := slices.DeleteFunc(slices.Clone(s.cas), func(ca *x509.Certificate) bool { return now.After(ca.NotAfter) }); len(live) != len(s.cas) {
		s.cas, changed = live, true
	}
	if !usable || s.due(now, names) {
		s.newServing(now, names)
		changed = true
	}
	return changed
}

// due says whether a certificate that still serves is to be replaced: old, for other names, or signed by a CA that has a successor that
// everybody has heard of by now.
func (s *certificates) due(now time.Time, names []string) bool {
	leaf, ca := s.serving.Leaf, s.newest()
	heard := now.After(ca.NotBefore.Add(skew + spread))
	if leaf.CheckSignatureFrom(ca) != nil {
		return heard
	}
	return now.After(leaf.NotBefore.Add(skew+renewal)) || !slices.Equal(leaf.DNSNames, names)
}

func (s *certificates) newCA(now time.Time) {
	s.signer = newKey()
	template := template("theseus webhook CA", now)
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	s.cas = append(s.cas, sign(template, template, s.signer, s.signer))
}

func (s *certificates) newServing(now time.Time, names []string) {
	key, ca := newKey(), s.newest()
	template := template(names[0], now)
	template.DNSNames = names
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	if template.NotAfter.After(ca.NotAfter) {
		template.NotAfter = ca.NotAfter
	}
	leaf := sign(template, ca, key, s.signer)
	s.serving = &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

func template(name string, now time.Time) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // the random source of the system never fails
	}
	return &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name[:min(len(name), 64)]}, NotBefore: now.Add(-skew), NotAfter: now.Add(validity)}
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

func sign(template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		panic(err) // our own template and keys
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return cert
}
