package operator

import (
	"context"
	"errors"
	"io"
	"slices"
	"syscall"
	"testing"

	exitcode "k8s.io/client-go/util/exec"

	"theseus.dev/ask"
)

func TestHowAProgramInAPodEnded(t *testing.T) {
	for _, test := range []struct {
		name       string
		err        error
		exit       int
		notStarted bool
		unknown    bool
	}{
		{name: "well"},
		{name: "badly", err: exitcode.CodeExitError{Err: errors.New("exit 7"), Code: 7}, exit: 7},
		{name: "not in the image", err: errors.New(`failed to exec in container: OCI runtime exec failed: exec: "asinfo": executable file not found in $PATH`), notStarted: true},
		{name: "no connection any more", err: errors.New("websocket: close 1006 (abnormal closure)"), unknown: true},
	} {
		exit, err := exitOf(test.err)
		if exit != test.exit || errors.As(err, new(*ask.NotStarted)) != test.notStarted || (err != nil) != (test.notStarted || test.unknown) {
			t.Errorf("%s: got %d, %v; want %d, not started: %v, unknown: %v", test.name, exit, err, test.exit, test.notStarted, test.unknown)
		}
	}
}

func TestSignalOfAMember(t *testing.T) {
	var ran []string
	exit := 0
	run := func(_ context.Context, args []string, _, stderr io.Writer) (int, error) {
		ran = args
		_, _ = io.WriteString(stderr, "no such process")
		return exit, nil
	}
	if err := sendSignal(run, syscall.SIGHUP); err != nil || !slices.Equal(ran, []string{"kill", "-HUP", "1"}) {
		t.Errorf("ran %q: %v", ran, err)
	}
	if exit = 1; sendSignal(run, syscall.SIGHUP) == nil {
		t.Error("a kill that failed is no error")
	}
}
