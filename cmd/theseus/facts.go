package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"theseus.dev/probe"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// Facts about an upgrade that a probe cannot see from outside.

// resource is what a member has that an upgrade must not change.
type resource struct{ name, host, data string }

// reach is how a probe gets at the members of the first component.
type reach struct {
	probed // their client addresses: the port named client, else the first by name
	// start begins to measure from where the members' clients are.
	start func(ctx context.Context, f probeFlags) (meter, error)
	// resources are what an upgrade must not change, and same says what of members that is.
	resources func(context.Context) ([]resource, error)
	same      string
}

// reach leads to processes of this machine.
func (m *process) reach(ctx context.Context, k *opened) (*reach, error) {
	look, err := k.look(ctx)
	if err != nil {
		return nil, err
	}
	c := k.system.Components()[0]
	port, err := clientPort(c)
	if err != nil {
		return nil, err
	}
	r := &reach{probed: probed{system: k.system.Name()}, resources: k.resources, same: "names, addresses and data folders"}
	members := slices.DeleteFunc(slices.Clone(look.Members), func(m upgrade.Member) bool { return m.View.Component != c.Name() })
	slices.SortFunc(members, func(a, b upgrade.Member) int { return cmp.Compare(a.View.Ordinal, b.View.Ordinal) })
	for _, member := range members {
		at := &member.View
		scheme := "http"
		if files, speaks := at.TLS[port]; speaks {
			scheme = "https"
			r.cacert, r.cert, r.key = files["ca"], files["cert"], files["key"] // a client has one certificate, whichever member's file it is
			r.serverNames = append(r.serverNames, files["serverName"])
		}
		r.endpoints = append(r.endpoints, fmt.Sprintf("%s://%s:%d", scheme, at.Host, at.Port[port]))
	}
	r.start = func(ctx context.Context, f probeFlags) (meter, error) {
		return startProbe(context.WithoutCancel(ctx), r.probed, f.pace)
	}
	return r, nil
}

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
func (k *opened) facts(ctx context.Context, r *reach, before []resource) (probe.Facts, error) {
	if err := k.reload(ctx); err != nil {
		return probe.Facts{}, err
	}
	after, err := r.resources(ctx)
	if err != nil {
		return probe.Facts{}, err
	}
	st := &k.cluster.Status
	f := probe.Facts{TargetVersion: k.cluster.Status.CurrentVersion}
	f.SameResources = fact(slices.Equal(before, after), "the members have the same "+r.same, "of the members not all "+r.same+" are the same")
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

// factsWithin is how long it is tried to read the facts: what was measured until then would be lost.
const factsWithin = time.Minute

// factsInTime are the facts as soon as they can be read.
func (k *opened) factsInTime(ctx context.Context, r *reach, before []resource) (probe.Facts, error) {
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for until := time.Now().Add(factsWithin); ; <-t.C {
		f, err := k.facts(ctx, r, before)
		if err == nil || !passing(err) || time.Now().After(until) {
			return f, err
		}
	}
}

func fact(ok bool, good, bad string) probe.Fact {
	if ok {
		return probe.Fact{Outcome: probe.Pass, Why: good}
	}
	return probe.Fact{Outcome: probe.Fail, Why: bad}
}
