package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/manifest"
)

func newValidate(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "validate FILE …",
		Short: "Check files with Systems and Clusters, and change nothing",
		Example: `  theseus validate kv.yaml my-system.yaml
  theseus validate kv.yaml --json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return inputErrorf("give at least one file")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return a.validate(args) },
	}
}

type validated struct {
	File     string   `json:"file"`
	Kind     string   `json:"kind"`
	Name     string   `json:"name"`
	Warnings []string `json:"warnings,omitempty"`
}

func (a *app) validate(files []string) error {
	var all []validated
	for _, f := range files {
		v, err := validateFile(f)
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
	}
	return nil
}

func validateFile(path string) ([]validated, error) {
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
		v := validated{File: fmt.Sprintf("%s:%d", path, o.Line), Kind: o.Kind, Name: o.Name()}
		if o.Kind == v1alpha1.KindSystem {
			s, err := compileObject(o)
			if err != nil {
				return nil, err
			}
			v.Warnings = s.Warnings()
		} else {
			s, err := systemOf(path, objects, o.Cluster)
			if err != nil {
				return nil, err
			}
			manifest.DefaultCluster(o.Cluster)
			if errs := manifest.ValidateCluster(o.Cluster, s); len(errs) > 0 {
				return nil, o.Locate(errs)
			}
			v.Warnings = manifest.Warnings(o.Cluster, s)
		}
		out = append(out, v)
	}
	return out, nil
}
