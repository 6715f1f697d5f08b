package manifest

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// reader compares a document with the Go type that it is meant to be, collects
// what is wrong, and gives the content as plain values.
type reader struct {
	file   string
	lines  map[string]int    // by path
	names  map[string]string // paths by paths that have a name instead of an index
	errs   Errors
	values int
}

func (r *reader) add(node *yaml.Node, path, value, problem, remedy string) {
	add(&r.errs, r.file, max(node.Line, 1), path, value, problem, remedy)
}

// kind checks apiVersion and kind, before anything else can be understood.
func (r *reader) kind(node *yaml.Node) string {
	apiVersion, kind := "", ""
	for i := 0; i+1 < len(node.Content); i += 2 {
		switch node.Content[i].Value {
		case "apiVersion":
			apiVersion = node.Content[i+1].Value
		case "kind":
			kind = node.Content[i+1].Value
		}
	}
	wanted := v1alpha1.GroupVersion.String()
	switch {
	case apiVersion == "":
		r.add(node, "apiVersion", "", "is missing", "write apiVersion: "+wanted)
	case apiVersion != wanted:
		r.add(node, "apiVersion", apiVersion, "is not known", "write apiVersion: "+wanted)
	}
	names := slices.Sorted(maps.Keys(kinds))
	switch {
	case kind == "":
		r.add(node, "kind", "", "is missing", "write kind: "+strings.Join(names, " or kind: "))
	case kinds[kind] == nil:
		r.add(node, "kind", kind, "is not known", system.OneOf(kind, names))
	}
	return kind
}

// read gives the content of a node as the type wants it, nil where it is wrong
// or absent.
func (r *reader) read(node *yaml.Node, t reflect.Type, path string) any {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if r.tooMuch(node, path) || node.ShortTag() == "!!null" {
		return nil
	}
	if _, seen := r.lines[path]; !seen {
		r.lines[path] = node.Line
	}
	switch {
	case t == reflect.TypeFor[metav1.Duration]():
		return r.duration(node, path)
	case reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()):
		return r.opaque(node, t, path)
	}
	switch t.Kind() {
	case reflect.Struct:
		return r.object(node, t, path)
	case reflect.Map:
		return r.entries(node, t, path)
	case reflect.Slice:
		return r.list(node, t, path)
	}
	return r.scalar(node, t, path)
}

// tooMuch stops a document whose aliases repeat each other. How deep it can be
// is given by the types.
func (r *reader) tooMuch(node *yaml.Node, path string) bool {
	if r.values > maxValues {
		return true
	}
	r.values++
	if r.values <= maxValues {
		return false
	}
	r.add(node, path, "", fmt.Sprintf("makes more than %d values of the document", maxValues), "write it without aliases that repeat each other")
	return true
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// fields are the types of a struct's fields by their names in files.
func fields(t reflect.Type) map[string]reflect.Type {
	known := map[string]reflect.Type{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported():
		case f.Anonymous && (name == "" || strings.Contains(options, "inline")):
			maps.Copy(known, fields(f.Type))
		case name != "":
			known[name] = f.Type
		}
	}
	return known
}

func (r *reader) object(node *yaml.Node, t reflect.Type, path string) any {
	known := fields(t)
	content := map[string]any{}
	r.pairs(node, path, func(key, value *yaml.Node) {
		at := join(path, key.Value)
		field, ok := known[key.Value]
		if !ok {
			r.add(key, at, "", "is not a field", system.OneOf(key.Value, slices.Collect(maps.Keys(known))))
			return
		}
		r.lines[at] = key.Line
		if v := r.read(value, field, at); v != nil {
			content[key.Value] = v
		}
	})
	return content
}

func (r *reader) entries(node *yaml.Node, t reflect.Type, path string) any {
	content := map[string]any{}
	r.pairs(node, path, func(key, value *yaml.Node) {
		at := join(path, key.Value)
		r.lines[at] = key.Line
		if value.ShortTag() == "!!null" {
			r.add(value, at, "", "has no value", `give it one, or "" for an empty text`)
			return
		}
		if v := r.read(value, t.Elem(), at); v != nil {
			content[key.Value] = v
		}
	})
	return content
}

// pairs goes through the keys of an object; each may stand once.
func (r *reader) pairs(node *yaml.Node, path string, do func(key, value *yaml.Node)) {
	if node.Kind != yaml.MappingNode {
		r.wrong(node, path, "an object")
		return
	}
	first := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		switch {
		case key.Kind != yaml.ScalarNode:
			r.add(key, path, "", "has a key that is "+describe(key), "write a word as the key")
		case key.ShortTag() == "!!merge":
			r.add(key, path, "<<", "is not supported", "write the fields out")
		case first[key.Value] > 0:
			r.add(key, join(path, key.Value), "", fmt.Sprintf("stands twice, first in line %d", first[key.Value]), "keep one of them")
		default:
			first[key.Value] = key.Line
			do(key, node.Content[i+1])
		}
	}
}

func (r *reader) list(node *yaml.Node, t reflect.Type, path string) any {
	if node.Kind != yaml.SequenceNode {
		r.wrong(node, path, "a list")
		return nil
	}
	content := make([]any, 0, len(node.Content))
	for i, entry := range node.Content {
		at := fmt.Sprintf("%s.%d", path, i)
		if entry.ShortTag() == "!!null" {
			r.add(entry, at, "", "has no value", "write one, or leave the entry away")
			continue
		}
		content = append(content, r.read(entry, t.Elem(), at))
		if entry.Kind == yaml.MappingNode {
			r.alias(path, at, entry)
		}
	}
	return content
}

// alias lets a list entry be found by its name too, as errors of a System name it.
func (r *reader) alias(path, at string, entry *yaml.Node) {
	for i := 0; i+1 < len(entry.Content); i += 2 {
		if key := entry.Content[i].Value; key == "name" || key == "rule" {
			r.names[join(path, entry.Content[i+1].Value)] = at
		}
	}
}

// opaque leaves a type that reads itself to do so.
func (r *reader) opaque(node *yaml.Node, t reflect.Type, path string) any {
	var content any
	if err := node.Decode(&content); err != nil {
		r.add(node, path, "", "cannot be read", "correct it")
		return nil
	}
	data, err := json.Marshal(content)
	if err == nil {
		err = json.Unmarshal(data, reflect.New(t).Interface())
	}
	if err != nil {
		r.add(node, path, node.Value, "cannot be read as "+strings.ToLower(t.Name()), "correct it")
		return nil
	}
	return content
}

func (r *reader) duration(node *yaml.Node, path string) any {
	if node.Kind != yaml.ScalarNode {
		r.wrong(node, path, "a time as 10s or 5m")
		return nil
	}
	if _, err := time.ParseDuration(node.Value); err != nil || node.ShortTag() != "!!str" {
		r.add(node, path, node.Value, "is not a time", "write it with its unit, as 10s or 5m")
		return nil
	}
	return node.Value
}

func (r *reader) scalar(node *yaml.Node, t reflect.Type, path string) any {
	tag := node.ShortTag()
	switch t.Kind() {
	case reflect.String:
		if node.Kind == yaml.ScalarNode && (tag == "!!str" || tag == "!!timestamp") {
			return node.Value
		}
		r.wrong(node, path, "a text")
	case reflect.Bool:
		if tag == "!!bool" {
			return strings.EqualFold(node.Value, "true")
		}
		r.wrong(node, path, "true or false")
	case reflect.Int32, reflect.Int64:
		if tag == "!!int" {
			return r.integer(node, t, path)
		}
		r.wrong(node, path, "a whole number")
	default:
		r.add(node, path, "", "is of a type that files cannot hold", "leave it away")
	}
	return nil
}

func (r *reader) integer(node *yaml.Node, t reflect.Type, path string) any {
	n, err := strconv.ParseInt(node.Value, 10, t.Bits())
	if err != nil {
		r.add(node, path, node.Value, "is not a whole number that fits",
			fmt.Sprintf("write decimal digits, at most %d", int64(math.MaxInt64)>>(64-t.Bits())))
		return nil
	}
	return n
}

// wrong says what a value is and what is wanted.
func (r *reader) wrong(node *yaml.Node, path, want string) {
	value, remedy := "", "write "+want
	if node.Kind == yaml.ScalarNode {
		value = node.Value
		if want == "a text" {
			remedy = fmt.Sprintf("put it in quotes: %q", node.Value)
		}
	}
	r.add(node, path, value, "is "+describe(node)+", not "+want, remedy)
}

// describe says what a node is.
func describe(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "an object"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch node.ShortTag() {
	case "!!str", "!!timestamp":
		return "a text"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!null":
		return "nothing"
	}
	return "a value with the tag " + node.Tag
}
