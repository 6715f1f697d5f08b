package operator

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"strings"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// Members that speak TLS or want to know who asks are asked with what secrets hold. These are read at the beginning of each look, so that a change is
// taken at once, and are kept in memory until the next one. Files that a spec names are those of the pods.

// The names under which an Asker reads what a secret holds begin with this.
const fromSecret = "secret:"

type secretValue struct {
	value []byte
	err   error
}

func secretFile(ref *v1alpha1.SecretKey) string {
	return fromSecret + ref.Namespace + "/" + ref.Name + "/" + ref.KeyName()
}

// fromSecrets are credentials whose secrets look like files.
func fromSecrets(list map[string]v1alpha1.Credentials) map[string]v1alpha1.Credentials {
	out := maps.Clone(list)
	for name, c := range out {
		switch {
		case c.Secret == nil:
		case c.Username != "":
			c.PasswordFile = secretFile(c.Secret)
		default:
			c.TokenFile = secretFile(c.Secret)
		}
		out[name] = c
	}
	return out
}

// unlock reads the secrets that asking needs, and says of each member with which of them its ports are spoken to.
func (p *Platform) unlock(ctx context.Context, s runner.Scene, members []upgrade.Member) {
	keys := map[string]secretValue{}
	read := func(ref *v1alpha1.SecretKey) string {
		name := secretFile(ref)
		if _, done := keys[name]; !done {
			value, err := readKey(ctx, p.Live, p.Key.Namespace, ref)
			keys[name] = secretValue{value, err}
		}
		return name
	}
	for _, c := range s.Cluster.Spec.Credentials {
		if c.Secret != nil {
			read(c.Secret)
		}
	}
	for i := range members {
		m := &members[i].View
		for port, f := range s.Cluster.Spec.Components[m.Component].TLS {
			if m.TLS == nil {
				m.TLS = map[string]map[string]string{}
			}
			m.TLS[port] = asked(f, m, read)
		}
	}
	p.mu.Lock()
	p.keys = keys
	p.mu.Unlock()
}

// asked says with what a port of a member is spoken to.
func asked(f v1alpha1.TLSFiles, m *system.Member, read func(*v1alpha1.SecretKey) string) map[string]string {
	files := map[string]string{"ca": f.CA, "serverName": m.Host}
	if f.Secret != "" {
		files["ca"] = read(&v1alpha1.SecretKey{Name: f.Secret, Key: "ca.crt"})
	}
	if f.ServerName != "" && !strings.Contains(f.ServerName, "${") {
		files["serverName"] = f.ServerName
	}
	if f.Secret != "" && f.Cert != "" { // whether members ask for a certificate is what cert says to their start command too
		files["cert"] = read(&v1alpha1.SecretKey{Name: f.Secret, Key: "tls.crt"})
		files["key"] = read(&v1alpha1.SecretKey{Name: f.Secret, Key: "tls.key"})
	}
	return files
}

// readSecret is where an Asker reads.
func (p *Platform) readSecret(name string) ([]byte, error) {
	if !strings.HasPrefix(name, fromSecret) {
		return nil, fmt.Errorf("%s is a file of the pods: name the secret with what Theseus uses beside it", name)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	v, ok := p.keys[name]
	if !ok {
		return nil, fmt.Errorf("%s was not read yet", name)
	}
	return v.value, v.err
}

// secure says of members which files their ports use, as the pods see them.
func (b *blueprint) secure(members ...*system.Member) error {
	for _, m := range members {
		sc := &system.Scope{Cluster: b.cluster.Name, Version: b.version, Options: b.system.Options(b.spec), M: m}
		ports := map[string]map[string]string{}
		for port, f := range b.own().TLS {
			files := map[string]string{}
			for key, template := range map[string]string{"ca": f.CA, "cert": f.Cert, "key": f.Key, "serverCert": cmp.Or(f.ServerCert, f.Cert), "serverKey": cmp.Or(f.ServerKey, f.Key),
				"serverName": cmp.Or(f.ServerName, m.Host)} {
				if template == "" {
					continue
				}
				value, err := b.system.Expand(template, sc)
				if err != nil {
					return fmt.Errorf("spec.components.%s.tls.%s.%s: %w", b.component.Name(), port, key, err)
				}
				files[key] = value
			}
			ports[port] = files
		}
		if len(ports) > 0 {
			m.TLS = ports
		}
	}
	return nil
}
