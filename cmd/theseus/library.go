package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/manifest"
	"theseus.dev/system"
	"theseus.dev/systems"
)

// known finds a System as it is now: a file, or one that is shipped.
func known(name string) (*system.System, error) {
	if isFile(name) {
		return systemInFile(name)
	}
	text, err := systems.Load(name)
	if err != nil {
		return nil, unknownSystem(name)
	}
	return compile(name+".yaml (shipped)", text, name)
}

// isFile says that a System is named by the path of its file.
func isFile(name string) bool {
	return strings.ContainsRune(name, filepath.Separator) || strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")
}

func unknownSystem(name string) error {
	errs := system.Errors{}
	errs.Add("spec.system", name, "no such System", nearestSystem(name, systems.List()))
	return errs
}

// nearestSystem is what to write instead of a name that no System has.
func nearestSystem(name string, known []string) string {
	remedy := "name one of " + strings.Join(known, ", ") + ", or a file as ./" + name + ".yaml"
	if near := system.Nearest(name, known); near != "" {
		remedy = "did you mean " + near + "? " + remedy
	}
	return remedy
}

// located adds file and line to an error about an object of a file.
func located(o *manifest.Object, err error) error {
	var errs system.Errors
	if errors.As(err, &errs) {
		return o.Locate(errs)
	}
	return err
}

func systemInFile(path string) (*system.System, error) {
	text, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	return compile(path, text, "")
}

// compile reads the one System of a file, or the one with this name.
func compile(file string, text []byte, name string) (*system.System, error) {
	objects, err := manifest.Decode(file, text)
	if err != nil {
		return nil, err
	}
	var found *manifest.Object
	for i := range objects {
		o := &objects[i]
		if o.Kind != v1alpha1.KindSystem || name != "" && o.Name() != name {
			continue
		}
		if found != nil {
			return nil, inputErrorf("%s: more than one System; put each into a file of its own", file)
		}
		found = o
	}
	if found == nil {
		return nil, inputErrorf("%s: no System in this file", file)
	}
	return compileObject(found)
}

func compileObject(o *manifest.Object) (*system.System, error) {
	s, err := system.Compile(o.System)
	return s, located(o, err)
}

func readBounded(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, inputErrorf("%s: there is no such file", path)
	case err != nil:
		return nil, inputError(err)
	case info.IsDir():
		return nil, inputErrorf("%s: it is a folder; name a file", path)
	}
	if info.Size() > manifest.MaxSize {
		return nil, inputErrorf("%s: %d bytes; a file of objects has at most %d", path, info.Size(), manifest.MaxSize)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, inputError(err)
	}
	return text, nil
}

// clusterFile is a file with one Cluster, checked, with the System that it names.
type clusterFile struct {
	cluster  *v1alpha1.Cluster // with defaults
	written  client.Object     // the Cluster as it stands there
	systems  []client.Object   // the Systems of the file
	system   *system.System
	warnings []string
}

// readCluster reads a file with a Cluster, checks it with its System, and makes the System's name one that can be
// found from anywhere.
func readCluster(ctx context.Context, s site, path string) (*clusterFile, error) {
	text, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	objects, err := manifest.Decode(path, text)
	if err != nil {
		return nil, err
	}
	o, err := oneCluster(path, objects)
	if err != nil {
		return nil, err
	}
	f := &clusterFile{cluster: o.Cluster, written: writtenIn(o)}
	for i := range objects {
		if objects[i].Kind == v1alpha1.KindSystem {
			f.systems = append(f.systems, writtenIn(&objects[i]))
		}
	}
	if f.system, err = s.systemOf(ctx, path, objects, o.Cluster); err != nil {
		return nil, located(o, err)
	}
	manifest.DefaultCluster(f.cluster)
	if errs := append(manifest.ValidateCluster(f.cluster, f.system), s.lacks(f.cluster)...); len(errs) > 0 {
		return nil, o.Locate(errs)
	}
	f.warnings = manifest.Warnings(f.cluster, f.system)
	return f, nil
}

func oneCluster(path string, objects []manifest.Object) (*manifest.Object, error) {
	var found *manifest.Object
	for i := range objects {
		if objects[i].Kind != v1alpha1.KindCluster {
			continue
		}
		if found != nil {
			return nil, inputErrorf("%s: more than one Cluster; give each a file of its own", path)
		}
		found = &objects[i]
	}
	if found == nil {
		return nil, inputErrorf("%s: no Cluster in this file", path)
	}
	return found, nil
}

// systemIn finds a System by its name among the objects of a file; nil where it is not there.
func systemIn(objects []manifest.Object, name string) *manifest.Object {
	i := slices.IndexFunc(objects, func(o manifest.Object) bool { return o.Kind == v1alpha1.KindSystem && o.Name() == name })
	if i < 0 {
		return nil
	}
	return &objects[i]
}
