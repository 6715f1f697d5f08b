package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/manifest"
	"theseus.dev/system"
)

func newValidate(a *app) *cobra.Command {
	var server bool
	c := &cobra.Command{
		Use:   "validate FILE …",
		Short: "Check files with Systems and Clusters, and change nothing",
		Example: `  theseus validate kv.yaml my-system.yaml
  theseus validate kv.yaml --json
  theseus validate kv.yaml --server-side --context lab --namespace prod`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return inputErrorf("give at least one file")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return a.validate(c.Context(), args, server) },
	}
	c.Flags().BoolVar(&server, "server-side", false, "ask Kubernetes too, and so its webhook, what it would say")
	return c
}

type validated struct {
	File     string   `json:"file"`
	Kind     string   `json:"kind"`
	Name     string   `json:"name"`
	Warnings []string `json:"warnings,omitempty"`
	// Unseen is what could not be asked.
	Unseen []string `json:"unseen,omitempty"`
}

func (a *app) validate(ctx context.Context, files []string, server bool) error {
	check, err := a.validator(server)
	if err != nil {
		return err
	}
	var all []validated
	for _, f := range files {
		v, err := check(ctx, f)
		if err != nil {
			return err
		}
		all = append(all, v...)
	}
	if a.json {
		a.printJSON(all)
		return nil
	}
	for _, v := range all {
		a.printf("%s: %s %s is valid\n", v.File, v.Kind, v.Name)
		for _, w := range v.Warnings {
			a.printf("  warning: %s\n", w)
		}
		for _, u := range v.Unseen {
			a.printf("  not looked at: %s\n", u)
		}
	}
	return nil
}

// validator checks a file: by itself, with what Kubernetes knows, or with what it says.
func (a *app) validator(server bool) (func(context.Context, string) ([]validated, error), error) {
	if server {
		s, err := a.kubernetes()
		return func(ctx context.Context, path string) ([]validated, error) {
			return validateFile(ctx, s, path, s.dryRun)
		}, err
	}
	s, err := a.site()
	return func(ctx context.Context, path string) ([]validated, error) { return validateFile(ctx, s, path, nil) }, err
}

// validateFile checks the objects of a file, each of which more is asked about, if set.
func validateFile(ctx context.Context, site site, path string, more func(context.Context, client.Object, *system.System) (foresight, error)) ([]validated, error) {
	text, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	objects, err := manifest.Decode(path, text)
	if err != nil {
		return nil, err
	}
	if len(objects) == 0 {
		return nil, inputErrorf("%s: there is nothing in this file", path)
	}
	var out []validated
	for i := range objects {
		o := &objects[i]
		written := writtenIn(o)
		var inFile *system.System
		v := validated{File: fmt.Sprintf("%s:%d", path, o.Line), Kind: o.Kind, Name: o.Name()}
		if o.Kind == v1alpha1.KindSystem {
			s, err := compileObject(o)
			if err != nil {
				return nil, err
			}
			v.Warnings = s.Warnings()
		} else {
			mine := systemIn(objects, o.Cluster.Spec.System)
			s, err := site.systemOf(ctx, path, objects, o.Cluster)
			if err != nil {
				return nil, located(o, err)
			}
			if mine != nil {
				inFile = s
			}
			manifest.DefaultCluster(o.Cluster)
			if errs := manifest.ValidateCluster(o.Cluster, s); len(errs) > 0 {
				return nil, o.Locate(errs)
			}
			v.Warnings = manifest.Warnings(o.Cluster, s)
		}
		if more != nil {
			said, err := more(ctx, written, inFile)
			if err != nil {
				return nil, err
			}
			v.Warnings, v.Unseen = append(v.Warnings, said.warnings...), said.unseen
		}
		out = append(out, v)
	}
	return out, nil
}
