package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/operator"
	"theseus.dev/system"
	"theseus.dev/systems"
)

func newSystems(a *app) *cobra.Command {
	var file bool
	c := &cobra.Command{
		Use:   "systems [NAME]",
		Short: "List what Theseus knows how to upgrade, or show one",
		Long: `List the Systems that are shipped, or show one. On Kubernetes those that are
objects of the cluster are listed too; one of the same name hides the one that
is shipped.`,
		Example: `  theseus systems
  theseus systems etcd
  theseus systems etcd --file > my-etcd.yaml    the file, to begin one of your own
  theseus systems --context lab`,
		Args: atMostOneName,
		ValidArgsFunction: completion(func(ctx context.Context, _ []string) ([]string, error) {
			all, err := a.systems(ctx)
			return systemNames(all), err
		}),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return a.listSystems(c.Context())
			case file:
				return a.printSystemFile(c.Context(), args[0])
			}
			return a.showSystem(c.Context(), args[0])
		},
	}
	c.Flags().BoolVar(&file, "file", false, "print the file itself, or the object as one")
	return c
}

// Where a System comes from that is known in a cluster.
const (
	fromCluster = "cluster"
	fromHiding  = "cluster, in place of the shipped one"
	fromShipped = "shipped"
)

// shownSystem is a System with where it comes from. On one machine all are shipped.
type shownSystem struct {
	*v1alpha1.System
	From string `json:"from,omitempty"`
	name string
	file []byte
}

// systems are those that are known where clusters are, by name.
func (a *app) systems(ctx context.Context) ([]shownSystem, error) {
	all := map[string]shownSystem{}
	for _, name := range systems.List() {
		text, err := systems.Load(name)
		if err != nil {
			return nil, err
		}
		s, err := known(name)
		if err != nil {
			return nil, err
		}
		all[name] = shownSystem{System: s.API(), name: name, file: text}
	}
	if a.remote() {
		n, err := a.kubernetes()
		if err != nil {
			return nil, err
		}
		if err := n.addSystems(ctx, all); err != nil {
			return nil, err
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b shownSystem) int { return strings.Compare(a.name, b.name) }), nil
}

// addSystems puts the Systems that are objects in the place of those that are shipped, and says of all where they come from.
func (n *namespace) addSystems(ctx context.Context, all map[string]shownSystem) error {
	found := &v1alpha1.SystemList{}
	if err := n.api.List(ctx, found); err != nil {
		return n.problem(err)
	}
	for name, s := range all {
		s.From = fromShipped
		all[name] = s
	}
	for i := range found.Items {
		o := &found.Items[i]
		bare := operator.BareSystem(o)
		text, err := yaml.Marshal(bare)
		if err != nil {
			return err
		}
		from := fromCluster
		if _, hides := all[o.Name]; hides {
			from = fromHiding
		}
		s := shownSystem{System: bare, From: from, name: o.Name, file: text}
		if compiled, err := system.Compile(bare); err == nil { // else it is shown as it stands
			s.System = compiled.API()
		}
		all[o.Name] = s
	}
	return nil
}

func systemNames(all []shownSystem) []string {
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].name
	}
	return names
}

func (a *app) listSystems(ctx context.Context) error {
	all, err := a.systems(ctx)
	if err != nil {
		return err
	}
	if a.json {
		a.printJSON(all)
		return nil
	}
	head, rows := []string{"SYSTEM", "VERSIONS", "", "DESCRIPTION"}, [][]string{}
	for _, s := range all {
		row := []string{s.name, fmt.Sprint(len(s.Versions.Listed)), versionsShort(s.Versions.Listed), s.Description}
		if s.From != "" {
			row = slices.Insert(row, 3, s.From)
		}
		rows = append(rows, row)
	}
	if a.remote() {
		head = slices.Insert(head, 3, "FROM")
	}
	a.table(head, rows)
	return nil
}

func versionsShort(v []string) string {
	if len(v) <= 2 {
		return strings.Join(v, " ")
	}
	return v[0] + " … " + v[len(v)-1]
}

// systemCalled is a System by its name.
func (a *app) systemCalled(ctx context.Context, name string) (*shownSystem, error) {
	all, err := a.systems(ctx)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].name == name {
			return &all[i], nil
		}
	}
	return nil, inputNext(nearestSystem(name, systemNames(all)), "there is no System %q", name)
}

func (a *app) printSystemFile(ctx context.Context, name string) error {
	s, err := a.systemCalled(ctx, name)
	switch {
	case err != nil:
		return err
	case a.json:
		a.printJSON(map[string]string{"name": name, "file": string(s.file)})
	default:
		a.printf("%s", s.file)
	}
	return nil
}

func (a *app) showSystem(ctx context.Context, name string) error {
	shown := &shownSystem{name: name}
	var s *system.System
	var err error
	if isFile(name) {
		s, err = known(name)
	} else if shown, err = a.systemCalled(ctx, name); err == nil {
		s, err = system.Compile(shown.System)
	}
	if err != nil {
		return err
	}
	shown.System = s.API()
	if a.json {
		a.printJSON(shown)
		return nil
	}
	a.printf("%s: %s\n", s.Name(), s.API().Description)
	if shown.From != "" {
		a.printf("from: %s\n", shown.From)
	}
	a.printf("versions: %s\n\nupgrades\n", strings.Join(s.API().Versions.Listed, " "))
	var rows [][]string
	for _, e := range s.API().Edges {
		rows = append(rows, []string{"  " + e.From + " → " + e.To, within(string(e.Within)), string(e.Strategy), "backup " + strings.ToLower(string(e.Backup)),
			"finalized by " + strings.ToLower(string(e.Finalizes)), strings.Join(e.Needs, " ")})
	}
	a.table(nil, rows)
	return a.showComponents(s)
}

func within(part string) string {
	if part == "" {
		return ""
	}
	return "within one " + strings.ToLower(part)
}

func (a *app) showComponents(s *system.System) error {
	for _, c := range s.Components() {
		api := c.API()
		a.printf("\ncomponent %s\n  ready: %s\n", c.Name(), api.Ready)
		for _, r := range api.Settled {
			a.printf("  settled, %s: %s\n", r.Rule, r.Is)
		}
		for _, r := range api.Roles {
			a.printf("  role %s\n", r.Name)
		}
	}
	if len(s.API().Options) == 0 {
		return nil
	}
	text, err := yaml.Marshal(s.API().Options)
	if err != nil {
		return err
	}
	a.printf("\noptions\n%s", text)
	return nil
}
