package backup

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"
)

var diskName = Name{Cluster: "kv", From: "1", To: "2", Attempt: "a", Kind: Auto, Time: time.Unix(1e9, 0)}

// record notes what is synced, by path below the root and, for files, by the
// name that they will have; and whether the proof was there at that moment.
func record(s *Store, root string) *[]string {
	var log []string
	note := func(path string) {
		rel, _ := filepath.Rel(root, path)
		rel = strings.Replace(rel, diskName.String(), "B", 1)
		if _, err := os.Stat(filepath.Join(root, diskName.String(), proofObject)); err == nil {
			rel += " after proof"
		}
		log = append(log, rel)
	}
	s.disk.syncFile = func(f *os.File) error {
		path, _, _ := strings.Cut(strings.TrimSuffix(f.Name(), ".tmp"), ".")
		_, err := os.Stat(f.Name())
		note(path + " before its rename")
		return errors.Join(err, f.Sync())
	}
	s.disk.syncFolder = func(path string) error { note(path); return syncFolder(path) }
	return &log
}

func TestSyncedBeforeTheProof(t *testing.T) {
	root, from := t.TempDir(), t.TempDir()
	for _, path := range []string{"db", "sub/wal"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(from, path)), 0o700), os.WriteFile(filepath.Join(from, path), []byte("x"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	store, err := Open(t.Context(), "file://"+root)
	if err != nil {
		t.Fatal(err)
	}
	log := record(store, root)
	if _, err := store.Put(t.Context(), diskName, FromFolder(from), About{}); err != nil {
		t.Fatal(err)
	}
	cluster := filepath.Dir(diskName.String())
	want := []string{
		"B/files/db before its rename", "B/files/sub/wal before its rename",
		"B", "B/files", "B/files/sub", cluster, ".",
		"B/backup before its rename",
		"B after proof", "B/files after proof", "B/files/sub after proof", cluster + " after proof", ". after proof",
	}
	if !slices.Equal(*log, want) {
		t.Errorf("put: synced\n%q, want\n%q", *log, want)
	}
	*log = nil
	if err := store.Delete(t.Context(), diskName); err != nil {
		t.Fatal(err)
	}
	// The proof is durably gone before the first file goes.
	if want := []string{"B", "B/files", "B/files/sub", cluster, "."}; !slices.Equal(*log, want) {
		t.Errorf("delete: synced %q, want %q", *log, want)
	}
	if _, err := os.Stat(filepath.Join(root, diskName.String())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("delete: the folder is still there: %v", err)
	}
}

func TestAFailedSyncIsNoBackup(t *testing.T) {
	root := t.TempDir()
	for at := 1; ; at++ {
		store, err := Open(t.Context(), "file://"+root)
		if err != nil {
			t.Fatal(err)
		}
		left := at
		fail := func() error {
			if left--; left == 0 {
				return syscall.EIO
			}
			return nil
		}
		store.disk.syncFile = func(*os.File) error { return fail() }
		store.disk.syncFolder = func(string) error { return fail() }
		_, err = store.Put(t.Context(), diskName, FromStream(strings.NewReader("x")), About{})
		if left > 0 {
			if at < 8 || err != nil {
				t.Errorf("there were %d syncs, %v", at-1, err)
			}
			return
		}
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("sync %d failed: got %v", at, err)
		}
		if _, err := store.Proof(t.Context(), diskName); !errors.Is(err, ErrNotFound) {
			t.Errorf("sync %d failed: proof: got %v", at, err)
		}
	}
}

// TestFullDisk fills a real one: this test again, in a mount namespace of its
// own with a small file system.
func TestFullDisk(t *testing.T) {
	if root := os.Getenv("THESEUS_FULL_DISK"); root != "" {
		fillDisk(t, root)
		return
	}
	self := exec.Command(os.Args[0], "-test.run=^TestFullDisk$", "-test.v")
	self.Env = append(os.Environ(), "THESEUS_FULL_DISK="+t.TempDir())
	self.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := self.CombinedOutput()
	if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.ENOSPC) {
		t.Skipf("this machine allows no user namespace: %v", err)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: TestFullDisk") {
		t.Errorf("%v\n%s", err, out)
	}
}

func fillDisk(t *testing.T, root string) {
	if err := syscall.Mount("tmpfs", root, "tmpfs", 0, "size=2m"); err != nil {
		t.Fatal(err)
	}
	store, err := Open(t.Context(), "file://"+root)
	if err != nil {
		t.Fatal(err)
	}
	put := func(size int) error {
		_, err := store.Put(t.Context(), diskName, FromStream(strings.NewReader(strings.Repeat("x", size))), About{})
		return err
	}
	if err := put(3 << 20); !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "name another place") {
		t.Errorf("put of more than fits: got %v", err)
	}
	if err := put(1 << 20); err != nil {
		t.Errorf("put after that of what fits: got %v", err)
	}
	if _, err := store.Verify(t.Context(), diskName); err != nil {
		t.Error(err)
	}
}

// The rest of a Put that failed is cleared away, but nobody does that for a
// process that dies on the way there.
func TestAnObjectThatFailsHalfwayNeverAppears(t *testing.T) {
	store, err := Open(t.Context(), "file://"+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	broken := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(syscall.EIO))
	if _, _, err := store.write(t.Context(), "object", broken, false); !errors.Is(err, syscall.EIO) {
		t.Errorf("write: got %v", err)
	}
	if there, err := store.bucket.Exists(t.Context(), "object"); there || err != nil {
		t.Errorf("exists: got %v, %v", there, err)
	}
}
