package admission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// shelf is a Library of one System.
type shelf struct {
	system *system.System
	err    error
}

func (s shelf) Known(_ context.Context, name string) (*system.System, error) {
	if s.err != nil {
		return nil, s.err
	}
	if name != s.system.Name() {
		return nil, apierrors.NewNotFound(schema.GroupResource{Group: v1alpha1.Group, Resource: "systems"}, name)
	}
	return s.system, nil
}

func (s shelf) Pinned(_ context.Context, hash string) (*system.System, error) {
	if s.err != nil || hash != s.system.Hash() {
		return nil, errors.Join(s.err, errors.New("not kept"))
	}
	return s.system, nil
}

func (s shelf) Wrote(context.Context, *system.System) (string, error) { return "", s.err }

func testScheme(t testing.TB) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return scheme
}

// ask sends a request to the handler of a path, with the objects that exist.
func ask(t *testing.T, path string, library Library, fail error, old, new runtime.Object, exist ...client.Object) admission.Response {
	t.Helper()
	scheme := testScheme(t)
	reader := fake.NewClientBuilder().WithScheme(scheme).WithObjects(exist...).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if fail != nil {
				return fail
			}
			return c.Get(ctx, key, o, opts...)
		},
	}).Build()
	served := handlers(scheme, Options{Library: func(types.NamespacedName) Library { return library }, Live: reader, Cached: reader})
	r := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{Operation: admissionv1.Create, Namespace: "prod", Object: raw(t, new)}}
	if old != nil {
		r.Operation, r.OldObject = admissionv1.Update, raw(t, old)
	}
	return served[path].Handle(t.Context(), r)
}

func raw(t *testing.T, object runtime.Object) runtime.RawExtension {
	t.Helper()
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return runtime.RawExtension{Raw: text}
}

func TestHandlers(t *testing.T) {
	known := shelf{system: compile(t, store)}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "cloud"}, Data: map[string][]byte{"key.json": []byte("s3cret-value")}}
	certificates := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "tls"}, Data: map[string][]byte{"ca.crt": nil, "tls.crt": nil, "tls.key": []byte("s3cret-value")}}
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "cloud", errors.New("no right"))
	refused := &url.Error{Op: "Get", URL: "https://api/systems/store", Err: syscall.ECONNREFUSED}
	ran := kv(s3)
	applied(t, s3)(&ran.Status)
	backup := &v1alpha1.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "b"}, Spec: v1alpha1.BackupSpec{Cluster: "kv"}}
	restore := &v1alpha1.Restore{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "r"}, Spec: v1alpha1.RestoreSpec{Backup: "b", Cluster: "kv"}}
	neighbor := kv()
	neighbor.Name = "kv-store"
	typed := func(kind string, o runtime.Object) runtime.Object {
		o.GetObjectKind().SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
		return o
	}
	cluster := func(c *v1alpha1.Cluster) runtime.Object { return typed("Cluster", c) }
	for _, test := range []struct {
		name, path string
		library    Library
		fail       error
		old, new   runtime.Object
		exist      []client.Object
		want       string // "" where it is allowed
		warns      string
		code       int32
	}{
		{name: "create", path: PathCluster, new: cluster(kv(s3)), exist: []client.Object{secret}},
		{name: "no secret", path: PathCluster, new: cluster(kv(s3)), want: "spec.backup.secret.name", code: 422},
		{name: "secret of backups that may not be read", path: PathCluster, new: cluster(kv(s3)), fail: forbidden, warns: "rbac.secretNames"},
		{name: "certificates that may not be read", path: PathCluster, new: cluster(kv(certified("tls"))), fail: forbidden, want: "is not known now", code: 503},
		{name: "certificates", path: PathCluster, new: cluster(kv(certified("tls"))), exist: []client.Object{certificates}},
		{name: "no certificates", path: PathCluster, new: cluster(kv(certified("tls"))), want: "spec.components.store.tls.client.secret", code: 422},
		{name: "no claim", path: PathCluster, new: cluster(kv(files("disk"))), want: "is no PersistentVolumeClaim", code: 422},
		{name: "unknown System", path: PathCluster, new: cluster(kv(func(s *specs) { s.System = "etc" })), want: `"etc" is not known`, code: 422},
		{name: "library fails", path: PathCluster, library: shelf{err: apierrors.NewInternalError(errors.New("etcd is slow"))}, new: cluster(kv()), want: "etcd is slow", code: 503},
		{name: "library refuses", path: PathCluster, library: shelf{err: fmt.Errorf("compile: %w", system.Errors{{Path: "ready", Problem: "is empty"}})}, new: cluster(kv()), want: "cannot be used: compile: ready: is empty", code: 422},
		{name: "no connection", path: PathCluster, library: shelf{err: refused}, new: cluster(kv()), want: `System "store" is not known now: Get "https://api/systems/store": connection refused; try again`, code: 503},
		{name: "half an answer", path: PathCluster, library: shelf{err: fmt.Errorf("read the body: %w", io.ErrUnexpectedEOF)}, new: cluster(kv()), want: "is not known now: read the body: unexpected EOF", code: 503},
		{name: "no answer in time", path: PathCluster, library: shelf{err: context.DeadlineExceeded}, new: cluster(kv()), want: "is not known now", code: 503},
		{name: "no connection for a Backup", path: PathBackup, library: shelf{err: refused}, new: typed("Backup", backup), exist: []client.Object{ran, secret}, want: "is not known now", code: 503},
		{name: "neighbor", path: PathCluster, new: cluster(kv()), exist: []client.Object{neighbor}},
		{name: "upgrade", path: PathCluster, old: cluster(ran), new: cluster(kv(s3, version("3.7.0"))), exist: []client.Object{secret}},
		{name: "downgrade", path: PathCluster, old: cluster(ran), new: cluster(kv(s3, version("3.5.0"))), exist: []client.Object{secret}, want: "is a downgrade", code: 422},
		{name: "nothing looked up for the policy", path: PathCluster, library: shelf{err: errors.New("down")}, old: cluster(ran), new: cluster(kv(s3, pauses))},
		{name: "System", path: PathSystem, new: known.system.Source().DeepCopy()},
		{name: "broken System", path: PathSystem, new: typed("System", &v1alpha1.System{ObjectMeta: metav1.ObjectMeta{Name: "x"}}), want: "components", code: 422},
		{name: "label of a broken System", path: PathSystem, old: typed("System", &v1alpha1.System{ObjectMeta: metav1.ObjectMeta{Name: "x", Finalizers: []string{"a/b"}}}),
			new: typed("System", &v1alpha1.System{ObjectMeta: metav1.ObjectMeta{Name: "x"}})},
		{name: "Backup", path: PathBackup, new: typed("Backup", backup), exist: []client.Object{ran, secret}},
		{name: "Backup of nothing", path: PathBackup, new: typed("Backup", backup), warns: "is no Cluster in namespace prod yet"},
		{name: "Backup is not looked at again", path: PathBackup, old: typed("Backup", backup), new: typed("Backup", backup)},
		{name: "Restore over what runs", path: PathRestore, new: typed("Restore", restore), exist: []client.Object{backup, ran}, want: "has members already", code: 422},
		{name: "nothing said", path: PathCluster, new: cluster(&v1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: "x"}}), want: "spec.system: is missing; name a System", code: 422},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.library == nil {
				test.library = known
			}
			exist := slices.Clone(test.exist)
			for i, o := range exist {
				exist[i] = o.DeepCopyObject().(client.Object)
			}
			got := ask(t, test.path, test.library, test.fail, test.old, test.new, exist...)
			if test.code == 0 {
				if !got.Allowed {
					t.Errorf("refused: %v", got.Result)
				}
				if warnings := strings.Join(got.Warnings, "\n"); !strings.Contains(warnings, test.warns) {
					t.Errorf("the warnings are %q, want %q", warnings, test.warns)
				}
				return
			}
			if got.Allowed || got.Result.Code != test.code || !strings.Contains(got.Result.Message, test.want) {
				t.Errorf("got %v, want %d and %q", got.Result, test.code, test.want)
			}
			if strings.Contains(got.Result.Message, "s3cret") {
				t.Errorf("a secret is in the message: %s", got.Result.Message)
			}
			if test.code == http.StatusUnprocessableEntity && len(got.Result.Details.Causes) == 0 {
				t.Errorf("no causes: %v", got.Result)
			}
		})
	}
}

// TestStatusIsNotChecked is about what the controller itself writes.
func TestStatusIsNotChecked(t *testing.T) {
	served := handlers(testScheme(t), Options{})
	for path, handler := range served {
		r := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{Operation: admissionv1.Update, SubResource: "status"}}
		if got := handler.Handle(t.Context(), r); !got.Allowed {
			t.Errorf("%s: a write of the status is refused: %v", path, got.Result)
		}
		r = admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{Operation: admissionv1.Delete}}
		if got := handler.Handle(t.Context(), r); !got.Allowed {
			t.Errorf("%s: a deletion is refused: %v", path, got.Result)
		}
		r = admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: []byte("{")}}}
		if got := handler.Handle(t.Context(), r); got.Allowed || got.Result.Code != http.StatusBadRequest {
			t.Errorf("%s: what cannot be read is answered by %v", path, got.Result)
		}
	}
}
