package system

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"

	"theseus.dev/api/v1alpha1"
)

// The texts of a component's pod overlay are templates: so a limit of memory can come with the version that needs it. All pods of a component share one
// pod template, so they speak of cluster, version and options alone.

// Overlay is what a component lays over its pod template in Kubernetes, filled in; nil where there is nothing. What has come out empty is left out, as an
// argument of start is.
func (s *System) Overlay(component string, spec *v1alpha1.ClusterSpec, cluster, version string) (*runtime.RawExtension, error) {
	overlay := s.Component(component).api.Pod
	if overlay == nil || !bytes.Contains(overlay.Raw, []byte("${")) {
		return overlay, nil
	}
	tree, err := decodeOverlay(overlay)
	if err != nil {
		return nil, err
	}
	sc := &Scope{Cluster: cluster, Version: version, Options: s.Options(spec)}
	filled, err := mapTexts("", tree, func(_, text string) (any, error) {
		out, err := s.Expand(text, sc)
		if err == nil && out == "" {
			return leftOut{}, nil
		}
		return out, err
	})
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(filled)
	return &runtime.RawExtension{Raw: raw}, err
}

// overlay checks the templates of a pod overlay.
func (c *checker) overlay(path string, overlay *runtime.RawExtension) {
	if overlay == nil {
		return
	}
	tree, err := decodeOverlay(overlay)
	if err != nil {
		c.errs.Add(path, "", err.Error(), "write a pod template, or a part of one")
		return
	}
	_, _ = mapTexts(path, tree, func(path, text string) (any, error) {
		c.template(path, text, place{vars: programVariables})
		return text, nil
	})
}

// decodeOverlay keeps numbers as they are written.
func decodeOverlay(overlay *runtime.RawExtension) (tree any, err error) {
	d := json.NewDecoder(bytes.NewReader(overlay.Raw))
	d.UseNumber()
	return tree, d.Decode(&tree)
}

// leftOut stands for a value that is not to be there.
type leftOut struct{}

// mapTexts makes a tree of another one, in which each text with an expression is what change makes of it.
func mapTexts(path string, tree any, change func(path, text string) (any, error)) (any, error) {
	switch v := tree.(type) {
	case string:
		if !strings.Contains(v, "${") {
			return v, nil
		}
		return change(path, v)
	case map[string]any:
		out := map[string]any{}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			value, err := mapTexts(path+"."+key, v[key], change)
			if err != nil {
				return nil, err
			}
			if value != (leftOut{}) {
				out[key] = value
			}
		}
		return out, nil
	case []any:
		out := make([]any, 0, len(v))
		for i, item := range v {
			value, err := mapTexts(fmt.Sprintf("%s.%d", path, i), item, change)
			if err != nil {
				return nil, err
			}
			if value != (leftOut{}) {
				out = append(out, value)
			}
		}
		return out, nil
	}
	return tree, nil
}
