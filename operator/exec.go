package operator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
	exitcode "k8s.io/client-go/util/exec"
	"k8s.io/streaming/pkg/httpstream"

	"theseus.dev/ask"
	"theseus.dev/system"
)

// Programs of questions and actions run in the container of the member that they are put to, by the API server's exec.

// room is the container of one member as the last look showed it.
type room struct {
	pod, container string
	uid            types.UID
}

// signalTimeout bounds a signal, which has no timeout of its own.
const signalTimeout = 10 * time.Second

// target speaks to a member that was seen; sure sees before each program that the pod is still the same one, which an action must know.
func (p *Platform) target(sc *system.Scope, sure bool) ask.Target {
	r, ok := p.rooms[sc.M.Name]
	if !ok {
		return ask.Target{Scope: sc}
	}
	run := func(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
		if sure {
			if err := p.same(ctx, r); err != nil {
				return 0, &ask.NotStarted{Err: err}
			}
		}
		return p.exec(ctx, r, sc.M.Version, args, stdout, stderr)
	}
	return ask.Target{Scope: sc, Exec: run, Signal: func(s syscall.Signal) error { return sendSignal(run, s) }}
}

func (p *Platform) same(ctx context.Context, r room) error {
	pod := &corev1.Pod{}
	if err := p.Live.Get(ctx, types.NamespacedName{Namespace: p.Key.Namespace, Name: r.pod}, pod); err != nil {
		return err
	}
	if pod.UID != r.uid {
		return fmt.Errorf("pod %s is another one than was seen", r.pod)
	}
	return nil
}

// sendSignal has the image's own kill send a signal to the first process of the container, which is the member.
func sendSignal(run ask.Exec, s syscall.Signal) error {
	ctx, cancel := context.WithTimeout(context.Background(), signalTimeout)
	defer cancel()
	said := &strings.Builder{}
	exit, err := run(ctx, []string{"kill", "-" + strings.TrimPrefix(unix.SignalName(s), "SIG"), "1"}, io.Discard, said)
	if err == nil && exit != 0 {
		err = fmt.Errorf("kill: exit code %d: %s", exit, said)
	}
	return err
}

// exec runs a program in a member's container. A name with the version of the member is looked for without it too: an image has one version.
func (p *Platform) exec(ctx context.Context, r room, version string, args []string, stdout, stderr io.Writer) (int, error) {
	exit, err := p.execOnce(ctx, r, args, stdout, stderr)
	if plain, ok := strings.CutSuffix(args[0], "-"+version); ok && errors.As(err, new(*ask.NotStarted)) {
		return p.execOnce(ctx, r, append([]string{plain}, args[1:]...), stdout, stderr)
	}
	return exit, err
}

func (p *Platform) execOnce(ctx context.Context, r room, args []string, stdout, stderr io.Writer) (int, error) {
	if p.Config == nil {
		return 0, &ask.NotStarted{Err: errors.New("the operator has no connection for programs in pods")}
	}
	url := p.Pods.CoreV1().RESTClient().Post().Namespace(p.Key.Namespace).Resource("pods").Name(r.pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: r.container, Command: args, Stdout: true, Stderr: true}, scheme.ParameterCodec).URL()
	socket, err := remotecommand.NewWebSocketExecutor(p.Config, "GET", url.String())
	if err != nil {
		return 0, &ask.NotStarted{Err: err}
	}
	older, err := remotecommand.NewSPDYExecutor(p.Config, "POST", url)
	if err != nil {
		return 0, &ask.NotStarted{Err: err}
	}
	both, err := remotecommand.NewFallbackExecutor(socket, older, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	if err != nil {
		return 0, &ask.NotStarted{Err: err}
	}
	return exitOf(both.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: stdout, Stderr: stderr}))
}

// notThere is what container runtimes say of a program that is not in the image.
var notThere = []string{"executable file not found", "executable file `", "no such file or directory: unknown", "container not found", "not found in pod"}

func exitOf(err error) (int, error) {
	var exit exitcode.CodeExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit):
		return exit.Code, nil
	case httpstream.IsUpgradeFailure(err):
		return 0, &ask.NotStarted{Err: err}
	}
	for _, text := range notThere {
		if strings.Contains(err.Error(), text) {
			return 0, &ask.NotStarted{Err: err}
		}
	}
	return 0, err
}
