package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// Limits of a file. What a person writes is far below them.
const (
	MaxSize   = 1 << 20
	maxValues = 100_000 // with what aliases repeat
)

// Errors are all that is wrong with a file.
type Errors = system.Errors

// Object is one document of a file: exactly one of System and Cluster is set.
type Object struct {
	// File is the name given to Decode, Line where the document begins.
	File string
	Line int
	// Kind is one of v1alpha1.KindSystem and v1alpha1.KindCluster.
	Kind    string
	System  *v1alpha1.System
	Cluster *v1alpha1.Cluster
	lines   map[string]int    // by path
	names   map[string]string // see reader
}

// Name is metadata.name.
func (o *Object) Name() string {
	if o.System != nil {
		return o.System.Name
	}
	return o.Cluster.Name
}

// Locate adds file and line to errors about the object that were found after
// decoding: those of system.Compile and ValidateCluster.
func (o *Object) Locate(errs Errors) Errors {
	for _, e := range errs {
		if e.Where == "" {
			e.Where = fmt.Sprintf("%s:%d", o.File, o.line(e.Path))
		}
	}
	return errs
}

// line is that of the path, or of what it is missing in.
func (o *Object) line(path string) int {
	line, at := o.Line, ""
	for key := range strings.SplitSeq(path, ".") {
		at = join(at, key)
		if indexed, ok := o.names[at]; ok {
			at = indexed
		}
		if known, ok := o.lines[at]; ok {
			line = known
		}
	}
	return line
}

// kinds are the types of the kinds.
var kinds = map[string]reflect.Type{
	v1alpha1.KindSystem:  reflect.TypeFor[v1alpha1.System](),
	v1alpha1.KindCluster: reflect.TypeFor[v1alpha1.Cluster](),
}

// Decode reads the documents of a file. Its name is for messages. The error is
// Errors; objects are complete only without one. Neither defaults are set nor
// values checked beyond their types: see system.Compile and ValidateCluster.
func Decode(name string, data []byte) ([]Object, error) {
	var errs Errors
	if len(data) > MaxSize {
		add(&errs, name, 1, "", "", fmt.Sprintf("is larger than %d KiB", MaxSize>>10), "split it")
		return nil, errs
	}
	nodes, err := documents(name, data)
	if err != nil {
		return nil, err
	}
	var objects []Object
	for _, node := range nodes {
		o, problems := decodeOne(name, node)
		errs = append(errs, problems...)
		objects = append(objects, o)
	}
	if len(nodes) == 0 {
		add(&errs, name, 1, "", "", "holds no document", "write a System or a Cluster into it")
	}
	return objects, errs.OrNil()
}

func add(errs *Errors, name string, line int, path, value, problem, remedy string) {
	*errs = append(*errs, &system.Error{Where: fmt.Sprintf("%s:%d", name, line), Path: path, Value: value, Problem: problem, Remedy: remedy})
}

// documents parses the file. Empty documents are left out.
func documents(name string, data []byte) ([]*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var nodes []*yaml.Node
	for {
		node := &yaml.Node{}
		err := decoder.Decode(node)
		if errors.Is(err, io.EOF) {
			return nodes, nil
		}
		if err != nil {
			return nil, syntaxError(name, err)
		}
		if len(node.Content) == 1 && node.Content[0].ShortTag() != "!!null" {
			nodes = append(nodes, node.Content[0])
		}
	}
}

// syntaxError takes the line out of the parser's message.
func syntaxError(name string, err error) error {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if n, scanErr := fmt.Sscanf(message, "line %d: ", &line); scanErr == nil && n == 1 {
		_, message, _ = strings.Cut(message, ": ")
	}
	var errs Errors
	add(&errs, name, line, "", "", "is not YAML: "+message, "correct the line or the one before it")
	return errs
}

func decodeOne(name string, node *yaml.Node) (Object, Errors) {
	r := &reader{file: name, lines: map[string]int{}, names: map[string]string{}}
	o := Object{File: name, Line: node.Line, lines: r.lines, names: r.names}
	if node.Kind != yaml.MappingNode {
		r.add(node, "", "", "is "+describe(node)+", not an object", "begin with apiVersion and kind")
		return o, r.errs
	}
	o.Kind = r.kind(node)
	if len(r.errs) > 0 {
		return o, r.errs
	}
	content := r.read(node, kinds[o.Kind], "")
	if len(r.errs) > 0 {
		return o, r.errs
	}
	if err := o.fill(content); err != nil {
		r.add(node, "", "", "cannot be read: "+err.Error(), "correct it")
	}
	return o, r.errs
}

// fill makes the typed object; types were checked before.
func (o *Object) fill(content any) error {
	data, err := json.Marshal(content)
	if err != nil {
		return err
	}
	if o.Kind == v1alpha1.KindSystem {
		o.System = &v1alpha1.System{}
		return json.Unmarshal(data, o.System)
	}
	o.Cluster = &v1alpha1.Cluster{}
	return json.Unmarshal(data, o.Cluster)
}
