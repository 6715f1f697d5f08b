// Command node is everything of a Kubernetes node and its control plane that
// is written in Go, and kubectl, as one program: one link, one cache entry, one file to
// keep. Its first argument says which part it plays, the rest are that part's
// own arguments, as its documentation describes them:
//
//	node kube-apiserver --etcd-servers=...
//
// Only package lab runs it.
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/coredns/coredns/coremain"
	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // what each part measures of its client
	_ "k8s.io/component-base/metrics/prometheus/version"  // and of itself
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// parts are entered with os.Args as if each were a program of its own.
var parts = map[string]func(){
	"coredns":                 coremain.Run,
	"etcd":                    func() { etcdmain.Main(os.Args) },
	"kube-apiserver":          command(apiserver.NewAPIServerCommand),
	"kube-controller-manager": command(controllers.NewControllerManagerCommand),
	"kube-proxy":              command(proxy.NewProxyCommand),
	"kube-scheduler":          command(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
	"kubectl":                 command(kubectl.NewDefaultKubectlCommand),
	"kubelet":                 command(func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }),
}

// command delays the constructor: some of them look at os.Args or the machine.
func command(construct func() *cobra.Command) func() {
	return func() { os.Exit(cli.Run(construct())) }
}

func main() {
	if len(os.Args) < 2 || parts[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "node: the first argument names a part:", slices.Sorted(maps.Keys(parts)))
		os.Exit(2)
	}
	os.Args = os.Args[1:]
	parts[os.Args[0]]()
}
