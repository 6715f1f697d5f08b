package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/manifest"
	"theseus.dev/probe"
	"theseus.dev/probe/etcd"
	"theseus.dev/systems"
)

// The releases that "make servers" builds. The last one is broken on purpose: it serves, and dies four seconds later.
const (
	etcd35     = "3.5.35"
	etcd36     = "3.6.16"
	etcd37     = "3.7.3"
	etcdBroken = "3.7.4"
)

// The edges of etcd.yaml that lead to another minor.
const (
	edgeTo36 = 1
	edgeTo37 = 2
)

// etcdCluster is a cluster of three real etcd members.
type etcdCluster struct {
	*cluster
	scheme string
	tls    *tls.Config // of clients; nil: none
	http   *http.Client
}

// etcdSetup is what such a cluster begins with.
type etcdSetup struct {
	version string
	upgrade string                 // of spec.upgrade, beside progressDeadline
	etcd    string                 // of spec.components.etcd
	options string                 // of spec.options
	system  func(*v1alpha1.System) // what differs from the System as it is shipped; nil: nothing
	tls     *tls.Config
}

// newEtcd writes the files of a cluster and starts nothing.
func newEtcd(t testing.TB, s etcdSetup) *etcdCluster {
	t.Helper()
	if testing.Short() {
		t.Skip("takes tens of seconds")
	}
	if _, err := os.Stat("../bin/servers/etcd-" + etcdBroken); err != nil {
		t.Fatalf("%v; build it with: make servers", err)
	}
	c := &etcdCluster{scheme: "http", tls: s.tls, http: &http.Client{Timeout: 10 * time.Second}}
	if s.tls != nil {
		c.scheme, c.http.Transport = "https", &http.Transport{TLSClientConfig: s.tls, DisableKeepAlives: true}
	}
	c.cluster = &cluster{TB: t, name: fmt.Sprintf("kv%d-%d", os.Getpid(), clusters.Add(1)), dir: folder(t), component: "etcd", patience: 5 * time.Minute}
	c.make("home", "faults", "backups")
	c.setEnv(programs)
	c.system(s.system)
	c.write("cluster.yaml", c.file(c.name, s))
	t.Cleanup(c.end)
	return c
}

// file is one of a cluster with another name too.
func (c *etcdCluster) file(name string, s etcdSetup) string {
	return fmt.Sprintf(`
apiVersion: theseus.dev/v1alpha1
kind: Cluster
metadata: {name: %s}
spec:
  system: ./etcd.yaml
  version: %s
  components: {etcd: {%s}}
  options: {%s}
  backup: {url: "file://%s"}
  upgrade: {%s}
`, name, s.version, s.etcd, s.options, c.path("backups"), or(s.upgrade, "progressDeadline: 2m"))
}

// system writes the System that the cluster's file names: as it is shipped, or edited.
func (c *etcdCluster) system(edit func(*v1alpha1.System)) {
	c.Helper()
	text, err := systems.Load("etcd")
	if err == nil && edit != nil {
		text, err = edited(text, edit)
	}
	if err != nil {
		c.Fatal(err)
	}
	c.write("etcd.yaml", string(text))
}

func edited(text []byte, edit func(*v1alpha1.System)) ([]byte, error) {
	objects, err := manifest.Decode("etcd.yaml", text)
	if err != nil {
		return nil, err
	}
	edit(objects[0].System)
	return yaml.Marshal(objects[0].System)
}

// adopt takes the System as it is shipped into an attempt that rests, which goes on resting.
func (c *etcdCluster) adopt() {
	c.Helper()
	c.system(nil)
	c.must(1, "adopt-system", c.name)
}

// ended checks the end of the attempt, the failure behind it, and what the members run.
func (c *etcdCluster) ended(phase v1alpha1.AttemptPhase, at, reason string) {
	c.Helper()
	if a := c.attempt(); a.Phase != phase {
		c.Fatalf("the attempt is %s, want %s\n%s", a.Phase, phase, c.story())
	}
	c.failedBy(reason)
	c.runs(at, at[:strings.LastIndex(at, ".")]+".0")
}

// --- members ------------------------------------------------------------------

// base is the URL of a member for clients.
func (c *etcdCluster) base(i int) string {
	host, _, _ := strings.Cut(c.address(i), ":")
	return c.scheme + "://" + host + ":2379"
}

// call asks a member; a body makes it a POST.
func (c *etcdCluster) call(i int, path, body string, into any) error {
	q, err := http.NewRequest(http.MethodGet, c.base(i)+path, nil)
	if body != "" {
		q, err = http.NewRequest(http.MethodPost, c.base(i)+path, strings.NewReader(body))
	}
	if err != nil {
		return err
	}
	r, err := c.http.Do(q)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s %s %w", path, r.Status, text, err)
	}
	return json.Unmarshal(text, into)
}

// etcdVersions are what a member says at /version.
type etcdVersions struct{ Etcdserver, Etcdcluster, Storage string }

func (c *etcdCluster) versions(i int) (v etcdVersions) {
	c.Helper()
	c.await("a version of "+c.member(i), func() bool { v = etcdVersions{}; return c.call(i, "/version", "", &v) == nil })
	return v
}

// runs checks that every member says its version, and that of the cluster. Nothing is awaited: a command that ended has
// seen to it.
func (c *etcdCluster) runs(version, clusterVersion string) {
	c.Helper()
	for i := range 3 {
		if v := c.versions(i); v.Etcdserver != version || v.Etcdcluster != clusterVersion {
			c.Fatalf("%s: runs %s in a cluster of %s, want %s in %s\n%s", c.member(i), v.Etcdserver, v.Etcdcluster, version, clusterVersion, c.story())
		}
	}
	if at := c.object().Status.CurrentVersion; at != version {
		c.Fatalf("the status says %s, want %s", at, version)
	}
}

type etcdStatus struct {
	Leader string
	Header struct {
		MemberID string `json:"member_id"`
	}
}

// leads is the index of the leader.
func (c *etcdCluster) leads() (leader int) {
	c.Helper()
	c.await("a leader", func() bool {
		for i := range 3 {
			var s etcdStatus
			if c.call(i, "/v3/maintenance/status", "{}", &s) == nil && s.Leader != "" && s.Leader == s.Header.MemberID {
				leader = i
				return true
			}
		}
		return false
	})
	return leader
}

// log is what a member wrote since its log had a length.
func (c *etcdCluster) log(i, since int) string {
	c.Helper()
	text := c.must(0, "logs", c.name, c.member(i), "--lines", "100000").out
	return text[min(since, len(text)):]
}

// --- what happened ------------------------------------------------------------

// events of the last attempt.
func (c *etcdCluster) events(reason, message string) (found []v1alpha1.Event) {
	c.Helper()
	st := c.object().Status
	for _, e := range st.Events {
		if e.Attempt == st.Serial && e.Reason == reason && strings.Contains(e.Message, message) {
			found = append(found, e)
		}
	}
	return found
}

// objects that the last attempt's events are about, each once.
func (c *etcdCluster) objects(reason, message string) (names []string) {
	c.Helper()
	for _, e := range c.events(reason, message) {
		if !slices.Contains(names, e.Object) {
			names = append(names, e.Object)
		}
	}
	return names
}

// The words of events that tests look for.
const (
	handsOver    = "hand the role leader over"
	opensWayBack = "make a way back possible"
)

// --- data ---------------------------------------------------------------------

func encoded(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// keeps puts keys whose values follow from their names.
func (c *etcdCluster) keeps(prefix string, n int) {
	c.Helper()
	for i := range n {
		key := fmt.Sprintf("%s%04d", prefix, i)
		body := fmt.Sprintf(`{"key": %q, "value": %q}`, encoded(key), encoded("value of "+key))
		c.await("a put of "+key, func() bool { var r struct{}; return c.call(i%3, "/v3/kv/put", body, &r) == nil })
	}
}

// has checks that a prefix has exactly the keys that keeps put, asked of one member.
func (c *etcdCluster) has(i int, prefix string, n int) {
	c.Helper()
	var got struct{ Kvs []struct{ Key, Value []byte } }
	end := prefix[:len(prefix)-1] + string(prefix[len(prefix)-1]+1)
	body := fmt.Sprintf(`{"key": %q, "range_end": %q}`, encoded(prefix), encoded(end))
	c.await("the keys "+prefix, func() bool { return c.call(i, "/v3/kv/range", body, &got) == nil })
	if len(got.Kvs) != n {
		c.Errorf("%s has %d keys %s…, want %d\n%s", c.member(i), len(got.Kvs), prefix, n, c.story())
	}
	for _, kv := range got.Kvs {
		if string(kv.Value) != "value of "+string(kv.Key) {
			c.Errorf("%s: key %s is %q", c.member(i), kv.Key, kv.Value)
		}
	}
}

// load are clients that write and read all the time.
type load struct {
	c     *etcdCluster
	probe *probe.Probe
	ended chan struct{}
	res   *probe.Result
	err   error
}

// clients begin. They go on until check.
func (c *etcdCluster) clients() *load {
	c.Helper()
	var endpoints []string
	for i := range 3 {
		endpoints = append(endpoints, c.base(i))
	}
	d, err := etcd.New(etcd.Options{Endpoints: endpoints, TLS: c.tls, FreshEvery: 20})
	if err != nil {
		c.Fatal(err)
	}
	p, err := probe.New(d, probe.Options{Rate: 50, Deadline: 10 * time.Second, Keys: 64})
	if err != nil {
		c.Fatal(err)
	}
	l := &load{c: c, probe: p, ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(l.ended)
		l.res, l.err = p.Run(ctx)
	}()
	c.Cleanup(func() { cancel(); <-l.ended; d.Close() })
	return l
}

// check ends the clients and reads everything back: nothing that was acknowledged is lost, and no read was stale. How
// long requests took is not asked here: that is what the demo and the benchmarks measure.
func (l *load) check() {
	l.c.Helper()
	l.probe.Stop()
	<-l.ended
	if l.err != nil {
		l.c.Fatalf("clients: %v", l.err)
	}
	r, sum := l.res.Ledger, probe.Counts{}
	for _, w := range l.res.Totals {
		sum.Requests += w.Requests
		sum.Failed += w.Failed
		sum.Stale += w.Stale
		sum.Wrong += w.Wrong
	}
	l.c.Logf("clients: %d requests, %d failed, longest gap %s; %d writes acknowledged, %d lost", sum.Requests, sum.Failed, l.res.Gap("all", probe.Baseline).Length, r.Acked, r.Lost)
	if r.Lost > 0 || r.Unread > 0 || r.Wrong > 0 || r.Duplicated > 0 || r.Acked == 0 || sum.Stale-r.StaleOfLost > 0 || sum.Wrong > 0 {
		l.c.Errorf("clients: %+v; of %+v\n%s", r, sum, l.c.story())
	}
}

// backups are the names that are listed with a state.
func (c *etcdCluster) backups(state string) (names []string) {
	c.Helper()
	text := c.must(0, "backup", c.name, "--list").out
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 2 && f[1] == state {
			names = append(names, f[0])
		}
	}
	return names
}

// hides fails where a text shows what is in a file.
func (c *etcdCluster) hides(text string, files ...string) {
	c.Helper()
	for _, f := range files {
		content, err := os.ReadFile(f)
		if err != nil {
			c.Fatal(err)
		}
		for line := range bytes.Lines(content) {
			if line = bytes.TrimSpace(line); len(line) > 20 && strings.Contains(text, string(line)) {
				c.Errorf("the text shows what is in %s:\n%s", filepath.Base(f), text)
			}
		}
	}
}
