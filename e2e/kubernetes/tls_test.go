//go:build linux

package kubernetes

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"theseus.dev/api/v1alpha1"
)

const tlsCluster = `
apiVersion: theseus.dev/v1alpha1
kind: Cluster
metadata: {name: kv}
spec:
  system: etcd
  version: VERSION
  components:
    etcd:
      replicas: 3
      storage: 100Mi
      image: "lab.test/etcd:v${version}"
      tls: {client: {ca: /etc/kv/ca.crt, cert: /etc/kv/tls.crt, key: /etc/kv/tls.key, secret: theseus}}
      pod:
        spec:
          securityContext: {runAsNonRoot: true, runAsUser: 1000, fsGroup: 1000, seccompProfile: {type: RuntimeDefault}}
          volumes: [{name: tls, secret: {secretName: members}}]
          containers:
          - name: etcd
            securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
            volumeMounts: [{name: tls, mountPath: /etc/kv}]
            readinessProbe: {$patch: replace, tcpSocket: {port: client}, periodSeconds: 2}
  backup: {url: "file:///backups", claim: backups}
  upgrade: {progressDeadline: 8m}
`

// TestEtcdTLS upgrades an etcd that asks who speaks to it. The backup before the hop needs a certificate as well. While the secret is wrong nothing is
// disrupted; when it is right again the attempt goes on. Its namespace takes only pods of the restricted Pod Security Standard, Theseus' own too.
func TestEtcdTLS(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	versions := etcdVersions(t)
	loadTheseus(t)
	loadEtcd(t, versions["3.5"])
	loadEtcd(t, versions["3.6"])
	c.installCRDs()
	c.mustKubectl("", "label", "namespace", c.namespace, "pod-security.kubernetes.io/enforce=restricted")
	c.startOperator()
	c.apply(backupClaim)
	files := certificate(t, "*.kv-etcd."+c.namespace+".svc")
	secrets := c.CoreV1().Secrets(c.namespace)
	for _, name := range []string{"members", "theseus"} {
		_, err := secrets.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: files}, metav1.CreateOptions{})
		must(t, err)
	}
	c.apply(tlsCluster, "VERSION", versions["3.5"])
	c.await("kv", "runs", settledAt(versions["3.5"]))

	change := func(ca []byte) {
		s, err := secrets.Get(t.Context(), "theseus", metav1.GetOptions{})
		must(t, err)
		s.Data["ca.crt"] = ca
		_, err = secrets.Update(t.Context(), s, metav1.UpdateOptions{})
		must(t, err)
	}
	change([]byte("no certificate"))
	c.upgradeTo("kv", versions["3.6"])
	c.await("kv", "says what is wrong with the secret", func(kv *v1alpha1.Cluster) bool {
		status, err := yaml.Marshal(kv.Status)
		return err == nil && strings.Contains(string(status), "holds no PEM certificate")
	})
	pods, err := c.CoreV1().Pods(c.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "theseus.dev/cluster=kv"})
	must(t, err)
	for _, p := range pods.Items {
		if v := p.Annotations["theseus.dev/version"]; v != versions["3.5"] {
			t.Errorf("%s has version %s: it was replaced although no member can be asked", p.Name, v)
		}
	}
	change(files["ca.crt"])
	kv := c.await("kv", "runs 3.6", settledAt(versions["3.6"]))
	c.arrived(kv, 1)
	c.measured(t)
}

// measured lets the probe measure from a pod that shows what the secret holds.
func (c *cluster) measured(t *testing.T) {
	t.Helper()
	p := &person{c: c, dir: t.TempDir()}
	cmd, out, talk := p.start(program(t), "probe", "kv", "--image", theseusImage, "--rate", "50", "--baseline", "1s", "--settle", "1s", "--duration", "1s", "--json")
	_ = cmd.Wait() // so little is no evidence of a level
	verdict := struct {
		Result struct {
			Ledger struct{ Acked, Lost, Keepsakes int64 } `json:"ledger"`
		} `json:"result"`
	}{}
	if err := json.Unmarshal(out.Bytes(), &verdict); err != nil {
		t.Fatalf("%v: %s", err, talk.String())
	}
	if l := verdict.Result.Ledger; l.Acked == 0 || l.Lost > 0 || l.Keepsakes == 0 {
		t.Errorf("the ledger is %+v", l)
	}
}

// certificate is one that is good for servers of these names and for clients, as a secret has it, with the authority that signed it.
func certificate(t *testing.T, names ...string) map[string][]byte {
	t.Helper()
	authority, own := newKey(t), newKey(t)
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "kv"}, NotAfter: time.Now().Add(time.Hour), DNSNames: names,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	ca, err := x509.CreateCertificate(rand.Reader, root, root, &authority.PublicKey, authority)
	must(t, err)
	der, err := x509.CreateCertificate(rand.Reader, leaf, root, &own.PublicKey, authority)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(own)
	must(t, err)
	text := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	return map[string][]byte{"ca.crt": text("CERTIFICATE", ca), "tls.crt": text("CERTIFICATE", der), "tls.key": text("PRIVATE KEY", private)}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
}
