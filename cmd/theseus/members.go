package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// shownMember is a member for people and scripts: where it is reached, and what it says of itself. What is not known is empty.
type shownMember struct {
	Name      string           `json:"name"`
	Component string           `json:"component"`
	Address   string           `json:"address,omitempty"`
	Ports     map[string]int64 `json:"ports,omitempty"`
	Version   string           `json:"version,omitempty"`
	Role      string           `json:"role,omitempty"`
	// Process is its state: running, absent, … On Kubernetes it is the phase of the pod.
	Process string `json:"process,omitempty"`
}

// stopped says that there are members, and no process of any.
func stopped(members []shownMember) bool {
	runs := func(m shownMember) bool { return m.Process != upgrade.ProcessAbsent.String() }
	return len(members) > 0 && !slices.ContainsFunc(members, runs)
}

// shownCluster is a Cluster for scripts, with its members.
type shownCluster struct {
	*v1alpha1.Cluster
	Members []shownMember `json:"members"`
}

// judged are the members of a fresh look, by component and ordinal.
func judged(in *upgrade.Input, sys *system.System) []shownMember {
	spec := &in.Cluster.Spec
	var out []shownMember
	for _, c := range sys.Components() {
		var all []*system.Member
		process := map[string]string{}
		for i := range in.Look.Members {
			if m := &in.Look.Members[i]; m.View.Component == c.Name() {
				all, process[m.View.Name] = append(all, &m.View), m.State.String()
			}
		}
		slices.SortFunc(all, func(a, b *system.Member) int { return a.Ordinal - b.Ordinal })
		for _, m := range all {
			sc := system.Scope{Cluster: in.Cluster.Name, Version: spec.Version, Options: sys.Options(spec), M: m, All: all}
			shown := shownMember{Name: m.Name, Component: c.Name(), Address: m.Host, Ports: m.Port, Process: process[m.Name]}
			shown.Version, _ = c.Version(&sc)
			shown.Role, _ = c.Role(&sc)
			out = append(out, shown)
		}
	}
	return out
}

// saying are the members with what they said to who drives them.
func saying(members []shownMember, said []v1alpha1.MemberSaid) []shownMember {
	for i := range members {
		m := &members[i]
		if j := slices.IndexFunc(said, func(s v1alpha1.MemberSaid) bool { return s.Name == m.Name }); j >= 0 {
			m.Version, m.Role = said[j].Version, said[j].Role
		}
	}
	return members
}

// printMembers is a row for each member.
func (k *opened) printMembers(members []shownMember) {
	if len(members) == 0 {
		return
	}
	rows := make([][]string, len(members))
	for i, m := range members {
		rows[i] = []string{m.Name, or(m.Version, "-"), or(m.Role, "-"), or(m.Address, "-"), or(portsText(m.Ports), "-")}
	}
	k.printf("\n")
	k.table([]string{"MEMBER", "VERSION", "ROLE", "ADDRESS", "PORTS"}, rows)
	if k.heard {
		k.talkf("versions and roles are what the operator last heard; it asks while an attempt runs or something changes")
	}
}

func portsText(ports map[string]int64) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(ports)) {
		out = append(out, fmt.Sprintf("%s=%d", name, ports[name]))
	}
	return strings.Join(out, " ")
}

// tellEndpoints says where clients connect, for each component that has ports.
func (k *opened) tellEndpoints(ctx context.Context) error {
	members, err := k.refresh(ctx)
	if err != nil {
		return err
	}
	for _, c := range k.system.Components() {
		port, err := clientPort(c)
		if err != nil {
			continue // it has none
		}
		var at []string
		for _, m := range members {
			if n := m.Ports[port]; m.Component == c.Name() && n > 0 && m.Address != "" {
				at = append(at, net.JoinHostPort(m.Address, strconv.FormatInt(n, 10)))
			}
		}
		if len(at) > 0 {
			k.talkf("%s, port %s: %s", c.Name(), port, strings.Join(at, ","))
		}
	}
	return nil
}
