package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/manifest"
	"theseus.dev/operator"
	"theseus.dev/runner"
	"theseus.dev/system"
)

// town is an API server with Clusters in it, and a person at it.
type town struct {
	*namespace
	out, err bytes.Buffer
}

func newTown(t *testing.T, funcs interceptor.Funcs, objects ...client.Object) *town {
	t.Helper()
	scheme, err := operator.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	w := &town{}
	a := &app{streams: streams{in: strings.NewReader(""), out: &w.out, err: &w.err}, kube: kubeFlags{namespace: "prod"}}
	api := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1alpha1.Cluster{}).WithObjects(objects...).WithInterceptorFuncs(funcs).
		WithReturnManagedFields().Build()
	w.namespace = &namespace{app: a, name: "prod", where: "namespace prod", api: api, heard: &hearing{}}
	return w
}

// types runs a command as a person types it, and returns its exit code.
func (w *town) types(ctx context.Context, args ...string) int {
	w.out.Reset()
	w.err.Reset()
	w.app.town, w.app.printed = w.namespace, false
	return w.app.run(ctx, append(args, "--namespace", "prod"))
}

// open is as app.open, at this API server.
func (w *town) opened(t *testing.T, name string) *opened {
	t.Helper()
	at, err := w.open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	k := w.openedAt(w.namespace, at)
	if err := k.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	return k
}

func standin(t *testing.T) *system.System {
	t.Helper()
	s, err := known("standin")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// running is a Cluster that runs a version, with all done.
func running(version string) *v1alpha1.Cluster {
	three := int32(3)
	c := &v1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "si", Generation: 1, UID: "u"},
		Spec: v1alpha1.ClusterSpec{System: "standin", Version: version, Components: map[string]v1alpha1.ComponentSpec{"standin": {Replicas: &three}}}}
	manifest.DefaultCluster(c)
	c.Status = v1alpha1.ClusterStatus{ObservedGeneration: 1, CurrentVersion: version, Replicas: 3, ReadyReplicas: 3}
	set(c, v1alpha1.ConditionReconciling, metav1.ConditionFalse, v1alpha1.ReasonIdle, "")
	return c
}

// applied makes a Cluster one that was rolled with a System.
func applied(t *testing.T, c *v1alpha1.Cluster) *v1alpha1.Cluster {
	t.Helper()
	s := standin(t)
	c.Status.Applied = &v1alpha1.Pinned{Spec: *c.Spec.DeepCopy(), System: v1alpha1.SystemRef{Name: s.Name(), Hash: s.Hash()}}
	return c
}

func set(c *v1alpha1.Cluster, kind string, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&c.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message})
}

func codeOf(err error) int {
	if err == nil {
		return exitDone
	}
	var e *exitError
	if errors.As(err, &e) {
		return e.code
	}
	return exitFailed
}

func TestSite(t *testing.T) {
	tests := []struct {
		what    string
		app     app
		context string
		want    bool
		wrong   string
	}{
		{what: "nothing said"},
		{what: "a context", app: app{kube: kubeFlags{context: "lab"}}, want: true},
		{what: "a namespace", app: app{kube: kubeFlags{namespace: "prod"}}, want: true},
		{what: "a kubeconfig", app: app{kube: kubeFlags{kubeconfig: "file"}}, want: true},
		{what: "all namespaces", app: app{kube: kubeFlags{everywhere: true}}, want: true},
		{what: "the environment", context: "lab", want: true},
		{what: "a home in spite of the environment", app: app{home: "/h"}, context: "lab"},
		{what: "the name", app: app{plugin: true}, want: true},
		{what: "both", app: app{home: "/h", kube: kubeFlags{namespace: "prod"}}, want: true, wrong: "leave one or the other"},
		{what: "programs", app: app{programs: []string{"/p"}, kube: kubeFlags{context: "lab"}}, want: true, wrong: "leave one or the other"},
	}
	for _, test := range tests {
		t.Run(test.what, func(t *testing.T) {
			t.Setenv(contextVariable, test.context)
			if got := test.app.remote(); got != test.want {
				t.Errorf("remote is %t, want %t", got, test.want)
			}
			err := test.app.oneSite()
			if test.wrong == "" && err != nil || test.wrong != "" && (err == nil || !strings.Contains(err.Error(), test.wrong) || codeOf(err) != exitInput) {
				t.Errorf("got %v, want %q", err, test.wrong)
			}
		})
	}
}

// TestNextCommand: what is said to be typed next means the same cluster.
func TestNextCommand(t *testing.T) {
	tests := []struct {
		app  app
		want string
	}{
		{app{}, "theseus resume kv"},
		{app{home: "/my home"}, "theseus resume kv --home '/my home'"},
		{app{programs: []string{"/a", "/b"}}, "theseus resume kv --programs /a,/b"},
		{app{kube: kubeFlags{context: "lab", namespace: "prod", kubeconfig: "it's"}}, `theseus resume kv --kubeconfig 'it'\''s' --context lab --namespace prod`},
		{app{plugin: true}, "kubectl theseus resume kv"},
	}
	for _, test := range tests {
		if got := test.app.command("resume", "kv"); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}

func TestPluginName(t *testing.T) {
	for program, want := range map[string]bool{"/usr/bin/theseus": false, "/usr/bin/kubectl-theseus": true, "kubectl-theseus.exe": true} {
		if got := isPlugin(program); got != want {
			t.Errorf("%s: got %t, want %t", program, got, want)
		}
	}
	a := &app{plugin: true}
	root := newRoot(a)
	for _, c := range root.Commands() {
		if strings.Contains(c.Example, "  theseus ") {
			t.Errorf("an example of %s does not say kubectl theseus: %s", c.Name(), c.Example)
		}
	}
}

// TestKeepers: who keeps spec.version.
func TestKeepers(t *testing.T) {
	const version, options = `{"f:spec": {"f:version": {}}}`, `{"f:spec": {"f:options": {}}}`
	tests := []struct {
		what, manager, fields, subresource string
		tools, files                       int
	}{
		{what: "Argo CD", manager: "argocd-controller", fields: version, tools: 1},
		{what: "Flux", manager: "kustomize-controller", fields: version, tools: 1},
		{what: "Helm", manager: "helm", fields: version, tools: 1},
		{what: "Argo CD, another field", manager: "argocd-controller", fields: options},
		{what: "a status", manager: "argocd-controller", fields: version, subresource: "status"},
		{what: "this command", manager: fieldManager, fields: version},
		{what: "kubectl edit", manager: "kubectl-edit", fields: version},
		{what: "kubectl apply", manager: "kubectl-client-side-apply", fields: version, files: 1},
		{what: "kubectl apply --server-side", manager: "kubectl", fields: version, files: 1},
	}
	for _, test := range tests {
		t.Run(test.what, func(t *testing.T) {
			k := keepersOfVersion([]metav1.ManagedFieldsEntry{{Manager: test.manager, Subresource: test.subresource, FieldsV1: metav1.NewFieldsV1(test.fields)}})
			if len(k.tools) != test.tools || len(k.files) != test.files {
				t.Errorf("got tools %q and files %q, want %d and %d", k.tools, k.files, test.tools, test.files)
			}
		})
	}
}

// TestGitOps: another tool keeps the version.
func TestGitOps(t *testing.T) {
	c := applied(t, running("1.0.0"))
	c.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "argocd-controller", Operation: "Update", APIVersion: v1alpha1.GroupVersion.String(), FieldsType: "FieldsV1",
		FieldsV1: metav1.NewFieldsV1(`{"f:spec": {"f:version": {}}}`)}}
	w := newTown(t, interceptor.Funcs{}, c)
	k := w.opened(t, "si")
	k.cluster.ManagedFields = c.ManagedFields
	p := k.propose(k.cluster.Spec.DeepCopy())
	p.spec.Version = "1.1.0"
	err := w.permit(t.Context(), p)
	if codeOf(err) != exitInput || !strings.Contains(err.Error(), "kept by argocd-controller") {
		t.Errorf("got %v, want a refusal that names the tool", err)
	}
	p.force = true
	if err := w.permit(t.Context(), p); err != nil {
		t.Errorf("forced: got %v", err)
	}
}

// TestRests: when the operator has nothing more to do.
func TestRests(t *testing.T) {
	pause := `{"id": "p", "kind": "Pause"}`
	tests := []struct {
		what    string
		change  func(*v1alpha1.Cluster)
		want    bool
		refusal string
	}{
		{what: "idle", change: func(*v1alpha1.Cluster) {}, want: true},
		{what: "new", change: func(c *v1alpha1.Cluster) { c.Status = v1alpha1.ClusterStatus{} }},
		{what: "edited", change: func(c *v1alpha1.Cluster) { c.Generation++ }},
		{what: "asked", change: func(c *v1alpha1.Cluster) { c.Annotations = map[string]string{operator.RequestsAnnotation: pause} }},
		{what: "answered", want: true, change: func(c *v1alpha1.Cluster) {
			c.Annotations = map[string]string{operator.RequestsAnnotation: pause}
			c.Status.Requests = []v1alpha1.RequestAnswer{{ID: "p"}}
		}},
		{what: "at work", change: func(c *v1alpha1.Cluster) {
			set(c, v1alpha1.ConditionReconciling, metav1.ConditionTrue, v1alpha1.ReasonRunning, "")
		}},
		{what: "refused", want: true, refusal: "no way", change: func(c *v1alpha1.Cluster) {
			set(c, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonRefused, "no way")
		}},
		{what: "held by a Restore that failed", want: true, refusal: "Restore r failed", change: func(c *v1alpha1.Cluster) {
			set(c, v1alpha1.ConditionRestoring, metav1.ConditionTrue, v1alpha1.ConditionRestoring, "Restore r failed")
			set(c, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonFailed, "Restore r failed")
		}},
		{what: "paused", want: true, change: func(c *v1alpha1.Cluster) {
			set(c, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonPaused, "paused as asked")
		}},
	}
	for _, test := range tests {
		t.Run(test.what, func(t *testing.T) {
			c := running("1.0.0")
			test.change(c)
			got, refusal := (&object{}).rests(c)
			if got != test.want || (refusal == nil) != (test.refusal == "") || refusal != nil && refusal.Error() != test.refusal {
				t.Errorf("got %t, %v; want %t, %q", got, refusal, test.want, test.refusal)
			}
		})
	}
}

// TestProblem: what the API server says, and with which exit code.
func TestProblem(t *testing.T) {
	kind := schema.GroupResource{Group: v1alpha1.Group, Resource: "clusters"}
	webhook := apierrors.NewForbidden(kind, "si", nil)
	webhook.ErrStatus.Message = `admission webhook "clusters.theseus.dev" denied the request: spec.version: "9.9.9" is not listed`
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	reset := &net.OpError{Op: "read", Err: syscall.ECONNRESET}
	tests := []struct {
		what  string
		err   error
		code  int
		says  string
		write int // exit code where it was a write
	}{
		{"a webhook", webhook, exitInput, `spec.version: "9.9.9" is not listed`, exitInput},
		{"no right", apierrors.NewForbidden(kind, "si", errors.New("no")), exitInput, "you may not do that", exitInput},
		{"no CRD", &meta.NoKindMatchError{GroupKind: schema.GroupKind{Group: v1alpha1.Group, Kind: "Cluster"}}, exitInput, "not installed there", exitInput},
		{"nobody listens", refused, exitInput, "reach the API server", exitInput},
		{"the connection broke", reset, exitInput, "reach the API server", exitUnknown},
		{"half an answer", fmt.Errorf("read the body: %w", io.ErrUnexpectedEOF), exitInput, "reach the API server", exitUnknown},
		{"the API server gave up", apierrors.NewTimeoutError("slow", 1), exitInput, "slow", exitUnknown},
	}
	n := &namespace{app: &app{}, where: "namespace prod"}
	for _, test := range tests {
		t.Run(test.what, func(t *testing.T) {
			if err := n.problem(test.err); codeOf(err) != test.code || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got exit code %d, %v; want %d, %q", codeOf(err), err, test.code, test.says)
			}
			if err := n.written(test.err); codeOf(err) != test.write {
				t.Errorf("a write: got exit code %d, %v; want %d", codeOf(err), err, test.write)
			}
		})
	}
	if strings.Contains(n.problem(webhook).Error(), "admission webhook") {
		t.Error("a refusal begins with the name of the webhook")
	}
}

// TestAsWritten: what is applied is what the file says, because it is owned from then on.
func TestAsWritten(t *testing.T) {
	objects, err := manifest.Decode("f", []byte("apiVersion: theseus.dev/v1alpha1\nkind: Cluster\nmetadata: {name: kv}\nspec: {system: etcd, version: 3.5.35}\n"))
	if err != nil {
		t.Fatal(err)
	}
	u, err := asWritten(writtenIn(&objects[0]))
	if err != nil {
		t.Fatal(err)
	}
	text, err := u.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"apiVersion":"theseus.dev/v1alpha1","kind":"Cluster","metadata":{"name":"kv"},"spec":{"system":"etcd","version":"3.5.35"}}`
	if got := strings.TrimSpace(string(text)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestForesee: a plan says what was not looked at, and what the API server warns of.
func TestForesee(t *testing.T) {
	c := applied(t, running("1.0.0"))
	c.Status.ReadyReplicas = 2
	set(c, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonMembersNotReady, "2 of 3 members ready; si-standin-1: CrashLoopBackOff")
	var w *town
	wrote := 0
	w = newTown(t, interceptor.Funcs{Patch: func(ctx context.Context, api client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
		if !slices.Contains(options, client.PatchOption(client.DryRunAll)) {
			wrote++
		}
		w.heard.HandleWarningHeaderWithContext(ctx, 299, "", "that is not wise")
		return api.Patch(ctx, o, patch, options...)
	}}, c)
	k := w.opened(t, "si")
	plan, err := k.planTo(t.Context(), wish{to: "1.1.0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.printForesight(t.Context(), plan.plan, plan.proposal(k)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"roll standin, one member after the other", "warning: 2 of 3 members are ready: si-standin-1: CrashLoopBackOff", "warning: that is not wise", "not looked at: the members themselves"} {
		if !strings.Contains(w.out.String(), want) {
			t.Errorf("the plan has no %q:\n%s", want, w.out.String())
		}
	}
	if now := w.opened(t, "si").cluster.Spec.Version; now != "1.0.0" || wrote > 0 {
		t.Errorf("after the plan the spec asks for %s, and %d writes were no dry run", now, wrote)
	}
}

// TestEdit writes what changes and nothing else, and only over what was read.
func TestEdit(t *testing.T) {
	wrote := ""
	w := newTown(t, interceptor.Funcs{Patch: func(ctx context.Context, api client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
		data, err := patch.Data(o)
		if err != nil || !slices.Contains(options, client.PatchOption(client.FieldOwner(fieldManager))) {
			t.Errorf("patched with %v, %v; want the field manager %s", options, err, fieldManager)
		}
		wrote = string(data)
		return api.Patch(ctx, o, patch, options...)
	}}, applied(t, running("1.0.0")))
	k := w.opened(t, "si")
	p := k.propose(k.cluster.Spec.DeepCopy())
	p.spec.Version = "1.1.0"
	if err := k.at.edit(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if now := w.opened(t, "si").cluster.Spec.Version; now != "1.1.0" || !strings.HasSuffix(wrote, `"spec":{"version":"1.1.0"}}`) {
		t.Errorf("the spec asks for %s, and the patch was %s", now, wrote)
	}
	p.cluster = p.cluster.DeepCopy()
	p.cluster.Generation = 7
	if err := k.at.edit(t.Context(), p); codeOf(err) != exitInput || !strings.Contains(err.Error(), "edited meanwhile") {
		t.Errorf("an edit over another edit: got %v, want a refusal", err)
	}
}

// TestDrive watches an operator: the edit is taken up, an attempt runs, ends, and the command with it.
func TestDrive(t *testing.T) {
	ends := map[v1alpha1.AttemptPhase]int{v1alpha1.PhaseSucceeded: exitDone, v1alpha1.PhaseRolledBack: exitFailed, v1alpha1.PhasePaused: exitWaiting, v1alpha1.PhaseStopped: exitUnknown}
	for phase, code := range ends {
		t.Run(string(phase), func(t *testing.T) {
			reads := 0
			w := newTown(t, interceptor.Funcs{Get: func(ctx context.Context, api client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
				err := api.Get(ctx, key, o, options...)
				if c, ok := o.(*v1alpha1.Cluster); ok && err == nil && c.Spec.Version == "1.1.0" {
					reads++
					play(t, c, reads, phase)
				}
				return err
			}}, applied(t, running("1.0.0")))
			k := w.opened(t, "si")
			p := k.propose(k.cluster.Spec.DeepCopy())
			p.spec.Version = "1.1.0"
			err := k.accept(t.Context(), p, false, "")
			if got := codeOf(err); got != code {
				t.Errorf("exit code %d (%v), want %d", got, err, code)
			}
			if !strings.Contains(w.err.String(), "replace it by 1.1.0") {
				t.Errorf("no progress was shown:\n%s", w.err.String())
			}
			var e *exitError
			if errors.As(err, &e) && !strings.Contains(e.next, "--namespace prod") {
				t.Errorf("the next step does not carry the flag: %s", e.next)
			}
		})
	}
}

// play is what an operator has written by the n-th read.
func play(t *testing.T, c *v1alpha1.Cluster, n int, end v1alpha1.AttemptPhase) {
	t.Helper()
	c.Generation = 2
	if n < 2 {
		return // not taken up
	}
	applied(t, c)
	c.Status.Applied.Spec.Version = "1.0.0"
	c.Status.ObservedGeneration = 2
	c.Status.Events = []v1alpha1.Event{{Reason: string(v1alpha1.ActStop), Object: "member si-standin-2", Message: "replace it by 1.1.0"}}
	at := &v1alpha1.Attempt{ID: 1, Kind: v1alpha1.AttemptUpgrade, From: "1.0.0", To: "1.1.0", Phase: v1alpha1.PhaseRunning, Target: *c.Status.Applied}
	c.Status.Attempt, c.Status.Serial = at, 1
	set(c, v1alpha1.ConditionReconciling, metav1.ConditionTrue, v1alpha1.ReasonRunning, "")
	if n < 3 {
		return
	}
	if at.Phase = end; end == v1alpha1.PhaseSucceeded {
		c.Status.CurrentVersion = "1.1.0"
	}
	set(c, v1alpha1.ConditionReconciling, metav1.ConditionFalse, v1alpha1.ReasonIdle, "")
}

// TestRights: who may read the Cluster and little else still gets a plan, which says what it does not know.
func TestRights(t *testing.T) {
	forbidden := func(what string) error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: what}, "x", errors.New("no"))
	}
	w := newTown(t, interceptor.Funcs{
		Get: func(ctx context.Context, api client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
			if _, ok := o.(*v1alpha1.Cluster); !ok {
				return forbidden("systems and configmaps")
			}
			return api.Get(ctx, key, o, options...)
		},
		Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
			return forbidden("clusters")
		},
	}, applied(t, running("1.0.0")))
	k := w.opened(t, "si")
	plan, err := k.planTo(t.Context(), wish{to: "1.1.0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.printForesight(t.Context(), plan.plan, plan.proposal(k)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"not looked at: whether there is a System standin", "not looked at: what the API server says to the edit: you may not do that"} {
		if !strings.Contains(w.out.String(), want) {
			t.Errorf("the plan has no %q:\n%s", want, w.out.String())
		}
	}
	c := running("1.0.0")
	c.Name, c.ResourceVersion = "old", ""
	c.Status.Applied = &v1alpha1.Pinned{Spec: c.Spec, System: v1alpha1.SystemRef{Name: "standin", Hash: "another"}}
	w.api = newTown(t, interceptor.Funcs{}, c).api
	at, err := w.open(t.Context(), "old")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.openedAt(w.namespace, at).reload(t.Context()); codeOf(err) != exitInput || !strings.Contains(err.Error(), "System another was not kept") {
		t.Errorf("a System that nobody has: got %v, want a refusal", err)
	}
}

// TestAwayForAMoment: while the API server is away, watching goes on, and Ctrl-C ends it.
func TestAwayForAMoment(t *testing.T) {
	away := 0
	ctx, cancel := context.WithCancel(t.Context())
	w := newTown(t, interceptor.Funcs{Get: func(ctx context.Context, api client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
		err := api.Get(ctx, key, o, options...)
		c, ok := o.(*v1alpha1.Cluster)
		if !ok || c.Status.CurrentVersion == "" || away == 0 {
			return err
		}
		if away++; away < 5 {
			return &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		}
		set(c, v1alpha1.ConditionReconciling, metav1.ConditionTrue, v1alpha1.ReasonRunning, "")
		if away == 6 {
			cancel() // Ctrl-C
		}
		return err
	}}, applied(t, running("1.0.0")))
	k := w.opened(t, "si")
	at := k.at.(*object)
	started := func() error { away = 1; return nil }
	_, _, err := at.drive(ctx, started, func(runner.Pass) {})
	err = k.interrupted(err)
	if codeOf(err) != exitWaiting || !strings.Contains(err.Error(), "stopped watching; the operator goes on by itself") {
		t.Errorf("got %v (exit code %d), want that the operator goes on", err, codeOf(err))
	}
	if n := strings.Count(w.err.String(), "trying again"); n != 1 {
		t.Errorf("that it is tried again was said %d times, want once:\n%s", n, w.err.String())
	}
}

// TestAllNamespaces lists clusters by namespace and name, and a namespace lists its own.
func TestAllNamespaces(t *testing.T) {
	other := running("1.0.0")
	other.Namespace, other.Name = "dev", "zz"
	w := newTown(t, interceptor.Funcs{}, running("1.0.0"), other)
	// In this order: the columns below are those of a list of all namespaces.
	for _, list := range []struct {
		everywhere bool
		want       string
	}{{false, "prod/si"}, {true, "dev/zz prod/si"}} {
		w.kube.everywhere = list.everywhere
		all, err := w.all(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, at := range all {
			c, err := at.load(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, c.Namespace+"/"+c.Name)
		}
		if strings.Join(got, " ") != list.want {
			t.Errorf("all namespaces %t: got %q, want %s", list.everywhere, got, list.want)
		}
	}
	columns, rows := w.app.shown([][]string{{"dev", "zz"}})
	if columns[0] != "NAMESPACE" || rows[0][0] != "dev" {
		t.Errorf("the list has columns %q and %q", columns, rows)
	}
}

// TestNoClusterHere: who has a kubeconfig may have meant a cluster of Kubernetes, and forgot to say so.
func TestNoClusterHere(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const hint = "those of Kubernetes are found with --namespace or --context"
	for _, tt := range []struct {
		kubeconfig string
		known      []string
		remote     bool
		home       string
		want       string
	}{
		{kubeconfig: config, want: "to make one: theseus up FILE; " + hint},
		{kubeconfig: config, known: []string{"order"}, want: "did you mean order?"},
		{kubeconfig: config, known: []string{"kv"}, want: hint},
		{kubeconfig: config, remote: true, want: "to make one: theseus up FILE --namespace prod"},
		{kubeconfig: config, home: "here", want: "to make one: theseus up FILE --home here"},
		{kubeconfig: config + "-gone", want: "to make one: theseus up FILE"},
	} {
		t.Setenv("KUBECONFIG", tt.kubeconfig)
		t.Setenv(contextVariable, "")
		a := &app{began: true, home: tt.home}
		if tt.remote {
			a.kube.namespace = "prod"
		}
		err := a.meant(&noClusterError{name: "orders", where: "here", known: tt.known})
		if got := a.explain(nil, err).Next; codeOf(err) != exitInput || got != tt.want {
			t.Errorf("%+v: got %q", tt, got)
		}
	}
}
