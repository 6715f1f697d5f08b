package operator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// Reconciler drives Clusters, each by a runner of its own. It reads live; what it watches only wakes it.
type Reconciler struct {
	API  client.Client
	Live client.Reader
	Pods kubernetes.Interface
	// Config is how programs in pods are reached.
	Config *rest.Config
	// Events are for people: kubectl describe.
	Events events.EventRecorder
	// Shipped finds a System that is built in.
	Shipped func(name string) (*system.System, error)
	// Image of this program, for Jobs; Identity of this process.
	Image, Identity string
	// Metrics count what ends; nil: nobody counts.
	Metrics *Metrics

	runs    Runs
	mu      sync.Mutex
	drivers map[types.NamespacedName]*driver
}

// driver is the runner of one Cluster object.
type driver struct {
	uid      types.UID
	runner   *runner.Runner
	platform *Platform
	library  *Library
	progress string    // what was waited for in the last pass
	since    time.Time // when that began
	wrote    string    // with which version the claims are marked, and in which attempt
}

// How soon the members of an attempt that waits are looked at again: soon after something happened, later and later while nothing does.
const (
	lookSoon  = 100 * time.Millisecond
	lookLater = time.Second
	// lookNowAndThen is less than what counts as looking all the time.
	lookNowAndThen = 10 * time.Second
)

// What failed is tried again later and later, from retrySoon up to retryLater: that an outage is over wakes nobody, and meanwhile an upgrade stands still. The
// library's own limit is a quarter of an hour.
const (
	retrySoon  = 10 * time.Millisecond
	retryLater = 15 * time.Second
)

func retries() workqueue.TypedRateLimiter[reconcile.Request] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](retrySoon, retryLater)
}

// maxPasses is how many passes one reconciliation makes at most, so that every Cluster gets its turn.
const maxPasses = 50

// SetupWithManager registers the reconciler.
func (r *Reconciler) SetupWithManager(m ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(m).
		For(&v1alpha1.Cluster{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Owns(&appsv1.Deployment{}).
		Owns(&batchv1.Job{}).                                                               // of runs
		Watches(&appsv1.StatefulSet{}, handler.EnqueueRequestsFromMapFunc(clusterOfLabel)). // by label, because adopted ones have no owner
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(clusterOfLabel)).
		Watches(&corev1.Service{}, handler.EnqueueRequestsFromMapFunc(clusterOfLabel), builder.OnlyMetadata).
		Watches(&policyv1.PodDisruptionBudget{}, handler.EnqueueRequestsFromMapFunc(clusterOfLabel), builder.OnlyMetadata,
			builder.WithPredicates(predicate.GenerationChangedPredicate{})). // their status says what pods say
		Watches(&v1alpha1.Backup{}, handler.EnqueueRequestsFromMapFunc(clusterOfBackup)).
		Watches(&v1alpha1.Restore{}, handler.EnqueueRequestsFromMapFunc(clusterOfRestore)).
		Watches(&v1alpha1.System{}, handler.EnqueueRequestsFromMapFunc(r.clustersOfSystem)).
		WithOptions(controller.Options{MaxConcurrentReconciles: 16, RateLimiter: retries()}).
		Complete(r)
}

func clusterOfLabel(_ context.Context, o client.Object) []reconcile.Request {
	name := o.GetLabels()[clusterLabel]
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}}}
}

func clusterOfBackup(_ context.Context, o client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: o.(*v1alpha1.Backup).Spec.Cluster}}}
}

// clustersOfSystem are those that name it: they may wait for it to be there, or to be mended.
func (r *Reconciler) clustersOfSystem(ctx context.Context, o client.Object) []reconcile.Request {
	list := &v1alpha1.ClusterList{}
	if r.API.List(ctx, list) != nil {
		return nil // they are tried again by themselves
	}
	var requests []reconcile.Request
	for i := range list.Items {
		if c := &list.Items[i]; c.Spec.System == o.GetName() {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(c)})
		}
	}
	return requests
}

// Reconcile makes passes until there is something to wait for.
func (r *Reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	c := &v1alpha1.Cluster{}
	err := r.API.Get(ctx, req.NamespacedName, c)
	if apierrors.IsNotFound(err) || err == nil && c.DeletionTimestamp != nil {
		r.forget(req.NamespacedName)
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	if concernsRestore(c) {
		held, err := r.hold(ctx, req.NamespacedName)
		if err != nil {
			return reconcile.Result{}, err
		}
		if held {
			return reconcile.Result{RequeueAfter: restoreLater}, nil
		}
	}
	d := r.driverOf(req.NamespacedName, c.UID)
	if err := d.foundWritten(ctx, r.API, c); err != nil {
		return failed(ctx, err)
	}
	for range maxPasses {
		p, err := d.runner.Step(ctx)
		if err != nil {
			return failed(ctx, err)
		}
		d.noteWrote(ctx, &p.Cluster.Status)
		if p.ActError != nil {
			log.FromContext(ctx).Info("act", "act", p.Act.Act, "member", p.Act.Member, "error", p.ActError.Error())
		}
		if over(p) {
			return reconcile.Result{RequeueAfter: atRest(p)}, nil
		}
		if wait := !p.Again && (p.Act == nil || !p.Write || p.ActError != nil); wait {
			return reconcile.Result{RequeueAfter: d.patience(p)}, nil
		}
	}
	return reconcile.Result{RequeueAfter: lookSoon}, nil
}

// over says that nothing is left to do until something changes. A pass in which an attempt has begun to rest is followed by another one, whose look holds
// Deployments back.
func over(p runner.Pass) bool {
	begun := p.Write && p.Situation == upgrade.Resting
	return p.Rest && p.Act == nil && !begun
}

// atRest is when to look again although nothing is to be done: at a failed attempt now and then, because its cluster may heal, at a workload
// to be adopted, which may not be there yet, and at what somebody goes on changing; else not until something changes.
func atRest(p runner.Pass) time.Duration {
	if len(p.Look.Blocked) > 0 || len(p.Look.Changed) > 0 {
		return lookNowAndThen
	}
	if a := p.Status.Attempt; a != nil && a.Phase == v1alpha1.PhasePaused && a.Failure != nil {
		return lookNowAndThen
	}
	if p.Situation == upgrade.Refused && p.Status.Applied == nil { // maybe because of volumes, which nobody watches
		return lookNowAndThen
	}
	return 0
}

// failed decides what an error of a pass means. The runner begins with a load all the same.
func failed(ctx context.Context, err error) (reconcile.Result, error) {
	newer := (*NewerError)(nil)
	switch {
	case errors.As(err, new(*heldError)):
		return reconcile.Result{RequeueAfter: lookSoon}, nil
	case goneCluster(err), errors.Is(err, errLeaving):
		return reconcile.Result{}, nil
	case errors.Is(err, runner.ErrConflict):
		return reconcile.Result{RequeueAfter: lookSoon}, nil
	case errors.As(err, &newer):
		log.FromContext(ctx).Error(err, "left alone")
		return reconcile.Result{}, reconcile.TerminalError(err)
	}
	return reconcile.Result{}, err
}

// goneCluster says that the Cluster itself is not there any more. Anything else that is missing is an error that somebody has to hear of.
func goneCluster(err error) bool {
	var status apierrors.APIStatus
	return apierrors.IsNotFound(err) && errors.As(err, &status) && status.Status().Details != nil && status.Status().Details.Kind == "clusters"
}

// patience grows while the same thing is waited for. A wait for a time ends with it.
func (d *driver) patience(p runner.Pass) time.Duration {
	now := ""
	if a := p.Status.Attempt; a != nil && a.WaitingFor != nil {
		now = a.WaitingFor.Object + a.WaitingFor.Rule
	}
	if now != d.progress || d.since.IsZero() {
		d.progress, d.since = now, time.Now()
	}
	pause := min(max(lookSoon, time.Since(d.since)/10), lookLater)
	if p.Due > 0 {
		pause = min(pause, p.Due)
	}
	return pause
}

func (r *Reconciler) driverOf(key types.NamespacedName, uid types.UID) *driver {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d := r.drivers[key]; d != nil {
		if d.uid == uid {
			return d
		}
		d.platform.Close() // of the one that had its name
	}
	if r.drivers == nil {
		r.drivers = map[types.NamespacedName]*driver{}
	}
	library := &Library{API: r.API, Live: r.Live, Shipped: r.Shipped, Cluster: key}
	state := &State{API: r.API, Live: r.Live, Key: key, UID: uid, See: library.see}
	platform := r.platformFor(key)
	d := &driver{uid: uid, platform: platform, library: library}
	d.runner = &runner.Runner{Journal: state, Inbox: state, Platform: platform, Decider: upgrade.New(), Watch: r.tell,
		Library: library}
	r.drivers[key] = d
	return d
}

func (r *Reconciler) platformFor(key types.NamespacedName) *Platform {
	return &Platform{API: r.API, Live: r.Live, Pods: r.Pods, Config: r.Config, Key: key, Image: r.Image, Identity: r.Identity, Runs: &r.runs}
}

func (r *Reconciler) forget(key types.NamespacedName) {
	r.mu.Lock()
	d := r.drivers[key]
	delete(r.drivers, key)
	r.mu.Unlock()
	if d != nil {
		d.platform.Close()
	}
	if r.Metrics != nil {
		r.Metrics.forget(key)
	}
}

// tell tells people and Prometheus what a pass wrote down. What a crash in between swallows is still in the journal.
func (r *Reconciler) tell(p runner.Pass) {
	for _, e := range p.Events {
		kind := corev1.EventTypeNormal
		if e.Warning {
			kind = corev1.EventTypeWarning
		}
		r.Events.Eventf(p.Cluster, nil, kind, e.Reason, action(e), "%s", bounded(joined(e.Object, e.Message)))
	}
	if r.Metrics == nil {
		return
	}
	for _, a := range p.Ended {
		r.Metrics.note(p.Cluster, a)
	}
}

// action tells an event from all others of its Cluster. Those that differ in their note alone would be shown as one that came again: the first step or
// member, twice.
func action(e v1alpha1.Event) string {
	const most = 128 // that an action can hold
	at := "Cluster"
	if e.Attempt > 0 {
		at = fmt.Sprintf("Attempt%d", e.Attempt)
	}
	at += "." + e.At.UTC().Format("20060102T150405Z")
	if e.Object != "" {
		at += "." + strings.ReplaceAll(e.Object, " ", "-")
	}
	return at[:min(len(at), most)]
}

// bounded is what an event's note can hold.
func bounded(text string) string {
	const most = 1000
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}
