// Package lab runs a real Kubernetes on one Linux machine, for tests: the real
// API server, controllers, scheduler, kubelet and kube-proxy, a real etcd and
// DNS, and real containers by containerd and runc. It knows nothing of what is
// tested in it.
//
// All of a lab lives in namespaces of its own (mount, network, pid, ipc, uts),
// so several run side by side, and one signal to the first process ends
// everything in it. The machine must be Linux, and the caller root.
//
// # Processes
//
// [Start] runs the caller's own program again as the lab's first process, with
// the name theseus-lab. So each program that starts labs calls [Init] before
// anything else:
//
//	caller                         Start, Open, Close: lab.go, client.go
//	└─ theseus-lab reaper          pid 1 of the lab: init.go
//	   └─ theseus-lab supervisor   brings the cluster up, serves the caller: supervisor.go
//	      └─ etcd, kube-apiserver, node1/containerd, node1/kubelet, ...: parts.go
//
// The caller talks to the supervisor over a socket in the lab's folder. A lab
// that was started without [Options.Detach] ends with its caller, however that
// one ends: the supervisor notices that a pipe closes.
//
// # Nodes
//
// The control plane and node1 share the lab's network namespace, which is also
// where tests run: they reach pods, cluster IPs and node addresses, and the API
// server reaches what they serve on 127.0.0.1 or [HostIP]. Other nodes have a network namespace
// each, and can be cut off by [Lab.Partition]. All nodes share the machine's
// files and processors.
package lab
