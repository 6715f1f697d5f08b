package admission

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"theseus.dev/api/v1alpha1"
)

// Paths under which the webhook answers. The chart's ValidatingWebhookConfiguration has them too.
const (
	PathCluster = "/validate-cluster"
	PathSystem  = "/validate-system"
	PathBackup  = "/validate-backup"
	PathRestore = "/validate-restore"
)

// patience is how long look-ups may take together: shorter than the API server waits, so that the answer is a message.
const patience = 4 * time.Second

// Options of Setup.
type Options struct {
	// Port on which the webhook is served. Required.
	Port int
	// Certificates with which it serves: see NewCertificates. Required.
	Certificates *Certificates
	// Library finds Systems for a Cluster. Required.
	Library func(cluster types.NamespacedName) Library
	// Live reads past every cache. Default: the manager's.
	Live client.Reader
	// Cached reads lists. Default: the manager's client.
	Cached client.Reader
}

// Setup serves admission of Clusters, Systems, Backups and Restores from the manager, whoever leads, and has it be ready once it can. It is called
// once, before the manager starts.
func Setup(mgr ctrl.Manager, o Options) error {
	if o.Live == nil {
		o.Live = mgr.GetAPIReader()
	}
	if o.Cached == nil {
		o.Cached = mgr.GetClient()
	}
	server := webhook.NewServer(webhook.Options{Port: o.Port, TLSOpts: []func(*tls.Config){o.Certificates.TLS}})
	for path, handler := range handlers(mgr.GetScheme(), o) {
		server.Register(path, &webhook.Admission{Handler: handler})
	}
	return errors.Join(mgr.Add(o.Certificates), mgr.Add(server), mgr.AddReadyzCheck("webhook-certificate", o.Certificates.Ready),
		mgr.AddReadyzCheck("webhook", server.StartedChecker()))
}

func handlers(scheme *runtime.Scheme, o Options) map[string]admission.Handler {
	decoder := admission.NewDecoder(scheme)
	l := &lookup{library: o.Library, live: o.Live, cached: o.Cached}
	return map[string]admission.Handler{
		PathCluster: handler(decoder, v1alpha1.KindCluster, func(ctx context.Context, old, new *v1alpha1.Cluster) Verdict {
			return CheckCluster(old, new, l.cluster(ctx, old, new))
		}),
		PathSystem: handler(decoder, v1alpha1.KindSystem, func(_ context.Context, old, new *v1alpha1.System) Verdict {
			if old != nil && (new.DeletionTimestamp != nil || reflect.DeepEqual(old.SystemSpec, new.SystemSpec)) {
				return Verdict{} // labels and finalizers of one that an older Theseus let through
			}
			return CheckSystem(new)
		}),
		PathBackup: handler(decoder, v1alpha1.KindBackup, func(ctx context.Context, old, new *v1alpha1.Backup) Verdict {
			if old != nil {
				return Verdict{} // the rule in the CRD keeps it as it is
			}
			return CheckBackup(new, l.backup(ctx, new))
		}),
		PathRestore: handler(decoder, v1alpha1.KindRestore, func(ctx context.Context, old, new *v1alpha1.Restore) Verdict {
			if old != nil {
				return Verdict{}
			}
			return CheckRestore(new, l.restore(ctx, new))
		}),
	}
}

// handler turns a check into a handler of requests. Old is nil where the object is created.
func handler[T any, P interface {
	*T
	client.Object
}](decoder admission.Decoder, kind string, check func(ctx context.Context, old, new *T) Verdict) admission.HandlerFunc {
	return func(ctx context.Context, r admission.Request) admission.Response {
		if r.SubResource != "" || r.Operation != admissionv1.Create && r.Operation != admissionv1.Update {
			return admission.Allowed("")
		}
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		object := P(new(T))
		if err := decoder.DecodeRaw(r.Object, object); err != nil {
			return admission.Errored(http.StatusBadRequest, err)
		}
		if object.GetNamespace() == "" {
			object.SetNamespace(r.Namespace)
		}
		if object.GetName() == "" && object.GetGenerateName() != "" {
			object.SetName(object.GetGenerateName() + "xxxxx") // the API server has not chosen yet: as long as it will be
		}
		var old *T
		if r.Operation == admissionv1.Update {
			old = new(T)
			if err := decoder.DecodeRaw(r.OldObject, P(old)); err != nil {
				return admission.Errored(http.StatusBadRequest, err)
			}
		}
		v := check(ctx, old, (*T)(object))
		return respond(&v, kind, object.GetName())
	}
}

// maxWarning bounds a warning: the API server cuts longer ones.
const maxWarning = 256

// respond says the verdict in the words of the API.
func respond(v *Verdict, kind, name string) admission.Response {
	response := admission.Response{AdmissionResponse: admissionv1.AdmissionResponse{Allowed: v.Allowed()}}
	for _, w := range v.Warnings {
		response.Warnings = append(response.Warnings, strings.ToValidUTF8(w[:min(len(w), maxWarning)], ""))
	}
	if v.Allowed() {
		return response
	}
	result := &metav1.Status{Status: metav1.StatusFailure, Code: http.StatusUnprocessableEntity, Reason: metav1.StatusReasonInvalid, Message: v.Message(),
		Details: &metav1.StatusDetails{Group: v1alpha1.Group, Kind: kind, Name: name}}
	if v.Unknown() {
		result.Code, result.Reason = http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable
	}
	for _, p := range v.Problems {
		result.Details.Causes = append(result.Details.Causes, metav1.StatusCause{Type: metav1.CauseTypeFieldValueInvalid, Field: p.Field, Message: p.Message})
	}
	response.Result = result
	return response
}
