// Package backup knows where backups go and how they are proved. A Store is a
// place: a folder, or whatever else gocloud.dev/blob has a driver for in this
// build. One backup is a set of objects below the prefix of its Name; the last
// one written is its Proof, backup.json, with the size and SHA-256 of each of
// the others. Without a proof a backup is incomplete, whatever else is there,
// so a crash between any two writes never leaves something that looks whole.
//
// What the bytes mean is the System's business: this package knows no cluster
// and no version, and imports nothing of ours.
package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/gcerrors"
)

var (
	// ErrExists means that a proved backup has this name already. Take it as
	// done, or decide on a new name; a backup is never overwritten.
	ErrExists = errors.New("this backup exists already")
	// ErrNotFound means that nothing is stored under this name.
	ErrNotFound = errors.New("there is no such backup")
	// ErrIncomplete means that there are objects but no proof: the backup was
	// cut off, or is being written now. Put it again, or Delete it.
	ErrIncomplete = errors.New("this backup is incomplete: it was never finished")
	// ErrDamaged means that what is stored is not what was written. Do not
	// restore from it; take another backup.
	ErrDamaged = errors.New("this backup is damaged")
	// ErrFull means that the place has no room. Its message names the remedy.
	ErrFull = errors.New("no space is left: free some, or name another place in the backup url")
	// ErrNotEmpty means that a restore would write over something.
	ErrNotEmpty = errors.New("the folder is not empty: a restore needs a new or an empty one")
)

const (
	proofObject = "backup.json"
	filesFolder = "files"
)

// Store is an open place for backups. Set the exported fields before the first
// use; its methods may then be called at the same time, but a name has one
// writer at a time, which the caller sees to (the attempt's lock).
type Store struct {
	// Progress, if set, hears about every block that was copied.
	Progress func(Progress)
	// Now is the clock for the times in a proof; time.Now if nil.
	Now func() time.Time

	bucket *blob.Bucket
	place  string
	disk   disk
}

// Progress says how far a Put, Verify or Get has come.
type Progress struct {
	Name Name
	// Path is the file in hand.
	Path string
	// Bytes are done, of Total; Total is 0 if nobody knows yet.
	Bytes, Total int64
}

// Open opens the place that a URL names, with what the environment says about credentials, and creates it if it is a
// folder that is missing. Forbidden are the folders of the cluster, beside which a folder
// for backups must lie. A place that cannot be used as it is written is a
// *URLError. Close the store when done.
func Open(ctx context.Context, rawURL string, forbidden ...string) (*Store, error) {
	u, err := parseURL(rawURL)
	if err != nil {
		return nil, err
	}
	if u.Scheme != fileblob.Scheme {
		return openBucket(ctx, u, blob.OpenBucket)
	}
	root := filepath.Clean(u.Path)
	if err := openFolder(u, root, forbidden); err != nil {
		return nil, err
	}
	bucket, err := blob.OpenBucket(ctx, (&url.URL{Scheme: u.Scheme, Path: root, RawQuery: fileOptions}).String())
	if err != nil {
		return nil, fmt.Errorf("open backup store: %w", err)
	}
	return New(bucket, root), nil
}

// OpenWith opens a place that is no folder with a driver of the caller's, who knows credentials. The driver gets the URL without its path.
func OpenWith(ctx context.Context, rawURL string, open func(ctx context.Context, bucket string) (*blob.Bucket, error)) (*Store, error) {
	u, err := parseURL(rawURL)
	if err != nil {
		return nil, err
	}
	if u.Scheme == fileblob.Scheme {
		return nil, &URLError{redact(u), "a folder takes no credentials", "leave the secret away"}
	}
	return openBucket(ctx, u, open)
}

// openBucket keeps all objects below the path of the URL: drivers know the bucket alone.
func openBucket(ctx context.Context, u *url.URL, open func(ctx context.Context, bucket string) (*blob.Bucket, error)) (*Store, error) {
	whole := *u
	whole.Path, whole.RawPath = "", ""
	bucket, err := open(ctx, whole.String())
	if err != nil {
		return nil, fmt.Errorf("open backup store: %w", redactError(err, &whole))
	}
	if folder := strings.Trim(u.Path, "/"); folder != "" {
		bucket = blob.PrefixedBucket(bucket, folder+"/")
	}
	store := New(bucket, "")
	store.place = redact(u)
	return store, nil
}

// fileOptions of the file driver: temporary files beside their targets, since
// a rename from another disk fails; no files of its own beside ours; folders
// for the owner only.
const fileOptions = "no_tmp_dir=1&metadata=skip&dir_file_mode=0700"

func openFolder(u *url.URL, root string, forbidden []string) error {
	if err := refuseForbidden(u, forbidden); err != nil {
		return err
	}
	if err := makeFolder(root); err != nil {
		return fmt.Errorf("%s: create backup store: %w", redact(u), remedy(err))
	}
	return nil
}

// New makes a store of an open bucket. Root is the folder that the bucket's
// objects are files of, so that they can be synced; empty for all others.
func New(bucket *blob.Bucket, root string) *Store {
	place := "bucket"
	if root != "" {
		place = (&url.URL{Scheme: fileblob.Scheme, Path: root}).String()
	}
	return &Store{bucket: bucket, place: place, disk: newDisk(root)}
}

// String returns the URL of the place without secrets.
func (s *Store) String() string { return s.place }

// Close closes the connection to the place.
func (s *Store) Close() error { return s.bucket.Close() }

// State says what a backup is worth.
type State string

const (
	// Complete backups have a proof. Verify says whether it still holds.
	Complete State = "Complete"
	// Incomplete backups were cut off, or are being written now.
	Incomplete State = "Incomplete"
	// Damaged backups have a proof that cannot be read.
	Damaged State = "Damaged"
)

// Entry is one backup of a listing. Proof is set if it is Complete, Err says
// why it is Damaged.
type Entry struct {
	Name  Name
	State State
	Proof Proof
	Err   error
}

// List returns the backups of a cluster, oldest first. What was not written by
// this package is left out. It reads the proofs and not the data.
func (s *Store) List(ctx context.Context, cluster string) ([]Entry, error) {
	names, err := s.names(ctx, cluster)
	if err != nil {
		return nil, s.explain("list backups of "+cluster, err)
	}
	entries := make([]Entry, len(names))
	for i, name := range names {
		if entries[i], err = s.entry(ctx, name); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		if c := a.Name.Time.Compare(b.Name.Time); c != 0 {
			return c
		}
		return strings.Compare(a.Name.String(), b.Name.String())
	})
	return entries, nil
}

// Clusters returns the names of the clusters that have backups here.
func (s *Store) Clusters(ctx context.Context) ([]string, error) {
	folders, err := s.folders(ctx, "")
	if err != nil {
		return nil, s.explain("list clusters with backups", err)
	}
	var clusters []string
	for _, folder := range folders {
		if name, err := url.PathUnescape(folder); err == nil {
			clusters = append(clusters, name)
		}
	}
	return clusters, nil
}

func (s *Store) entry(ctx context.Context, name Name) (Entry, error) {
	proof, err := s.Proof(ctx, name)
	switch {
	case errors.Is(err, ErrIncomplete), errors.Is(err, ErrNotFound):
		return Entry{Name: name, State: Incomplete}, nil
	case errors.Is(err, ErrDamaged):
		return Entry{Name: name, State: Damaged, Err: err}, nil
	case err != nil:
		return Entry{}, err
	}
	return Entry{Name: name, State: Complete, Proof: proof}, nil
}

func (s *Store) names(ctx context.Context, cluster string) ([]Name, error) {
	folders, err := s.folders(ctx, escape(cluster, "-.")+"/")
	var names []Name
	for _, folder := range folders {
		if name, err := ParseName(folder); err == nil {
			names = append(names, name)
		}
	}
	return names, err
}

// folders are those with this prefix, as they are written, without the slash at their end.
func (s *Store) folders(ctx context.Context, prefix string) ([]string, error) {
	var folders []string
	list := s.bucket.List(&blob.ListOptions{Prefix: prefix, Delimiter: "/"})
	for {
		object, err := list.Next(ctx)
		if errors.Is(err, io.EOF) {
			return folders, nil
		}
		if err != nil {
			return nil, err
		}
		if object.IsDir {
			folders = append(folders, strings.TrimSuffix(object.Key, "/"))
		}
	}
}

// Proof reads the proof of a backup, and not its data. The error is
// ErrNotFound, ErrIncomplete or ErrDamaged, or that of the place.
func (s *Store) Proof(ctx context.Context, name Name) (Proof, error) {
	what := "backup " + name.String()
	data, err := s.readProof(ctx, name)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return Proof{}, s.explain(what, s.whyNoProof(ctx, name))
	}
	if err != nil {
		return Proof{}, s.explain(what, err)
	}
	proof, err := DecodeProof(data)
	if err == nil && proof.Name.String() != name.String() {
		err = fmt.Errorf("its proof is that of %s", proof.Name)
	}
	if err != nil {
		return Proof{}, s.explain(what, fmt.Errorf("%w: %w", ErrDamaged, err))
	}
	return proof, nil
}

func (s *Store) readProof(ctx context.Context, name Name) ([]byte, error) {
	r, err := s.bucket.NewReader(ctx, key(name, proofObject), nil)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, maxProof+1))
	if err == nil && len(data) > maxProof {
		err = fmt.Errorf("%w: its proof is larger than %d bytes", ErrDamaged, maxProof)
	}
	return data, errors.Join(err, r.Close())
}

func (s *Store) whyNoProof(ctx context.Context, name Name) error {
	keys, err := s.keys(ctx, name)
	switch {
	case err != nil:
		return err
	case len(keys) == 0:
		return ErrNotFound
	}
	return ErrIncomplete
}

// Delete removes a backup, whatever its state. The proof goes first, so that
// half a deletion is an incomplete backup and never a damaged one.
func (s *Store) Delete(ctx context.Context, name Name) error {
	what := "delete backup " + name.String()
	if err := name.Validate(); err != nil {
		return s.explain(what, err)
	}
	keys, err := s.keys(ctx, name)
	if err == nil && len(keys) == 0 {
		err = ErrNotFound
	}
	if err == nil {
		err = s.clear(ctx, name)
	}
	return s.explain(what, err)
}

// clear removes all objects of a name, the proof durably before the others.
func (s *Store) clear(ctx context.Context, name Name) error {
	switch err := s.remove(ctx, key(name, proofObject)); {
	case gcerrors.Code(err) == gcerrors.NotFound:
	case err != nil:
		return err
	default:
		if err := s.disk.tree(name.String()); err != nil {
			return err
		}
	}
	keys, err := s.keys(ctx, name)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if err := s.remove(ctx, key); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
			return err
		}
	}
	return s.disk.prune(name.String())
}

func (s *Store) remove(ctx context.Context, key string) error {
	return remedy(s.bucket.Delete(ctx, key))
}

func (s *Store) keys(ctx context.Context, name Name) ([]string, error) {
	var keys []string
	list := s.bucket.List(&blob.ListOptions{Prefix: name.String() + "/"})
	for {
		object, err := list.Next(ctx)
		if errors.Is(err, io.EOF) {
			return keys, nil
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, object.Key)
	}
}

// key is where an object of a backup lies.
func key(name Name, path string) string { return name.String() + "/" + path }

// fileKey is where a file of a backup lies: its path, so that a person finds
// it without us, with what a store might take amiss escaped.
func fileKey(name Name, path string) string {
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		segments[i] = escape(segment, "-._")
	}
	return key(name, filesFolder+"/"+strings.Join(segments, "/"))
}

// explain says what was being done and where.
func (s *Store) explain(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %s: %w", s.place, what, err)
}

// remedy adds what can be done about an error of writing to the place.
func remedy(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w (%w)", ErrFull, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: let this user write there, or name another place in the backup url", err)
	}
	return err
}

func (s *Store) now() time.Time {
	if s.Now != nil {
		return s.Now().UTC().Round(0)
	}
	return time.Now().UTC().Round(0)
}
