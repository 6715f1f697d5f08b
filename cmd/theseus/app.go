package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"theseus.dev/api/v1alpha1"
)

// app is one call of the command: its streams and the flags that all subcommands have.
type app struct {
	streams
	home     string
	programs []string
	json     bool
	kube     kubeFlags
	plugin   bool // it was called as kubectl theseus

	began   bool                 // the command line was understood
	printed bool                 // a result is on stdout as JSON
	town    *namespace           // set by tests: it is there already, and needs no kubeconfig
	watch   func(v1alpha1.Event) // told of each event of an attempt that this command drives
}

// kubeFlags say which namespace of which Kubernetes cluster is meant.
type kubeFlags struct {
	context, namespace, kubeconfig string
	everywhere                     bool // all namespaces
}

func (f kubeFlags) given() bool { return f != kubeFlags{} }

// contextVariable has commands work in Kubernetes where no flag says so.
const contextVariable = "THESEUS_CONTEXT"

// remote says whether clusters of Kubernetes are meant: by a flag, by the name under which the command was called, or by the environment. An explicit
// --home means this machine.
func (a *app) remote() bool {
	return a.kube.given() || a.home == "" && (a.plugin || os.Getenv(contextVariable) != "")
}

// site is where the clusters live that are meant.
func (a *app) site() (site, error) {
	if a.remote() {
		return a.kubernetes()
	}
	home, err := a.homeFolder()
	return &machine{app: a, home: home}, err
}

// oneSite refuses flags that mean two sites.
func (a *app) oneSite() error {
	if a.kube.given() && (a.home != "" || len(a.programs) > 0) {
		return inputErrorf("--home and --programs are for clusters of this machine, and --context, --namespace and --kubeconfig for those of Kubernetes; leave one or the other")
	}
	return nil
}

// calledAs is what a person types to call this program.
func (a *app) calledAs() string {
	if a.plugin {
		return "kubectl theseus"
	}
	return "theseus"
}

// pluginName is how kubectl finds a command: kubectl theseus calls kubectl-theseus.
const pluginName = "kubectl-theseus"

func isPlugin(program string) bool { return strings.HasPrefix(filepath.Base(program), pluginName) }

// command is a command to type next, with the flags that were given for this one.
func (a *app) command(words ...string) string {
	words = append([]string{a.calledAs()}, words...)
	for _, flag := range []struct{ name, value string }{
		{"--home", a.home}, {"--programs", strings.Join(a.programs, ",")},
		{"--kubeconfig", a.kube.kubeconfig}, {"--context", a.kube.context}, {"--namespace", a.kube.namespace},
	} {
		if flag.value != "" {
			words = append(words, flag.name, quoted(flag.value))
		}
	}
	return strings.Join(words, " ")
}

// quoted is a word as a shell takes it.
func quoted(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@,=+", r)
	}
	if strings.TrimFunc(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// names are the clusters of the site, sorted.
func (a *app) names(ctx context.Context) ([]string, error) {
	s, err := a.site()
	if err != nil {
		return nil, err
	}
	all, err := s.all(ctx)
	var names []string
	for _, c := range all {
		names = append(names, c.name())
	}
	return names, err
}

// printJSON prints the result of a command, once.
func (a *app) printJSON(v any) {
	a.printed = true
	a.streams.printJSON(v)
}
