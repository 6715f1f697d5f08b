//go:build linux

package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/e2e/kubernetes/lab"
)

// The Systems of two operators are tried as they are shipped; in their images the stand-in plays each version (servers/standin/played.go).

// loadPlayed gives the nodes images of versions of a software, in which the stand-in has the names of its programs.
func loadPlayed(t *testing.T, image, plays string, programs, versions []string) {
	t.Helper()
	files := map[string]string{}
	for _, program := range programs {
		files[program] = filepath.Join(root(t), "bin", "servers", "standin")
	}
	for _, version := range versions {
		loadImage(t, lab.Image{Name: "lab.test/" + image + ":" + version, Files: files, Entrypoint: programs[:1],
			Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin", "STANDIN_PLAYS=" + plays, "STANDIN_VERSION=" + version}})
	}
}

// playedBy says who a member is to the stand-in, and where its knobs are: in the ConfigMap of the component.
func playedBy(component, peers string, ports ...string) string {
	var listen []string
	for _, port := range ports {
		listen = append(listen, "${m.bind}:${m.port."+port+"}")
	}
	return fmt.Sprintf(`
      env: {STANDIN_MEMBER: "${m.name}", STANDIN_DATA: "${m.data}", STANDIN_KNOBS: /knobs/knobs.json, STANDIN_LISTEN: "%s", STANDIN_PEERS: "%s"}
      pod: {spec: {volumes: [{name: knobs, configMap: {name: knobs-%s}}], containers: [{name: %s, volumeMounts: [{name: knobs, mountPath: /knobs}]}]}}`,
		strings.Join(listen, ","), peers, component, component)
}

func (c *cluster) knobs(component, text string) {
	c.t.Helper()
	_, err := c.CoreV1().ConfigMaps(c.namespace).Create(c.t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "knobs-" + component},
		Data: map[string]string{"knobs.json": text}}, metav1.CreateOptions{})
	must(c.t, err)
}

// applyAdmitted is apply for objects that the webhook admits: it can be reached some moments after it is ready.
func (c *cluster) applyAdmitted(text string, replace ...string) {
	c.t.Helper()
	c.eventually("the webhook answers", func(context.Context) error {
		_, err := c.createObject(strings.NewReplacer(replace...).Replace(text))
		return err
	})
}

// refuses wants an edit to be refused with words, and nothing changed.
func (c *cluster) refuses(name, change, words string) {
	c.t.Helper()
	if err := c.heardOut(name, change); err == nil || !strings.Contains(err.Error(), words) {
		c.t.Errorf("%s: got %v, want a refusal that says %q", change, err, words)
	}
}

func (c *cluster) edit(name, change string) {
	c.t.Helper()
	must(c.t, c.heardOut(name, change))
}

// heardOut is patch where a webhook has its say: one that did not answer in time is asked again.
func (c *cluster) heardOut(name, change string) (answer error) {
	c.t.Helper()
	c.eventually("the webhook answers", func(context.Context) error {
		answer = c.patch(name, change)
		if answer != nil && strings.Contains(answer.Error(), "failed calling webhook") {
			return answer
		}
		return nil
	})
	return answer
}

// film is every status that a Cluster had.
type film struct {
	mu     sync.Mutex
	frames []v1alpha1.ClusterStatus
}

func (c *cluster) film(name string) *film {
	c.t.Helper()
	have, err := c.any.Resource(clusters).Namespace(c.namespace).Get(c.t.Context(), name, metav1.GetOptions{})
	must(c.t, err)
	w := c.watch(have.GetResourceVersion(), metav1.ListOptions{FieldSelector: "metadata.name=" + name}, c.any.Resource(clusters).Namespace(c.namespace).Watch)
	f := &film{}
	go func() {
		for event := range w.ResultChan() {
			object, ok := event.Object.(*unstructured.Unstructured)
			have := v1alpha1.Cluster{}
			if !ok || runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &have) != nil {
				continue
			}
			f.mu.Lock()
			f.frames = append(f.frames, have.Status)
			f.mu.Unlock()
		}
	}()
	return f
}

// watch goes on where it was when the API server ends it.
func (c *cluster) watch(from string, o metav1.ListOptions, with func(context.Context, metav1.ListOptions) (watch.Interface, error)) watch.Interface {
	c.t.Helper()
	w, err := watchtools.NewRetryWatcherWithContext(c.t.Context(), from, &cache.ListWatch{WatchFuncWithContext: func(ctx context.Context, more metav1.ListOptions) (watch.Interface, error) {
		more.FieldSelector, more.LabelSelector = o.FieldSelector, o.LabelSelector
		return with(ctx, more)
	}})
	must(c.t, err)
	c.t.Cleanup(w.Stop)
	return w
}

// shows are the different texts that were to be seen one after the other, without the empty ones.
func (f *film) shows(of func(*v1alpha1.ClusterStatus) string) (texts []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.frames {
		if text := of(&f.frames[i]); text != "" && (len(texts) == 0 || texts[len(texts)-1] != text) {
			texts = append(texts, text)
		}
	}
	return texts
}

// condition is reason and message of a condition while it is true.
func condition(kind string) func(*v1alpha1.ClusterStatus) string {
	return func(st *v1alpha1.ClusterStatus) string {
		if c := meta.FindStatusCondition(st.Conditions, kind); c != nil && c.Status == metav1.ConditionTrue {
			return strings.TrimSuffix(c.Reason+": "+c.Message, ": ")
		}
		return ""
	}
}

// contains wants texts to be there in this order, others between them or not.
func (c *cluster) contains(what string, have []string, want ...string) {
	c.t.Helper()
	at := 0
	for _, text := range have {
		if at < len(want) && text == want[at] {
			at++
		}
	}
	if at < len(want) {
		c.t.Errorf("%s: there is no %q in turn among\n%s", what, want[at], strings.Join(have, "\n"))
	}
}

// eventsOf are reasons and objects of the last attempt's events that have one of the reasons, in order, each object once in a row.
func eventsOf(kv *v1alpha1.Cluster, reasons ...string) (told []string) {
	for _, e := range kv.Status.Events {
		text := strings.TrimSpace(e.Reason + " " + strings.TrimPrefix(e.Object, "member "+kv.Name+"-"))
		if e.Attempt == kv.Status.Attempt.ID && slices.Contains(reasons, e.Reason) && (len(told) == 0 || told[len(told)-1] != text) {
			told = append(told, text)
		}
	}
	return told
}

func (c *cluster) ended(kv *v1alpha1.Cluster, phase v1alpha1.AttemptPhase) {
	c.t.Helper()
	if a := kv.Status.Attempt; a.Phase != phase {
		c.t.Fatalf("attempt %d ended %s because of %+v, want %s", a.ID, a.Phase, a.Failure, phase)
	}
}

// askMember gets a page of a member, once it answers.
func (c *cluster) askMember(pod, port, path string, into any) {
	c.t.Helper()
	p, err := c.pod(pod)
	must(c.t, err)
	c.eventually(path+" of "+pod, func(ctx context.Context) error {
		q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(p.Status.PodIP, port)+path, nil)
		must(c.t, err)
		return answer(http.DefaultClient, q, into)
	})
}

// answer makes a request that is to be answered OK, with JSON where into is not nil.
func answer(client *http.Client, q *http.Request, into any) error {
	reply, err := client.Do(q)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", reply.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(reply.Body).Decode(into)
}

// hears waits until there are Kubernetes events of a Cluster with these reasons: they are written beside its status.
func (c *cluster) hears(name string, reasons ...string) {
	c.t.Helper()
	c.eventually("events of "+name, func(ctx context.Context) error {
		list, err := c.EventsV1().Events(c.namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		var heard []string
		for _, e := range list.Items {
			if e.Regarding.Name == name {
				heard = append(heard, e.Reason)
			}
		}
		for _, reason := range reasons {
			if !slices.Contains(heard, reason) {
				return fmt.Errorf("there is no %s among %q", reason, heard)
			}
		}
		return nil
	})
}

// columns are what kubectl get shows of a Cluster, without -o wide.
func (c *cluster) columns() (names []string) {
	c.t.Helper()
	text, err := c.CoreV1().RESTClient().Get().AbsPath("/apis/theseus.dev/v1alpha1/namespaces/"+c.namespace+"/clusters").
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(c.t.Context())
	must(c.t, err)
	table := metav1.Table{}
	must(c.t, json.Unmarshal(text, &table))
	for _, column := range table.ColumnDefinitions {
		if column.Priority == 0 {
			names = append(names, column.Name)
		}
	}
	return names
}
