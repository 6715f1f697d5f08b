// Package backuptest holds what a place for backups must stand: a conformance
// suite that runs on any bucket, and a bucket that dies at a chosen write. For
// tests only.
package backuptest

import (
	"context"
	"errors"
	"sync"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
)

// ErrKilled is what every operation returns after the kill.
var ErrKilled = errors.New("killed")

// Killer is a bucket over another that dies at a chosen step. A step is
// whatever changes the bucket: to begin an object, to write a block of it, to
// finish it, to delete one. Of the chosen block half is written; everything
// after it is not done, as if the process were gone: no object is finished and
// nothing is cleaned up.
type Killer struct {
	bucket *blob.Bucket
	// At is the step that is not done any more, counted from 1; 0 for none.
	At int
	// Fault, if set, is what the chosen step returns, once, instead of the
	// kill. The steps after it are done again.
	Fault error

	mu    sync.Mutex
	steps int
	dead  bool
	open  []*blob.Writer
}

// Bucket returns the bucket that dies, over inner, which outlives it. Closing
// it lets go of the files that a dead process had open.
func (k *Killer) Bucket(inner *blob.Bucket) *blob.Bucket {
	k.bucket = inner
	return blob.NewBucket(&killBucket{k})
}

// Steps is how many steps there were.
func (k *Killer) Steps() int { return k.steps }

func (k *Killer) step() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.steps++
	switch {
	case k.dead:
		return ErrKilled
	case k.steps != k.At:
		return nil
	case k.Fault != nil:
		return k.Fault
	}
	k.dead = true
	return ErrKilled
}

func (k *Killer) alive() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dead {
		return ErrKilled
	}
	return nil
}

// killBucket is the driver of a Killer.
type killBucket struct{ *Killer }

func (b *killBucket) ErrorCode(err error) gcerrors.ErrorCode { return gcerrors.Code(err) }
func (b *killBucket) As(i any) bool                          { return b.bucket.As(i) }
func (b *killBucket) ErrorAs(err error, i any) bool          { return b.bucket.ErrorAs(err, i) }

// Close drops the objects that were never finished: their contexts have ended.
func (b *killBucket) Close() error {
	for _, w := range b.open {
		_ = w.Close()
	}
	return nil
}

func (b *killBucket) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	if err := b.alive(); err != nil {
		return nil, err
	}
	a, err := b.bucket.Attributes(ctx, key)
	if err != nil {
		return nil, err
	}
	return &driver.Attributes{ContentType: a.ContentType, ModTime: a.ModTime, Size: a.Size, MD5: a.MD5}, nil
}

func (b *killBucket) ListPaged(ctx context.Context, opts *driver.ListOptions) (*driver.ListPage, error) {
	if err := b.alive(); err != nil {
		return nil, err
	}
	token, size := opts.PageToken, opts.PageSize
	if len(token) == 0 {
		token = blob.FirstPageToken
	}
	if size == 0 {
		size = 1000
	}
	objects, next, err := b.bucket.ListPage(ctx, token, size, &blob.ListOptions{Prefix: opts.Prefix, Delimiter: opts.Delimiter})
	page := &driver.ListPage{NextPageToken: next}
	for _, o := range objects {
		page.Objects = append(page.Objects, &driver.ListObject{Key: o.Key, ModTime: o.ModTime, Size: o.Size, IsDir: o.IsDir})
	}
	return page, err
}

func (b *killBucket) NewRangeReader(ctx context.Context, key string, offset, length int64, _ *driver.ReaderOptions) (driver.Reader, error) {
	if err := b.alive(); err != nil {
		return nil, err
	}
	r, err := b.bucket.NewRangeReader(ctx, key, offset, length, nil)
	if err != nil {
		return nil, err
	}
	return killReader{r}, nil
}

type killReader struct{ *blob.Reader }

func (r killReader) Attributes() *driver.ReaderAttributes {
	return &driver.ReaderAttributes{ContentType: r.ContentType(), ModTime: r.ModTime(), Size: r.Size()}
}

func (b *killBucket) NewTypedWriter(ctx context.Context, key, contentType string, opts *driver.WriterOptions) (driver.Writer, error) {
	if err := b.step(); err != nil {
		return nil, err
	}
	w, err := b.bucket.NewWriter(ctx, key, &blob.WriterOptions{
		ContentType: contentType, IfNotExist: opts.IfNotExist, BeforeWrite: opts.BeforeWrite,
	})
	return &killWriter{b.Killer, w}, err
}

type killWriter struct {
	*Killer
	inner *blob.Writer
}

func (w *killWriter) Write(p []byte) (int, error) {
	if err := w.step(); err != nil {
		n, _ := w.inner.Write(p[:len(p)/2])
		return n, err
	}
	return w.inner.Write(p)
}

// Close of a dead process does not happen: a file keeps its temporary name. A
// fault here is a lost reply: the object is there and the caller is told no.
func (w *killWriter) Close() error {
	err := w.step()
	if errors.Is(err, ErrKilled) {
		w.open = append(w.open, w.inner)
		return err
	}
	return errors.Join(err, w.inner.Close())
}

func (b *killBucket) Delete(ctx context.Context, key string, _ *driver.DeleteOptions) error {
	if err := b.step(); err != nil {
		return err
	}
	return b.bucket.Delete(ctx, key)
}

func (b *killBucket) Copy(context.Context, string, string, *driver.CopyOptions) error {
	return errors.New("copy: no backup is copied inside a bucket")
}

func (b *killBucket) SignedURL(context.Context, string, *driver.SignedURLOptions) (string, error) {
	return "", errors.New("signed url: no backup is given away")
}
