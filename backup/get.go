package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"gocloud.dev/gcerrors"
)

// MismatchError is one file that is not what the proof says; it is ErrDamaged.
type MismatchError struct {
	Name Name
	// Want is what was stored. Got is what is there now; nil if it is missing.
	Want File
	Got  *File
}

func (e *MismatchError) Error() string {
	if e.Got == nil {
		return fmt.Sprintf("file %s is missing (%d bytes)", e.Want.Path, e.Want.Size)
	}
	return fmt.Sprintf("file %s has %d bytes with SHA-256 %s, stored were %d bytes with %s",
		e.Want.Path, e.Got.Size, e.Got.SHA256, e.Want.Size, e.Want.SHA256)
}

// Is makes every mismatch ErrDamaged.
func (e *MismatchError) Is(target error) bool { return target == ErrDamaged }

// Verify reads a whole backup back and compares sizes and SHA-256. It returns
// the proof that holds, or all mismatches at once. An error that is not
// ErrDamaged says nothing about the backup: the place could not be read.
func (s *Store) Verify(ctx context.Context, name Name) (Proof, error) {
	proof, err := s.Proof(ctx, name)
	if err != nil {
		return Proof{}, err
	}
	var mismatches []error
	var done int64
	for _, file := range proof.Files {
		var mismatch *MismatchError
		err := s.read(ctx, proof, file, done, io.Discard)
		if err != nil && !errors.As(err, &mismatch) {
			return Proof{}, s.explain("verify backup "+name.String(), err)
		}
		mismatches = append(mismatches, err)
		done += file.Size
	}
	if err := errors.Join(mismatches...); err != nil {
		return Proof{}, s.explain("verify backup "+name.String(), err)
	}
	return proof, nil
}

// read copies one file of a backup and compares it on the way.
func (s *Store) read(ctx context.Context, proof Proof, want File, done int64, to io.Writer) error {
	r, err := s.bucket.NewReader(ctx, fileKey(proof.Name, want.Path), nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return &MismatchError{Name: proof.Name, Want: want}
	}
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	sum := sha256.New()
	meter := &meter{ctx: ctx, from: r, report: s.Progress, now: Progress{proof.Name, want.Path, done, proof.Total}}
	size, err := copyBlocks(io.MultiWriter(sum, to), meter)
	if err != nil {
		return fmt.Errorf("file %s: %w", want.Path, err)
	}
	got := want
	got.Size, got.SHA256 = size, hex.EncodeToString(sum.Sum(nil))
	if got != want {
		return &MismatchError{proof.Name, want, &got}
	}
	return nil
}

// Get copies a backup into a folder, for a restore. The folder must be missing
// or empty, and not a mount point. It appears as a whole at the end, when every
// byte was compared and synced, or not at all: until then the files are in a
// folder beside it, FOLDER.partial-*, which only a killed process leaves behind.
// The file of a FromStream is named "data".
func (s *Store) Get(ctx context.Context, name Name, folder string) (Proof, error) {
	what := "get backup " + name.String() + " into " + folder
	if err := refuseNonEmpty(folder); err != nil {
		return Proof{}, s.explain(what, err)
	}
	proof, err := s.Proof(ctx, name)
	if err != nil {
		return Proof{}, err
	}
	if err := s.get(ctx, proof, filepath.Clean(folder)); err != nil {
		return Proof{}, s.explain(what, err)
	}
	return proof, nil
}

func refuseNonEmpty(folder string) error {
	entries, err := os.ReadDir(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(entries) > 0:
		return ErrNotEmpty
	}
	return nil
}

func (s *Store) get(ctx context.Context, proof Proof, folder string) (err error) {
	if err := makeFolder(filepath.Dir(folder)); err != nil {
		return err
	}
	partial, err := os.MkdirTemp(filepath.Dir(folder), filepath.Base(folder)+".partial-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeTree(partial))
		}
	}()
	if err := s.copyInto(ctx, proof, partial); err != nil {
		return err
	}
	// Remove takes only an empty folder; os.Rename does not replace even that.
	if err := os.Remove(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(partial, folder); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(folder))
}

// copyInto writes through an os.Root: whatever a proof says, nothing is written
// outside. Permissions of folders come last and children first, since one of
// them may forbid writing.
func (s *Store) copyInto(ctx context.Context, proof Proof, folder string) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	for _, dir := range proof.Folders {
		if err := root.MkdirAll(dir.Path, 0o700); err != nil {
			return err
		}
	}
	var done int64
	for _, file := range proof.Files {
		if err := s.copyFile(ctx, proof, file, done, root); err != nil {
			return err
		}
		done += file.Size
	}
	for _, dir := range slices.Backward(proof.Folders) {
		if err := finishFolder(root, dir); err != nil {
			return err
		}
	}
	return syncFolder(folder)
}

func (s *Store) copyFile(ctx context.Context, proof Proof, file File, done int64, root *os.Root) error {
	if dir := filepath.Dir(file.Path); dir != "." {
		if err := root.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	to, err := root.OpenFile(file.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := s.read(ctx, proof, file, done, to); err != nil {
		return errors.Join(err, to.Close())
	}
	return errors.Join(to.Chmod(fs.FileMode(file.Mode)), to.Sync(), to.Close())
}

func finishFolder(root *os.Root, dir Folder) error {
	f, err := root.Open(dir.Path)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(fs.FileMode(dir.Mode)), f.Sync(), f.Close())
}

// removeTree removes a folder even if folders in it forbid that.
func removeTree(top string) error {
	folders, err := foldersBelow(top)
	for _, folder := range folders {
		_ = os.Chmod(folder, 0o700)
	}
	return errors.Join(err, os.RemoveAll(top))
}
