//go:build linux

package kubernetes

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/exec"

	"theseus.dev/e2e/kubernetes/lab"
)

// The tests of this file show that the lab is a real cluster, with what
// Theseus relies on.

func TestStatefulSetKeepsItsPodsUntilTheyAreDeleted(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.create("web.yaml")
	before := []*corev1.Pod{c.podReady("web-0"), c.podReady("web-1"), c.podReady("web-2")}
	c.mustExec("web-0", "write", "/data/kept", "by web-0")

	update := c.changeStatefulSet("web", "v2")
	for _, old := range before {
		now, err := c.pod(old.Name)
		must(t, err)
		if now.UID != old.UID || now.DeletionTimestamp != nil {
			t.Errorf("%s was replaced, although nobody deleted it", old.Name)
		}
	}
	must(t, c.CoreV1().Pods(c.namespace).Delete(t.Context(), "web-0", metav1.DeleteOptions{}))
	after := c.podReady("web-0", before[0])
	if got := after.Labels[appsv1.ControllerRevisionHashLabelKey]; got != update {
		t.Errorf("the new web-0 has revision %s, want %s", got, update)
	}
	if got := c.mustExec("web-0", "cat", "/data/kept"); got != "by web-0" {
		t.Errorf("the volume of the new web-0 holds %q, want %q", got, "by web-0")
	}
}

// changeStatefulSet changes the pods of a StatefulSet, and returns the revision that
// new ones will have.
func (c *cluster) changeStatefulSet(name, version string) string {
	c.t.Helper()
	sets := c.AppsV1().StatefulSets(c.namespace)
	patch := fmt.Sprintf(`{"spec":{"template":{"spec":{"containers":[{"name":%q,"env":[{"name":"VERSION","value":%q}]}]}}}}`, name, version)
	set, err := sets.Patch(c.t.Context(), name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
	must(c.t, err)
	c.eventually("the controller's answer", func(ctx context.Context) error {
		now, err := sets.Get(ctx, name, metav1.GetOptions{})
		if err == nil && now.Status.ObservedGeneration < set.Generation {
			err = errors.New("the change was not seen yet")
		}
		set = now
		return err
	})
	return set.Status.UpdateRevision
}

func TestVolumeIsRemovedWithItsClaim(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.create("web.yaml")
	c.podReady("web-0")
	claims := c.CoreV1().PersistentVolumeClaims(c.namespace)
	claim, err := claims.Get(t.Context(), "data-web-0", metav1.GetOptions{})
	must(t, err)
	if theLab != nil && *claim.Spec.StorageClassName != lab.StorageClass {
		t.Errorf("class %s, want the default %s", *claim.Spec.StorageClassName, lab.StorageClass)
	}
	must(t, c.AppsV1().StatefulSets(c.namespace).Delete(t.Context(), "web", metav1.DeleteOptions{}))
	must(t, claims.Delete(t.Context(), claim.Name, metav1.DeleteOptions{}))
	c.eventually("the end of the volume", func(ctx context.Context) error {
		_, err := c.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
		if err == nil {
			err = errors.New("it is there")
		} else if apierrors.IsNotFound(err) {
			err = nil
		}
		return err
	})
}

func TestNamesAndAddressesFromPodAndHost(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.create("web.yaml")
	c.podReady("web-0")
	web1 := c.podReady("web-1")
	c.podReady("web-2")
	service, err := c.CoreV1().Services(c.namespace).Get(t.Context(), "web-any", metav1.GetOptions{})
	must(t, err)
	name := "web-1.web." + c.namespace + ".svc.cluster.local"

	// Eventually, for DNS and kube-proxy hear of a ready pod after this test does.
	ways := map[string]func() (string, error){
		"name from a pod":          func() (string, error) { return c.exec("web-0", "resolve", name) },
		"short name from a pod":    func() (string, error) { return c.exec("web-0", "resolve", "web-1.web") },
		"pod from the host":        func() (string, error) { return fetch("http://" + web1.Status.PodIP + ":8080/") },
		"pod from a pod":           func() (string, error) { return c.exec("web-0", "get", "http://web-1.web:8080/") },
		"cluster IP from the host": func() (string, error) { return fetch("http://" + service.Spec.ClusterIP) },
		"cluster IP from a pod":    func() (string, error) { return c.exec("web-0", "get", "http://web-any/") },
	}
	if theLab != nil { // of another cluster the address of its DNS is not known
		ways["name from the host"] = func() (string, error) { return resolve(t.Context(), name) }
	}
	for what, get := range ways {
		expect := "web-"
		if strings.Contains(what, "name") {
			expect = web1.Status.PodIP
		}
		c.eventually(what, func(context.Context) error { return want(expect, get) })
	}
}

func want(part string, get func() (string, error)) error {
	got, err := get()
	if err == nil && !strings.Contains(got, part) {
		err = fmt.Errorf("got %q, want it to contain %q", got, part)
	}
	return err
}

func fetch(url string) (string, error) {
	answer, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	return string(b), err
}

// resolve asks the lab's DNS; the machine's own does not know the cluster.
func resolve(ctx context.Context, name string) (string, error) {
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(lab.HostIP, "53"))
	}}
	addresses, err := resolver.LookupHost(ctx, name)
	return strings.Join(addresses, " "), err
}

func TestDeploymentRolls(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.create("front.yaml")
	deployments := c.AppsV1().Deployments(c.namespace)
	c.rolledOut("front")
	patch := `{"spec":{"template":{"spec":{"containers":[{"name":"front","env":[{"name":"VERSION","value":"v2"}]}]}}}}`
	_, err := deployments.Patch(t.Context(), "front", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
	must(t, err)
	c.rolledOut("front")
	service, err := c.CoreV1().Services(c.namespace).Get(t.Context(), "front", metav1.GetOptions{})
	must(t, err)
	c.eventually("an answer of v2", func(context.Context) error {
		return want(" v2", func() (string, error) { return fetch("http://" + service.Spec.ClusterIP) })
	})
}

// rolledOut waits until all pods of a Deployment are new and ready.
func (c *cluster) rolledOut(name string) {
	c.t.Helper()
	c.eventually("rollout of "+name, func(ctx context.Context) error {
		d, err := c.AppsV1().Deployments(c.namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		s, all := d.Status, *d.Spec.Replicas
		if s.ObservedGeneration < d.Generation || s.UpdatedReplicas != all || s.AvailableReplicas != all || s.Replicas != all {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}

func TestJobCompletes(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.create("once.yaml")
	c.eventually("the job", func(ctx context.Context) error {
		job, err := c.BatchV1().Jobs(c.namespace).Get(ctx, "once", metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, condition := range job.Status.Conditions {
			if condition.Type == batchv1.JobComplete && condition.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("%+v", job.Status)
	})
}

func TestExecAndLogs(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.create("single.yaml")
	c.podReady("single")
	logs, err := c.CoreV1().Pods(c.namespace).GetLogs("single", &corev1.PodLogOptions{}).DoRaw(t.Context())
	must(t, err)
	if !strings.Contains(string(logs), "serving as single") {
		t.Errorf("logs %q, want them to say whom testpod serves as", logs)
	}
	var ended exec.CodeExitError
	if _, err := c.exec("single", "fail", "7"); !errors.As(err, &ended) || ended.Code != 7 {
		t.Errorf("exec of what ends with 7: %v", err)
	}
}

func TestMemoryLimitIsSet(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.create("single.yaml")
	c.podReady("single")
	limit, err := c.exec("single", "cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
	if err != nil { // cgroups of version 2
		limit = c.mustExec("single", "cat", "/sys/fs/cgroup/memory.max")
	}
	if got, want := strings.TrimSpace(limit), fmt.Sprint(64<<20); got != want {
		t.Errorf("memory limit %s, want %s", got, want)
	}
}

func TestEvictionIsRefusedByBudget(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.create("single.yaml")
	c.podReady("single")
	budgets := c.PolicyV1().PodDisruptionBudgets(c.namespace)
	c.eventually("the budget", func(ctx context.Context) error {
		b, err := budgets.Get(ctx, "single", metav1.GetOptions{})
		if err == nil && b.Status.CurrentHealthy != 1 {
			err = fmt.Errorf("%+v", b.Status)
		}
		return err
	})
	evict := func() error {
		return c.PolicyV1().Evictions(c.namespace).Evict(t.Context(),
			&policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "single", Namespace: c.namespace}})
	}
	if err := evict(); !apierrors.IsTooManyRequests(err) {
		t.Fatalf("eviction: %v, want it refused", err)
	}
	must(t, budgets.Delete(t.Context(), "single", metav1.DeleteOptions{}))
	c.eventually("the eviction", func(context.Context) error { return evict() })
}

func TestCustomResourceIsRefusedByItsRule(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.create("crd.yaml")
	const boat = "apiVersion: lab.test/v1\nkind: Boat\nmetadata: {name: %s}\nspec: {planks: %d}\n"
	c.eventually("a good boat", func(context.Context) error {
		_, err := c.createObject(fmt.Sprintf(boat, "good", 3))
		return err
	})
	_, err := c.createObject(fmt.Sprintf(boat, "bad", 2))
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "a boat needs more planks") {
		t.Errorf("a bad boat: %v, want it refused with the rule's message", err)
	}
}

func TestWebhookOnTheHostIsCalled(t *testing.T) {
	t.Parallel()
	if theLab == nil {
		t.Skip("a cluster that is no lab may not reach this process")
	}
	c := newCluster(t)
	server := httptest.NewTLSServer(http.HandlerFunc(refuseBad))
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	c.create("webhook.yaml", "NAMESPACE", c.namespace, "URL", server.URL, "CA", base64.StdEncoding.EncodeToString(ca))

	c.eventually("the refusal of a bad ConfigMap", func(ctx context.Context) error {
		err := c.createConfigMap(ctx, "bad-")
		if err == nil {
			return errors.New("it was created")
		}
		if strings.Contains(err.Error(), "bad is refused here") {
			return nil
		}
		return err
	})
	must(t, c.createConfigMap(t.Context(), "good-"))
}

func (c *cluster) createConfigMap(ctx context.Context, prefix string) error {
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix}}
	_, err := c.CoreV1().ConfigMaps(c.namespace).Create(ctx, m, metav1.CreateOptions{})
	return err
}

func refuseBad(w http.ResponseWriter, r *http.Request) {
	review := admissionv1.AdmissionReview{}
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	review.Response = &admissionv1.AdmissionResponse{
		UID:     review.Request.UID,
		Allowed: !strings.Contains(string(review.Request.Object.Raw), `"bad-`),
		Result:  &metav1.Status{Message: "bad is refused here"},
	}
	_ = json.NewEncoder(w).Encode(review)
}
