package operator

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// TestSecretsForAsking shows what an Asker reads, what it is told where it cannot, and that a change counts at the next look.
func TestSecretsForAsking(t *testing.T) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: "kv-tls"}, Data: map[string][]byte{"ca.crt": []byte("old")}}
	api := fakeAPI(t, secret)
	c := kv()
	own := c.Spec.Components["standin"]
	own.TLS = map[string]v1alpha1.TLSFiles{"client": {CA: "/etc/kv/${m.name}/ca.crt", Cert: "/etc/kv/tls.crt", Key: "/etc/kv/tls.key", Secret: "kv-tls"}}
	c.Spec.Components["standin"] = own
	c.Spec.Credentials = map[string]v1alpha1.Credentials{"admin": {Username: "me", Secret: &v1alpha1.SecretKey{Name: "none", Key: "password"}},
		"token": {Secret: &v1alpha1.SecretKey{Name: "kv-tls", Namespace: elsewhere}}}
	p := &Platform{API: api, Live: api, Key: key}
	members := []upgrade.Member{{View: system.Member{Name: "kv-standin-0", Component: "standin", Host: "host"}}}
	p.unlock(t.Context(), runner.Scene{Cluster: c}, members)
	files, credentials := members[0].View.TLS["client"], fromSecrets(c.Spec.Credentials)
	if files["serverName"] != "host" {
		t.Errorf("the server is expected to be %q", files["serverName"])
	}
	for name, want := range map[string]string{
		files["ca"]:                       "old",
		files["cert"]:                     "has no key tls.crt",
		credentials["admin"].PasswordFile: "there is no secret team/none",
		credentials["token"].TokenFile:    "there is no secret ops/kv-tls",
		"/etc/passwd":                     "is a file of the pods",
	} {
		value, err := p.readSecret(name)
		if got := string(value); err == nil && got != want || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
	}
	if c.Spec.Credentials["admin"].PasswordFile != "" {
		t.Error("the spec was changed")
	}

	secret.ResourceVersion = ""
	secret.Data["ca.crt"] = []byte("new")
	if err := api.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	p.unlock(t.Context(), runner.Scene{Cluster: c}, members)
	if got, err := p.readSecret(files["ca"]); string(got) != "new" {
		t.Errorf("after a change: got %q, %v", got, err)
	}

	// In a Job, and in what members are started with, the files are those of the pods.
	b := &blueprint{cluster: c, system: standin(t), component: standin(t).Components()[0], spec: &c.Spec, version: c.Spec.Version}
	views, err := b.views()
	if err != nil || views[1].TLS["client"]["ca"] != "/etc/kv/kv-standin-1/ca.crt" || views[1].TLS["client"]["serverCert"] != "/etc/kv/tls.crt" {
		t.Errorf("got %+v, %v", views, err)
	}
}
