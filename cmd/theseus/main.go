// Command theseus upgrades running stateful systems without their users noticing,
// and proves it by measurement.
//
// There is one file for each subcommand: it parses, wires, prints and names the
// exit code. This is the only package that knows all others.
package main

import (
	"cmp"
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"theseus.dev/local"
	"theseus.dev/operator"
)

func main() {
	// Shims and jobs are this program too. They live long and are many, so they leave before anything else is set up.
	if work := hidden[first(os.Args[1:])]; work != nil {
		os.Exit(work(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // who asks a second time is not kept waiting
	code := run(ctx, os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr})
	stop()
	os.Exit(code)
}

// hidden are the subcommands that this program starts itself with.
var hidden = map[string]func([]string) int{
	local.ShimCommand: func(args []string) int { return local.Shim{Fault: faults("shim", first(args))}.Main(args) },
	local.JobCommand: func(args []string) int {
		return local.Worker{Fault: faults("job", filepath.Join(args...))}.RunAction(args)
	},
	backupJob:               runBackupJob,
	restoreJob:              runRestoreJob,
	operator.CopyCommand:    copySelf,
	operator.WaitCommand:    waitForEnd,
	operator.BackupCommand:  takeBackupInPod,
	operator.RestoreCommand: restoreMemberInPod,
	operator.ForgetCommand:  forgetBackupInPod,
	operator.RunCommand:     runActionInPod,
}

// first is the first of the arguments.
func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// run is one call of the command, with its exit code.
func run(ctx context.Context, args []string, io streams) int {
	return (&app{streams: io, plugin: isPlugin(os.Args[0])}).run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) int {
	root := newRoot(a)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	return a.report(cmd, err)
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "theseus",
		Short: "Upgrade running stateful systems without their users noticing",
		Long: `Theseus upgrades running stateful systems (databases, queues, coordination
stores) from one version to the next, member by member, with a backup first and
a way back, and proves by measurement that their users did not notice.

Clusters live on this machine, or in a namespace of Kubernetes: where --context,
--namespace or --kubeconfig is given, where $THESEUS_CONTEXT is set, and in
"kubectl theseus", which is this program under the name kubectl-theseus.`,
		Example: `  theseus up kv.yaml                    start a cluster
  theseus plan kv --to 3.6.16           see what an upgrade would do
  theseus upgrade kv --to 3.6.16        do it
  theseus status kv --watch             watch it from elsewhere
  theseus plan kv --to 3.6.16 --context lab --namespace prod    the same on Kubernetes`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          unknownCommand,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			if err := cmp.Or(noneEmpty(c), a.oneSite()); err != nil {
				return err
			}
			a.began = true
			return nil
		},
	}
	root.Version = versionLine()
	root.SetVersionTemplate("{{.Version}}\n")
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	f := root.PersistentFlags()
	f.StringVar(&a.home, "home", "", "folder of all state (default $THESEUS_HOME, or theseus in the XDG state folder)")
	f.StringSliceVar(&a.programs, "programs", nil, "folders in which programs are looked up first (default $THESEUS_PROGRAMS)")
	f.BoolVar(&a.json, "json", false, "print results as JSON")
	kubeFlagsOf(a, root)
	root.SetFlagErrorFunc(flagError)
	root.AddGroup(&cobra.Group{ID: "run", Title: "Run and upgrade:"}, &cobra.Group{ID: "ask", Title: "Ask of a running attempt:"},
		&cobra.Group{ID: "data", Title: "Data:"}, &cobra.Group{ID: "know", Title: "Know and check:"}, &cobra.Group{ID: "kube", Title: "Kubernetes:"})
	for group, cmds := range map[string][]*cobra.Command{
		"run":  {newUp(a), newPlan(a), newUpgrade(a), newRestart(a), newStatus(a), newLogs(a), newHistory(a), newDown(a)},
		"ask":  newRequests(a),
		"data": {newBackup(a), newRestore(a)},
		"know": {newValidate(a), newSystems(a), newProbe(a), newDemo(a), newVersion(a), newCompletion(a)},
		"kube": {newOperator(a)},
	} {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	if a.plugin {
		asPlugin(root)
	}
	return root
}
