package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// disk makes what the file driver wrote survive a loss of power. The driver
// writes beside the target and renames, but it never syncs: after a power cut
// a renamed file may be empty. So the file is synced before the rename and the
// folders after it. Its zero value does nothing: for stores that are not folders.
type disk struct {
	root       string
	syncFile   func(*os.File) error
	syncFolder func(string) error
}

func newDisk(root string) disk {
	if root == "" {
		return disk{}
	}
	return disk{root, (*os.File).Sync, syncFolder}
}

// file syncs a file before it is renamed; nil means that there is none.
func (d disk) file(f *os.File) error {
	if d.root == "" || f == nil {
		return nil
	}
	return d.syncFile(f)
}

// tree syncs all folders of a prefix and those between it and the root.
func (d disk) tree(prefix string) error {
	if d.root == "" {
		return nil
	}
	folders, err := foldersBelow(filepath.Join(d.root, filepath.FromSlash(prefix)))
	if err != nil {
		return err
	}
	for dir := prefix; dir != "."; {
		dir = filepath.Dir(dir)
		folders = append(folders, filepath.Join(d.root, dir))
	}
	for _, folder := range folders {
		if err := d.syncFolder(folder); err != nil {
			return err
		}
	}
	return nil
}

// prune removes the empty folders of a prefix, which the driver leaves behind.
func (d disk) prune(prefix string) error {
	if d.root == "" {
		return nil
	}
	folders, err := foldersBelow(filepath.Join(d.root, filepath.FromSlash(prefix)))
	if err != nil {
		return err
	}
	for _, folder := range slices.Backward(folders) {
		if err := os.Remove(folder); err != nil {
			return err
		}
	}
	return nil
}

// foldersBelow returns a folder and all in it, parents first; none if it is
// not there.
func foldersBelow(top string) ([]string, error) {
	var folders []string
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			folders = append(folders, path)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return folders, err
}

// makeFolder creates a folder and its missing parents, durably and for the
// owner only: a backup holds everything that the database does.
func makeFolder(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil
	}
	if parent := filepath.Dir(path); parent != path {
		if err := makeFolder(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return fmt.Errorf("%s is not a folder", path)
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
