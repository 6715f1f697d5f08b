//go:build linux

package kubernetes

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"theseus.dev/api/v1alpha1"
)

// TestRestore takes a backup of a real etcd and restores it into a new cluster beside the old one, of more members. The old one goes on. Then it sees a backup go when its time is over.
func TestRestore(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	version := etcdVersions(t)["3.6"]
	loadTheseus(t)
	loadEtcd(t, version)
	c.installCRDs()
	c.startOperator()
	c.apply(backupClaim)
	c.apply(etcdCluster, "replicas: 3", "replicas: 1", "VERSION", version)
	c.await("kv", "runs", settledAt(version))
	for i := range 20 {
		c.put("kv-etcd-0", fmt.Sprintf("key-%d", i), fmt.Sprintf("value-%d", i))
	}
	c.apply("{apiVersion: theseus.dev/v1alpha1, kind: Backup, metadata: {name: b}, spec: {cluster: kv}}")
	b := c.backup("b")
	c.put("kv-etcd-0", "late", "written after the backup")

	// The Restore comes first, so that the Cluster waits for it.
	c.apply("{apiVersion: theseus.dev/v1alpha1, kind: Restore, metadata: {name: r}, spec: {backup: b, cluster: kv2}}")
	c.apply(etcdCluster, "{name: kv}", "{name: kv2}", "VERSION", version)
	kv2 := c.await("kv2", "runs", settledAt(version))
	for i := range 20 {
		if got := c.read("kv2-etcd-1", fmt.Sprintf("key-%d", i)); got != fmt.Sprintf("value-%d", i) {
			t.Errorf("key-%d of the new cluster is %q", i, got)
		}
	}
	if got := c.read("kv2-etcd-0", "late"); got != "" {
		t.Errorf("the new cluster has what was written after the backup: %q", got)
	}
	if got := c.read("kv-etcd-0", "late"); got == "" {
		t.Error("the old cluster lost a key")
	}
	r := c.restore("r", v1alpha1.ConditionFinished)
	message := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionFinished).Message
	if r.Status.Version != version || r.Status.Taken == nil || len(r.Status.Members) != 3 || r.Status.Name != b.Status.Name || !strings.Contains(message, "may be missing") {
		t.Errorf("the status of the restore is %+v, with %q", r.Status, message)
	}

	if filled := kv2.Status.Filled; filled != version {
		t.Errorf("the Cluster says that its volumes were filled by %q, want %s", filled, version)
	}

	// Never over a cluster that runs.
	c.apply("{apiVersion: theseus.dev/v1alpha1, kind: Restore, metadata: {name: over}, spec: {backup: b, cluster: kv}}")
	r = c.restore("over", v1alpha1.ConditionFailed)
	if message := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionFailed).Message; !strings.Contains(message, "has members already") {
		t.Errorf("a restore over a cluster that runs ended with %q", message)
	}

	// What a Backup stored goes with it when its time is over, and nothing else does.
	c.apply("{apiVersion: theseus.dev/v1alpha1, kind: Backup, metadata: {name: short}, spec: {cluster: kv, ttl: 1m}}")
	short := c.backup("short")
	c.backupGone("short")
	const from = "{apiVersion: theseus.dev/v1alpha1, kind: Restore, metadata: {name: NAME}, spec: {cluster: NAME, from: {place: {url: 'file:///backups', claim: backups}, name: STORED}}}"
	for name, stored := range map[string]string{"gone": short.Status.Name, "kv3": b.Status.Name} {
		c.apply(from, "NAME", name, "STORED", stored)
		c.apply(etcdCluster, "{name: kv}", "{name: "+name+"}", "replicas: 3", "replicas: 1", "VERSION", version)
	}
	r = c.restore("gone", v1alpha1.ConditionFailed)
	if message := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionFailed).Message; !strings.Contains(message, "there is no such backup") {
		t.Errorf("a restore of what was deleted ended with %q", message)
	}
	c.restore("kv3", v1alpha1.ConditionFinished)

	// A Backup outlives its cluster, and can be restored then.
	must(t, c.any.Resource(clusters).Namespace(c.namespace).Delete(t.Context(), "kv", metav1.DeleteOptions{}))
	c.eventually("the members of kv are gone", func(ctx context.Context) error {
		pods, err := c.CoreV1().Pods(c.namespace).List(ctx, metav1.ListOptions{LabelSelector: "theseus.dev/cluster=kv"})
		if err == nil && len(pods.Items) > 0 {
			err = fmt.Errorf("%d are there", len(pods.Items))
		}
		return err
	})
	c.apply("{apiVersion: theseus.dev/v1alpha1, kind: Restore, metadata: {name: late}, spec: {backup: b, cluster: kv4}}")
	c.apply(etcdCluster, "{name: kv}", "{name: kv4}", "replicas: 3", "replicas: 1", "VERSION", version)
	c.restore("late", v1alpha1.ConditionFinished)
}

var (
	backups  = v1alpha1.GroupVersion.WithResource("backups")
	restores = v1alpha1.GroupVersion.WithResource("restores")
)

// backup waits until a Backup has ended, and wants it to be proved. One that is gone already is as it was seen last.
func (c *cluster) backup(name string) *v1alpha1.Backup {
	c.t.Helper()
	b := &v1alpha1.Backup{}
	c.eventually("backup "+name, func(ctx context.Context) error {
		object, err := c.any.Resource(backups).Namespace(c.namespace).Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			err = runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, b)
			c.tells(object, b.Status.Conditions)
		}
		if err == nil && !meta.IsStatusConditionTrue(b.Status.Conditions, v1alpha1.ConditionFinished) {
			err = fmt.Errorf("not finished: %+v", b.Status.Conditions)
		}
		return err
	})
	return b
}

// tells wants kstatus, which Flux and Argo CD read, to say of a Backup or a Restore what its conditions say to people.
func (c *cluster) tells(object *unstructured.Unstructured, list []metav1.Condition) {
	c.t.Helper()
	result, err := kstatus.Compute(object)
	must(c.t, err)
	want := kstatus.InProgressStatus
	switch {
	case meta.IsStatusConditionTrue(list, v1alpha1.ConditionFinished):
		want = kstatus.CurrentStatus
	case meta.IsStatusConditionTrue(list, v1alpha1.ConditionFailed):
		want = kstatus.FailedStatus
	}
	if result.Status != want {
		c.t.Errorf("kstatus says %s of %s %s, want %s: %v", result.Status, object.GetKind(), object.GetName(), want, object.Object["status"])
	}
}

// backupGone waits until the time of a Backup is over and it has gone.
func (c *cluster) backupGone(name string) {
	c.t.Helper()
	c.eventually("the backup is gone", func(ctx context.Context) error {
		_, err := c.any.Resource(backups).Namespace(c.namespace).Get(ctx, name, metav1.GetOptions{})
		if errors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is there, or %w", err)
	})
}

func (c *cluster) restore(name, condition string) *v1alpha1.Restore {
	c.t.Helper()
	r := &v1alpha1.Restore{}
	c.eventually("restore "+name, func(ctx context.Context) error {
		object, err := c.any.Resource(restores).Namespace(c.namespace).Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			err = runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, r)
			c.tells(object, r.Status.Conditions)
		}
		if err == nil && !meta.IsStatusConditionTrue(r.Status.Conditions, condition) {
			err = fmt.Errorf("not %s: %+v", condition, r.Status.Conditions)
		}
		return err
	})
	return r
}

// etcdCall calls etcd's JSON gateway on a member, until it answers: what is asked for may be done twice.
func (c *cluster) etcdCall(pod, path string, request, reply any) {
	c.t.Helper()
	text, err := json.Marshal(request)
	must(c.t, err)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, _, at string) (net.Conn, error) { return c.dialPod(ctx, at) }, DisableKeepAlives: true}}
	c.eventually(path+" of "+pod, func(ctx context.Context) error {
		q, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+pod+":2379"+path, bytes.NewReader(text))
		must(c.t, err)
		return answer(client, q, reply)
	})
}

func (c *cluster) put(pod, key, value string) {
	c.t.Helper()
	c.etcdCall(pod, "/v3/kv/put", map[string][]byte{"key": []byte(key), "value": []byte(value)}, &struct{}{})
}

// read is the value of a key, or empty.
func (c *cluster) read(pod, key string) string {
	c.t.Helper()
	reply := struct {
		Kvs []struct {
			Value string `json:"value"`
		} `json:"kvs"`
	}{}
	c.etcdCall(pod, "/v3/kv/range", map[string][]byte{"key": []byte(key)}, &reply)
	if len(reply.Kvs) == 0 {
		return ""
	}
	value, err := base64.StdEncoding.DecodeString(reply.Kvs[0].Value)
	must(c.t, err)
	return string(value)
}
