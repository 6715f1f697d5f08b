package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"theseus.dev/local"
	"theseus.dev/operator"
	"theseus.dev/operator/admission"
)

func newOperator(a *app) *cobra.Command {
	o, w := operator.Options{Shipped: shipped}, webhookFlags{}
	c := &cobra.Command{
		Use:   "operator",
		Short: "Drive the Clusters of a Kubernetes cluster",
		Long: `Drive the Clusters of a Kubernetes cluster: members are pods, and changing
spec.version of a Cluster upgrades it. This is what the pods of the Helm chart run. Outside of a cluster it
takes the connection from $KUBECONFIG.`,
		Example: `  theseus operator --image registry.example/theseus:1.0
  theseus operator --namespace team-a --namespace team-b --leader-elect`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.operator(c.Context(), o, w) },
	}
	f := c.Flags()
	f.StringSliceVar(&o.Namespaces, "namespace", nil, "namespace to watch; may be given more than once (default all)")
	f.BoolVar(&o.LeaderElect, "leader-elect", false, "let one of several operators work")
	f.StringVar(&o.Namespace, "own-namespace", os.Getenv("POD_NAMESPACE"), "namespace of the operator itself (default $POD_NAMESPACE)")
	f.StringVar(&o.MetricsAddress, "metrics-bind-address", ":8080", "where metrics are served; 0 for nowhere")
	f.StringVar(&o.HealthAddress, "health-probe-bind-address", ":8081", "where health is served; 0 for nowhere")
	f.StringVar(&o.Image, "image", os.Getenv("THESEUS_IMAGE"), "image of this program, for Jobs and for pulling images beforehand (default $THESEUS_IMAGE)")
	f.IntVar(&w.port, "webhook-port", 0, "where admission is served; 0 for nowhere")
	f.StringVar(&w.service, "webhook-service", "theseus-webhook", "service under which the API server reaches it")
	return c
}

type webhookFlags struct {
	port    int
	service string
}

// admit serves admission beside the reconcilers.
func (w webhookFlags) admit(o operator.Options) func(manager.Manager) error {
	return func(m manager.Manager) error {
		certificates, err := admission.NewCertificates(m.GetConfig(), o.Namespace, w.service)
		if err != nil {
			return err
		}
		return admission.Setup(m, admission.Options{Port: w.port, Certificates: certificates, Library: func(key types.NamespacedName) admission.Library {
			return &operator.Library{API: m.GetClient(), Live: m.GetAPIReader(), Shipped: o.Shipped, Cluster: key}
		}})
	}
}

// garbage is how much more than it holds an operator may allocate before it collects, in per cent. It rests most of the time and holds much, so memory
// costs more than the processor that collecting takes. $GOGC says otherwise.
const garbage = 50

func (a *app) operator(ctx context.Context, o operator.Options, w webhookFlags) error {
	ctrl.SetLogger(logr.FromSlogHandler(slog.NewJSONHandler(a.err, nil)))
	config, err := ctrl.GetConfig()
	if err != nil {
		return inputNext("run it in a pod, or set KUBECONFIG", "connect to Kubernetes: %w", err)
	}
	if w.port != 0 {
		o.More = w.admit(o)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
	local.DropProgram()
	if at := faults("operator", "api"); at != nil {
		o.Wrap = func(next http.RoundTripper) http.RoundTripper { return faultyTransport{next, at} }
	}
	return operator.Run(ctx, config, o)
}

// faultyTransport lets tests kill this process before and after each write to the API server; other builds have none. Leases and events are
// nobody's memory.
type faultyTransport struct {
	next http.RoundTripper
	at   local.Fault
}

func (f faultyTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet || strings.Contains(r.URL.Path, "/leases") || strings.Contains(r.URL.Path, "/events") {
		return f.next.RoundTrip(r)
	}
	parts := strings.Split(r.URL.Path, "/")
	name := strings.ToLower(r.Method) + "-" + strings.Join(parts[max(0, len(parts)-2):], "-")
	f.at(name + ".begin")
	reply, err := f.next.RoundTrip(r)
	f.at(name + ".done")
	return reply, err
}

// copySelf is the main function of an init container that brings this program into a pod.
func copySelf(args []string) int {
	if err := copyProgram(first(args)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func copyProgram(to string) error {
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer from.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, from)
	return errors.Join(err, out.Close())
}

// waitForEnd is the main function of a container that only shows that its image is there.
func waitForEnd([]string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	<-ctx.Done()
	return 0
}

// inImage finds a program of a member's image. A name with the version of the member is looked for without it too: an image has one version.
func inImage(version string, find func(string) (string, error)) func(string) (string, error) {
	return func(name string) (string, error) {
		path, err := find(name)
		if plain, ok := strings.CutSuffix(name, "-"+version); err != nil && ok {
			return find(plain)
		}
		return path, err
	}
}
