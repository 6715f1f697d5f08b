package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// rotor is a log that does not grow without end: a file that is full becomes log.1, that one log.2, and so on.
type rotor struct {
	path string
	most int64 // bytes
	keep int   // old files

	mu   sync.Mutex
	file *os.File
	size int64
}

// write drops what it cannot write: a full disk must never block a member.
func (r *rotor) write(p []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(p) == 0 || r.open() != nil {
		return
	}
	if r.size > 0 && r.size+int64(len(p)) > r.most {
		r.turn()
		if r.open() != nil {
			return
		}
	}
	n, err := r.file.Write(p)
	r.size += int64(n)
	if err != nil {
		r.file.Close()
		r.file = nil
	}
}

func (r *rotor) open() error {
	if r.file != nil {
		return nil
	}
	file, err := os.OpenFile(r.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return err
	}
	r.file, r.size = file, info.Size()
	return nil
}

func (r *rotor) turn() {
	r.file.Close()
	r.file = nil
	if r.keep == 0 {
		_ = os.Truncate(r.path, 0)
		return
	}
	for i := r.keep - 1; i > 0; i-- {
		_ = os.Rename(oldLog(r.path, i), oldLog(r.path, i+1))
	}
	_ = os.Rename(r.path, oldLog(r.path, 1))
}

func oldLog(path string, i int) string { return fmt.Sprintf("%s.%d", path, i) }

// maxLine is the most that is shown of one line, maxTail how far back lines are looked for, in bytes.
const (
	maxLine = 500
	maxTail = 128 << 10
)

// lastLines are the last n lines of a file; none where it cannot be read.
func lastLines(path string, n int) []string {
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer file.Close()
	data, from, err := end(file, maxTail)
	if err != nil {
		return nil
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	if from > 0 {
		lines = lines[1:] // begins in its middle
	}
	if len(lines) == 1 && lines[0] == "" {
		return nil
	}
	lines = lines[max(0, len(lines)-n):]
	for i, line := range lines {
		if len(line) > maxLine {
			lines[i] = strings.ToValidUTF8(line[:maxLine], "") + "..."
		}
	}
	return lines
}

// end reads the last bytes of a file, and says where they begin.
func end(file *os.File, most int64) (data []byte, from int64, err error) {
	info, err := file.Stat()
	if err != nil {
		return nil, 0, err
	}
	from = max(0, info.Size()-most)
	data, err = io.ReadAll(io.NewSectionReader(file, from, most))
	return data, from, err
}

// followEvery is how often a log that is followed is looked at.
const followEvery = 200 * time.Millisecond

// Logs writes the last n lines of a member's log, and if follow is set whatever comes after until the context ends; that is no error.
func (st *State) Logs(ctx context.Context, w io.Writer, member string, n int, follow bool) error {
	k := st.keeper(member)
	if _, err := os.Stat(k.dir); errors.Is(err, os.ErrNotExist) {
		names, _ := st.memberNames()
		return fmt.Errorf("there is no member %q; there are %s", member, strings.Join(names, ", "))
	}
	file, err := os.Open(k.path(logFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err == nil {
		defer func() { file.Close() }()
		if err := writeLast(w, k.path(logFile), file, n); err != nil {
			return err
		}
	}
	for follow {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followEvery):
		}
		if file, err = copyOn(w, file, k.path(logFile)); err != nil {
			return err
		}
	}
	return nil
}

// writeLast writes the last n lines of a log, with those of the file before it where it is short, and leaves file at its end.
func writeLast(w io.Writer, path string, file *os.File, n int) error {
	data, from, err := end(file, 8<<20)
	if err != nil {
		return err
	}
	if missing := n - bytes.Count(data, []byte("\n")); missing > 0 {
		for _, line := range lastLines(oldLog(path, 1), missing) {
			if _, err := fmt.Fprintln(w, line); err != nil {
				return err
			}
		}
	}
	for at := len(data); ; n-- {
		next := bytes.LastIndexByte(data[:max(0, at-1)], '\n')
		if n == 0 || at == 0 {
			_, err = w.Write(data[at:])
			break
		}
		at = next + 1
	}
	if err != nil {
		return err
	}
	_, err = file.Seek(from+int64(len(data)), io.SeekStart)
	return err
}

// copyOn copies what came since. When the log was turned, it finishes the old file and goes on with the new one.
func copyOn(w io.Writer, file *os.File, path string) (*os.File, error) {
	if file != nil {
		if _, err := io.Copy(w, file); err != nil {
			return file, err
		}
		ours, err := file.Stat()
		if err != nil {
			return file, err
		}
		if now, _ := os.Stat(path); now == nil || os.SameFile(ours, now) { // between two renames there is none
			return file, nil
		}
	}
	next, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return file, nil
	}
	if err != nil {
		return file, err
	}
	if file != nil {
		if _, err := io.Copy(w, file); err != nil { // what came between the copy and the turn
			return next, err
		}
		file.Close()
	}
	_, err = io.Copy(w, next)
	return next, err
}
