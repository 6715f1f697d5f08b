package local

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// withPort is the stand-in on another port, so that a listener on all addresses disturbs no other test.
func withPort(t *testing.T, port int) *system.System {
	t.Helper()
	api := standinSystem(t).API().DeepCopy()
	api.Components[0].Ports["client"] = int32(port)
	return compileSystem(t, api)
}

func named(name string, members int32, given ...string) *v1alpha1.Cluster {
	c := &v1alpha1.Cluster{Spec: v1alpha1.ClusterSpec{System: "standin", Version: "1.0.0",
		Components: map[string]v1alpha1.ComponentSpec{"standin": {Replicas: &members, Addresses: given}}}}
	c.Name = name
	return c
}

func TestAddresses(t *testing.T) {
	sys := standinSystem(t)
	h := Home(t.TempDir())
	seen := map[string]string{}
	for _, name := range []string{"a", "b", "c"} {
		st, err := h.Create(named(name, 3), sys)
		if err != nil {
			t.Fatal(err)
		}
		a, err := st.addresses()
		if err != nil || len(a) != 3 {
			t.Fatalf("cluster %s has addresses %v, %v; want 3", name, a, err)
		}
		for member, address := range a {
			if !net.ParseIP(address).IsLoopback() || seen[address] != "" {
				t.Errorf("member %s has %q, and %q too", member, address, seen[address])
			}
			seen[address] = member
		}
	}
	if a, err := Home(t.TempDir()).allot(named("a", 3), sys); err != nil || seen[a["a-standin-0"]] != "a-standin-0" {
		t.Errorf("the addresses do not follow from the name: %v, %v", a, err)
	}
}

// TestAddressTaken has a foreign program on what follows from the name.
func TestAddressTaken(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	free.Close()
	sys := withPort(t, port)
	h := Home(t.TempDir())
	first, err := h.allot(named("a", 3), sys)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(first["a-standin-1"], fmt.Sprint(port)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	second, err := h.allot(named("a", 3), sys)
	if err != nil || second["a-standin-0"] == first["a-standin-0"] {
		t.Errorf("got %v, %v; want another range than %v", second, err, first)
	}
	given := named("a", 1, first["a-standin-1"])
	wrong := &AddressError{}
	if _, err := h.allot(given, sys); !errors.As(err, &wrong) || wrong.Field != "spec.components.standin.addresses" {
		t.Errorf("an address that was given and is taken: got %v, want an AddressError with the field", err)
	}
	everywhere, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer everywhere.Close()
	if _, err := h.allot(named("a", 3), withPort(t, everywhere.Addr().(*net.TCPAddr).Port)); !errors.As(err, &wrong) || !strings.Contains(err.Error(), "all addresses") {
		t.Errorf("a listener on all addresses: got %v, want an AddressError that says so", err)
	}
}

func TestGivenAddresses(t *testing.T) {
	sys := standinSystem(t)
	h := Home(t.TempDir())
	if _, err := h.Create(named("other", 2, "127.9.9.1", "127.9.9.2"), sys); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		given []string
		want  string // of the error; none: they are taken over
	}{
		{"one each", []string{"127.9.8.1", "127.9.8.2"}, ""},
		{"too few", []string{"127.9.8.1"}, "1 addresses for 2 members"},
		{"no address", []string{"127.9.8.1", "localhost"}, `"localhost" is not an IP address`},
		{"of another cluster", []string{"127.9.8.1", "127.9.9.1"}, "belongs to cluster other"},
		{"of another machine", []string{"127.9.8.1", "192.0.2.1"}, "not an address of this machine"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a, err := h.allot(named("a", 2, test.given...), sys)
			if test.want == "" {
				if err != nil || a["a-standin-0"] != test.given[0] || a["a-standin-1"] != test.given[1] {
					t.Errorf("got %v, %v; want %v", a, err, test.given)
				}
				return
			}
			if !errors.As(err, new(*AddressError)) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an AddressError with %q", err, test.want)
			}
		})
	}
	if _, err := h.allot(named("a", 300), sys); err == nil || !strings.Contains(err.Error(), "at most 254") {
		t.Errorf("300 members: got %v", err)
	}
}
