package manifest

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

var (
	labelPattern    = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)
	sumPattern      = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)
	variablePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// maxName bounds a cluster's name: members' names and hook runs are made of it.
const maxName = 40

// ValidateCluster says all that is wrong with a Cluster on its own and with
// its System, in the order of the file. Without a System (nil) it says what
// can be said. What depends on what runs is the core's to say.
func ValidateCluster(c *v1alpha1.Cluster, s *system.System) Errors {
	v := &validator{spec: &c.Spec, s: s}
	v.name(c.Name)
	v.system()
	v.components()
	v.options()
	v.programs()
	v.backup()
	v.credentials()
	v.policy()
	return v.Errors
}

type validator struct {
	Errors
	spec *v1alpha1.ClusterSpec
	s    *system.System
}

func (v *validator) name(name string) {
	switch {
	case name == "":
		v.Add("metadata.name", "", "is missing", "give the cluster a name, as kv")
	case len(name) > maxName:
		v.Add("metadata.name", name, fmt.Sprintf("is longer than %d characters", maxName), "shorten it")
	case !labelPattern.MatchString(name):
		v.Add("metadata.name", name, "is not a DNS label", "use small letters, digits and dashes, and begin with a letter")
	}
}

func (v *validator) system() {
	if v.spec.System == "" {
		v.Add("spec.system", "", "is missing", "name a System, as etcd, or a file beside this one")
	}
	if v.spec.Version == "" {
		v.Add("spec.version", "", "is missing", "say which version the members shall run")
	} else if v.s != nil {
		v.version("spec.version", v.spec.Version)
	}
}

func (v *validator) version(path, version string) {
	var err *system.VersionError
	if errors.As(v.s.CheckVersion(version), &err) {
		v.Add(path, version, err.Problem, err.Remedy)
	}
}

func (v *validator) components() {
	for _, name := range slices.Sorted(maps.Keys(v.spec.Components)) {
		path := "spec.components." + name
		component := v.component(path, name)
		own := v.spec.Components[name]
		if r := own.Replicas; r != nil && (*r < 1 || *r > 99) {
			v.Add(path+".replicas", strconv.Itoa(int(*r)), "is not between 1 and 99", "write how many members there shall be")
		}
		v.storage(path+".storage", own.Storage)
		v.addresses(path+".addresses", own, component)
		v.start(path, name, own, component != nil)
		v.template(path+".image", name, own.Image, component != nil)
		v.tls(path+".tls", name, own.TLS, component)
		v.adopt(path, name, own, component)
	}
}

// component finds the System's component; nil where there is no System or none.
func (v *validator) component(path, name string) *v1alpha1.Component {
	if v.s == nil {
		return nil
	}
	if c := v.s.Component(name); c != nil {
		return c.API()
	}
	var names []string
	for _, c := range v.s.Components() {
		names = append(names, c.Name())
	}
	v.Add(path, "", "is no component of "+v.s.Name(), system.OneOf(name, names))
	return nil
}

func (v *validator) storage(path, size string) {
	if size == "" {
		return
	}
	if q, err := resource.ParseQuantity(size); err != nil || q.Sign() <= 0 {
		v.Add(path, size, "is not a size", "write it as 1Gi or 500Mi")
	}
}

func (v *validator) addresses(path string, own v1alpha1.ComponentSpec, component *v1alpha1.Component) {
	if len(own.Addresses) == 0 {
		return
	}
	replicas := own.Replicas
	if replicas == nil && component != nil {
		replicas = component.Replicas
	}
	if replicas != nil && int(*replicas) != len(own.Addresses) {
		v.Add(path, strings.Join(own.Addresses, ", "), fmt.Sprintf("are %d, and there are %d members", len(own.Addresses), *replicas), "write one address for each member")
	}
	seen := map[netip.Addr]bool{}
	for i, text := range own.Addresses {
		at := fmt.Sprintf("%s.%d", path, i)
		addr, err := netip.ParseAddr(text)
		switch {
		case err != nil:
			v.Add(at, text, "is not an IP address", "write it as 127.0.0.1, without a port")
		case addr.IsUnspecified() || addr.IsMulticast():
			v.Add(at, text, "is no address of one machine", "write the address that the member shall listen on")
		case seen[addr]:
			v.Add(at, text, "stands twice", "give each member an address of its own")
		}
		seen[addr] = true
	}
}

// start checks the templates that are added to the System's.
func (v *validator) start(path, name string, own v1alpha1.ComponentSpec, known bool) {
	for i, arg := range own.Args {
		v.template(fmt.Sprintf("%s.args.%d", path, i), name, arg, known)
	}
	for _, variable := range slices.Sorted(maps.Keys(own.Env)) {
		at := path + ".env." + variable
		if !variablePattern.MatchString(variable) {
			v.Add(at, "", "is no name of a variable", "use letters, digits and _")
		}
		v.template(at, name, own.Env[variable], known)
	}
}

func (v *validator) template(path, component, source string, known bool) {
	if known {
		v.Errors = append(v.Errors, v.s.CheckStart(path, component, source)...)
	}
}

func (v *validator) tls(path, name string, files map[string]v1alpha1.TLSFiles, component *v1alpha1.Component) {
	for _, port := range slices.Sorted(maps.Keys(files)) {
		at, f := path+"."+port, files[port]
		if component != nil && component.Ports[port] == 0 {
			v.Add(at, "", "is no port of "+name, system.OneOf(port, slices.Collect(maps.Keys(component.Ports))))
		}
		if f.CA == "" {
			v.Add(at+".ca", "", "is missing", "name the file of the CA that signed the server's certificate")
		}
		v.pair(at, "cert", f.Cert, "key", f.Key)
		v.pair(at, "serverCert", f.ServerCert, "serverKey", f.ServerKey)
		for _, file := range []struct{ name, path string }{
			{"ca", f.CA}, {"cert", f.Cert}, {"key", f.Key}, {"serverCert", f.ServerCert}, {"serverKey", f.ServerKey},
		} {
			v.file(at+"."+file.name, file.path)
			v.template(at+"."+file.name, name, file.path, component != nil)
		}
		v.template(at+".serverName", name, f.ServerName, component != nil)
	}
}

// pair checks two fields that are nothing without each other.
func (v *validator) pair(path, a, valueA, b, valueB string) {
	if valueA != "" && valueB == "" {
		v.Add(path+"."+b, "", "is missing, and there is "+a, "name both files")
	}
	if valueA == "" && valueB != "" {
		v.Add(path+"."+a, "", "is missing, and there is "+b, "name both files")
	}
}

// file checks the form of a path: members and commands run in other folders.
func (v *validator) file(at, name string) {
	if name == "" || path.IsAbs(name) {
		return
	}
	v.Add(at, name, "is not an absolute path", "begin it with /")
}

func (v *validator) options() {
	if v.s == nil {
		return
	}
	v.Errors = append(v.Errors, v.s.CheckOptions(v.spec)...)
}

func (v *validator) programs() {
	for _, version := range slices.Sorted(maps.Keys(v.spec.Programs)) {
		path, p := "spec.programs."+version, v.spec.Programs[version]
		if v.s != nil {
			v.version(path, version)
		}
		switch {
		case p.Path == "" && p.URL == "":
			v.Add(path, "", "says not where the program is", "give either path or url")
		case p.Path != "" && p.URL != "":
			v.Add(path, "", "has path and url", "give either path or url")
		}
		v.file(path+".path", p.Path)
		if p.URL != "" {
			v.download(path, p)
		}
		if p.SHA256 != "" && !sumPattern.MatchString(p.SHA256) {
			v.Add(path+".sha256", p.SHA256, "is not a SHA-256", "write 64 hexadecimal digits")
		}
	}
}

func (v *validator) download(path string, p v1alpha1.Program) {
	if p.SHA256 == "" {
		v.Add(path+".sha256", "", "is missing, and a url needs it", "write the SHA-256 of the file, 64 hexadecimal digits")
	}
	u, err := url.Parse(p.URL)
	if err != nil || !slices.Contains([]string{"https", "http", "file"}, u.Scheme) {
		shown := p.URL
		if err == nil {
			shown = u.Redacted()
		}
		v.Add(path+".url", shown, "is not a URL that programs are downloaded from", "begin it with https://, http:// or file://")
		return
	}
	v.place(path+".url", p.URL, u)
}

// place checks what follows the scheme of a URL.
func (v *validator) place(path, text string, u *url.URL) {
	switch {
	case u.User != nil:
		v.Add(path, u.Redacted(), "holds a user or password", "keep secrets in files of their own")
	case u.Scheme == "file" && (u.Host != "" || !strings.HasPrefix(u.Path, "/")):
		v.Add(path, text, "is not an absolute path", "write three slashes, as file:///var/backups/kv")
	case u.Scheme != "file" && u.Host == "":
		v.Add(path, text, "names no host or bucket", "write it as "+u.Scheme+"://NAME/PATH")
	}
}

func (v *validator) backup() {
	b := v.spec.Backup
	if b == nil {
		return
	}
	u, err := url.Parse(b.URL)
	switch {
	case b.URL == "":
		v.Add("spec.backup.url", "", "is missing", "say where backups go, as file:///var/backups/kv")
	case err != nil || u.Scheme == "" || !strings.Contains(b.URL, "://"):
		v.Add("spec.backup.url", b.URL, "is not a URL", "write it as file:///var/backups/kv")
	default:
		v.place("spec.backup.url", b.URL, u)
	}
	if b.Secret != nil && b.Secret.Name == "" {
		v.Add("spec.backup.secret.name", "", "is missing", "name the secret")
	}
}

func (v *validator) credentials() {
	for _, name := range slices.Sorted(maps.Keys(v.spec.Credentials)) {
		path, c := "spec.credentials."+name, v.spec.Credentials[name]
		basic := c.Username != "" || c.PasswordFile != ""
		switch {
		case c.Secret != nil && (c.PasswordFile != "" || c.TokenFile != ""):
			v.Add(path, "", "has a secret and a file", "give either the secret, or a file")
		case c.Secret != nil:
		case basic && c.TokenFile != "":
			v.Add(path, "", "has a token and a user", "give either tokenFile, or username and passwordFile")
		case !basic && c.TokenFile == "":
			v.Add(path, "", "is empty", "give either tokenFile, or username and passwordFile")
		case basic:
			v.pair(path, "username", c.Username, "passwordFile", c.PasswordFile)
		}
		v.file(path+".passwordFile", c.PasswordFile)
		v.file(path+".tokenFile", c.TokenFile)
	}
}

func (v *validator) policy() {
	u := &v.spec.Upgrade
	enum(v, "spec.upgrade.onFailure", u.OnFailure, v1alpha1.FailureRollsBack, v1alpha1.FailurePauses)
	enum(v, "spec.upgrade.finalize", u.Finalize, v1alpha1.Automatic, v1alpha1.Manual)
	enum(v, "spec.upgrade.edits", u.Edits, v1alpha1.EditsRefused, v1alpha1.EditsDeferred)
	if u.MaxUnavailable < 0 {
		v.Add("spec.upgrade.maxUnavailable", strconv.Itoa(int(u.MaxUnavailable)), "is less than 1", "write how many members may be unavailable at once")
	}
	if u.PauseAfter < 0 {
		v.Add("spec.upgrade.pauseAfter", strconv.Itoa(int(u.PauseAfter)), "is less than 0", "write after how many members to pause, or 0 for never")
	}
	v.duration("spec.upgrade.soak", u.Soak, 0)
	v.duration("spec.upgrade.progressDeadline", u.ProgressDeadline, time.Second)
	if d := u.BackupTTL; d != nil && d.Duration < time.Minute {
		v.Add("spec.upgrade.backupTTL", d.Duration.String(), "is less than 1m0s", "write how long backups are kept, as 2160h for 90 days, or leave it away to keep them for ever")
	}
}

// maxDuration keeps sums of durations far from overflowing.
const maxDuration = 30 * 24 * time.Hour

func (v *validator) duration(path string, d *metav1.Duration, least time.Duration) {
	switch {
	case d == nil:
	case d.Duration < least:
		v.Add(path, d.Duration.String(), "is less than "+least.String(), "write a time as 30s or 10m")
	case d.Duration > maxDuration:
		v.Add(path, d.Duration.String(), "is too long", "write at most "+maxDuration.String())
	}
}

// enum checks a value that may be left out.
func enum[T ~string](v *validator, path string, value T, values ...T) {
	if value == "" || slices.Contains(values, value) {
		return
	}
	names := make([]string, len(values))
	for i, known := range values {
		names[i] = string(known)
	}
	v.Add(path, string(value), "is not known", system.OneOf(string(value), names))
}
