package cloud

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
	"google.golang.org/api/storage/v1"
)

// The driver of Google Cloud Storage speaks its JSON API. That of gocloud.dev speaks gRPC too, and brings with it a third of this
// program's size and what its start allocates, also in programs that never see a bucket.

const gcsScheme = "gs"

// gcsChunk is how much is sent at once, and again if that fails, in bytes.
const gcsChunk = 8 << 20

type gcsOpener struct{}

// OpenBucketURL implements blob.BucketURLOpener with the credentials of the environment.
func (gcsOpener) OpenBucketURL(ctx context.Context, u *url.URL) (*blob.Bucket, error) {
	return openGCS(ctx, u, nil)
}

// openGCS opens a bucket with a key, or with the credentials of the environment. The option endpoint names another server, as
// https://storage.example:4443; anonymous=true shows it no credentials.
func openGCS(ctx context.Context, u *url.URL, key []byte) (*blob.Bucket, error) {
	if err := only(u, "endpoint", "anonymous"); err != nil {
		return nil, err
	}
	if u.Host == "" {
		return nil, errNoBucket
	}
	var options []option.ClientOption
	q := u.Query()
	if at := q.Get("endpoint"); at != "" {
		options = append(options, option.WithEndpoint(at+"/storage/v1/"))
	}
	switch {
	case q.Get("anonymous") == "true":
		options = append(options, option.WithoutAuthentication())
	case len(key) > 0:
		kind, err := gcsKind(key)
		if err != nil {
			return nil, err
		}
		options = append(options, option.WithAuthCredentialsJSON(kind, key), option.WithScopes(storage.DevstorageReadWriteScope))
	default:
		options = append(options, option.WithScopes(storage.DevstorageReadWriteScope))
	}
	service, err := storage.NewService(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("credentials for Google Cloud Storage: %w", err)
	}
	return blob.NewBucket(&gcs{name: u.Host, objects: service.Objects}), nil
}

// gcsKind is the type that a key says it has. Only those are taken that fetch no command and no address of somebody else's choice.
func gcsKind(key []byte) (option.CredentialsType, error) {
	const remedy = "store the key file of a service account as it was downloaded"
	k, err := decodeKey(gcsScheme, key, remedy)
	if err != nil {
		return "", err
	}
	switch kind := option.CredentialsType(k["type"]); kind {
	case option.ServiceAccount, option.AuthorizedUser:
		return kind, nil
	}
	return "", &KeyError{gcsScheme, "is not of type service_account or authorized_user", remedy}
}

// gcs is one bucket as gocloud.dev wants it. What backups never need is refused.
type gcs struct {
	name    string
	objects *storage.ObjectsService
}

var errNotNeeded = errors.New("backups never do this")

func (b *gcs) Close() error { return nil }

func (b *gcs) ErrorCode(err error) gcerrors.ErrorCode {
	var reply *googleapi.Error
	if !errors.As(err, &reply) {
		return gcerrors.Unknown
	}
	switch reply.Code {
	case http.StatusNotFound:
		return gcerrors.NotFound
	case http.StatusPreconditionFailed:
		return gcerrors.FailedPrecondition
	case http.StatusUnauthorized, http.StatusForbidden:
		return gcerrors.PermissionDenied
	case http.StatusTooManyRequests:
		return gcerrors.ResourceExhausted
	}
	return gcerrors.Unknown
}

func (b *gcs) As(any) bool             { return false }
func (b *gcs) ErrorAs(error, any) bool { return false }

func (b *gcs) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	o, err := b.objects.Get(b.name, key).Context(ctx).Do()
	if err != nil {
		return nil, err
	}
	return &driver.Attributes{ContentType: o.ContentType, ModTime: updated(o), Size: int64(o.Size), ETag: o.Etag, AsFunc: none}, nil //nolint:gosec // objects have at most 5 TiB
}

func none(any) bool { return false }

func updated(o *storage.Object) time.Time {
	at, err := time.Parse(time.RFC3339, o.Updated)
	if err != nil {
		return time.Time{}
	}
	return at
}

func (b *gcs) ListPaged(ctx context.Context, o *driver.ListOptions) (*driver.ListPage, error) {
	call := b.objects.List(b.name).Context(ctx).Prefix(o.Prefix).Delimiter(o.Delimiter).PageToken(string(o.PageToken))
	if o.PageSize > 0 {
		call.MaxResults(int64(o.PageSize))
	}
	reply, err := call.Do()
	if err != nil {
		return nil, err
	}
	page := &driver.ListPage{NextPageToken: []byte(reply.NextPageToken)}
	for _, object := range reply.Items {
		page.Objects = append(page.Objects, &driver.ListObject{Key: object.Name, ModTime: updated(object), Size: int64(object.Size), AsFunc: none}) //nolint:gosec // see above
	}
	for _, prefix := range reply.Prefixes {
		page.Objects = append(page.Objects, &driver.ListObject{Key: prefix, IsDir: true, AsFunc: none})
	}
	return page, nil
}

// gcsReader is the body of a reply with what its header said.
type gcsReader struct {
	io.ReadCloser
	attributes driver.ReaderAttributes
}

func (r *gcsReader) Attributes() *driver.ReaderAttributes { return &r.attributes }
func (r *gcsReader) As(any) bool                          { return false }

func (b *gcs) NewRangeReader(ctx context.Context, key string, offset, length int64, _ *driver.ReaderOptions) (driver.Reader, error) {
	if offset != 0 || length >= 0 {
		return nil, errNotNeeded
	}
	reply, err := b.objects.Get(b.name, key).Context(ctx).Download() //nolint:bodyclose // the reader is closed by who reads it
	if err != nil {
		return nil, err
	}
	size, err := strconv.ParseInt(reply.Header.Get("Content-Length"), 10, 64)
	if err != nil {
		size = -1
	}
	return &gcsReader{reply.Body, driver.ReaderAttributes{ContentType: reply.Header.Get("Content-Type"), Size: size}}, nil
}

// gcsWriter sends what is written to it by chunks. The object appears with the last one.
type gcsWriter struct {
	ctx  context.Context
	pipe *io.PipeWriter
	done chan error
}

func (b *gcs) NewTypedWriter(ctx context.Context, key, contentType string, o *driver.WriterOptions) (driver.Writer, error) {
	if o.BeforeWrite != nil {
		if err := o.BeforeWrite(none); err != nil {
			return nil, err
		}
	}
	from, to := io.Pipe()
	call := b.objects.Insert(b.name, &storage.Object{Name: key, ContentType: contentType}).Context(ctx)
	if o.IfNotExist {
		call.IfGenerationMatch(0)
	}
	w := &gcsWriter{ctx: ctx, pipe: to, done: make(chan error, 1)}
	go func() {
		_, err := call.Media(from, googleapi.ChunkSize(gcsChunk), googleapi.ContentType(contentType)).Do() // Media reads the first chunk already
		from.CloseWithError(cmp.Or(err, io.ErrClosedPipe))                                                 // a write must not wait for a reader that has gone
		w.done <- err
	}()
	return w, nil
}

func (w *gcsWriter) Write(p []byte) (int, error) { return w.pipe.Write(p) }

// Close ends the object, or drops it where the context has ended: a body that breaks off is no object.
func (w *gcsWriter) Close() error {
	err := w.ctx.Err()
	w.pipe.CloseWithError(err)
	return cmp.Or(err, <-w.done)
}

func (b *gcs) Delete(ctx context.Context, key string, _ *driver.DeleteOptions) error {
	return b.objects.Delete(b.name, key).Context(ctx).Do()
}

func (b *gcs) Copy(context.Context, string, string, *driver.CopyOptions) error { return errNotNeeded }

func (b *gcs) SignedURL(context.Context, string, *driver.SignedURLOptions) (string, error) {
	return "", errNotNeeded
}
