//go:build linux

package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
)

const bucketCluster = `
apiVersion: theseus.dev/v1alpha1
kind: Cluster
metadata: {name: NAME}
spec:
  system: etcd
  version: VERSION
  components:
    etcd: {replicas: 1, storage: 100Mi, image: "lab.test/etcd:v${version}"}
  backup:
    url: "s3://bucket/kv?region=eu-west-1&use_path_style=true&endpoint=http://ENDPOINT"
    secret: {name: s3, namespace: ELSEWHERE}
  upgrade: {progressDeadline: 8m}
`

// TestBucket takes a backup of a real etcd to a bucket and restores it from there, by pods with the key from another namespace, which grants it. A ttl
// empties the bucket. Only the Jobs see the key, and no copy of it stays.
func TestBucket(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	version := etcdVersions(t)["3.6"]
	loadTheseus(t)
	loadEtcd(t, version)
	c.installCRDs()
	op := c.startOperator()
	store := startBucket(t, c)
	elsewhere := c.vault(`{"AccessKeyId": "theseus", "SecretAccessKey": "hush-hush"}`)
	with := []string{"VERSION", version, "ENDPOINT", store.address, "ELSEWHERE", elsewhere}
	c.apply(bucketCluster, append(with, "NAME", "kv")...)
	c.await("kv", "runs", settledAt(version))
	c.put("kv-etcd-0", "a", "1")

	c.apply("{apiVersion: theseus.dev/v1alpha1, kind: Backup, metadata: {name: b}, spec: {cluster: kv}}")
	b := c.backup("b")
	if stored := store.keys(); !strings.Contains(strings.Join(stored, " "), b.Status.Name) {
		t.Errorf("the bucket has %q, want what belongs to %s", stored, b.Status.Name)
	}
	c.apply("{apiVersion: theseus.dev/v1alpha1, kind: Restore, metadata: {name: r}, spec: {backup: b, cluster: kv2}}")
	c.apply(bucketCluster, append(with, "NAME", "kv2")...)
	c.await("kv2", "runs", settledAt(version))
	c.restore("r", v1alpha1.ConditionFinished)
	if got := c.read("kv2-etcd-0", "a"); got != "1" {
		t.Errorf("the new cluster has %q", got)
	}

	must(t, c.any.Resource(backups).Namespace(c.namespace).Delete(t.Context(), "b", metav1.DeleteOptions{}))
	kept := len(store.keys())
	c.apply("{apiVersion: theseus.dev/v1alpha1, kind: Backup, metadata: {name: short}, spec: {cluster: kv, ttl: 1m}}")
	c.backupGone("short")
	if now := store.keys(); len(now) != kept {
		t.Errorf("the bucket has %q; want the %d objects that one deleted by hand leaves", now, kept)
	}

	c.eventually("no copy of the key is left", func(ctx context.Context) error {
		secrets, err := c.CoreV1().Secrets(c.namespace).List(ctx, metav1.ListOptions{})
		if err != nil || len(secrets.Items) == 0 {
			return err
		}
		return fmt.Errorf("there is %s", secrets.Items[0].Name)
	})
	if bad := store.strangers(); bad != 0 {
		t.Errorf("%d requests came without the key", bad)
	}
	op.kill()
	everything, err := json.Marshal([]any{c.everything("clusters"), c.everything("backups"), c.everything("restores"), op.log.String()})
	must(t, err)
	if bytes.Contains(everything, []byte("hush")) {
		t.Error("the key stands in a status or in the log")
	}
}

// vault is a namespace whose secret is granted to the test's.
func (c *cluster) vault(key string) string {
	c.t.Helper()
	ns, err := c.CoreV1().Namespaces().Create(c.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: c.namespace + "-ops-"}}, metav1.CreateOptions{})
	must(c.t, err)
	c.t.Cleanup(func() {
		must(c.t, c.CoreV1().Namespaces().Delete(context.Background(), ns.Name, metav1.DeleteOptions{}))
	})
	_, err = c.CoreV1().Secrets(ns.Name).Create(c.t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "s3", Annotations: map[string]string{v1alpha1.GrantAnnotation: c.namespace}},
		StringData: map[string]string{v1alpha1.DefaultKey: key},
	}, metav1.CreateOptions{})
	must(c.t, err)
	return ns.Name
}

func (c *cluster) everything(resource string) any {
	c.t.Helper()
	list, err := c.any.Resource(v1alpha1.GroupVersion.WithResource(resource)).Namespace(c.namespace).List(c.t.Context(), metav1.ListOptions{})
	must(c.t, err)
	return list.Items
}

// bucket is a server that speaks S3, where pods reach it.
type bucket struct {
	t       *testing.T
	backend *s3mem.Backend
	address string

	mu      sync.Mutex
	unknown int
}

func startBucket(t *testing.T, c *cluster) *bucket {
	t.Helper()
	b := &bucket{t: t, backend: s3mem.New()}
	must(t, b.backend.CreateBucket("bucket"))
	l, err := net.Listen("tcp", net.JoinHostPort(c.outside(), "0"))
	must(t, err)
	b.address = l.Addr().String()
	fake := gofakes3.New(b.backend).Server()
	server := &http.Server{ErrorLog: log.New(t.Output(), "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Authorization"), "Credential=theseus/") {
			b.mu.Lock()
			b.unknown++
			b.mu.Unlock()
			http.Error(w, "who are you?", http.StatusForbidden)
			return
		}
		fake.ServeHTTP(w, r)
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })
	return b
}

// outside is an address of this test that pods reach: the node's, which is the lab's.
func (c *cluster) outside() string {
	c.t.Helper()
	if theLab == nil {
		c.t.Skip("in a cluster that is not a lab nobody knows where pods reach this test")
	}
	nodes, err := c.CoreV1().Nodes().List(c.t.Context(), metav1.ListOptions{})
	must(c.t, err)
	for _, a := range nodes.Items[0].Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			return a.Address
		}
	}
	c.t.Fatalf("node %s has no address: %+v", nodes.Items[0].Name, nodes.Items[0].Status.Addresses)
	return ""
}

func (b *bucket) keys() []string {
	b.t.Helper()
	list, err := b.backend.ListBucket("bucket", &gofakes3.Prefix{}, gofakes3.ListBucketPage{})
	must(b.t, err)
	var keys []string
	for _, o := range list.Contents {
		keys = append(keys, o.Key)
	}
	return keys
}

func (b *bucket) strangers() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.unknown
}
