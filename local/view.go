package local

import (
	"cmp"
	"fmt"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

func (st *State) addresses() (addresses, error) {
	a := addresses{}
	there, err := readJSON(st.path(addressesFile), &a)
	if err == nil && !there {
		err = fmt.Errorf("read %s: it is missing", st.path(addressesFile))
	}
	return a, err
}

// Views are the members of a component as they would be started from a spec, by ordinal, without answers: for the
// templates of a start, a backup or a restore.
func (st *State) Views(sys *system.System, spec *v1alpha1.ClusterSpec, component, version string) ([]*system.Member, error) {
	c := sys.Component(component)
	if c == nil {
		return nil, fmt.Errorf("system %s has no component %q", sys.Name(), component)
	}
	a, err := st.addresses()
	if err != nil {
		return nil, err
	}
	views := make([]*system.Member, c.Replicas(spec))
	for i := range views {
		if views[i], err = st.view(sys, spec, c, i, version, a); err != nil {
			return nil, err
		}
	}
	return views, nil
}

func (st *State) view(sys *system.System, spec *v1alpha1.ClusterSpec, c *system.Component, ordinal int, version string, a addresses) (*system.Member, error) {
	name := upgrade.MemberName(st.name, c.Name(), ordinal)
	m := &system.Member{Name: name, Component: c.Name(), Ordinal: ordinal, Host: a[name], Data: st.DataDir(name), Version: version, Port: map[string]int64{}}
	if m.Host == "" {
		return nil, fmt.Errorf("member %s has no address: it was not there when the cluster was created", name)
	}
	for port, n := range c.API().Ports {
		m.Port[port] = int64(n)
	}
	var err error
	m.TLS, err = expandTLS(sys, spec, m, &system.Scope{Cluster: st.name, Version: version, Options: sys.Options(spec), M: m})
	return m, err
}

// expandTLS fills the file names of a member's ports in.
func expandTLS(sys *system.System, spec *v1alpha1.ClusterSpec, m *system.Member, sc *system.Scope) (map[string]map[string]string, error) {
	ports := map[string]map[string]string{}
	for port, f := range spec.Components[m.Component].TLS {
		files := map[string]string{}
		for key, template := range map[string]string{
			"ca": f.CA, "cert": f.Cert, "key": f.Key, "serverCert": cmp.Or(f.ServerCert, f.Cert), "serverKey": cmp.Or(f.ServerKey, f.Key),
			"serverName": cmp.Or(f.ServerName, m.Host),
		} {
			if template == "" {
				continue
			}
			value, err := sys.Expand(template, sc)
			if err != nil {
				return nil, fmt.Errorf("spec.components.%s.tls.%s.%s: %w", m.Component, port, key, err)
			}
			files[key] = value
		}
		ports[port] = files
	}
	return ports, nil
}
