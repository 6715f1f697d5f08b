package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"theseus.dev/system"
	"theseus.dev/systems"
)

func newSystems(a *app) *cobra.Command {
	var file bool
	c := &cobra.Command{
		Use:   "systems [NAME]",
		Short: "List what Theseus knows how to upgrade, or show one",
		Example: `  theseus systems
  theseus systems etcd
  theseus systems etcd --file > my-etcd.yaml    the file, to begin one of your own`,
		Args: atMostOneName,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return systems.List(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return a.listSystems()
			case file:
				return a.printSystemFile(args[0])
			}
			return a.showSystem(args[0])
		},
	}
	c.Flags().BoolVar(&file, "file", false, "print the file itself")
	return c
}

func (a *app) listSystems() error {
	var rows [][]string
	var all []*system.System
	for _, name := range systems.List() {
		s, err := known(name)
		if err != nil {
			return err
		}
		all = append(all, s)
		listed := s.API().Versions.Listed
		rows = append(rows, []string{name, fmt.Sprint(len(listed)), versionsShort(listed), s.API().Description})
	}
	if a.json {
		var out []any
		for _, s := range all {
			out = append(out, s.API())
		}
		a.printJSON(out)
		return nil
	}
	a.table([]string{"SYSTEM", "VERSIONS", "", "DESCRIPTION"}, rows)
	return nil
}

func versionsShort(v []string) string {
	if len(v) <= 2 {
		return strings.Join(v, " ")
	}
	return v[0] + " … " + v[len(v)-1]
}

func (a *app) printSystemFile(name string) error {
	text, err := systems.Load(name)
	if err != nil {
		return noSuchSystem(name)
	}
	if a.json {
		a.printJSON(map[string]string{"name": name, "file": string(text)})
		return nil
	}
	a.printf("%s", text)
	return nil
}

func noSuchSystem(name string) error {
	return inputNext(nearestSystem(name), "there is no System %q", name)
}

func (a *app) showSystem(name string) error {
	if !isFile(name) && !slices.Contains(systems.List(), name) {
		return noSuchSystem(name)
	}
	s, err := known(name)
	if err != nil {
		return err
	}
	if a.json {
		a.printJSON(s.API())
		return nil
	}
	a.printf("%s: %s\nversions: %s\n\nupgrades\n", s.Name(), s.API().Description, strings.Join(s.API().Versions.Listed, " "))
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
