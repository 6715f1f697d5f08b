package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/manifest"
	"theseus.dev/operator"
	"theseus.dev/system"
)

func kubeFlagsOf(a *app, root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&a.kube.context, "context", "", "context of the kubeconfig: clusters in Kubernetes are meant (default $THESEUS_CONTEXT)")
	f.StringVarP(&a.kube.namespace, "namespace", "n", "", "namespace of Kubernetes (default that of the context)")
	f.StringVar(&a.kube.kubeconfig, "kubeconfig", "", "file with contexts of Kubernetes (default $KUBECONFIG, or ~/.kube/config)")
	for flag, complete := range map[string]cobra.CompletionFunc{"context": a.completeContexts, "namespace": a.completeNamespaces} {
		if err := root.RegisterFlagCompletionFunc(flag, complete); err != nil {
			panic(err) // the flag is defined above
		}
	}
}

// namespace is the site of clusters in Kubernetes. Their operator drives them; a command edits, asks and watches. Nothing of it is set up for commands
// that mean clusters of this machine.
type namespace struct {
	*app
	name, where string
	api         client.Client
	pods        kubernetes.Interface
	config      *rest.Config
	heard       *hearing
}

// loader finds the kubeconfig as kubectl does.
func (a *app) loader() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = a.kube.kubeconfig
	over := &clientcmd.ConfigOverrides{CurrentContext: cmp.Or(a.kube.context, os.Getenv(contextVariable))}
	over.Context.Namespace = a.kube.namespace
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, over)
}

// knowsKubernetes says whether there is a kubeconfig.
func (a *app) knowsKubernetes() bool {
	return slices.ContainsFunc(a.loader().ConfigAccess().GetLoadingPrecedence(), func(file string) bool {
		info, err := os.Stat(file)
		return err == nil && info.Mode().IsRegular()
	})
}

// kubernetes is the namespace that flags, environment and kubeconfig name.
func (a *app) kubernetes() (*namespace, error) {
	if a.town != nil {
		return a.town, nil
	}
	if err := a.knownContext(); err != nil {
		return nil, err
	}
	loader := a.loader()
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, inputNext("set $KUBECONFIG or --kubeconfig, and choose one of its contexts by --context", "connect to Kubernetes: %w", err)
	}
	name, _, err := loader.Namespace()
	if err != nil {
		return nil, inputError(err)
	}
	where := "namespace " + name
	if raw, err := loader.RawConfig(); err == nil {
		if c := cmp.Or(a.kube.context, os.Getenv(contextVariable), raw.CurrentContext); c != "" {
			where += " of context " + c
		}
	}
	return a.connect(config, name, where)
}

// knownContext refuses a context that the kubeconfig does not have, with the one that was perhaps meant.
func (a *app) knownContext() error {
	want := cmp.Or(a.kube.context, os.Getenv(contextVariable))
	raw, err := a.loader().RawConfig()
	if want == "" || err != nil {
		return inputError(err)
	}
	if _, ok := raw.Contexts[want]; ok {
		return nil
	}
	names := slices.Sorted(maps.Keys(raw.Contexts))
	next := "the kubeconfig has " + cmp.Or(list(names), "none")
	if near := system.Nearest(want, names); near != "" {
		next = "did you mean " + near + "?"
	}
	return inputNext(next, "--context %s: there is no such context", want)
}

func (a *app) connect(config *rest.Config, name, where string) (*namespace, error) {
	scheme, err := operator.Scheme()
	if err != nil {
		return nil, err
	}
	heard := &hearing{}
	config.UserAgent, config.WarningHandlerWithContext = "theseus", heard
	config.QPS, config.Burst = -1, -1 // the API server's own priority and fairness rule
	ctrl.SetLogger(quiet())
	api, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, unreachable(err)
	}
	pods, err := kubernetes.NewForConfig(config)
	return &namespace{app: a, name: name, where: where, api: api, pods: pods, config: config, heard: heard}, inputError(err)
}

// hearing keeps the warnings that the API server sends with its answers, the webhook's among them.
type hearing struct {
	mu   sync.Mutex
	said []string
}

// HandleWarningHeaderWithContext is called by the client for each warning.
func (h *hearing) HandleWarningHeaderWithContext(_ context.Context, code int, _, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if code == 299 && text != "" && !slices.Contains(h.said, text) {
		h.said = append(h.said, text)
	}
}

// take returns what was said since, and forgets it.
func (h *hearing) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	said := h.said
	h.said = nil
	return said
}

func (n *namespace) all(ctx context.Context) ([]access, error) {
	found := &v1alpha1.ClusterList{}
	in := client.InNamespace(n.name)
	if n.kube.everywhere {
		in = ""
	}
	if err := n.api.List(ctx, found, in); err != nil {
		return nil, n.problem(err)
	}
	slices.SortFunc(found.Items, func(a, b v1alpha1.Cluster) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	var out []access
	for i := range found.Items {
		o := n.objectAt(client.ObjectKeyFromObject(&found.Items[i]))
		o.read = &found.Items[i]
		out = append(out, o)
	}
	return out, nil
}

func (n *namespace) open(ctx context.Context, name string) (access, error) {
	o := n.object(name)
	c, err := o.get(ctx)
	if is[*noClusterError](err) {
		return nil, n.others(ctx, name)
	}
	if err != nil {
		return nil, err
	}
	o.read = c
	return o, nil
}

// others says which clusters there are instead of one that is not there.
func (n *namespace) others(ctx context.Context, name string) error {
	e := &noClusterError{name: name, where: n.where}
	all, err := n.all(ctx)
	for _, c := range all {
		e.known = append(e.known, c.name())
	}
	if err != nil {
		return err
	}
	return e
}

func (n *namespace) object(name string) *object {
	return n.objectAt(client.ObjectKey{Namespace: n.name, Name: name})
}

func (n *namespace) objectAt(key client.ObjectKey) *object {
	return &object{namespace: n, key: key, state: &operator.State{API: n.api, Live: n.api, Key: key}}
}

// systemOf finds the System of a Cluster: in the same file, as an object of the cluster, or shipped.
func (n *namespace) systemOf(ctx context.Context, path string, objects []manifest.Object, c *v1alpha1.Cluster) (*system.System, error) {
	if o := systemIn(objects, c.Spec.System); o != nil {
		return compileObject(o)
	}
	if isFile(c.Spec.System) {
		return nil, inputNext("apply that file (kubectl apply -f "+quoted(c.Spec.System)+"), or put the System into "+path+" too, and name it",
			"%s: spec.system %q: on Kubernetes a System is an object and has a name", path, c.Spec.System)
	}
	return n.object(c.Name).library().Known(ctx, c.Spec.System)
}

func (n *namespace) lacks(*v1alpha1.Cluster) manifest.Errors { return nil }

// namespaces are those that there are.
func (n *namespace) namespaces(ctx context.Context) ([]string, error) {
	found, err := n.pods.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	names := make([]string, len(found.Items))
	for i := range found.Items {
		names[i] = found.Items[i].Name
	}
	return names, nil
}

// theOperator is who drives clusters in Kubernetes.
const theOperator = "the operator"

// notTakenUp is what to try where the operator does not seem to work.
func (n *namespace) notTakenUp() string {
	return fmt.Sprintf("the operator has not taken this up yet; does it run, and watch namespace %s? kubectl get pods -A -l app.kubernetes.io/name=theseus", n.name)
}
