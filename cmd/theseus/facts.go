package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"theseus.dev/probe"
	"theseus.dev/system"
)

// Facts about an upgrade that a probe cannot see from outside.

// resource is what a member has that an upgrade must not change.
type resource struct{ name, host, data string }

func (k *opened) resources(ctx context.Context) ([]resource, error) {
	look, err := k.look(ctx)
	if err != nil {
		return nil, err
	}
	var out []resource
	for _, m := range look.Members {
		out = append(out, resource{m.View.Name, m.View.Host, m.View.Data})
	}
	slices.SortFunc(out, func(a, b resource) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

// endpoints are the client addresses of the members of the first component: its first port by name, "client" before others.
func (k *opened) endpoints(ctx context.Context) ([]string, error) {
	look, err := k.look(ctx)
	if err != nil {
		return nil, err
	}
	c := k.system.Components()[0]
	port, err := clientPort(c)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, m := range look.Members {
		if m.View.Component == c.Name() {
			out = append(out, fmt.Sprintf("http://%s:%d", m.View.Host, m.View.Port[port]))
		}
	}
	slices.Sort(out)
	return out, nil
}

// clientPort is the port named client, else the first by name.
func clientPort(c *system.Component) (string, error) {
	names := slices.Sorted(maps.Keys(c.API().Ports))
	switch {
	case len(names) == 0:
		return "", inputErrorf("component %s has no ports to measure at", c.Name())
	case slices.Contains(names, "client"):
		return "client", nil
	}
	return names[0], nil
}

// facts compares before and after, and what was done by hand.
func (k *opened) facts(ctx context.Context, before []resource) (probe.Facts, error) {
	if err := k.reload(ctx); err != nil {
		return probe.Facts{}, err
	}
	after, err := k.resources(ctx)
	if err != nil {
		return probe.Facts{}, err
	}
	st := &k.cluster.Status
	f := probe.Facts{TargetVersion: k.cluster.Status.CurrentVersion}
	f.SameResources = fact(slices.Equal(before, after), "the members have the same names, addresses and data folders", "members, addresses or data folders differ")
	f.ConfigUnedited = fact(st.Applied != nil, "the members run with the options and arguments of the spec, which the upgrade did not change", "the cluster was never started to its end")
	used := 0
	for _, a := range st.Attempts {
		used += len(a.Overrides)
	}
	f.NoManualStep = fact(used == 0, "no override was used", fmt.Sprintf("%d overrides were used", used))
	if k.cluster.Spec.Upgrade.AllowDowntime {
		f.DeclaredDowntime = "spec.upgrade.allowDowntime is set"
	}
	return f, nil
}

func fact(ok bool, good, bad string) probe.Fact {
	if ok {
		return probe.Fact{Outcome: probe.Pass, Why: good}
	}
	return probe.Fact{Outcome: probe.Fail, Why: bad}
}
