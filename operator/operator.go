package operator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// Options of an operator.
type Options struct {
	// Namespaces that are watched. None: all.
	Namespaces []string
	// LeaderElect lets one of several operators work. It is no fence: acts are conditional all the same.
	LeaderElect bool
	// Namespace of the operator itself, for its lease. Default: that of its service account.
	Namespace string
	// MetricsAddress and HealthAddress are listened on; "0" for none.
	MetricsAddress, HealthAddress string
	// Image of this program, for Jobs and for pulling images beforehand.
	Image string
	// Shipped finds a System that is built in.
	Shipped func(name string) (*system.System, error)
	// Wrap, if set, is laid around every request to the API server.
	Wrap func(http.RoundTripper) http.RoundTripper
	// More is called with the manager before it starts: what else runs in it.
	More func(manager.Manager) error
}

// Scheme has the kinds that the operator reads and writes.
func Scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	return s, errors.Join(v1alpha1.AddToScheme(s), appsv1.AddToScheme(s), batchv1.AddToScheme(s), corev1.AddToScheme(s), policyv1.AddToScheme(s))
}

// Run is the operator, until ctx ends.
func Run(ctx context.Context, config *rest.Config, o Options) error {
	scheme, err := Scheme()
	if err != nil {
		return err
	}
	config.QPS, config.Burst = -1, -1 // the API server's own priority and fairness rule
	if o.Wrap != nil {
		config.Wrap(o.Wrap)
	}
	m, err := ctrl.NewManager(config, o.manager(scheme))
	if err != nil {
		return fmt.Errorf("set up the operator: %w", err)
	}
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	r := &Reconciler{API: m.GetClient(), Live: m.GetAPIReader(), Pods: clientset, Config: m.GetConfig(), Events: m.GetEventRecorder("theseus"), Shipped: o.Shipped, Image: o.Image, Identity: identity(),
		Metrics: NewMetrics(m.GetClient(), m.Elected())}
	err = errors.Join(metrics.Registry.Register(r.Metrics),
		r.SetupWithManager(m), (&BackupReconciler{r}).SetupWithManager(m), (&RestoreReconciler{r}).SetupWithManager(m),
		m.AddHealthzCheck("healthz", healthz.Ping), m.AddReadyzCheck("readyz", healthz.Ping))
	if err == nil && o.More != nil {
		err = o.More(m)
	}
	if err != nil {
		return fmt.Errorf("set up the operator: %w", err)
	}
	return m.Start(ctx)
}

// identity tells this process from every other: a run that another one began is not ours to know about.
func identity() string {
	host, err := os.Hostname()
	if err != nil {
		host = "operator"
	}
	return fmt.Sprintf("%s-%d-%d", host, os.Getpid(), time.Now().UnixNano())
}

func (o *Options) manager(scheme *runtime.Scheme) ctrl.Options {
	caches := cache.Options{
		// Only what belongs to a Cluster is held in memory, and without what nobody reads.
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}:         {Label: member(), Transform: thin},
			&appsv1.StatefulSet{}: {Label: member(), Transform: thin}, // adopted ones too
			&appsv1.Deployment{}:  {Label: managed(), Transform: thin},
			&batchv1.Job{}:        {Label: managed(), Transform: thin},

			&corev1.Service{}:               {Label: managed(), Transform: thin},
			&policyv1.PodDisruptionBudget{}: {Label: managed(), Transform: thin},
		},
		DefaultTransform: cache.TransformStripManagedFields(),
	}
	if len(o.Namespaces) > 0 {
		caches.DefaultNamespaces = map[string]cache.Config{}
		for _, n := range o.Namespaces {
			caches.DefaultNamespaces[n] = cache.Config{}
		}
	}
	return ctrl.Options{
		Scheme: scheme, Cache: caches,
		LeaderElection: o.LeaderElect, LeaderElectionID: o.lease(), LeaderElectionNamespace: o.Namespace, LeaderElectionReleaseOnCancel: true,
		Metrics:                server.Options{BindAddress: o.MetricsAddress},
		HealthProbeBindAddress: o.HealthAddress,
	}
}

// lease is what operators of one namespace compete for: those that look after the same namespaces.
func (o *Options) lease() string {
	if len(o.Namespaces) == 0 {
		return "theseus.dev"
	}
	names := slices.Sorted(slices.Values(o.Namespaces))
	sum := sha256.Sum256([]byte(strings.Join(slices.Compact(names), ",")))
	return "theseus.dev-" + hex.EncodeToString(sum[:6])
}

func member() labels.Selector {
	r, err := labels.NewRequirement(clusterLabel, selection.Exists, nil)
	if err != nil {
		panic(err) // the label is a constant
	}
	return labels.NewSelector().Add(*r)
}

func managed() labels.Selector {
	return labels.SelectorFromSet(labels.Set{managedByLabel: managerName})
}

// thin leaves of an object what wakes a reconciler: names, labels, owners and status. It is read live when it matters.
func thin(o any) (any, error) {
	switch x := o.(type) {
	case *corev1.Pod:
		return &corev1.Pod{TypeMeta: x.TypeMeta, ObjectMeta: thinMeta(x.ObjectMeta)}, nil
	case *appsv1.StatefulSet:
		return &appsv1.StatefulSet{TypeMeta: x.TypeMeta, ObjectMeta: thinMeta(x.ObjectMeta)}, nil
	case *appsv1.Deployment:
		return &appsv1.Deployment{TypeMeta: x.TypeMeta, ObjectMeta: thinMeta(x.ObjectMeta)}, nil
	case *metav1.PartialObjectMetadata: // of Services and budgets
		return &metav1.PartialObjectMetadata{TypeMeta: x.TypeMeta, ObjectMeta: thinMeta(x.ObjectMeta)}, nil
	case *batchv1.Job:
		return &batchv1.Job{TypeMeta: x.TypeMeta, ObjectMeta: thinMeta(x.ObjectMeta)}, nil
	}
	return o, nil
}

func thinMeta(m metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion, Generation: m.Generation, Labels: m.Labels,
		OwnerReferences: m.OwnerReferences, DeletionTimestamp: m.DeletionTimestamp}
}
