package local

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// addresses by member. They are chosen once, so that what a member wrote about itself and others into its data stays true.
type addresses map[string]string

// AddressError says that the members cannot get addresses.
type AddressError struct {
	Field  string // of the spec, where addresses were given
	Reason string
	Remedy string
}

func (e *AddressError) Error() string {
	return strings.TrimPrefix(e.Field+": ", ": ") + e.Reason + "; " + e.Remedy
}

// blockTries is how many ranges are looked at before it is clear that the ports are taken on every address.
const blockTries = 16

// blockSize is how many members a range holds: 127.x.y.1 to 127.x.y.254.
const blockSize = 254

// allot gives every member an address of its own: the one in the spec, else one in a range that follows from the cluster's name
// and that nobody uses.
func (h Home) allot(c *v1alpha1.Cluster, sys *system.System) (addresses, error) {
	taken, err := h.taken()
	if err != nil {
		return nil, err
	}
	given, err := givenAddresses(c, sys)
	if err != nil {
		return nil, err
	}
	var clash error
	for try := range blockTries {
		a := block(c, sys, given, try)
		if len(a)-len(given) > blockSize {
			return nil, &AddressError{Reason: fmt.Sprintf("%d members are more than this machine holds in a cluster", len(a)),
				Remedy: fmt.Sprintf("want at most %d", blockSize)}
		}
		if clash = a.clash(c.Name, sys, taken, given); clash == nil {
			return a, nil
		}
		if errors.As(clash, new(*AddressError)) {
			return nil, clash
		}
	}
	return nil, &AddressError{Reason: fmt.Sprintf("no free range of loopback addresses in %d tries: %v", blockTries, clash),
		Remedy: "end the program that listens on that port of all addresses, or set spec.components.NAME.addresses"}
}

// taken are the addresses of the clusters in this home, with whose they are.
func (h Home) taken() (map[string]string, error) {
	names, err := h.List()
	if err != nil {
		return nil, err
	}
	taken := map[string]string{}
	for _, name := range names {
		a := addresses{}
		if _, err := readJSON(filepath.Join(string(h), name, addressesFile), &a); err != nil {
			return nil, err
		}
		for _, address := range a {
			taken[address] = name
		}
	}
	return taken, nil
}

func givenAddresses(c *v1alpha1.Cluster, sys *system.System) (addresses, error) {
	given := addresses{}
	for _, comp := range sys.Components() {
		list := c.Spec.Components[comp.Name()].Addresses
		field := "spec.components." + comp.Name() + ".addresses"
		if n := comp.Replicas(&c.Spec); len(list) > 0 && len(list) != n {
			return nil, &AddressError{field, fmt.Sprintf("has %d addresses for %d members", len(list), n), "give one for each member, or none"}
		}
		for i, address := range list {
			if net.ParseIP(address) == nil {
				return nil, &AddressError{field, fmt.Sprintf("%q is not an IP address", address), "give one like 127.0.2.1"}
			}
			given[upgrade.MemberName(c.Name, comp.Name(), i)] = address
		}
	}
	return given, nil
}

// block is the addresses that follow from a cluster's name. The first number is at least 16, far from what distributions use.
func block(c *v1alpha1.Cluster, sys *system.System, given addresses, try int) addresses {
	sum := sha256.Sum256([]byte(c.Name + "#" + strconv.Itoa(try)))
	a := maps.Clone(given)
	n := 0
	for _, comp := range sys.Components() {
		for i := range comp.Replicas(&c.Spec) {
			name := upgrade.MemberName(c.Name, comp.Name(), i)
			if a[name] == "" {
				n++
				a[name] = fmt.Sprintf("127.%d.%d.%d", 16+int(sum[0])%239, sum[1], n)
			}
		}
	}
	return a
}

// clash says why these addresses cannot be used: an *AddressError where another range would not help.
func (a addresses) clash(cluster string, sys *system.System, taken map[string]string, given addresses) error {
	for _, comp := range sys.Components() {
		for _, member := range a.of(cluster, comp) {
			address := a[member]
			if err := a.used(address, comp, taken); err != nil {
				if given[member] != "" {
					return &AddressError{"spec.components." + comp.Name() + ".addresses", err.Error(), "give another one"}
				}
				return err
			}
		}
	}
	return nil
}

func (a addresses) used(address string, comp *system.Component, taken map[string]string) error {
	if other := taken[address]; other != "" {
		return fmt.Errorf("%s belongs to cluster %s", address, other)
	}
	return portsFree(address, comp)
}

// of are the members of a component, in order.
func (a addresses) of(cluster string, comp *system.Component) []string {
	var names []string
	for i := 0; ; i++ {
		name := upgrade.MemberName(cluster, comp.Name(), i)
		if a[name] == "" {
			return names
		}
		names = append(names, name)
	}
}

// portsFree says whether a member could listen there. It must not be asked while the member may start: for a moment it
// listens itself.
func portsFree(address string, comp *system.Component) error {
	for _, port := range slices.Sorted(maps.Keys(comp.API().Ports)) {
		at := net.JoinHostPort(address, strconv.Itoa(int(comp.API().Ports[port])))
		l, err := net.Listen("tcp", at)
		switch {
		case err == nil:
			l.Close()
		case errors.Is(err, syscall.EADDRINUSE):
			return fmt.Errorf("%s (port %s) is taken by another program", at, port)
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			return fmt.Errorf("%s (port %s) is not an address of this machine", at, port)
		case errors.Is(err, os.ErrPermission):
			return fmt.Errorf("%s (port %s) may not be listened on by this user", at, port)
		default:
			return fmt.Errorf("%s (port %s): %w", at, port, err)
		}
	}
	return nil
}
