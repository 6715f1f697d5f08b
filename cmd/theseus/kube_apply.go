package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/manifest"
	"theseus.dev/operator"
	"theseus.dev/runner"
	"theseus.dev/system"
)

// fieldManager is under which name the command writes. The API server keeps it with each field.
const fieldManager = "theseus"

// create applies the Cluster of a file, and its Systems.
func (n *namespace) create(ctx context.Context, p *proposal) (access, error) {
	o := n.object(p.name)
	return o, o.edit(ctx, p)
}

// apply makes what a file says of Systems and of a Cluster true by server-side apply.
func (n *namespace) apply(ctx context.Context, f *clusterFile, force bool, more ...client.ApplyOption) error {
	return n.applyAll(ctx, append(slices.Clone(f.systems), f.written), force, more...)
}

func (n *namespace) applyAll(ctx context.Context, objects []client.Object, force bool, more ...client.ApplyOption) error {
	for _, object := range objects {
		if err := n.applyObject(ctx, object, force, more...); err != nil {
			return err
		}
	}
	return nil
}

// unjudged says why the API server cannot judge a Cluster in a dry run: it would do so by the System that is there, and the one in the Cluster's file is
// another one. Empty where it can.
func (n *namespace) unjudged(ctx context.Context, inFile *system.System) string {
	if _, err := n.systemObject(ctx, inFile.Name()); apierrors.IsNotFound(err) {
		return "what the API server says to the Cluster: its System " + inFile.Name() + " is not there yet"
	}
	if there, err := n.object("").library().Known(ctx, inFile.Name()); is[*runner.UnusableError](err) || err == nil && there.Hash() != inFile.Hash() {
		return "what the API server says to the Cluster: the System " + inFile.Name() + " that is there is not yet as in the file"
	}
	return "" // what cannot be read the API server says
}

func (n *namespace) applyObject(ctx context.Context, object client.Object, force bool, more ...client.ApplyOption) error {
	u, err := asWritten(object)
	if err != nil {
		return err
	}
	if u.GetKind() == v1alpha1.KindCluster {
		if u.GetNamespace() != "" && u.GetNamespace() != n.name {
			return inputErrorf("metadata.namespace %q: the namespace is %s; leave it out, or use --namespace %s", u.GetNamespace(), n.name, u.GetNamespace())
		}
		u.SetNamespace(n.name)
	}
	options := append([]client.ApplyOption{client.FieldOwner(fieldManager)}, more...)
	if force {
		options = append(options, client.ForceOwnership)
	}
	err = n.api.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), options...)
	if managers := inTheWay(err); len(managers) > 0 && !force {
		if !slices.ContainsFunc(managers, func(m string) bool { return m != fieldManager }) {
			return n.applyObject(ctx, object, true, more...) // an upgrade or an option of this command
		}
		return &exitError{code: exitInput, err: fmt.Errorf("%s %s: %w", u.GetKind(), u.GetName(), err), next: "to take these fields over from " + list(managers) + ": --force"}
	}
	return n.written(err)
}

// asWritten is an object with what its file says and nothing else: what is applied is owned.
func asWritten(object client.Object) (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, err
	}
	delete(content, "status")
	unstructured.RemoveNestedField(content, "metadata", "creationTimestamp")
	if policy, ok, _ := unstructured.NestedMap(content, "spec", "upgrade"); ok && len(policy) == 0 {
		unstructured.RemoveNestedField(content, "spec", "upgrade")
	}
	return &unstructured.Unstructured{Object: content}, nil
}

// inTheWay are the field managers that a server-side apply conflicts with.
func inTheWay(err error) []string {
	var managers []string
	for _, said := range operator.FieldConflicts(err) {
		// conflict with "kubectl-edit" using theseus.dev/v1alpha1
		if parts := strings.Split(said, `"`); len(parts) > 1 && !slices.Contains(managers, parts[1]) {
			managers = append(managers, parts[1])
		}
	}
	return managers
}

// keepers are the managers that keep spec.version.
type keepers struct {
	// tools keep it by themselves and set it back.
	tools []string
	// files are of people who apply a file by hand, and set it back with the next apply.
	files []string
}

// byHand are the managers of people. What kubectl edit and patch write is set back by nobody.
func byHand(manager string) bool {
	return manager == fieldManager || manager == "kubectl" || strings.HasPrefix(manager, "kubectl-") || manager == "before-first-apply"
}

// keepersOfVersion reads who owns spec.version.
func keepersOfVersion(fields []metav1.ManagedFieldsEntry) keepers {
	k := keepers{}
	for _, f := range fields {
		switch {
		case f.Subresource != "" || f.Manager == fieldManager || !ownsVersion(f.FieldsV1):
		case !byHand(f.Manager):
			k.tools = append(k.tools, f.Manager)
		case f.Manager == "kubectl" || f.Manager == "kubectl-client-side-apply":
			k.files = append(k.files, f.Manager)
		}
	}
	return k
}

func ownsVersion(fields *metav1.FieldsV1) bool {
	if fields == nil {
		return false
	}
	owned := struct {
		Spec map[string]json.RawMessage `json:"f:spec"`
	}{}
	if json.Unmarshal(fields.GetRawBytes(), &owned) != nil {
		return false
	}
	_, ok := owned.Spec["f:version"]
	return ok
}

func (k keepers) warnings(p *proposal) []string {
	var out []string
	if p.cluster == nil || p.cluster.Spec.Version == p.spec.Version {
		return nil
	}
	if len(k.tools) > 0 {
		out = append(out, fmt.Sprintf("spec.version is kept by %s, which would set it back; change it there", list(k.tools)))
	}
	if len(k.files) > 0 {
		out = append(out, "spec.version was applied from a file with kubectl; change it in that file too, or the next apply asks for the old version")
	}
	return out
}

// dryRun asks the API server what it would say to an object of a file. inFile is the System of a Cluster, if it is in the same file.
func (n *namespace) dryRun(ctx context.Context, object client.Object, inFile *system.System) (said foresight, err error) {
	if inFile != nil {
		if why := n.unjudged(ctx, inFile); why != "" {
			return foresight{unseen: []string{why}}, nil
		}
	}
	err = n.applyObject(ctx, object, true, client.DryRunAll)
	return foresight{warnings: n.heard.take()}, err
}

// writtenIn is an object of a file as it stands there, for the API server.
func writtenIn(o *manifest.Object) client.Object {
	if o.System != nil {
		return o.System.DeepCopy()
	}
	return o.Cluster.DeepCopy()
}
