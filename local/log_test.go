package local

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestRotor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	r := &rotor{path: path, most: 100, keep: 2}
	for n := range 100 {
		r.write(fmt.Appendf(nil, "line %02d\n", n)) // 8 bytes
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 3 {
		t.Fatalf("there are %v, %v; want the log and 2 old ones", entries, err)
	}
	all := ""
	for _, file := range []string{oldLog(path, 2), oldLog(path, 1), path} {
		data, err := os.ReadFile(file)
		if err != nil || len(data) > 100 {
			t.Errorf("%s has %d bytes, %v; want at most 100", file, len(data), err)
		}
		all += string(data)
	}
	if !strings.HasPrefix(all, "line 7") && !strings.HasPrefix(all, "line 6") || !strings.HasSuffix(all, "line 98\nline 99\n") {
		t.Errorf("the logs together are %q", all)
	}
}

func TestLastLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	tests := []struct {
		text string
		n    int
		want string
	}{
		{"", 3, ""},
		{"a\nb\nc\nd\n", 2, "c|d"},
		{"a\nb", 5, "a|b"},
		{strings.Repeat("x", maxLine+1) + "\n", 1, strings.Repeat("x", maxLine) + "..."},
		{strings.Repeat("y", maxTail) + "\nend\n", 9, "end"}, // the first line begins out of sight
	}
	for _, test := range tests {
		if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(lastLines(path, test.n), "|"); got != test.want {
			t.Errorf("last %d of %.20q: got %.40q, want %.40q", test.n, test.text, got, test.want)
		}
	}
	if got := lastLines(path+"-none", 3); got != nil {
		t.Errorf("of no file: got %q", got)
	}
}

// buffer is safe for a writer and a reader.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestLogs(t *testing.T) {
	w := newWorld(t, 1)
	k := w.state.keeper("kv-standin-0")
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	r := &rotor{path: k.path(logFile), most: 60, keep: 3}
	for n := range 20 {
		r.write(fmt.Appendf(nil, "line %02d\n", n))
	}
	out := &buffer{}
	if err := w.state.Logs(t.Context(), out, "kv-standin-0", 3, false); err != nil || out.String() != "line 17\nline 18\nline 19\n" {
		t.Errorf("the last 3 are %q, %v", out, err)
	}
	out = &buffer{}
	if err := w.state.Logs(t.Context(), out, "kv-standin-0", 9, false); err != nil || strings.Count(out.String(), "\n") != 9 {
		t.Errorf("the last 9, from two files, are %q, %v", out, err)
	}
	if err := w.state.Logs(t.Context(), out, "other", 1, false); err == nil || !strings.Contains(err.Error(), "kv-standin-0") {
		t.Errorf("of no member: got %v, want an error that names those there are", err)
	}
	out = &buffer{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.state.Logs(ctx, out, "kv-standin-0", 1, true) }()
	w.await("it follows", func() bool { return strings.HasSuffix(out.String(), "line 19\n") })
	for n := 20; n < 40; n += 4 {
		for i := range 4 {
			r.write(fmt.Appendf(nil, "line %02d\n", n+i))
		}
		w.await("what came is written", func() bool { return strings.HasSuffix(out.String(), fmt.Sprintf("line %02d\n", n+3)) })
	}
	cancel()
	if err := <-done; err != nil || strings.Count(out.String(), "\n") != 21 {
		t.Errorf("followed %d lines, %v; want 21, each once:\n%s", strings.Count(out.String(), "\n"), err, out)
	}
}
