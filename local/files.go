package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Fault is called with the name of a point around each durable write: NAME.begin before it, NAME.rename when the new file is complete
// and not yet in place, NAME.done after it. Names: journal, cluster, addresses, configured, request, system, order, state, input, claim,
// result, volume. Tests kill the process there.
type Fault func(point string)

func (f Fault) at(point string) {
	if f != nil {
		f(point)
	}
}

// write replaces a file so that after a crash it is the old or the new one, whole. Each path has one writer at a time.
func (f Fault) write(name, path string, data []byte) error {
	f.at(name + ".begin")
	if err := writeSynced(path+".new", data); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	f.at(name + ".rename")
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	f.at(name + ".done")
	return nil
}

func (f Fault) writeJSON(name, path string, v any) error {
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.write(name, path, append(data, '\n'))
}

func writeSynced(path string, data []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Sync(), file.Close())
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// readJSON says whether there is such a file. One that cannot be decoded is an error that names it.
func readJSON(path string, into any) (bool, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return true, fmt.Errorf("read %s: %w", path, err)
	}
	return true, nil
}

// hold takes a file's lock, which the kernel gives back when the process ends. Without wait it is EWOULDBLOCK where somebody else has it.
func hold(path string, wait bool) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	how := unix.LOCK_EX
	if !wait {
		how |= unix.LOCK_NB
	}
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Flock(int(file.Fd()), how)
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return file, nil
}
