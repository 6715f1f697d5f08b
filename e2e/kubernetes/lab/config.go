//go:build linux

package lab

import (
	"bytes"
	"crypto/x509/pkix"
	"embed"
	"errors"
	"os"
	"path/filepath"
	"text/template"
)

//go:embed templates
var files embed.FS

var templates = template.Must(template.New("").Option("missingkey=error").ParseFS(files, "templates/*"))

// settings are what the templates speak of.
type settings struct {
	node
	PKI, CNI, DNS, Pause, ClusterCIDR, PodLogs string
}

func (n node) settings() settings {
	return settings{node: n, PKI: n.lab.path("pki"), CNI: cniDir(), DNS: HostIP, Pause: pauseName, ClusterCIDR: podCIDR, PodLogs: n.file(podLogs)}
}

func cniDir() string {
	for _, dir := range cniDirs {
		if _, err := os.Stat(filepath.Join(dir, "ptp")); err == nil {
			return dir
		}
	}
	return cniDirs[0]
}

// configure writes the files that the node's parts read.
func (n node) configure() error {
	return errors.Join(
		n.render("containerd.toml", "containerd.toml"),
		n.render("lab.conflist", "cni/lab.conflist"),
		n.render("kubelet.yaml", "kubelet.yaml"),
		n.render("kube-proxy.yaml", "kube-proxy.yaml"),
		n.render("Corefile", "Corefile"),
		os.WriteFile(filepath.Join(n.Dir(), "resolv.conf"), nil, 0o644),
		os.MkdirAll(n.Run(), 0o755),
	)
}

func (n node) render(name, file string) error {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, n.settings()); err != nil {
		return err
	}
	file = filepath.Join(n.Dir(), file)
	return errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, b.Bytes(), 0o644))
}

// certify makes the keys and certificates of everybody in the cluster.
func (r record) certify() error {
	if err := os.Mkdir(r.path("pki"), 0o700); err != nil {
		return err
	}
	ca, err := newAuthority(r.path("pki"))
	if err != nil {
		return err
	}
	const masters = "system:masters"
	err = errors.Join(
		ca.keyPair("serviceaccount"),
		ca.server("apiserver", pkix.Name{CommonName: "kube-apiserver"}, HostIP, "127.0.0.1", apiServiceIP,
			"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"),
		ca.client("admin", "admin", masters),
		ca.client("apiserver-kubelet", "apiserver-kubelet", masters),
		ca.client("front-proxy", "front-proxy"),
		ca.client("kube-controller-manager", "system:kube-controller-manager"),
		ca.client("kube-scheduler", "system:kube-scheduler"),
		ca.client("kube-proxy", "system:kube-proxy"),
	)
	for _, n := range r.nodes() {
		user := "system:node:" + n.Name()
		err = errors.Join(err,
			ca.client(n.Name(), user, "system:nodes"),
			ca.server(n.Name()+"-kubelet", pkix.Name{CommonName: user, Organization: []string{"system:nodes"}}, n.Name(), n.IP()))
	}
	return errors.Join(err, ca.kubeconfig("admin", r.Kubeconfig()))
}
