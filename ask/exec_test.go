package ask

import (
	"context"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"theseus.dev/api/v1alpha1"
)

// there is an Exec that is asked once and remembers what for.
func there(args *[]string, exit int, out string, err error) Exec {
	return func(_ context.Context, got []string, stdout, stderr io.Writer) (int, error) {
		*args = got
		if out != "" {
			if _, err := io.WriteString(stdout, out); err != nil {
				return 0, err
			}
		}
		_, _ = io.WriteString(stderr, "said")
		return exit, err
	}
}

// An action that ran elsewhere and of whose end nobody heard is unknown; one that did not start has failed.
func TestExecOutcomes(t *testing.T) {
	lost := errors.New("connection lost")
	for _, test := range []struct {
		name            string
		exit            int
		err             error
		failed, unknown bool
	}{
		{name: "it worked"},
		{name: "it said no", exit: 3, failed: true},
		{name: "it did not start", err: &NotStarted{lost}, failed: true},
		{name: "nobody knows", err: lost, unknown: true},
	} {
		var args []string
		target := local()
		target.Exec = there(&args, test.exit, "", test.err)
		action := &v1alpha1.Action{Call: v1alpha1.Call{Run: []string{"asinfo", "-v", "${m.name}"}, Env: map[string]string{"B": "2", "A": "${m.name}"}}}
		_, err := asker(t, words{}).Do(t.Context(), action, target)
		if errors.As(err, new(*Failed)) != test.failed || errors.As(err, new(*Unknown)) != test.unknown || (err == nil) == (test.failed || test.unknown) {
			t.Errorf("%s: got %v, want failed %v, unknown %v", test.name, err, test.failed, test.unknown)
		}
		if want := []string{"env", "A=kv-0", "B=2", "asinfo", "-v", "kv-0"}; !reflect.DeepEqual(args, want) {
			t.Errorf("%s: ran %q, want %q", test.name, args, want)
		}
	}
}

func TestExecAnswers(t *testing.T) {
	var args []string
	target := local()
	q := &v1alpha1.Question{Call: v1alpha1.Call{Run: []string{"asinfo"}}}
	target.Exec = there(&args, 1, "ok\n", nil)
	got, err := asker(t, words{}).Question(t.Context(), "status", q, target)
	if want := map[string]any{"exit": int64(1), "text": "ok\n", "stderr": "said"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	target.Exec = there(&args, 0, strings.Repeat("x", maxReply+1), nil)
	if got, err := asker(t, words{}).Question(t.Context(), "status", q, target); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("too much: got %.20v, %v, want no answer", got, err)
	}
}
