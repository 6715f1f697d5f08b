// Package theseus_test keeps the architecture: imports run one way, and the
// core stays a function of values. The reasons stand in docs/design.md.
package theseus_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "theseus.dev"

// everybody stands for every package of ours but commands.
const everybody = "*"

// ours says which packages of ours each package may import, and why no others.
// Tests may import more. A package that is not listed is an error: think about
// where it belongs, then add its line. A line may be there before its package.
var ours = map[string]struct {
	may []string
	why string
}{
	"api/v1alpha1":       {nil, "the kinds are data; everybody reads them, they read nobody"},
	"system":             {[]string{"api/v1alpha1"}, "a compiled System knows no cluster, no process and no pod"},
	"systems":            {nil, "shipped Systems are files; nothing is compiled into them"},
	"ask":                {[]string{"api/v1alpha1", "system"}, "asking one member must not depend on what is decided from its answer"},
	"manifest":           {[]string{"api/v1alpha1", "system"}, "the command and the webhook check files in the same way, without an engine"},
	"upgrade":            {[]string{"api/v1alpha1", "system"}, "the core decides from values; whoever looks and acts calls it"},
	"upgradetest":        {[]string{"api/v1alpha1", "system", "upgrade"}, "the simulator drives the core alone, so that a seed says everything"},
	"runner":             {[]string{"api/v1alpha1", "system", "upgrade"}, "the loop defines its ports; platforms implement them"},
	"runner/runnertest":  {[]string{"api/v1alpha1", "system", "upgrade", "runner"}, "the conformance suite is run by platforms, it knows none"},
	"local":              {[]string{"api/v1alpha1", "system", "upgrade", "runner", "ask"}, "a platform; it never imports its sibling"},
	"operator":           {[]string{"api/v1alpha1", "system", "upgrade", "runner", "ask", "manifest", "backup"}, "a platform; it never imports its sibling, and of backup it takes the names"},
	"operator/admission": {[]string{"api/v1alpha1", "system", "upgrade", "manifest"}, "what is refused follows from values and look-ups, not from a platform"},
	"backup":             {nil, "where bytes go does not depend on what is upgraded"},
	"backup/backuptest":  {[]string{"backup"}, "the conformance suite is run by every store, it knows none"},
	"backup/cloud":       {[]string{"backup"}, "a driver of its parent"},
	"gate":               {nil, "holding requests is useful without an upgrade"},
	"schema":             {nil, "a schema change is useful without an upgrade"},
	"schema/postgres":    {[]string{"schema"}, "a dialect of its parent"},
	"schema/mariadb":     {[]string{"schema"}, "a dialect of its parent"},
	"grid":               {nil, "moving a data grid is useful without an upgrade"},
	"level":              {nil, "a public library: whoever imports it gets nothing else"},
	"rpccompat":          {nil, "a public library: whoever imports it gets nothing else"},
	"probe":              {nil, "who measures must not know what is being done"},
	"probe/probetest":    {[]string{"probe"}, "the conformance suite is run by every driver, it knows none"},
	"probe/etcd":         {[]string{"probe"}, "a driver of its parent"},
	"probe/remote":       {[]string{"probe"}, "it takes a probe elsewhere, whatever it measures"},
	"dashboard":          {[]string{"api/v1alpha1"}, "the page shows the status and nothing that is not in it"},
	"servers/standin":    {nil, "the stand-in must not share a fault with what is tested on it"},
	"charts":             {nil, "files for people; its test renders them as helm does"},
	"examples":           {nil, "files for people; its test reads them as the command does"},
	"e2e":                {nil, "the built binary is tried from outside"},
	"bench":              {[]string{everybody}, "measures any part"},
	"bench/figure":       {nil, "a table; whoever measures prints it"},
	"cmd/theseus":        {[]string{everybody}, "the only place that knows everybody"},
}

// theirs says which packages of others must not be imported where: by the
// named packages and those below them, or if except is set by all others.
var theirs = []struct {
	in     []string
	except bool
	path   string // and what lies below it
	why    string
}{
	{[]string{"operator", "cmd/theseus"}, true, "sigs.k8s.io/controller-runtime", "only the operator is a controller"},
	{[]string{"operator", "cmd/theseus", "e2e", "bench"}, true, "k8s.io/client-go", "without Kubernetes nothing must need its client"},
	{[]string{"cmd/theseus"}, true, "github.com/spf13/cobra", "flags belong to the command"},
	{[]string{"probe/etcd", "bench", "e2e"}, true, "go.etcd.io", "etcd is a System like others: data, not code; only its probe driver speaks to it"},
	{[]string{"backup/cloud"}, true, "gocloud.dev/blob/s3blob", "cloud drivers are in a room of their own, so that the rest of backup stays small"},
	{[]string{"backup/cloud"}, true, "gocloud.dev/blob/azureblob", "cloud drivers are in a room of their own, so that the rest of backup stays small"},
	{nil, true, "gocloud.dev/blob/gcsblob", "it adds 20 MB to the program and a third to what its start allocates; backup/cloud speaks to Google Cloud Storage itself"},
	{[]string{"backup/cloud"}, true, "github.com/aws", "SDKs are for backup/cloud"},
	{[]string{"backup/cloud"}, true, "github.com/Azure", "SDKs are for backup/cloud"},
	{[]string{"backup/cloud"}, true, "google.golang.org/api", "SDKs are for backup/cloud"},
	{[]string{"upgrade"}, false, "bufio", "no I/O in the core"},
	{[]string{"upgrade"}, false, "os", "no I/O in the core"},
	{[]string{"upgrade"}, false, "net", "no I/O in the core"},
	{[]string{"upgrade"}, false, "syscall", "no I/O in the core"},
	{[]string{"upgrade"}, false, "context", "nothing in the core waits, so nothing can be canceled"},
	{[]string{"upgrade"}, false, "sync", "no goroutines in the core, so nothing to lock"},
	{[]string{"upgrade"}, false, "log", "the core returns reasons, others log them"},
	{[]string{"upgrade"}, false, "math/rand", "the same values give the same decision"},
	{[]string{"upgrade"}, false, "crypto/rand", "the same values give the same decision"},
	{[]string{"upgrade"}, false, "runtime", "the same values give the same decision"},
}

// only says to which packages of others, beside the standard library, a
// package is limited.
var only = map[string]struct {
	may []string
	why string
}{
	"api/v1alpha1":    {[]string{"k8s.io/apimachinery"}, "programs of others import the kinds, and get what the kinds import"},
	"level":           {nil, "a public library"},
	"rpccompat":       {nil, "a public library"},
	"servers/standin": {nil, "it has to build in seconds and start in milliseconds"},
}

// clock are the functions of package time that read or wait for the clock.
var clock = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// pkg is what "go list" tells about a package.
type pkg struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
}

func TestImports(t *testing.T) {
	for _, p := range list(t) {
		for _, wrong := range check(p) {
			t.Error(wrong)
		}
	}
}

// TestCheck shows that the check can fail.
func TestCheck(t *testing.T) {
	tests := []struct {
		name, path, imports, want string
	}{
		{"allowed", "upgrade", "theseus.dev/system", ""},
		{"not allowed", "upgrade", "theseus.dev/runner", "must not import runner"},
		{"sibling", "operator", "theseus.dev/local", "must not import local"},
		{"command", "cmd/theseus", "theseus.dev/local", ""},
		{"the command itself", "bench", "theseus.dev/cmd/theseus", "must not import cmd/theseus"},
		{"unknown package", "util", "fmt", "add a line"},
		{"forbidden", "upgrade", "os", "no I/O"},
		{"below forbidden", "upgrade", "net/http", "no I/O"},
		{"package below", "upgrade", "log/slog", "others log"},
		{"same beginning", "upgrade", "sort", ""},
		{"only the operator", "local", "sigs.k8s.io/controller-runtime/pkg/client", "only the operator"},
		{"the operator", "operator", "sigs.k8s.io/controller-runtime/pkg/client", ""},
		{"limited", "api/v1alpha1", "sigs.k8s.io/yaml", "is limited to"},
		{"within the limit", "api/v1alpha1", "k8s.io/apimachinery/pkg/apis/meta/v1", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := strings.Join(check(pkg{ImportPath: module + "/" + test.path, Imports: []string{test.imports}}), "\n")
			if test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("%s imports %s: got %q, want %q in it", test.path, test.imports, got, test.want)
			}
		})
	}
}

// TestCoreHasNoClock looks for what imports do not show.
func TestCoreHasNoClock(t *testing.T) {
	for _, p := range list(t) {
		if !within("upgrade", name(p.ImportPath)) {
			continue
		}
		for _, file := range p.GoFiles {
			source, err := os.ReadFile(filepath.Join(p.Dir, file))
			if err != nil {
				t.Fatal(err)
			}
			for _, wrong := range impure(t, file, source) {
				t.Error(wrong)
			}
		}
	}
}

// TestImpure shows that the look for clocks and goroutines can fail.
func TestImpure(t *testing.T) {
	const source = `package upgrade
import "time"
func f(at time.Time) { go f(time.Now()); <-time.After(time.Second); _ = at.Add(time.Second) }`
	got := impure(t, "f.go", []byte(source))
	if len(got) != 3 {
		t.Errorf("got %d findings, want 3 (go, Now, After): %q", len(got), got)
	}
}

// check returns what is wrong with the imports of a package.
func check(p pkg) []string {
	self := name(p.ImportPath)
	if self == "" {
		return nil // the root: this file
	}
	rule, known := ours[self]
	if !known {
		return []string{fmt.Sprintf("%s: this package is not listed in imports_test.go: think about which packages of ours it may import and why, and add a line", self)}
	}
	var wrong []string
	for _, path := range p.Imports {
		if other := name(path); other != path {
			if !slices.Contains(rule.may, other) && (!slices.Contains(rule.may, everybody) || strings.HasPrefix(other, "cmd/")) {
				wrong = append(wrong, fmt.Sprintf("%s must not import %s: %s", self, other, rule.why))
			}
			continue
		}
		wrong = append(wrong, checkTheirs(self, path)...)
	}
	return wrong
}

func checkTheirs(self, path string) []string {
	var wrong []string
	for _, rule := range theirs {
		named := slices.ContainsFunc(rule.in, func(top string) bool { return within(top, self) })
		if within(rule.path, path) && named != rule.except {
			wrong = append(wrong, fmt.Sprintf("%s must not import %s: %s", self, path, rule.why))
		}
	}
	limit, limited := only[self]
	foreign := strings.Contains(strings.Split(path, "/")[0], ".")
	if limited && foreign && !slices.ContainsFunc(limit.may, func(top string) bool { return within(top, path) }) {
		wrong = append(wrong, fmt.Sprintf("%s must not import %s: it is limited to %q: %s", self, path, limit.may, limit.why))
	}
	return wrong
}

// impure finds goroutines and looks at the clock.
func impure(t *testing.T, name string, source []byte) []string {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, source, 0)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			found = append(found, fmt.Sprintf("%s: a goroutine in the core", files.Position(n.Pos())))
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clock, n.Sel.Name) {
				found = append(found, fmt.Sprintf("%s: time.%s in the core: the time is an argument", files.Position(n.Pos()), n.Sel.Name))
			}
		}
		return true
	})
	return found
}

// list returns the packages of this module, as far as they exist.
func list(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,GoFiles,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	packages := map[string]pkg{}
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		packages[p.ImportPath] = p
	}
	if _, ok := packages[module+"/servers/standin"]; !ok {
		t.Fatalf("go list shows no packages of ours: %v", slices.Sorted(maps.Keys(packages)))
	}
	return slices.Collect(maps.Values(packages))
}

// name is the path of a package of ours below the module, and of others whole.
func name(path string) string {
	if path == module {
		return ""
	}
	return strings.TrimPrefix(path, module+"/")
}

// within tells whether path is top or lies below it.
func within(top, path string) bool {
	return path == top || strings.HasPrefix(path, top+"/")
}
