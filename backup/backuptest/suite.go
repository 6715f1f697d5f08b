package backuptest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gocloud.dev/blob"

	"theseus.dev/backup"
)

// Place is one empty place for backups.
type Place struct {
	// Bucket is closed by who opened it.
	Bucket *blob.Bucket
	// Root is the folder behind the bucket, empty if there is none.
	Root string
}

func (p Place) store() *backup.Store { return backup.New(p.Bucket, p.Root) }

// Run shows that a kind of place keeps what package backup promises. Open
// returns a new, empty place each time.
func Run(t *testing.T, open func(*testing.T) Place) {
	for name, test := range map[string]func(*testing.T, Place){
		"stream":            testStream,
		"folder":            testFolder,
		"never overwritten": testNeverOverwritten,
		"refusals":          testRefusals,
		"check":             testCheck,
		"damage":            testDamage,
		"damaged proof":     testDamagedProof,
		"list":              testList,
		"delete":            testDelete,
		"ready":             testReady,
		"progress":          testProgress,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
	t.Run("killed put", func(t *testing.T) { eachStep(t, open, putOnce, nil, checkCutOff) })
	t.Run("killed put over the rest of another", func(t *testing.T) { eachStep(t, openWithRest(open), putOnce, nil, checkCutOff) })
	t.Run("full", func(t *testing.T) { eachStep(t, open, putOnce, syscall.ENOSPC, checkFull) })
	t.Run("killed delete", func(t *testing.T) { eachStep(t, openWithBackup(open), deleteOnce, nil, checkDeleteCutOff) })
}

// Name returns a valid name of an automatic backup of kv.
func Name() backup.Name {
	return backup.Name{Cluster: "kv", From: "3.5.35", To: "3.6.16", Attempt: "a1", Kind: backup.Auto,
		Time: time.Date(2026, 3, 4, 5, 6, 7, 890, time.UTC)}
}

var about = backup.About{
	System: backup.System{Name: "etcd", Hash: "sha256:1234"},
	Check: func(context.Context) (backup.Check, error) {
		return backup.Check{Command: []string{"etcdutl", "snapshot", "status"}, Output: "ok\n"}, nil
	},
}

// tree is a folder's content by path; a path that ends in a slash is a folder.
type tree map[string]string

// sample has names that a store might take amiss, and more than one block.
var sample = tree{
	"db":                strings.Repeat("0123456789abcdef", 100_000),
	"notes.attrs":       "the file driver refuses this ending",
	"empty":             "",
	"backup.json":       "not the proof",
	"a/b..":             "dots",
	"a/c../d":           "",
	"a/%41 ü+?#&__0x2f": "escapes",
	"nothing here/":     "",
}

func (tr tree) write(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for path, content := range tr {
		full := filepath.Join(dir, path)
		if strings.HasSuffix(path, "/") {
			must(t, os.MkdirAll(full, 0o750))
			continue
		}
		must(t, os.MkdirAll(filepath.Dir(full), 0o750))
		must(t, os.WriteFile(full, []byte(content), 0o640))
	}
	return dir
}

func readTree(t *testing.T, dir string) tree {
	t.Helper()
	got := tree{}
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, path)
		switch {
		case err != nil || rel == ".":
			return err
		case d.IsDir():
			if below, _ := os.ReadDir(path); len(below) == 0 {
				got[rel+"/"] = ""
			}
			return nil
		}
		data, err := os.ReadFile(path)
		got[rel] = string(data)
		return err
	}))
	return got
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, doing string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", doing, got, want)
	}
}

func put(t *testing.T, s *backup.Store, name backup.Name, content string) backup.Proof {
	t.Helper()
	proof, err := s.Put(t.Context(), name, backup.FromStream(strings.NewReader(content)), about)
	must(t, err)
	return proof
}

// wantBackup checks that a backup is complete, whole and has this content.
func wantBackup(t *testing.T, s *backup.Store, name backup.Name, want tree) {
	t.Helper()
	if _, err := s.Verify(t.Context(), name); err != nil {
		t.Fatalf("verify: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "new")
	if _, err := s.Get(t.Context(), name, dir); err != nil {
		t.Fatalf("get: %v", err)
	}
	if got := readTree(t, dir); !maps.Equal(got, want) {
		t.Fatalf("get: got %d files %v, want %v", len(got), slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}

func states(t *testing.T, s *backup.Store, cluster string) []backup.State {
	t.Helper()
	entries, err := s.List(t.Context(), cluster)
	must(t, err)
	var got []backup.State
	for _, entry := range entries {
		got = append(got, entry.State)
	}
	return got
}

func keys(t *testing.T, b *blob.Bucket) []string {
	t.Helper()
	var got []string
	list := b.List(nil)
	for {
		object, err := list.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return got
		}
		must(t, err)
		got = append(got, object.Key)
	}
}

func testStream(t *testing.T, p Place) {
	s := p.store()
	s.Now = func() time.Time { return time.Date(2026, 3, 4, 6, 0, 0, 0, time.UTC) }
	proof := put(t, s, Name(), "hello")
	want := backup.File{Path: "data", Size: 5, Mode: 0o600,
		SHA256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"}
	if len(proof.Files) != 1 || proof.Files[0] != want || proof.Total != 5 {
		t.Errorf("put: got files %v total %d, want %v", proof.Files, proof.Total, want)
	}
	if proof.Name != Name() || proof.System != about.System || proof.Check.Output != "ok\n" || !proof.Finished.Equal(s.Now()) {
		t.Errorf("put: got proof %+v", proof)
	}
	wantBackup(t, s, Name(), tree{"data": "hello"})
}

func testFolder(t *testing.T, p Place) {
	s := p.store()
	dir := sample.write(t)
	must(t, os.Chmod(filepath.Join(dir, "db"), 0o400))
	must(t, os.Chmod(filepath.Join(dir, "a"), 0o500))
	proof, err := s.Put(t.Context(), Name(), backup.FromFolder(dir), about)
	must(t, os.Chmod(filepath.Join(dir, "a"), 0o700))
	must(t, err)
	if len(proof.Files) != 7 {
		t.Errorf("put: got %d files, want 7", len(proof.Files))
	}
	to := filepath.Join(t.TempDir(), "deep", "new")
	_, err = s.Get(t.Context(), Name(), to)
	must(t, err)
	for path, want := range map[string]fs.FileMode{"db": 0o400, "empty": 0o640, "a": 0o500, "nothing here": 0o750} {
		info, err := os.Stat(filepath.Join(to, path))
		must(t, err)
		if info.Mode().Perm() != want {
			t.Errorf("get: %s has mode %v, want %v", path, info.Mode().Perm(), want)
		}
	}
	must(t, os.Chmod(filepath.Join(to, "a"), 0o700))
	if got := readTree(t, to); !maps.Equal(got, sample) {
		t.Errorf("get: got %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(sample)))
	}
}

func testNeverOverwritten(t *testing.T, p Place) {
	s := p.store()
	put(t, s, Name(), "first")
	_, err := s.Put(t.Context(), Name(), backup.FromStream(strings.NewReader("second")), about)
	wantError(t, "put again", err, backup.ErrExists)
	wantBackup(t, s, Name(), tree{"data": "first"})

	to := tree{"precious": "data"}.write(t)
	_, err = s.Get(t.Context(), Name(), to)
	wantError(t, "get into a folder in use", err, backup.ErrNotEmpty)
	if got := readTree(t, to); !maps.Equal(got, tree{"precious": "data"}) {
		t.Errorf("get into a folder in use: it now has %v", got)
	}
	empty := t.TempDir()
	_, err = s.Get(t.Context(), Name(), empty)
	must(t, err)
	if got := readTree(t, empty); got["data"] != "first" {
		t.Errorf("get into an empty folder: got %v", got)
	}
}

func testRefusals(t *testing.T, p Place) {
	s := p.store()
	linked := tree{"db": "x"}.write(t)
	must(t, os.Symlink("/etc/passwd", filepath.Join(linked, "link")))
	broken := errors.New("the action was killed")
	for doing, from := range map[string]backup.Source{
		"no source":           {},
		"no bytes":            backup.FromStream(strings.NewReader("")),
		"no files":            backup.FromFolder(t.TempDir()),
		"no folder":           backup.FromFolder(filepath.Join(t.TempDir(), "missing")),
		"a link":              backup.FromFolder(linked),
		"a stream that fails": backup.FromStream(io.MultiReader(strings.NewReader("half"), failing{broken})),
	} {
		if _, err := s.Put(t.Context(), Name(), from, about); err == nil {
			t.Errorf("put with %s: got no error", doing)
		}
	}
	_, err := s.Put(t.Context(), Name(), backup.FromStream(failing{broken}), about)
	wantError(t, "put of a stream that fails", err, broken)
	ctx, cancel := context.WithCancel(t.Context())
	s.Progress = func(backup.Progress) { cancel() }
	_, err = s.Put(ctx, Name(), backup.FromStream(strings.NewReader("stopped")), about)
	wantError(t, "put that is stopped", err, context.Canceled)
	if left := keys(t, p.Bucket); len(left) != 0 {
		t.Errorf("after refusals there are %q", left)
	}
	_, err = s.Proof(t.Context(), Name())
	wantError(t, "proof of nothing", err, backup.ErrNotFound)
	_, err = s.Verify(t.Context(), Name())
	wantError(t, "verify nothing", err, backup.ErrNotFound)
	_, err = s.Get(t.Context(), Name(), filepath.Join(t.TempDir(), "new"))
	wantError(t, "get nothing", err, backup.ErrNotFound)
	wantError(t, "delete nothing", s.Delete(t.Context(), Name()), backup.ErrNotFound)
	if _, err := s.Put(t.Context(), backup.Name{}, backup.FromStream(strings.NewReader("x")), about); err == nil {
		t.Error("put without a name: got no error")
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func testCheck(t *testing.T, p Place) {
	s := p.store()
	read := false
	fail := func(check backup.Check, err error) backup.About {
		return backup.About{Check: func(context.Context) (backup.Check, error) {
			if !read {
				t.Error("the check ran before the source was read")
			}
			return check, err
		}}
	}
	body := func() backup.Source {
		read = false
		return backup.FromStream(io.MultiReader(strings.NewReader("x"), &eof{&read}))
	}
	broken := errors.New("etcdutl: not found")
	_, err := s.Put(t.Context(), Name(), body(), fail(backup.Check{}, broken))
	wantError(t, "put with a check that cannot run", err, broken)
	_, err = s.Put(t.Context(), Name(), body(), fail(backup.Check{Command: []string{"etcdutl"}, ExitCode: 3, Output: "hash mismatch"}, nil))
	if err == nil || !strings.Contains(err.Error(), "exited with 3: hash mismatch") {
		t.Errorf("put with a failed check: got %v", err)
	}
	if left := keys(t, p.Bucket); len(left) != 0 {
		t.Errorf("after failed checks there are %q", left)
	}
	long := strings.Repeat("é", 100_000) + "\xff"
	proof, err := s.Put(t.Context(), Name(), body(), fail(backup.Check{Command: []string{"a\xffb"}, Output: long}, nil))
	must(t, err)
	if n := len(proof.Check.Output); n > 70_000 || !strings.HasSuffix(proof.Check.Output, "bytes more)") {
		t.Errorf("output of %d bytes was kept with %d, ending in %q", len(long), n, proof.Check.Output[n-20:])
	}
	wantBackup(t, s, Name(), tree{"data": "x"})
}

// eof ends a stream and remembers that it was read to its end.
type eof struct{ reached *bool }

func (e *eof) Read([]byte) (int, error) { *e.reached = true; return 0, io.EOF }

func testDamage(t *testing.T, p Place) {
	damages := map[string]func(key string, data []byte){
		"one byte": func(key string, data []byte) {
			data[len(data)/2] ^= 1
			must(t, p.Bucket.WriteAll(t.Context(), key, data, nil))
		},
		"cut":    func(key string, data []byte) { must(t, p.Bucket.WriteAll(t.Context(), key, data[:len(data)-1], nil)) },
		"longer": func(key string, data []byte) { must(t, p.Bucket.WriteAll(t.Context(), key, append(data, 0), nil)) },
		"gone":   func(key string, _ []byte) { must(t, p.Bucket.Delete(t.Context(), key)) },
	}
	s := p.store()
	source := sample.write(t)
	for doing, damage := range damages {
		name := Name()
		name.Attempt = doing
		_, err := s.Put(t.Context(), name, backup.FromFolder(source), about)
		must(t, err)
		key := name.String() + "/files/db"
		data, err := p.Bucket.ReadAll(t.Context(), key)
		must(t, err)
		damage(key, data)

		_, err = s.Verify(t.Context(), name)
		wantError(t, doing+": verify", err, backup.ErrDamaged)
		var mismatch *backup.MismatchError
		if !errors.As(err, &mismatch) || mismatch.Want.Path != "db" {
			t.Errorf("%s: verify: got %v, want a mismatch of db", doing, err)
		}
		parent := t.TempDir()
		_, err = s.Get(t.Context(), name, filepath.Join(parent, "new"))
		wantError(t, doing+": get", err, backup.ErrDamaged)
		if left, _ := os.ReadDir(parent); len(left) != 0 {
			t.Errorf("%s: get left %v", doing, left)
		}
	}
}

func testDamagedProof(t *testing.T, p Place) {
	s := p.store()
	put(t, s, Name(), "hello")
	key := Name().String() + "/backup.json"
	whole, err := p.Bucket.ReadAll(t.Context(), key)
	must(t, err)
	for i := range whole {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 1
		must(t, p.Bucket.WriteAll(t.Context(), key, damaged, nil))
		if _, err := s.Proof(t.Context(), Name()); !errors.Is(err, backup.ErrDamaged) {
			t.Fatalf("byte %d of the proof changed, %q: got %v", i, damaged, err)
		}
	}
	if got := states(t, s, "kv"); !slices.Equal(got, []backup.State{backup.Damaged}) {
		t.Errorf("list: got %v, want Damaged", got)
	}
	_, err = s.Put(t.Context(), Name(), backup.FromStream(strings.NewReader("x")), about)
	wantError(t, "put over a damaged backup", err, backup.ErrExists)

	other := Name()
	other.Attempt = "a2"
	must(t, p.Bucket.WriteAll(t.Context(), other.String()+"/backup.json", whole, nil))
	_, err = s.Proof(t.Context(), other)
	wantError(t, "the proof of another backup", err, backup.ErrDamaged)
}

func testList(t *testing.T, p Place) {
	s := p.store()
	late, early, alike, other, slash := Name(), Name(), Name(), Name(), Name()
	late.Time = late.Time.Add(time.Hour)
	early.Kind, early.To, early.Attempt = backup.Manual, "", ""
	early.Time = early.Time.Add(-time.Nanosecond)
	early.From, alike.From = "4.2.0.10", "4.20.1.0"
	other.Cluster, slash.Cluster = "kv2", "kv/2"
	for _, name := range []backup.Name{late, alike, early, other, slash} {
		put(t, s, name, name.String())
	}
	must(t, p.Bucket.WriteAll(t.Context(), "kv/of somebody else/file", []byte("x"), nil))
	must(t, p.Bucket.WriteAll(t.Context(), "kv/file", []byte("x"), nil))
	entries, err := s.List(t.Context(), "kv")
	must(t, err)
	var got []backup.Name
	for _, entry := range entries {
		got = append(got, entry.Name)
		if entry.State != backup.Complete || entry.Proof.Name != entry.Name {
			t.Errorf("list: got %+v, want it complete", entry)
		}
	}
	if want := []backup.Name{early, alike, late}; !slices.Equal(got, want) {
		t.Errorf("list: got %v, want %v", got, want)
	}
	for _, name := range []backup.Name{late, alike, early, other, slash} {
		wantBackup(t, s, name, tree{"data": name.String()})
	}
	if got := states(t, s, "nobody"); len(got) != 0 {
		t.Errorf("list of an unknown cluster: got %v", got)
	}
}

func testDelete(t *testing.T, p Place) {
	s := p.store()
	kept := Name()
	kept.Attempt = "a10"
	put(t, s, Name(), "x")
	put(t, s, kept, "y")
	must(t, s.Delete(t.Context(), Name()))
	_, err := s.Proof(t.Context(), Name())
	wantError(t, "proof after delete", err, backup.ErrNotFound)
	wantBackup(t, s, kept, tree{"data": "y"})
	put(t, s, Name(), "again")
	wantBackup(t, s, Name(), tree{"data": "again"})
}

func testReady(t *testing.T, p Place) {
	must(t, p.store().Ready(t.Context()))
	if left := keys(t, p.Bucket); len(left) != 0 {
		t.Errorf("ready left %q", left)
	}
	killer := &Killer{At: 1, Fault: syscall.ENOSPC}
	bucket := killer.Bucket(p.Bucket)
	defer bucket.Close()
	wantError(t, "ready of a full place", backup.New(bucket, p.Root).Ready(t.Context()), backup.ErrFull)
}

func testProgress(t *testing.T, p Place) {
	s := p.store()
	source := sample.write(t)
	var seen []backup.Progress
	s.Progress = func(at backup.Progress) { seen = append(seen, at) }
	_, err := s.Put(t.Context(), Name(), backup.FromFolder(source), about)
	must(t, err)
	wantProgress(t, "put", seen)
	seen = nil
	_, err = s.Verify(t.Context(), Name())
	must(t, err)
	wantProgress(t, "verify", seen)
	seen = nil
	_, err = s.Get(t.Context(), Name(), filepath.Join(t.TempDir(), "new"))
	must(t, err)
	wantProgress(t, "get", seen)
}

// wantProgress checks that bytes only grow, end at the total and came in more
// than one block.
func wantProgress(t *testing.T, doing string, seen []backup.Progress) {
	t.Helper()
	sorted := slices.IsSortedFunc(seen, func(a, b backup.Progress) int { return int(a.Bytes - b.Bytes) })
	if len(seen) < 4 || !sorted || seen[len(seen)-1].Bytes != seen[0].Total {
		t.Errorf("%s: got progress %+v", doing, seen)
	}
}

// eachStep runs a change with a kill or a fault at each of its steps in turn,
// on a new place each time, and looks at what is left. Every one but the last
// run must have been hit.
func eachStep(t *testing.T, open func(*testing.T) Place, change func(*testing.T, *backup.Store) error,
	fault error, check func(*testing.T, Place, error)) {
	for at := 1; ; at++ {
		killer := &Killer{At: at, Fault: fault}
		t.Run(fmt.Sprintf("step %d", at), func(t *testing.T) {
			place := open(t)
			bucket := killer.Bucket(place.Bucket)
			t.Cleanup(func() { must(t, bucket.Close()) })
			err := change(t, backup.New(bucket, place.Root))
			if killer.Steps() < at {
				must(t, err)
				return
			}
			check(t, place, err)
		})
		if killer.Steps() < at || t.Failed() {
			if at < 3 {
				t.Errorf("there were only %d steps", killer.Steps())
			}
			return
		}
	}
}

var small = tree{"db": "some data", "sub/wal": "more", "void/": ""}

func putOnce(t *testing.T, s *backup.Store) error {
	_, err := s.Put(t.Context(), Name(), backup.FromFolder(small.write(t)), about)
	return err
}

func deleteOnce(t *testing.T, s *backup.Store) error { return s.Delete(t.Context(), Name()) }

// openWithRest opens places where a Put of larger content was cut off.
func openWithRest(open func(*testing.T) Place) func(*testing.T) Place {
	return func(t *testing.T) Place {
		place := open(t)
		killer := &Killer{At: 15}
		bucket := killer.Bucket(place.Bucket)
		t.Cleanup(func() { must(t, bucket.Close()) })
		_, err := backup.New(bucket, place.Root).Put(t.Context(), Name(), backup.FromFolder(sample.write(t)), about)
		wantError(t, "put to be cut off", err, ErrKilled)
		if got := states(t, place.store(), "kv"); !slices.Equal(got, []backup.State{backup.Incomplete}) {
			t.Fatalf("list after a put that was cut off: got %v", got)
		}
		return place
	}
}

func openWithBackup(open func(*testing.T) Place) func(*testing.T) Place {
	return func(t *testing.T) Place {
		place := open(t)
		must(t, putOnce(t, place.store()))
		return place
	}
}

// checkCutOff is what holds after a Put was killed anywhere: there is no
// complete backup, everyone says so, and the next Put makes one.
func checkCutOff(t *testing.T, place Place, err error) {
	wantError(t, "put", err, ErrKilled)
	s := place.store()
	wantNotComplete(t, place)
	must(t, putOnce(t, s))
	wantBackup(t, s, Name(), small)
	wantKeys := []string{"/backup.json", "/files/db", "/files/sub/wal"}
	if got := keys(t, place.Bucket); len(got) != len(wantKeys) {
		t.Errorf("after the second put there are %q, want %q", got, wantKeys)
	}
}

func wantNotComplete(t *testing.T, place Place) {
	t.Helper()
	s := place.store()
	want := []backup.State{backup.Incomplete}
	refusal := backup.ErrIncomplete
	if len(keys(t, place.Bucket)) == 0 {
		want, refusal = nil, backup.ErrNotFound
	}
	if got := states(t, s, "kv"); !slices.Equal(got, want) {
		t.Errorf("list: got %v, want %v", got, want)
	}
	_, err := s.Verify(t.Context(), Name())
	wantError(t, "verify", err, refusal)
	_, err = s.Get(t.Context(), Name(), filepath.Join(t.TempDir(), "new"))
	wantError(t, "get", err, refusal)
}

// checkFull is what holds when the place was full once: the error names the
// remedy, the space was given back, and the next Put works.
func checkFull(t *testing.T, place Place, err error) {
	wantError(t, "put", err, backup.ErrFull)
	if left := keys(t, place.Bucket); len(left) != 0 {
		t.Errorf("the failed put left %q", left)
	}
	must(t, putOnce(t, place.store()))
	wantBackup(t, place.store(), Name(), small)
}

// checkDeleteCutOff: what is half deleted is either still whole or incomplete,
// and can be deleted or put again.
func checkDeleteCutOff(t *testing.T, place Place, err error) {
	wantError(t, "delete", err, ErrKilled)
	s := place.store()
	if _, err := s.Verify(t.Context(), Name()); err == nil {
		wantBackup(t, s, Name(), small)
	} else {
		wantNotComplete(t, place)
	}
	must(t, s.Delete(t.Context(), Name()))
	if left := keys(t, place.Bucket); len(left) != 0 {
		t.Errorf("after delete there are %q", left)
	}
}
