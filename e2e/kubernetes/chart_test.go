//go:build linux

package kubernetes

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/systems"
)

// helm runs the helm that "make bin/helm" built.
func (c *cluster) helm(args ...string) {
	c.t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(c.t.Context()), filepath.Join(root(c.t), "bin", "helm"), args...)
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+c.t.TempDir(), "HELM_CONFIG_HOME="+c.t.TempDir(), "HELM_DATA_HOME="+c.t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("helm %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// installChart installs the chart for the namespace of the test.
func (c *cluster) installChart() {
	c.t.Helper()
	c.installCRDs()
	c.install("--skip-crds", "--set", "watchNamespaces={"+c.namespace+"}")
}

// install installs the chart until the test ends. It returns the chart, and with which flags it is upgraded and stays as it is.
func (c *cluster) install(flags ...string) (release []string) {
	c.t.Helper()
	release = slices.Concat([]string{"theseus", filepath.Join(root(c.t), "charts", "theseus"), "--namespace", c.namespace, "--set", "image.repository=lab.test/theseus,image.tag=1", "--wait", "--timeout", "6m"}, flags)
	c.helm(append([]string{"install"}, release...)...)
	// What lies outside of the namespace goes too, and nobody drives the Clusters of the next test.
	c.t.Cleanup(func() { c.helm("uninstall", "theseus", "--namespace", c.namespace, "--wait") })
	// A pod that is ready is not yet one that every node's service leads to.
	c.eventually("the webhook answers", c.refusesNowhere)
	return release
}

// refusesNowhere returns an error where the webhook does not refuse what it should.
func (c *cluster) refusesNowhere(ctx context.Context) error {
	_, err := c.any.Resource(clusters).Namespace(c.namespace).Create(ctx, nowhere(), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err == nil || !strings.Contains(err.Error(), "nowhere") {
		return fmt.Errorf("it does not refuse what it should: %w", err)
	}
	return nil
}

// nowhere is a Cluster that the webhook refuses.
func nowhere() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": v1alpha1.GroupVersion.String(), "kind": v1alpha1.KindCluster,
		"metadata": map[string]any{"name": "some"}, "spec": map[string]any{"system": "nowhere", "version": "1"}}}
}

// TestChart installs the chart as a user does who has nothing yet, for all namespaces and with two replicas: wrong edits are refused with a message, right
// ones are followed, also when the replica that leads is killed meanwhile, and a new Theseus restarts no member.
func TestChart(t *testing.T) {
	if theLab == nil {
		t.Skip("only in a lab all Clusters, and the processes of pods, are ours to kill")
	}
	ops := newCluster(t)
	r := newRoll(t)
	ops.forgetCRDs()
	release := ops.install("--set", "replicas=2")
	ops.eachReplicaRefuses()

	r.mustKubectl(strings.ReplaceAll(standinCluster, "VERSION", "1.0.0"), "apply", "--filename=-")
	r.watched()
	for _, wrong := range []struct{ what, want string }{
		{`{"spec": {"version": "9.9.9"}}`, "is not listed"},
		{`{"spec": {"version": "0.9.0"}}`, "spec.version"},
		{`{"spec": {"system": "etcd"}}`, "cannot change"},
		{`{"spec": {"version": "1.1.0", "options": {"control": "/x"}}}`, "together with spec.version"},
		{`{"spec": {"components": {"standin": {"replicas": 5}}}}`, "cannot change yet"},
	} {
		r.refuses("si", wrong.what, wrong.want)
	}
	r.mustKubectl("", "patch", "cluster.theseus.dev", "si", "--type=merge", "--patch", `{"spec": {"version": "1.1.0"}}`)
	r.await("si", "replaces a member", inHand)
	killed := ops.killLeader()
	r.arrives(0)
	if now := ops.leader(); now == killed {
		t.Errorf("%s leads, which was killed", now)
	}
	r.refuses("si", `{"spec": {"version": "1.0.0"}}`, "downgrade")

	ops.oneMeasures(r.namespace)
	r.mends("1.1.0")
	before := r.podUIDs()
	r.shipsAnother()
	ops.helm(append([]string{"upgrade", "--set", "podAnnotations.newer=yes"}, release...)...)
	r.patchAnnotation("si", "theseus.dev/requests", `{"id": "p", "kind": "Pause"}`)
	si := r.await("si", "has its answer", func(si *v1alpha1.Cluster) bool { return len(si.Status.Requests) > 0 })
	if a := si.Status.Requests[0]; a.Accepted || !strings.Contains(a.Message, "no attempt") {
		t.Errorf("a pause without an attempt was answered with %+v", a)
	}
	if after := r.podUIDs(); before != after {
		t.Errorf("a new Theseus replaced members: before %s, after %s", before, after)
	}
}

// TestCertificateIsRenewed puts a certificate in place that is old, and that another authority signed: it serves on, is trusted, and has a successor that waits to be heard of.
func TestCertificateIsRenewed(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	loadTheseus(t)
	c.installChart()
	const service = "theseus-webhook"
	within := service + "." + c.namespace
	files := certificate(t, within+".svc", within+".svc.cluster.local", within, service)
	secret, err := c.CoreV1().Secrets(c.namespace).Get(t.Context(), service, metav1.GetOptions{})
	must(t, err)
	secret.Data = files
	_, err = c.CoreV1().Secrets(c.namespace).Update(t.Context(), secret, metav1.UpdateOptions{})
	must(t, err)
	c.eventually("both are trusted, and the old one serves", func(ctx context.Context) error {
		configuration, err := c.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(ctx, c.namespace+"-"+service, metav1.GetOptions{})
		if err != nil {
			return err
		}
		bundle := configuration.Webhooks[0].ClientConfig.CABundle
		if n := bytes.Count(bundle, []byte("BEGIN CERTIFICATE")); !bytes.HasPrefix(bundle, files["ca.crt"]) || n != 2 {
			return fmt.Errorf("%d are trusted: %s", n, bundle)
		}
		if secret, err = c.CoreV1().Secrets(c.namespace).Get(ctx, service, metav1.GetOptions{}); err != nil {
			return err
		}
		return c.refusesNowhere(ctx)
	})
	if !bytes.Equal(secret.Data["tls.crt"], files["tls.crt"]) || len(secret.Data["ca.key"]) == 0 {
		t.Errorf("the secret holds %d keys, and the certificate is another: %s", len(secret.Data), secret.Data["tls.crt"])
	}
}

// forgetCRDs takes the kinds away, with all objects of them, so that a chart brings its own.
func (c *cluster) forgetCRDs() {
	c.t.Helper()
	for _, plural := range []string{"clusters", "systems", "backups", "restores"} {
		name := plural + "." + v1alpha1.Group
		c.eventually(name+" is gone", func(ctx context.Context) error {
			err := c.any.Resource(crds).Delete(ctx, name, metav1.DeleteOptions{})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return cmp.Or(err, errors.New("it is going"))
		})
	}
}

// operators are the pods of the release.
func (c *cluster) operators() []corev1.Pod {
	c.t.Helper()
	pods, err := c.CoreV1().Pods(c.namespace).List(c.t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/instance=theseus"})
	must(c.t, err)
	return pods.Items
}

// eachReplicaRefuses calls each of two replicas as the API server calls the Service, and trusts what that trusts.
func (c *cluster) eachReplicaRefuses() {
	t := c.t
	t.Helper()
	configuration, err := c.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(t.Context(), c.namespace+"-theseus-webhook", metav1.GetOptions{})
	must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(configuration.Webhooks[0].ClientConfig.CABundle)
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "theseus-webhook." + c.namespace + ".svc"}}}
	text, err := json.Marshal(nowhere())
	must(t, err)
	text, err = json.Marshal(admissionv1.AdmissionReview{TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{UID: "some", Operation: admissionv1.Create, Namespace: c.namespace, Object: runtime.RawExtension{Raw: text}}})
	must(t, err)
	pods := c.operators()
	if len(pods) != 2 {
		t.Errorf("there are %d replicas, want 2", len(pods))
	}
	for _, pod := range pods {
		review := admissionv1.AdmissionReview{}
		reply, err := client.Post("https://"+pod.Status.PodIP+":9443/validate-cluster", "application/json", bytes.NewReader(text))
		must(t, err)
		must(t, errors.Join(json.NewDecoder(reply.Body).Decode(&review), reply.Body.Close()))
		if a := review.Response; a.Allowed || !strings.Contains(a.Result.Message, "nowhere") {
			t.Errorf("%s does not refuse what it should: %+v", pod.Name, a)
		}
	}
}

// leader is the pod that drives all Clusters.
func (c *cluster) leader() (pod string) {
	c.t.Helper()
	lease, err := c.CoordinationV1().Leases(c.namespace).Get(c.t.Context(), "theseus.dev", metav1.GetOptions{})
	must(c.t, err)
	pod, _, _ = strings.Cut(*lease.Spec.HolderIdentity, "_")
	return pod
}

// oneMeasures wants the replica that leads, and no other, to say how many members of si are ready.
func (c *cluster) oneMeasures(namespace string) {
	c.t.Helper()
	c.eventually("the leader has metrics of si", func(ctx context.Context) error {
		var say []string
		for _, pod := range c.operators() {
			q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+pod.Status.PodIP+":8080/metrics", nil)
			must(c.t, err)
			reply, err := http.DefaultClient.Do(q)
			if err != nil {
				return err // it may have just begun
			}
			text, err := io.ReadAll(reply.Body)
			must(c.t, errors.Join(err, reply.Body.Close()))
			if strings.Contains(string(text), fmt.Sprintf("theseus_cluster_members_ready{cluster=\"si\",namespace=%q} 3\n", namespace)) {
				say = append(say, pod.Name)
			}
		}
		if leader := c.leader(); len(say) != 1 || say[0] != leader {
			return fmt.Errorf("that 3 members are ready say %q, and %s leads", say, leader)
		}
		return nil
	})
}

// killLeader kills the process of the pod that leads, so that it says nothing more to anybody, and deletes the pod, so that it is not started again.
func (c *cluster) killLeader() (pod string) {
	t := c.t
	t.Helper()
	pod = c.leader()
	environments, err := filepath.Glob("/proc/[0-9]*/environ")
	must(t, err)
	killed := 0
	for _, file := range environments {
		if text, err := os.ReadFile(file); err != nil || !slices.Contains(strings.Split(string(text), "\x00"), "POD_NAME="+pod) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		must(t, err)
		must(t, syscall.Kill(pid, syscall.SIGKILL))
		killed++
	}
	if killed != 1 {
		t.Errorf("%s had %d processes, want one", pod, killed)
	}
	now := int64(0)
	must(t, c.CoreV1().Pods(c.namespace).Delete(t.Context(), pod, metav1.DeleteOptions{GracePeriodSeconds: &now}))
	return pod
}

// mends has what somebody deletes and edits beside the members of si made again, and none of these replaced.
func (c *cluster) mends(version string) {
	c.t.Helper()
	ctx, services, budgets, sets := c.t.Context(), c.CoreV1().Services(c.namespace), c.PolicyV1().PodDisruptionBudgets(c.namespace), c.AppsV1().StatefulSets(c.namespace)
	before := c.podUIDs()
	image := func(ctx context.Context) (string, error) {
		set, err := sets.Get(ctx, "si-standin", metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		return set.Spec.Template.Spec.Containers[0].Image, nil
	}
	was, err := image(ctx)
	must(c.t, err)
	edit := []byte(`{"spec": {"template": {"spec": {"containers": [{"name": "standin", "image": "lab.test/theirs:1"}]}}}}`)
	_, err = sets.Patch(ctx, "si-standin", types.StrategicMergePatchType, edit, metav1.PatchOptions{})
	must(c.t, errors.Join(err, services.Delete(ctx, "si-standin", metav1.DeleteOptions{}), services.Delete(ctx, "si-standin-client", metav1.DeleteOptions{}),
		budgets.Delete(ctx, "si-standin", metav1.DeleteOptions{})))
	c.eventually("all is there again", func(ctx context.Context) error {
		_, headless := services.Get(ctx, "si-standin", metav1.GetOptions{})
		_, clients := services.Get(ctx, "si-standin-client", metav1.GetOptions{})
		_, budget := budgets.Get(ctx, "si-standin", metav1.GetOptions{})
		now, err := image(ctx)
		if err == nil && now != was {
			err = fmt.Errorf("the template has the image %s, want %s", now, was)
		}
		return errors.Join(headless, clients, budget, err)
	})
	c.await("si", "says so, and rests", func(si *v1alpha1.Cluster) bool {
		return slices.ContainsFunc(si.Status.Events, func(e v1alpha1.Event) bool { return e.Reason == "Mended" }) && settledAt(version)(si)
	})
	if after := c.podUIDs(); before != after {
		c.t.Errorf("members were replaced: before %s, after %s", before, after)
	}
}

// shipsAnother lets the System of the stand-in be another one, of which another pod template follows, as one that a new release ships: an object hides the shipped one.
func (c *cluster) shipsAnother() {
	c.t.Helper()
	text, err := systems.Load("standin")
	must(c.t, err)
	c.apply(string(text), "grace: 10s", "grace: 12s")
}

// podUIDs are the members' pods.
func (c *cluster) podUIDs() string {
	c.t.Helper()
	pods, err := c.CoreV1().Pods(c.namespace).List(c.t.Context(), metav1.ListOptions{LabelSelector: "theseus.dev/cluster"})
	must(c.t, err)
	var uids []string
	for _, p := range pods.Items {
		uids = append(uids, p.Name+" "+string(p.UID))
	}
	return strings.Join(uids, ", ")
}
