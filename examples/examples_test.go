// Package examples_test keeps the pages and examples true: every file in here
// and every whole object in a page is read as a person's file is read, and every
// field of the kinds stands on the page that explains it.
package examples_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/manifest"
	"theseus.dev/system"
	"theseus.dev/systems"
)

// text is a file, or a block of a page, with the Systems that its Clusters may name.
type text struct {
	name string
	data string
	base string // folder of the file
}

// known are Systems by the name under which a Cluster refers to them: their own, or their file's.
type known map[string]*system.System

func TestExamples(t *testing.T) {
	for _, f := range files(t, ".", ".yaml") {
		t.Run(f, func(t *testing.T) {
			known{}.check(t, text{f, read(t, f), filepath.Dir(f)})
		})
	}
}

var block = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// TestPages reads the whole objects in the pages. The blocks of a page may use each other, as a reader does.
func TestPages(t *testing.T) {
	for _, page := range append(files(t, "../docs", ".md"), "../README.md") {
		met := known{}
		for _, found := range block.FindAllStringSubmatchIndex(read(t, page), -1) {
			all := read(t, page)
			body := all[found[2]:found[3]]
			if !strings.Contains(body, "apiVersion:") {
				continue // a part of an object
			}
			line := strings.Repeat("\n", strings.Count(all[:found[2]], "\n")) // so that messages name the page's line
			met.check(t, text{page, line + body, "."})
		}
	}
}

func (k known) check(t *testing.T, f text) {
	t.Helper()
	objects, err := manifest.Decode(f.name, []byte(f.data))
	if err != nil {
		t.Error(err)
		return
	}
	for i := range objects {
		o := &objects[i]
		if o.System == nil {
			continue
		}
		s, err := system.Compile(o.System)
		if err != nil {
			t.Error(located(o, err))
			return
		}
		for _, w := range s.Warnings() {
			t.Errorf("%s:%d: warning: %s", f.name, o.Line, w)
		}
		k[s.Name()], k["system.yaml"] = s, s
	}
	for i := range objects {
		if o := &objects[i]; o.Cluster != nil {
			k.checkCluster(t, f, o)
		}
	}
}

func (k known) checkCluster(t *testing.T, f text, o *manifest.Object) {
	t.Helper()
	s := k.find(t, f.base, o.Cluster.Spec.System)
	if s == nil {
		t.Errorf("%s:%d: there is no System %q", f.name, o.Line, o.Cluster.Spec.System)
		return
	}
	manifest.DefaultCluster(o.Cluster)
	if errs := o.Locate(manifest.ValidateCluster(o.Cluster, s)); len(errs) > 0 {
		t.Error(errs)
		return
	}
	for _, w := range manifest.Warnings(o.Cluster, s) {
		t.Errorf("%s:%d: warning: %s", f.name, o.Line, w)
	}
}

// find looks for a System among those read before, beside the file, and among the shipped.
func (k known) find(t *testing.T, base, name string) *system.System {
	t.Helper()
	if s := k[name]; s != nil {
		return s
	}
	data, err := os.ReadFile(filepath.Join(base, name))
	if err != nil {
		data, err = systems.Load(name)
	}
	if err != nil {
		return nil
	}
	objects, err := manifest.Decode(name, data)
	if err != nil {
		t.Fatal(err)
	}
	s, err := system.Compile(objects[0].System)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func located(o *manifest.Object, err error) error {
	var errs system.Errors
	if errors.As(err, &errs) {
		return o.Locate(errs)
	}
	return err
}

// TestFieldsAreExplained looks for every field of a kind, in code quotes, on its page.
func TestFieldsAreExplained(t *testing.T) {
	for page, kind := range map[string]reflect.Type{
		"../docs/systems.md": reflect.TypeFor[v1alpha1.SystemSpec](),
		"../docs/cluster.md": reflect.TypeFor[v1alpha1.ClusterSpec](),
	} {
		words := map[string]bool{}
		for _, code := range regexp.MustCompile("`[^`\n]+`").FindAllString(read(t, page), -1) {
			for _, w := range regexp.MustCompile(`\w+`).FindAllString(code, -1) {
				words[w] = true
			}
		}
		for name, of := range fields(kind, map[string]string{}) {
			if !words[name] {
				t.Errorf("%s does not explain %s of %s", page, name, of)
			}
		}
	}
}

// TestStatusIsExplained is the same for what a person reads first in a status.
func TestStatusIsExplained(t *testing.T) {
	page := read(t, "../docs/cluster.md")
	status := reflect.TypeFor[v1alpha1.ClusterStatus]()
	for i := range status.NumField() {
		if name := jsonName(status.Field(i)); !strings.Contains(page, "`"+name) {
			t.Errorf("docs/cluster.md does not explain status.%s", name)
		}
	}
}

// fields are the JSON names of all fields of our types below one, with the type that has them.
func fields(t reflect.Type, found map[string]string) map[string]string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t.PkgPath() != reflect.TypeFor[v1alpha1.System]().PkgPath() {
		return found
	}
	for i := range t.NumField() {
		if name := jsonName(t.Field(i)); name != "" {
			found[name] = t.Name()
		}
		fields(t.Field(i).Type, found)
	}
	return found
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

func files(t *testing.T, root, suffix string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, suffix) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Fatalf("no %s in %s", suffix, root)
	}
	return found
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// link is a link of a page to a file of the repository, without what stands behind #.
var link = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)\s]*)?\)`)

// TestLinks follows the links within the repository.
func TestLinks(t *testing.T) {
	for _, page := range append(files(t, "../docs", ".md"), "../README.md", "../CONTRIBUTING.md") {
		for _, l := range link.FindAllStringSubmatch(read(t, page), -1) {
			if strings.Contains(l[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), l[1])); err != nil {
				t.Errorf("%s: the link %s leads nowhere", page, l[1])
			}
		}
	}
}
