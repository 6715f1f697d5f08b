// Package charts_test renders the chart with helm itself and looks at what would be applied.
package charts_test

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cel.dev/cel-go/cel"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"theseus.dev/operator/admission"
)

const helm = "../bin/helm"

// render gives the objects of the chart with these values, each read strictly as what it says it is.
func render(t *testing.T, set ...string) []client.Object {
	t.Helper()
	if _, err := os.Stat(helm); err != nil {
		t.Fatalf("%v: run \"make bin/helm\"", err)
	}
	args := []string{"template", "theseus", "theseus", "--namespace", "ops", "--set", "image.repository=registry.test/theseus"}
	for _, s := range set {
		args = append(args, "--set", s)
	}
	out, err := exec.CommandContext(t.Context(), helm, args...).Output()
	if err != nil {
		exit := &exec.ExitError{}
		errors.As(err, &exit)
		t.Fatalf("helm %q: %v\n%s", args, err, exit.Stderr)
	}
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	var objects []client.Object
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(out)))
	for {
		document, err := reader.Read()
		if err != nil {
			break
		}
		object, kind, err := decoder.Decode(document, nil, nil)
		if runtime.IsNotRegisteredError(err) && strings.Contains(string(document), "kind: ServiceMonitor") {
			object = &unstructured.Unstructured{} // a kind of Prometheus' operator
			err = yaml.Unmarshal(document, &object.(*unstructured.Unstructured).Object)
		}
		if err != nil {
			t.Fatalf("%v: %v\n%s", kind, err, document)
		}
		objects = append(objects, object.(client.Object))
	}
	if len(objects) < 5 {
		t.Fatalf("got %d objects", len(objects))
	}
	return objects
}

// only gives the objects of a type.
func only[T client.Object](objects []client.Object) []T {
	var list []T
	for _, o := range objects {
		if typed, ok := o.(T); ok {
			list = append(list, typed)
		}
	}
	return list
}

func one[T client.Object](t *testing.T, objects []client.Object) T {
	t.Helper()
	list := only[T](objects)
	if len(list) != 1 {
		t.Fatalf("got %d of %T, want one", len(list), *new(T))
	}
	return list[0]
}

// variants are values that people give.
var variants = map[string][]string{
	"default":    nil,
	"namespaces": {"watchNamespaces={a,b}", "replicas=2"},
	"secrets":    {"rbac.secretNames={s3,gcs}"},
	"copies":     {"rbac.secretNames={s3}", "rbac.copySecrets=true"},
	"no webhook": {"webhook.enabled=false"},
	"much": {"replicas=2", "metrics.serviceMonitor.enabled=true", "metrics.dashboard.enabled=true", "metrics.serviceMonitor.labels.team=x", "image.digest=sha256:1", "image.pullSecrets[0].name=r", "podLabels.a=b",
		"podAnnotations.a=b", "nodeSelector.a=b", "tolerations[0].operator=Exists", "priorityClassName=p", "extraArgs={--v}", "extraEnv[0].name=A", "serviceAccount.annotations.a=b",
		"webhook.namespaceSelector.matchLabels.a=b", "fullnameOverride=other"},
}

func TestRights(t *testing.T) {
	for name, set := range variants {
		t.Run(name, func(t *testing.T) {
			objects := render(t, set...)
			rules := map[string][]rbacv1.PolicyRule{}
			for _, r := range only[*rbacv1.Role](objects) {
				rules[r.Namespace+"/"+r.Name] = r.Rules
			}
			for _, r := range only[*rbacv1.ClusterRole](objects) {
				rules[r.Name] = r.Rules
			}
			for role, list := range rules {
				for _, rule := range list {
					for _, wrong := range wrongRule(rule) {
						t.Errorf("%s: %s: %v", role, wrong, rule)
					}
				}
			}
		})
	}
}

// wrongRule says what is too much in a rule.
func wrongRule(rule rbacv1.PolicyRule) []string {
	var wrong []string
	for _, list := range [][]string{rule.Verbs, rule.Resources, rule.APIGroups} {
		if slices.Contains(list, "*") || len(list) == 0 {
			wrong = append(wrong, "a wildcard, or nothing")
		}
	}
	for _, verb := range rule.Verbs {
		if !slices.Contains([]string{"get", "list", "watch", "create", "update", "patch", "delete"}, verb) {
			wrong = append(wrong, "the verb "+verb)
		}
	}
	for _, resource := range rule.Resources {
		named := len(rule.ResourceNames) > 0 && !slices.Contains(rule.ResourceNames, "")
		switch resource {
		case "secrets":
			if slices.Equal(rule.Verbs, []string{"create"}) {
				break // cannot be limited to names; only where it was asked for, see TestCopies
			}
			if !named || slices.ContainsFunc(rule.Verbs, func(v string) bool { return v != "get" && v != "update" }) {
				wrong = append(wrong, "secrets that are not named, or more than reading and updating them")
			}
		case "validatingwebhookconfigurations":
			if !named || slices.Contains(rule.Verbs, "delete") {
				wrong = append(wrong, "webhook configurations of others")
			}
		case "roles", "rolebindings", "clusterroles", "clusterrolebindings", "serviceaccounts", "serviceaccounts/token", "nodes", "namespaces", "customresourcedefinitions", "pods/ephemeralcontainers":
			wrong = append(wrong, resource)
		}
	}
	return wrong
}

func TestWrongRule(t *testing.T) {
	for _, rule := range []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"*"}},
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}},
		{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"a"}, Verbs: []string{"list"}},
		{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"get"}},
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"impersonate"}},
	} {
		if len(wrongRule(rule)) == 0 {
			t.Errorf("nothing is wrong with %v", rule)
		}
	}
}

// TestCopies shows that secrets can be made only where that is asked for.
func TestCopies(t *testing.T) {
	for asked, set := range map[bool][]string{false: {"rbac.secretNames={s3}"}, true: {"rbac.copySecrets=true"}} {
		got := slices.ContainsFunc(one[*rbacv1.ClusterRole](t, render(t, set...)).Rules, func(r rbacv1.PolicyRule) bool {
			return slices.Contains(r.Resources, "secrets") && slices.Contains(r.Verbs, "create")
		})
		if got != asked {
			t.Errorf("%q: may make secrets: %v, want %v", set, got, asked)
		}
	}
}

// TestNamespaces shows that with namespaces named there is next to no right outside of them.
func TestNamespaces(t *testing.T) {
	objects := render(t, "watchNamespaces={a,b}", "rbac.secretNames={s3}")
	cluster := one[*rbacv1.ClusterRole](t, objects)
	for _, rule := range cluster.Rules {
		if r := strings.Join(rule.Resources, ","); r != "systems" && r != "validatingwebhookconfigurations" {
			t.Errorf("the right to %s in the whole cluster", r)
		}
	}
	whole := one[*rbacv1.ClusterRole](t, render(t, "rbac.secretNames={s3}"))
	for _, namespace := range []string{"a", "b"} {
		i := slices.IndexFunc(only[*rbacv1.Role](objects), func(r *rbacv1.Role) bool { return r.Namespace == namespace })
		if i < 0 {
			t.Fatalf("no role in namespace %s", namespace)
		}
		if got, want := len(only[*rbacv1.Role](objects)[i].Rules)+len(cluster.Rules), len(whole.Rules); got != want {
			t.Errorf("namespace %s: %d rules, and %d for the whole cluster", namespace, got, want)
		}
	}
	for _, b := range only[*rbacv1.RoleBinding](objects) {
		if len(b.Subjects) != 1 || b.Subjects[0].Name != "theseus" || b.Subjects[0].Namespace != "ops" {
			t.Errorf("role binding %s/%s is of %v", b.Namespace, b.Name, b.Subjects)
		}
	}
	args := one[*appsv1.Deployment](t, objects).Spec.Template.Spec.Containers[0].Args
	if !slices.Contains(args, "--namespace=a") || !slices.Contains(args, "--namespace=b") {
		t.Errorf("the operator watches other namespaces: %q", args)
	}
	for _, w := range one[*admissionregistrationv1.ValidatingWebhookConfiguration](t, objects).Webhooks {
		if systems := strings.HasPrefix(w.Name, "systems"); systems != (w.NamespaceSelector == nil) {
			t.Errorf("webhook %s has the namespaces %v", w.Name, w.NamespaceSelector)
		}
	}
}

// TestWebhook compares the chart with what the operator makes of its flags.
func TestWebhook(t *testing.T) {
	objects := render(t)
	args := one[*appsv1.Deployment](t, objects).Spec.Template.Spec.Containers[0].Args
	i := slices.IndexFunc(args, func(a string) bool { return strings.HasPrefix(a, "--webhook-service=") })
	if i < 0 {
		t.Fatalf("no service in %q", args)
	}
	service := strings.TrimPrefix(args[i], "--webhook-service=")
	c := admission.Certificates{Namespace: "ops", Service: service}
	secret, configuration := c.Names()
	if got := one[*corev1.Secret](t, objects); got.Name != secret || len(got.Data) > 0 {
		t.Errorf("secret %s, want %s, empty", got.Name, secret)
	}
	got := one[*admissionregistrationv1.ValidatingWebhookConfiguration](t, objects)
	if got.Name != configuration {
		t.Errorf("configuration %s, want %s", got.Name, configuration)
	}
	if !slices.ContainsFunc(only[*corev1.Service](objects), func(s *corev1.Service) bool { return s.Name == service }) {
		t.Errorf("there is no service %s", service)
	}
	paths := map[string]string{"clusters": admission.PathCluster, "systems": admission.PathSystem, "backups": admission.PathBackup, "restores": admission.PathRestore}
	for _, w := range got.Webhooks {
		resource := w.Rules[0].Resources[0]
		if path := *w.ClientConfig.Service.Path; path != paths[resource] || w.ClientConfig.Service.Name != service {
			t.Errorf("%s are sent to %s%s", resource, w.ClientConfig.Service.Name, path)
		}
		delete(paths, resource)
		if *w.FailurePolicy != admissionregistrationv1.Fail || *w.TimeoutSeconds != 5 {
			t.Errorf("%s: %s after %d s", resource, *w.FailurePolicy, *w.TimeoutSeconds)
		}
	}
	if len(paths) > 0 {
		t.Errorf("nobody is asked about %v", paths)
	}
	for _, o := range render(t, "webhook.enabled=false") {
		switch o.(type) {
		case *corev1.Secret, *admissionregistrationv1.ValidatingWebhookConfiguration:
			t.Errorf("without a webhook there is %T %s", o, o.GetName())
		}
	}
}

// TestMatchConditions evaluates when the API server asks at all.
func TestMatchConditions(t *testing.T) {
	environment, err := cel.NewEnv(cel.Variable("object", cel.DynType), cel.Variable("oldObject", cel.DynType), cel.Variable("request", cel.DynType))
	if err != nil {
		t.Fatal(err)
	}
	request := func(operation, user string) map[string]any {
		return map[string]any{"operation": operation, "userInfo": map[string]any{"username": user}}
	}
	object := func(version, label string) map[string]any {
		return map[string]any{"metadata": map[string]any{"labels": map[string]any{"a": label}}, "spec": map[string]any{"version": version}}
	}
	const operator, person = "system:serviceaccount:ops:theseus", "jo"
	for _, w := range one[*admissionregistrationv1.ValidatingWebhookConfiguration](t, render(t)).Webhooks {
		asked := func(request map[string]any, old any, object map[string]any) bool {
			for _, c := range w.MatchConditions {
				ast, issues := environment.Compile(c.Expression)
				if issues.Err() != nil {
					t.Fatal(issues.Err())
				}
				program, err := environment.Program(ast)
				if err != nil {
					t.Fatal(err)
				}
				out, _, err := program.Eval(map[string]any{"request": request, "oldObject": old, "object": object})
				if err != nil {
					t.Fatalf("%s: %v", c.Expression, err)
				}
				if out.Value() != true {
					return false
				}
			}
			return true
		}
		clusters := w.Name == "clusters.theseus.dev"
		if !asked(request("CREATE", person), nil, object("1", "")) || asked(request("CREATE", operator), nil, object("1", "")) {
			t.Errorf("%s: the operator is asked about itself, or nobody about people", w.Name)
		}
		if !asked(request("UPDATE", person), object("1", ""), object("2", "")) {
			t.Errorf("%s: nobody is asked about an edit", w.Name)
		}
		if got := asked(request("UPDATE", person), object("1", ""), object("1", "x")); got == clusters {
			t.Errorf("%s: asked about a label: %t", w.Name, got)
		}
	}
}

func TestPods(t *testing.T) {
	for name, set := range variants {
		t.Run(name, func(t *testing.T) {
			objects := render(t, set...)
			d := one[*appsv1.Deployment](t, objects)
			pod := d.Spec.Template.Spec
			c := pod.Containers[0]
			if !*pod.SecurityContext.RunAsNonRoot || !*c.SecurityContext.ReadOnlyRootFilesystem || *c.SecurityContext.AllowPrivilegeEscalation || c.SecurityContext.Capabilities.Drop[0] != "ALL" {
				t.Errorf("the pod may do more than it needs: %v, %v", pod.SecurityContext, c.SecurityContext)
			}
			if c.Args[0] != "operator" || !slices.Contains(c.Args, "--image="+c.Image) {
				t.Errorf("got the arguments %q with image %s", c.Args, c.Image)
			}
			for key, value := range d.Spec.Selector.MatchLabels {
				if d.Spec.Template.Labels[key] != value {
					t.Errorf("the deployment does not select its pods by %s", key)
				}
			}
			budgets := len(only[*policyv1.PodDisruptionBudget](objects))
			if want := int(*d.Spec.Replicas) - 1; budgets != want {
				t.Errorf("got %d disruption budgets with %d replicas", budgets, *d.Spec.Replicas)
			}
		})
	}
}

// TestServiceMonitor: what Prometheus' operator is told leads, by one service, to the port of the operator that serves metrics.
func TestServiceMonitor(t *testing.T) {
	objects := render(t, "metrics.serviceMonitor.enabled=true", "metrics.serviceMonitor.labels.team=x")
	m := one[*unstructured.Unstructured](t, objects)
	wanted, _, err := unstructured.NestedStringMap(m.Object, "spec", "selector", "matchLabels")
	endpoints, _, more := unstructured.NestedSlice(m.Object, "spec", "endpoints")
	if err != nil || more != nil || len(wanted) == 0 || len(endpoints) != 1 || m.GetLabels()["team"] != "x" {
		t.Fatalf("the ServiceMonitor is %v (%v, %v)", m.Object, err, more)
	}
	port := endpoints[0].(map[string]any)["port"]
	var ports []corev1.ServicePort
	for _, s := range only[*corev1.Service](objects) {
		if labels.SelectorFromSet(wanted).Matches(labels.Set(s.Labels)) {
			ports = append(ports, s.Spec.Ports...)
		}
	}
	if len(ports) != 1 || ports[0].Name != port {
		t.Fatalf("it selects the service ports %v, and wants %v", ports, port)
	}
	for _, p := range one[*appsv1.Deployment](t, objects).Spec.Template.Spec.Containers[0].Ports {
		if p.Name == ports[0].TargetPort.StrVal || p.ContainerPort == ports[0].TargetPort.IntVal {
			return
		}
	}
	t.Errorf("the operator has no port %s", ports[0].TargetPort.String())
}

// TestCRDs shows that "make generate" was run.
func TestCRDs(t *testing.T) {
	for _, way := range [][2]string{{"../config/crd", "theseus/crds"}, {"theseus/crds", "../config/crd"}} {
		files, err := filepath.Glob(way[0] + "/*")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", way[0], err)
		}
		for _, file := range files {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(way[1], filepath.Base(file)))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s is not in %s as it is: run \"make generate\" (%v)", file, way[1], err)
			}
		}
	}
}

// TestRepository shows that nothing is pulled from a place that nobody named.
func TestRepository(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), helm, "template", "theseus", "theseus").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "image.repository is needed") {
		t.Errorf("got error %v\n%s", err, out)
	}
}

// TestValues shows that every value says what it is for.
func TestValues(t *testing.T) {
	text, err := os.ReadFile("theseus/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	if err := yaml.UnmarshalStrict(text, &values); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		key, value, found := strings.Cut(line, ": ")
		if !found || strings.HasPrefix(strings.TrimSpace(line), "#") || i == 0 || value == "" || strings.Contains(value, "cpu") || strings.HasPrefix(value, "{memory") {
			continue
		}
		// A comment right above, or a list of values under one comment.
		above := i - 1
		for above > 0 && strings.TrimSpace(lines[above]) != "" && !strings.HasPrefix(strings.TrimSpace(lines[above]), "#") {
			above--
		}
		if !strings.HasPrefix(strings.TrimSpace(lines[above]), "#") {
			t.Errorf("nothing is said about %s", strings.TrimSpace(key))
		}
	}
}
