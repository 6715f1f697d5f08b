package ask

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// shell is a call of a shell script. Theseus itself uses no shell.
func shell(script string, args ...string) v1alpha1.Call {
	return v1alpha1.Call{Run: append([]string{"sh", "-c", script, "sh"}, args...)}
}

func local() Target { return to(&system.Member{Name: "kv-0", Component: "kv"}) }

func TestRunAnswers(t *testing.T) {
	tests := []struct {
		name  string
		call  v1alpha1.Call
		as    v1alpha1.Format
		want  any
		fails string
	}{
		{name: "text", call: shell("echo out; echo err >&2; exit 3"), want: map[string]any{"exit": int64(3), "text": "out\n", "stderr": "err\n"}},
		{name: "json", call: v1alpha1.Call{Run: []string{"echo", `{"a":1}`}}, as: v1alpha1.FormatJSON, want: map[string]any{"exit": int64(0), "text": `{"a":1}` + "\n", "stderr": "", "json": map[string]any{"a": int64(1)}}},
		{name: "no json", call: v1alpha1.Call{Run: []string{"echo", "a"}}, as: v1alpha1.FormatJSON, fails: "reply is not JSON"},
		{name: "metrics", call: v1alpha1.Call{Run: []string{"echo", "up 1\nup 1"}}, as: v1alpha1.FormatPrometheus, want: map[string]any{"up": 2.0}},
		{name: "metrics of a failure", call: shell("echo up 1; echo no >&2; exit 1"), as: v1alpha1.FormatPrometheus, fails: "exit code 1: no"},
		{name: "no shell", call: v1alpha1.Call{Run: []string{"echo", "$HOME;`id` ${m.name}"}}, want: map[string]any{"exit": int64(0), "text": "$HOME;`id` kv-0\n", "stderr": ""}},
		{name: "killed", call: shell("kill -KILL $$"), fails: "run sh: killed by SIGKILL"},
		{name: "too large", call: shell("head -c 2000000 /dev/zero"), fails: "larger than 1024 KiB"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			q := &v1alpha1.Question{Call: test.call, As: test.as, Timeout: within(maxQuestionTimeout)}
			got, err := asker(t, words{metrics: []string{"up"}}).Question(t.Context(), "metrics", q, local())
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) {
					t.Errorf("got %v, %v, want no answer: %s", got, err, test.fails)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %v, %v, want %v", got, err, test.want)
			}
		})
	}
}

func TestRunOutcomes(t *testing.T) {
	for script, want := range map[string]string{
		"exit 0":                           "worked",
		"echo no >&2; exit 1":              "failed",
		"kill -TERM $$":                    "unknown",
		"head -c 3000000 /dev/zero":        "worked", // only the end is kept
		"head -c 3000000 /dev/zero; false": "failed",
	} {
		got, err := asker(t, words{}).Do(t.Context(), &v1alpha1.Action{Call: shell(script)}, local())
		if outcomeOf(err) != want {
			t.Errorf("%s: got %v, want %s", script, err, want)
		}
		if text, _ := got.Values["text"].(string); len(text) > maxKept {
			t.Errorf("%s: kept %d bytes, want at most %d", script, len(text), maxKept)
		}
	}
}

func TestEnvironmentAndFolder(t *testing.T) {
	t.Setenv("SOMETHING_OF_OURS", "x")
	t.Setenv("LC_ALL", "de_DE.UTF-8")
	call := v1alpha1.Call{Run: []string{"env"}, Env: map[string]string{"A": "${m.name}", "HOME": "/given"}}
	target := local()
	target.Dir = t.TempDir()
	a := asker(t, words{})
	got, err := a.Do(t.Context(), &v1alpha1.Action{Call: call}, target)
	if err != nil {
		t.Fatal(err)
	}
	text := "\n" + got.Values["text"].(string)
	for _, want := range []string{"\nA=kv-0\n", "\nHOME=/given\n", "\nLC_ALL=C\n", "\nPATH="} {
		if !strings.Contains(text, want) {
			t.Errorf("environment has no %q:%s", want, text)
		}
	}
	if strings.Contains(text, "SOMETHING_OF_OURS") || strings.Count(text, "HOME=") != 1 {
		t.Errorf("environment has more than it should:%s", text)
	}
	got, err = a.Do(t.Context(), &v1alpha1.Action{Call: v1alpha1.Call{Run: []string{"pwd", "-P"}}}, target)
	if dir, _ := filepath.EvalSymlinks(target.Dir); err != nil || got.Values["text"] != dir+"\n" {
		t.Errorf("ran in %q, %v, want %s", got.Values["text"], err, dir)
	}
}

func TestStdoutIsStreamed(t *testing.T) {
	target := local()
	var out strings.Builder
	target.Stdout = &out
	got, err := asker(t, words{}).Run(t.Context(), time.Minute, []string{"head", "-c", "3000000", "/dev/zero"}, nil, target)
	if err != nil || out.Len() != 3000000 || got.Values["text"] != "" {
		t.Errorf("got %d bytes, %v, %v, want all of them streamed", out.Len(), got, err)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestAStreamThatCannotBeWrittenIsAFailure(t *testing.T) {
	for _, script := range []string{"head -c 3000000 /dev/zero", "echo x", "head -c 3000000 /dev/zero || exit 0"} {
		target := local()
		target.Stdout = fullDisk{}
		_, err := asker(t, words{}).Run(t.Context(), time.Minute, shell(script).Run, nil, target)
		if outcomeOf(err) != "failed" || !strings.Contains(err.Error(), "output: no space left on device") {
			t.Errorf("%s: got %v, want failed for the disk", script, err)
		}
	}
}

// holders opens a fifo for reading, which waits for the first that writes to it, and returns a function that waits until nobody
// holds it for writing any more.
func holders(t *testing.T) (path string, begun <-chan struct{}, gone func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	begins, ends := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ends)
		f, err := os.Open(path)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		f.Read(make([]byte, 1)) // the grandchild says that it is there
		close(begins)
		io.Copy(io.Discard, f)
	}()
	return path, begins, func() { <-ends }
}

func TestTheWholeGroupIsKilled(t *testing.T) {
	path, begun, gone := holders(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	call := shell(`(exec >"$1"; echo x; sleep 1000 & wait) & wait`, path)
	_, err := asker(t, words{}).Do(ctx, &v1alpha1.Action{Call: call, Timeout: within(time.Hour)}, local())
	if outcomeOf(err) != "unknown" || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want unknown because of the caller", err)
	}
	gone()
}

func TestTheTimeoutKills(t *testing.T) {
	q := &v1alpha1.Question{Call: shell("sleep 1000 & wait"), Timeout: within(50 * time.Millisecond)}
	_, err := asker(t, words{}).Question(t.Context(), "q", q, local())
	if !errors.Is(err, context.DeadlineExceeded) || err.Error() != "run sh: no answer within 50ms" {
		t.Errorf("got %v, want no answer in time", err)
	}
}

func TestNobodyIsLeftBehind(t *testing.T) {
	path, _, gone := holders(t)
	call := shell(`exec 3>"$1"; echo x >&3; sleep 1000 & exit 0`, path)
	if _, err := asker(t, words{}).Do(t.Context(), &v1alpha1.Action{Call: call}, local()); err != nil {
		t.Errorf("got %v, want that the program worked", err)
	}
	gone()
}

// TestOutputHeldFromOutside: what left the group and still holds the output may still have something to say.
func TestOutputHeldFromOutside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	hold, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close() // ends cat
	escaped := path + ".escaped"
	if err := syscall.Mkfifo(escaped, 0o600); err != nil {
		t.Fatal(err)
	}
	call := shell(`setsid sh -c 'echo x >"$2"; exec cat "$1"' sh "$1" "$2" & read x <"$2"`, path, escaped)
	_, err = asker(t, words{}).Do(t.Context(), &v1alpha1.Action{Call: call}, local())
	if outcomeOf(err) != "unknown" {
		t.Errorf("got %v, want unknown", err)
	}
}
