//go:build linux

package kubernetes

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"theseus.dev/api/v1alpha1"
)

// What goes wrong around a roll, each with the end that docs/kubernetes.md names: the upgrade ends at its target, no acknowledged write is lost, and no
// member is replaced more than once, unless somebody else did.
func TestUpgradeStands(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(*roll){
		"two operators":       (*roll).twoOperators,
		"an API that fails":   (*roll).flakyAPI,
		"a budget forbids":    (*roll).budgetForbids,
		"a webhook is down":   (*roll).webhookIsDown,
		"images are mirrored": (*roll).imagesAreMirrored,
		"a pod is deleted":    (*roll).podIsDeleted,
		"a quota is full":     (*roll).quotaIsFull,
		"the spec is edited":  (*roll).specIsEdited,
		"an edit is deferred": (*roll).editIsDeferred,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(newRoll(t))
		})
	}
}

func TestUpgradeStandsAPIServerRestart(t *testing.T) {
	if theLab == nil {
		t.Skip("only the API server of a lab is ours to stop")
	}
	r := newRoll(t)
	r.midway()
	// For a moment the new API server knows nothing of the pods of a node, and refuses the kubelet, which then says only two minutes later that a pod has ended.
	r.edit("si", `{"spec": {"upgrade": {"progressDeadline": "10m"}}}`)
	must(t, theLab.Restart(t.Context(), "kube-apiserver"))
	r.arrives(1)
}

// roll is an upgrade of three stand-ins from 1.0.0 to 1.1.0.
type roll struct {
	*cluster
	writer  *writer
	members *counted
}

func newRoll(t *testing.T) *roll {
	t.Helper()
	r := &roll{cluster: newCluster(t)}
	loadTheseus(t)
	for _, version := range []string{"1.0.0", "1.1.0"} {
		loadStandin(t, version)
	}
	r.installCRDs()
	return r
}

// made has the Cluster made, and its members written to and counted from now on.
func (r *roll) made() {
	r.t.Helper()
	r.apply(standinCluster, "VERSION", "1.0.0")
	r.watched()
}

// watched has the members written to and counted, once they run.
func (r *roll) watched() {
	r.t.Helper()
	r.await("si", "runs 1.0.0", settledAt("1.0.0"))
	r.writer, r.members = r.writes("si"), r.count("theseus.dev/cluster=si")
}

// midway is the upgrade with its first member being replaced.
func (r *roll) midway() *v1alpha1.Cluster {
	r.t.Helper()
	r.startOperator()
	r.made()
	return r.begun()
}

func (r *roll) begun() *v1alpha1.Cluster {
	r.t.Helper()
	r.upgradeTo("si", "1.1.0")
	return r.await("si", "replaces a member", inHand)
}

func inHand(c *v1alpha1.Cluster) bool {
	a := c.Status.Attempt
	if a == nil || a.To != "1.1.0" {
		return false
	}
	for _, st := range a.Steps {
		if st.Hand != nil && st.Hand.Incarnation != "" {
			return true
		}
	}
	return false
}

// arrives waits for the target, and wants each member to have been replaced once, but for others that somebody else replaced.
func (r *roll) arrives(more int) {
	t := r.t
	t.Helper()
	si := r.await("si", "runs 1.1.0", settledAt("1.1.0"))
	if a := si.Status.Attempt; a.Phase != v1alpha1.PhaseSucceeded {
		t.Errorf("the attempt is %s: %+v", a.Phase, a.Failure)
	}
	r.writer.check()
	pods := 0
	for _, n := range r.members.pods() {
		pods += n
	}
	if pods < 6 || pods > 6+more {
		t.Errorf("%d pods were there in all, want 6 to %d: %v", pods, 6+more, r.members.pods())
	}
	if most := r.members.awayAtOnce(); most < 1 || most > 1+more {
		t.Errorf("%d members were away at once, want one, and %d at most that somebody else took", most, more)
	}
}

// counted are the pods of members that there ever were, and how many members were away at once.
type counted struct {
	mu   sync.Mutex
	seen map[string]map[string]bool // UIDs of pods by name
	away map[string]bool            // members that were told to go and have not got ready since
	most int                        // of these at once
}

func (n *counted) note(pod *corev1.Pod) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.seen[pod.Name] == nil {
		n.seen[pod.Name] = map[string]bool{}
	}
	n.seen[pod.Name][string(pod.UID)] = true
	if pod.DeletionTimestamp != nil {
		n.away[pod.Name] = true
	} else if isReady(pod) == nil {
		delete(n.away, pod.Name)
	}
	n.most = max(n.most, len(n.away))
}

// count counts members, three or more, until the test ends.
func (c *cluster) count(labels string) *counted {
	c.t.Helper()
	n := &counted{seen: map[string]map[string]bool{}, away: map[string]bool{}}
	ctx, stop := context.WithCancel(context.WithoutCancel(c.t.Context()))
	var ended sync.WaitGroup
	c.t.Cleanup(func() { stop(); ended.Wait() })
	ended.Go(func() {
		for ctx.Err() == nil { // also while the API server is down
			members := metav1.ListOptions{LabelSelector: labels}
			list, err := c.CoreV1().Pods(c.namespace).List(ctx, members)
			if err != nil {
				continue
			}
			for i := range list.Items {
				n.note(&list.Items[i])
			}
			members.ResourceVersion = list.ResourceVersion
			w, err := c.CoreV1().Pods(c.namespace).Watch(ctx, members)
			if err != nil {
				continue
			}
			for e := range w.ResultChan() {
				if pod, ok := e.Object.(*corev1.Pod); ok {
					n.note(pod)
				}
			}
		}
	})
	c.eventually("all members are seen", func(context.Context) error {
		if seen := n.pods(); len(seen) < 3 {
			return fmt.Errorf("%v", seen)
		}
		return nil
	})
	return n
}

// pods is how many pods each member was.
func (n *counted) pods() map[string]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	pods := map[string]int{}
	for name, uids := range n.seen {
		pods[name] = len(uids)
	}
	return pods
}

func (n *counted) awayAtOnce() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.most
}

// twoOperators work at once, neither of which leads.
func (r *roll) twoOperators() {
	r.startOperator()
	r.startOperator()
	r.made()
	r.upgradeTo("si", "1.1.0")
	r.arrives(0)
}

// flakyAPI fails a tenth of the operator's requests, of which almost half were done, and others are refused in each way that a busy API server has.
func (r *roll) flakyAPI() {
	r.environment = []string{"KUBECONFIG=" + r.flaky()}
	r.startOperator()
	r.made()
	r.upgradeTo("si", "1.1.0")
	r.arrives(0)
}

// flaky is a kubeconfig for a server that stands before the real one.
func (r *roll) flaky() (path string) {
	t := r.t
	t.Helper()
	transport, err := rest.TransportFor(r.config)
	must(t, err)
	target, err := url.Parse(r.config.Host)
	must(t, err)
	proxy := &httputil.ReverseProxy{FlushInterval: -1, Transport: transport, Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target) }}
	dice, mu, failed := rand.New(rand.NewPCG(1, 2)), sync.Mutex{}, 0
	roll := func() float64 { mu.Lock(); defer mu.Unlock(); return dice.Float64() }
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		n := roll()
		if q.URL.Query().Get("watch") != "" || n > 0.1 {
			proxy.ServeHTTP(w, q)
			return
		}
		mu.Lock()
		failed++
		mu.Unlock()
		switch {
		case n < 0.04:
			proxy.ServeHTTP(httptest.NewRecorder(), q) // done, and nobody hears of it
		case n < 0.06:
		case n < 0.07:
			http.Error(w, "some fault", http.StatusInternalServerError)
			return
		case n < 0.08:
			http.Error(w, "too many", http.StatusTooManyRequests)
			return
		case n < 0.09 && (q.Method == http.MethodPut || q.Method == http.MethodPatch):
			http.Error(w, "somebody was faster", http.StatusConflict)
			return
		default:
			http.Error(w, "no time", http.StatusServiceUnavailable)
			return
		}
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		if failed < 10 {
			t.Errorf("only %d requests failed", failed)
		}
	})
	path = filepath.Join(t.TempDir(), "kubeconfig")
	must(t, os.WriteFile(path, []byte(fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: x, clusters: [{name: x, cluster: {server: %q}}], users: [{name: x}], contexts: [{name: x, context: {cluster: x, user: x}}]}`, server.URL)), 0o600))
	return path
}

// budgetForbids every eviction until somebody deletes it: what is waited for names it. Kubernetes evicts nothing that two budgets select.
func (r *roll) budgetForbids() {
	r.startOperator()
	r.made()
	release := r.handsOff("theseus.dev/cluster: si")
	r.upgradeTo("si", "1.1.0")
	r.await("si", "waits for the budget by its name", waitsFor("", "more than one PodDisruptionBudget selects, and these do: hands-off (3 of 3 healthy pods, 3 wanted)"))
	release()
	r.arrives(0)
}

// handsOff forbids evictions of three pods by a budget, until it is released.
func (c *cluster) handsOff(pods string) (release func()) {
	c.t.Helper()
	budgets := c.PolicyV1().PodDisruptionBudgets(c.namespace)
	c.apply(`{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: hands-off}, spec: {minAvailable: 3, selector: {matchLabels: {PODS}}}}`, "PODS", pods)
	c.eventually("the budget counts three", func(ctx context.Context) error {
		b, err := budgets.Get(ctx, "hands-off", metav1.GetOptions{})
		if err == nil && b.Status.CurrentHealthy != 3 {
			err = fmt.Errorf("it says %+v", b.Status)
		}
		return err
	})
	return func() { must(c.t, budgets.Delete(c.t.Context(), "hands-off", metav1.DeleteOptions{})) }
}

// webhookIsDown while members are replaced: edits are refused, and the attempt goes on.
func (r *roll) webhookIsDown() {
	r.midway()
	r.apply(`
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: down-NAMESPACE}
webhooks:
- name: clusters.theseus.dev
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Fail
  timeoutSeconds: 1
  rules: [{apiGroups: [theseus.dev], apiVersions: [v1alpha1], operations: [CREATE, UPDATE], resources: [clusters]}]
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAMESPACE}}
  clientConfig: {url: "https://127.0.0.1:9/"}
`, "NAMESPACE", r.namespace)
	r.eventually("an edit is refused", func(context.Context) error {
		if r.patch("si", `{"spec": {"upgrade": {"soak": "1s"}}, "metadata": {"labels": {"edited": "yes"}}}`) == nil {
			return errors.New("it is not")
		}
		return nil
	})
	r.arrives(0)
}

// imagesAreMirrored by an admission of pods: what members run is not what their template says.
func (r *roll) imagesAreMirrored() {
	t := r.t
	if theLab == nil {
		t.Skip("a cluster that is no lab may not reach this process")
	}
	for _, version := range []string{"1.0.0", "1.1.0"} {
		loadBehaving(t, "mirror", version, "")
	}
	server := httptest.NewTLSServer(http.HandlerFunc(mirror))
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	r.apply(`
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: mirror-NAMESPACE}
webhooks:
- name: pods.lab.test
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Fail
  timeoutSeconds: 5
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAMESPACE}}
  clientConfig: {url: "URL", caBundle: "CA"}
`, "NAMESPACE", r.namespace, "URL", server.URL, "CA", base64.StdEncoding.EncodeToString(ca))
	r.startOperator()
	r.made()
	r.upgradeTo("si", "1.1.0")
	r.arrives(0)
	p, err := r.pod("si-standin-0")
	must(t, err)
	if image := p.Spec.Containers[0].Image; image != "lab.test/mirror:1.1.0" {
		t.Errorf("the member runs %s: nothing was mirrored", image)
	}
}

// mirror answers with a patch of each container's image.
func mirror(w http.ResponseWriter, q *http.Request) {
	review, pod := admissionv1.AdmissionReview{}, corev1.Pod{}
	if err := errors.Join(json.NewDecoder(q.Body).Decode(&review), json.Unmarshal(review.Request.Object.Raw, &pod)); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var patch []map[string]any
	for i, c := range pod.Spec.Containers {
		patch = append(patch, map[string]any{"op": "replace", "path": fmt.Sprintf("/spec/containers/%d/image", i), "value": strings.Replace(c.Image, "/standin:", "/mirror:", 1)})
	}
	kind := admissionv1.PatchTypeJSONPatch
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true, PatchType: &kind}
	review.Response.Patch, _ = json.Marshal(patch)
	_ = json.NewEncoder(w).Encode(review)
}

// podIsDeleted by a person while another one is replaced: it comes back new, and is checked as any other.
func (r *roll) podIsDeleted() {
	si := r.midway()
	must(r.t, r.CoreV1().Pods(r.namespace).Delete(r.t.Context(), others(si)[0], metav1.DeleteOptions{}))
	r.arrives(1)
}

// quotaIsFull first for the pods that pull images, then for a member that went: no pod is there that could say so, and the wait does. When there is room
// again it goes on.
func (r *roll) quotaIsFull() {
	quota := func(pods string) {
		r.mustKubectl("{apiVersion: v1, kind: ResourceQuota, metadata: {name: full}, spec: {hard: {pods: '"+pods+"'}}}", "apply", "--filename=-")
		r.eventually("the quota counts", func(ctx context.Context) error {
			q, err := r.CoreV1().ResourceQuotas(r.namespace).Get(ctx, "full", metav1.GetOptions{})
			if err == nil && q.Status.Hard.Pods().String() != pods {
				err = fmt.Errorf("it allows %s pods", q.Status.Hard.Pods())
			}
			return err
		})
	}
	saysSo := func(of string) func(*v1alpha1.Cluster) bool {
		return func(c *v1alpha1.Cluster) bool {
			w := c.Status.Attempt.WaitingFor
			return w != nil && strings.HasPrefix(w.Object, of) && strings.Contains(w.Message, "exceeded quota")
		}
	}
	r.startOperator()
	r.made()
	quota("3")
	r.upgradeTo("si", "1.1.0")
	r.await("si", "cannot pull images", saysSo("program"))
	quota("4")
	r.await("si", "replaces a member", inHand)
	quota("2")
	r.await("si", "cannot make a member", saysSo("member"))
	quota("4")
	r.arrives(0)
}

// specIsEdited where no webhook refuses it: the attempt works from its own copy and says that an edit waits, which is planned afterwards.
func (r *roll) specIsEdited() {
	r.midway()
	r.edit("si", annotated)
	r.editComesLater()
}

// editIsDeferred where the webhook admits it, because the spec says so.
func (r *roll) editIsDeferred() {
	r.installChart()
	r.made()
	r.begun()
	r.refuses("si", annotated, "an attempt is under way")
	r.edit("si", `{"spec": {"upgrade": {"edits": "Defer"}}}`)
	r.edit("si", annotated)
	r.editComesLater()
}

const annotated = `{"spec": {"components": {"standin": {"pod": {"metadata": {"annotations": {"edited": "yes"}}}}}}}`

// editComesLater wants an edit of now to wait for the end of the upgrade, and members to have it then.
func (r *roll) editComesLater() {
	r.t.Helper()
	r.await("si", "says that an edit waits", func(c *v1alpha1.Cluster) bool {
		k := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionReconciling)
		return k != nil && strings.Contains(k.Message, "an edit waits") && c.Status.Attempt.Kind == v1alpha1.AttemptUpgrade
	})
	r.await("si", "is restarted for the edit", func(c *v1alpha1.Cluster) bool {
		return c.Status.Attempt.Kind == v1alpha1.AttemptRestart && settledAt("1.1.0")(c)
	})
	p, err := r.pod("si-standin-0")
	must(r.t, err)
	if p.Annotations["edited"] != "yes" {
		r.t.Errorf("the edit did not reach the members: %v", p.Annotations)
	}
	r.arrives(3)
}
