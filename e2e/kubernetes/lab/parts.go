//go:build linux

package lab

import (
	"path/filepath"
	"strings"
)

// part is one program of the cluster, which the supervisor keeps running. The
// parts of a node are called NODE/NAME, those of the control plane just NAME.
type part struct {
	name string
	args []string // the program first
}

func (r record) etcd() part {
	return part{"etcd", []string{
		r.Node, "etcd",
		"--data-dir=" + r.path("etcd"),
		"--listen-client-urls=http://127.0.0.1:2379",
		"--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380",
		"--initial-advertise-peer-urls=http://127.0.0.1:2380",
		"--initial-cluster=default=http://127.0.0.1:2380",
		"--log-level=warn",
		"--unsafe-no-fsync", // the lab does not outlive the machine
	}}
}

func (r record) apiserver() part {
	return part{"kube-apiserver", []string{
		r.Node, "kube-apiserver",
		"--etcd-servers=http://127.0.0.1:2379",
		"--bind-address=0.0.0.0",
		"--advertise-address=" + HostIP, // not a loopback one: it becomes an endpoint
		"--secure-port=6443",
		"--service-cluster-ip-range=" + serviceCIDR,
		"--tls-cert-file=" + r.pki("apiserver.crt"),
		"--tls-private-key-file=" + r.pki("apiserver.key"),
		"--client-ca-file=" + r.pki("ca.crt"),
		"--kubelet-client-certificate=" + r.pki("apiserver-kubelet.crt"),
		"--kubelet-client-key=" + r.pki("apiserver-kubelet.key"),
		"--kubelet-certificate-authority=" + r.pki("ca.crt"),
		"--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + r.pki("serviceaccount.pub"),
		"--service-account-signing-key-file=" + r.pki("serviceaccount.key"),
		"--requestheader-client-ca-file=" + r.pki("ca.crt"),
		"--requestheader-allowed-names=front-proxy",
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + r.pki("front-proxy.crt"),
		"--proxy-client-key-file=" + r.pki("front-proxy.key"),
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--profiling=false",
		// Pods leave a node that is gone in seconds, not in five minutes.
		"--default-not-ready-toleration-seconds=5",
		"--default-unreachable-toleration-seconds=5",
	}}
}

func (r record) controllers() part {
	config := r.pki("kube-controller-manager.kubeconfig")
	return part{"kube-controller-manager", []string{
		r.Node, "kube-controller-manager",
		"--kubeconfig=" + config,
		"--authentication-kubeconfig=" + config,
		"--authorization-kubeconfig=" + config,
		"--bind-address=127.0.0.1",
		"--client-ca-file=" + r.pki("ca.crt"),
		"--requestheader-client-ca-file=" + r.pki("ca.crt"),
		"--root-ca-file=" + r.pki("ca.crt"),
		"--cluster-signing-cert-file=" + r.pki("ca.crt"),
		"--cluster-signing-key-file=" + r.pki("ca.key"),
		"--service-account-private-key-file=" + r.pki("serviceaccount.key"),
		"--use-service-account-credentials=true",
		"--flex-volume-plugin-dir=" + r.path("flex"),
		"--leader-elect=false",
		"--profiling=false",
		// With the defaults, the default ServiceAccount comes 3 s later.
		"--kube-api-qps=200",
		"--kube-api-burst=400",
		"--node-monitor-grace-period=" + r.nodeGrace(),
		"--node-monitor-period=1s",
	}}
}

// nodeGrace is for how long a node may say nothing. One that is gone is noticed in seconds, where another is left to look after its members. The only node
// is not gone: the machine has too much to do, and taking its members for lost would be one thing more.
func (r record) nodeGrace() string {
	if r.Nodes > 1 {
		return "8s"
	}
	return "10m"
}

func (r record) scheduler() part {
	config := r.pki("kube-scheduler.kubeconfig")
	return part{"kube-scheduler", []string{
		r.Node, "kube-scheduler",
		"--kubeconfig=" + config,
		"--authentication-kubeconfig=" + config,
		"--authorization-kubeconfig=" + config,
		"--bind-address=127.0.0.1",
		"--leader-elect=false",
		"--profiling=false",
	}}
}

// dns is a plain process on node1's address, not a pod: it is there before the
// first pod is, and needs no image.
func (r record) dns() part {
	return part{"coredns", []string{r.Node, "coredns", "-conf", r.path("node1", "Corefile")}}
}

func (n node) containerd() part {
	return n.part("containerd", "containerd", "--config", n.file("containerd.toml"))
}

func (n node) kubelet() part {
	return n.part("kubelet", n.lab.Node, "kubelet",
		"--config="+n.file("kubelet.yaml"),
		"--kubeconfig="+n.lab.pki(n.Name()+".kubeconfig"),
		"--hostname-override="+n.Name(),
		"--node-ip="+n.IP(),
		"--root-dir="+n.file("kubelet"),
		"--cert-dir="+n.file("kubelet/pki"))
}

func (n node) proxy() part {
	return n.part("kube-proxy", n.lab.Node, "kube-proxy",
		"--config="+n.file("kube-proxy.yaml"),
		"--hostname-override="+n.Name())
}

func (n node) part(name string, args ...string) part {
	return part{n.Name() + "/" + name, append(n.enter(), args...)}
}

func (n node) file(name string) string  { return filepath.Join(n.Dir(), name) }
func (r record) pki(name string) string { return r.path("pki", name) }

// logFile is where a part's output goes: log/etcd.log, log/node1-kubelet.log.
func (r record) logFile(part string) string {
	return r.path("log", strings.ReplaceAll(part, "/", "-")+".log")
}
