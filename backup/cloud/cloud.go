// Package cloud knows the places for backups that are buckets: Amazon S3 and what speaks its protocol, Google Cloud Storage,
// and Azure Blob Storage. Importing it makes backup.Open know their schemes, with the credentials that the environment
// has for them; Open takes credentials as the value of a secret.
//
// The drivers of S3 and Azure are those of gocloud.dev. That of Google Cloud Storage is our own, see gcs.go.
package cloud

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"

	"gocloud.dev/blob"
	"gocloud.dev/blob/azureblob"
	"gocloud.dev/blob/s3blob"
	"golang.org/x/crypto/x509roots/fallback/bundle"

	"theseus.dev/backup"
)

func init() {
	blob.DefaultURLMux().RegisterBucket(gcsScheme, gcsOpener{})
}

// Open opens the place that a URL names. Key is the value of a secret with the credentials for it; empty, those of the environment are
// used. Forbidden are the folders that a folder for backups must not lie in. What is wrong with the key is a *KeyError.
//
// The key is JSON, in the form in which each cloud hands it out:
//
//   - s3: {"AccessKeyId", "SecretAccessKey", "SessionToken"}, the output of a credential_process
//   - gs: the key file of a service account, or another file that GOOGLE_APPLICATION_CREDENTIALS may name
//   - azblob: {"account", "key"}, {"account", "sasToken"} or {"connectionString"}
func Open(ctx context.Context, rawURL string, key []byte, forbidden ...string) (*backup.Store, error) {
	trust()
	if len(key) == 0 {
		return backup.Open(ctx, rawURL, forbidden...)
	}
	return backup.OpenWith(ctx, rawURL, func(ctx context.Context, bucket string) (*blob.Bucket, error) { return OpenBucket(ctx, bucket, key) })
}

// OpenBucket opens the bucket that a URL without a path names, with a key.
func OpenBucket(ctx context.Context, rawURL string, key []byte) (*blob.Bucket, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case s3blob.Scheme:
		return openS3(ctx, u, key)
	case gcsScheme:
		return openGCS(ctx, u, key)
	case azureblob.Scheme:
		return openAzure(ctx, u, key)
	}
	return nil, fmt.Errorf("the scheme %s takes no credentials: leave the secret away", u.Scheme)
}

// trust gives this program certificate authorities where the image that it runs in has none: a backup is taken in the image of the members.
var trust = sync.OnceFunc(func() {
	if roots, err := x509.SystemCertPool(); err == nil && !roots.Equal(x509.NewCertPool()) {
		return
	}
	pool := x509.NewCertPool()
	for root := range bundle.Roots() {
		certificate, err := x509.ParseCertificate(root.Certificate)
		if err != nil {
			continue
		}
		if root.Constraint == nil {
			pool.AddCert(certificate)
		} else {
			pool.AddCertWithConstraint(certificate, root.Constraint)
		}
	}
	x509.SetFallbackRoots(pool)
})

// KeyError is a secret's value that cannot be the credentials of a place. It never shows the value.
type KeyError struct {
	// Scheme of the place.
	Scheme string
	// Problem says what is wrong, Remedy what to write instead.
	Problem, Remedy string
}

func (e *KeyError) Error() string {
	return fmt.Sprintf("the key of the secret for a place of scheme %s %s; %s", e.Scheme, e.Problem, e.Remedy)
}

// decodeKey reads a flat JSON object of texts. The errors of the decoder are left out because they may quote what was read.
func decodeKey(scheme string, key []byte, remedy string) (map[string]string, error) {
	var all map[string]any
	if json.Unmarshal(key, &all) != nil {
		return nil, &KeyError{scheme, "is not a JSON object", remedy}
	}
	texts := map[string]string{}
	for name, value := range all {
		if text, ok := value.(string); ok {
			texts[name] = text
		}
	}
	return texts, nil
}

// only refuses options of a URL that a driver does not know: one that is overlooked would be a surprise.
func only(u *url.URL, known ...string) error {
	for name := range u.Query() {
		if !slices.Contains(known, name) {
			return fmt.Errorf("option %q is not known; use %q", name, known)
		}
	}
	return nil
}

var errNoBucket = errors.New("it names no bucket")
