package admission

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// bench is an API with a webhook configuration, and a clock.
type bench struct {
	t     *testing.T
	api   client.Client
	now   time.Time
	funcs interceptor.Funcs
}

func newBench(t *testing.T, exist ...client.Object) *bench {
	b := &bench{t: t, now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	scheme := testScheme(t)
	if err := admissionregistrationv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "ops-theseus"},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{Name: "cluster.theseus.dev"}, {Name: "system.theseus.dev"}}}
	b.api = fake.NewClientBuilder().WithScheme(scheme).WithObjects(append(exist, configuration)...).WithInterceptorFuncs(interceptor.Funcs{
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			if b.funcs.Update != nil {
				return b.funcs.Update(ctx, c, o, opts...)
			}
			return c.Update(ctx, o, opts...)
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if b.funcs.Create != nil {
				return b.funcs.Create(ctx, c, o, opts...)
			}
			return c.Create(ctx, o, opts...)
		},
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if b.funcs.Get != nil {
				return b.funcs.Get(ctx, c, key, o, opts...)
			}
			return c.Get(ctx, key, o, opts...)
		},
	}).Build()
	return b
}

func (b *bench) replica() *Certificates {
	return &Certificates{API: b.api, Namespace: "ops", Service: "theseus", Now: func() time.Time { return b.now }}
}

func (b *bench) keep(c *Certificates) {
	b.t.Helper()
	if err := c.Keep(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

// trusted is the bundle in the configuration, the same in every webhook.
func (b *bench) trusted() []byte {
	b.t.Helper()
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	if err := b.api.Get(b.t.Context(), types.NamespacedName{Name: "ops-theseus"}, configuration); err != nil {
		b.t.Fatal(err)
	}
	first := configuration.Webhooks[0].ClientConfig.CABundle
	for _, w := range configuration.Webhooks {
		if !bytes.Equal(w.ClientConfig.CABundle, first) {
			b.t.Fatalf("webhook %s trusts another bundle", w.Name)
		}
	}
	return first
}

// call says what an API server that trusts the bundle finds wrong with a replica.
func (b *bench) call(c *Certificates, bundle []byte) error {
	served := &tls.Config{}
	c.TLS(served)
	pair, err := served.GetCertificate(nil)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(bundle)
	_, err = pair.Leaf.Verify(x509.VerifyOptions{DNSName: "theseus.ops.svc", Roots: pool, CurrentTime: b.now})
	return err
}

func TestCertificatesHandshake(t *testing.T) {
	b := newBench(t)
	b.now = time.Now()
	c := b.replica()
	if c.Ready(nil) == nil {
		t.Error("it is ready without a certificate")
	}
	b.keep(c)
	if err := c.Ready(nil); err != nil {
		t.Error(err)
	}
	served := &tls.Config{}
	c.TLS(served)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(b.trusted())
	server, caller := net.Pipe()
	go func() { _ = tls.Server(server, served).HandshakeContext(t.Context()) }()
	if err := tls.Client(caller, &tls.Config{RootCAs: pool, ServerName: "theseus.ops.svc"}).HandshakeContext(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestCertificatesForYears lets two replicas run for years, and an API server call each of them after every pass with the bundle of before it.
func TestCertificatesForYears(t *testing.T) {
	b := newBench(t)
	replicas := []*Certificates{b.replica(), b.replica()}
	for _, c := range replicas {
		b.keep(c)
	}
	var last []byte
	renewed, largest := 0, 0
	var changed time.Time
	for end := b.now.AddDate(4, 0, 0); b.now.Before(end); {
		before := b.trusted()
		for _, c := range replicas {
			old := b.trusted()
			b.keep(c)
			for _, bundle := range [][]byte{old, b.trusted()} {
				for i, each := range replicas {
					if err := b.call(each, bundle); err != nil {
						t.Fatalf("%s: replica %d: %v", b.now, i, err)
					}
				}
			}
		}
		if der := replicas[0].served.Load().Certificate[0]; !bytes.Equal(der, last) {
			last = der
			renewed++
			changed = b.now
		}
		largest = max(largest, bytes.Count(b.trusted(), []byte("BEGIN CERTIFICATE")))
		if !bytes.Equal(b.trusted(), before) {
			changed = b.now
		}
		step := 3 * 24 * time.Hour
		if b.now.Sub(changed) < 3*time.Hour {
			step = 20 * time.Minute // there is something going on
		}
		b.now = b.now.Add(step)
	}
	// Every 8 months in 4 years, and the first.
	if renewed < 6 || renewed > 8 {
		t.Errorf("renewed %d times", renewed)
	}
	if largest > 3 {
		t.Errorf("the bundle grew to %d certificates", largest)
	}
}

func TestCertificatesAfterALongTime(t *testing.T) {
	b := newBench(t)
	c := b.replica()
	b.keep(c)
	b.now = b.now.AddDate(2, 0, 0)
	if b.call(c, b.trusted()) == nil {
		t.Fatal("it is still good")
	}
	b.keep(c)
	if err := b.call(c, b.trusted()); err != nil {
		t.Error(err)
	}
	if n := bytes.Count(b.trusted(), []byte("BEGIN CERTIFICATE")); n != 1 {
		t.Errorf("the bundle has %d certificates: the expired one is still there", n)
	}
}

func TestCertificatesChangeNothing(t *testing.T) {
	b := newBench(t)
	c := b.replica()
	b.keep(c)
	b.funcs.Update = func(context.Context, client.WithWatch, client.Object, ...client.UpdateOption) error {
		return errors.New("a write")
	}
	served := c.served.Load()
	for range 3 {
		b.now = b.now.Add(time.Minute)
		b.keep(c)
	}
	if c.served.Load() != served {
		t.Error("another certificate is served")
	}
}

// TestCertificatesLoser has another replica write between the read and the write of this one.
func TestCertificatesLoser(t *testing.T) {
	// The chart makes an empty secret, so that nobody needs the right to create secrets.
	b := newBench(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ops", Name: "theseus"}})
	winner, loser := b.replica(), b.replica()
	b.funcs.Update = func(ctx context.Context, api client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
		b.funcs.Update = nil
		b.keep(winner)
		return api.Update(ctx, o, opts...)
	}
	if err := loser.Keep(t.Context()); !apierrors.IsConflict(err) {
		t.Errorf("got %v, want a conflict", err)
	}
	b.keep(loser)
	if got, want := loser.served.Load().Certificate[0], winner.served.Load().Certificate[0]; !bytes.Equal(got, want) {
		t.Error("the loser does not serve what the winner wrote")
	}
	if err := b.call(loser, b.trusted()); err != nil {
		t.Error(err)
	}
}

func TestCertificatesRepaired(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(data map[string][]byte)
	}{
		{"no CA", func(d map[string][]byte) { delete(d, bundleKey) }},
		{"no key of the CA", func(d map[string][]byte) { delete(d, signerKey) }},
		{"no certificate", func(d map[string][]byte) { delete(d, certKey) }},
		{"rubbish", func(d map[string][]byte) {
			for key := range d {
				d[key] = []byte("rubbish")
			}
		}},
		{"nothing", func(d map[string][]byte) { clear(d) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			b.keep(b.replica())
			secret := &corev1.Secret{}
			if err := b.api.Get(t.Context(), types.NamespacedName{Namespace: "ops", Name: "theseus"}, secret); err != nil {
				t.Fatal(err)
			}
			test.spoil(secret.Data)
			if err := b.api.Update(t.Context(), secret); err != nil {
				t.Fatal(err)
			}
			c := b.replica()
			b.keep(c)
			if err := b.call(c, b.trusted()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestCertificatesGone: the operator may write the secret of the chart and not make one, so who deleted it is told how to have it again.
func TestCertificatesGone(t *testing.T) {
	b := newBench(t)
	b.funcs.Create = func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error {
		return apierrors.NewForbidden(corev1.Resource("secrets"), "theseus", errors.New("no leave to create"))
	}
	if err := b.replica().Keep(t.Context()); err == nil || !strings.Contains(err.Error(), "secret ops/theseus is gone; helm upgrade") {
		t.Errorf("got %v", err)
	}
}

func TestCertificatesConfiguration(t *testing.T) {
	b := newBench(t)
	c := b.replica()
	b.keep(c)
	want := b.trusted()
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	if err := b.api.Get(t.Context(), types.NamespacedName{Name: "ops-theseus"}, configuration); err != nil {
		t.Fatal(err)
	}
	configuration.Webhooks[1].ClientConfig.CABundle = nil
	if err := b.api.Update(t.Context(), configuration); err != nil {
		t.Fatal(err)
	}
	b.keep(c)
	if !bytes.Equal(b.trusted(), want) {
		t.Error("the bundle is not the one of the secret")
	}
	if err := b.api.Delete(t.Context(), configuration); err != nil {
		t.Fatal(err)
	}
	if err := c.Keep(t.Context()); err == nil || !strings.Contains(err.Error(), "ValidatingWebhookConfiguration ops-theseus") {
		t.Errorf("got %v, want the name of what is missing", err)
	}
	if c.Ready(nil) != nil {
		t.Error("it does not serve any more")
	}
}

func TestCertificatesNames(t *testing.T) {
	b := newBench(t)
	b.keep(b.replica())
	c := b.replica()
	c.Service, c.Secret, c.Configuration = "other", "theseus", "ops-theseus"
	b.keep(c)
	if err := c.served.Load().Leaf.VerifyHostname("other.ops.svc"); err != nil {
		t.Error(err)
	}
}

// TestCertificatesStart runs the loop: it goes on after errors, and ends with its context.
func TestCertificatesStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.now = time.Now()
		c := b.replica()
		c.Now = time.Now
		passes := 0
		b.funcs.Get = func(ctx context.Context, api client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if _, ok := o.(*corev1.Secret); ok {
				if passes++; passes <= 2 {
					return errors.New("not now")
				}
			}
			return api.Get(ctx, key, o, opts...)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- c.Start(ctx) }()
		time.Sleep(2*retry + time.Second)
		synctest.Wait()
		if c.Ready(nil) != nil || passes != 3 {
			t.Errorf("after two errors there is no certificate in pass %d", passes)
		}
		time.Sleep(3 * every)
		synctest.Wait()
		if passes != 6 {
			t.Errorf("got %d passes, want one a minute", passes)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
