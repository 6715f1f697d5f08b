// Package cloud tries buckets over the wire: the suite that every place for backups must pass, with the drivers and keys of package backup/cloud.
package cloud

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/fsouza/fake-gcs-server/fakestorage"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"theseus.dev/backup"
	"theseus.dev/backup/backuptest"
	"theseus.dev/backup/cloud"
)

// s3Server speaks the protocol of S3, and lets in who signs with the one key.
func s3Server(t *testing.T) *httptest.Server {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("bucket"); err != nil {
		t.Fatal(err)
	}
	fake := gofakes3.New(backend).Server()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !signed(r) {
			http.Error(w, "wrong signature", http.StatusForbidden)
			return
		}
		fake.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// signed says whether a request was signed with the key: it is signed again, which must give the same.
func signed(r *http.Request) bool {
	header := r.Header.Get("Authorization")
	_, names, _ := strings.Cut(header, "SignedHeaders=")
	names, _, _ = strings.Cut(names, ",")
	again := &http.Request{Method: r.Method, Host: r.Host, URL: &url.URL{Scheme: "http", Host: r.Host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}, Header: http.Header{}}
	for name := range strings.SplitSeq(names, ";") {
		switch name {
		case "host", "x-amz-date":
		case "content-length":
			again.ContentLength = r.ContentLength
		default:
			again.Header[http.CanonicalHeaderKey(name)] = r.Header.Values(name)
		}
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return false
	}
	err = v4.NewSigner().SignHTTP(r.Context(), aws.Credentials{AccessKeyID: "theseus", SecretAccessKey: "a-secret-key"}, again, r.Header.Get("X-Amz-Content-Sha256"), "s3", "eu-west-1", at,
		func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	return err == nil && again.Header.Get("Authorization") == header
}

const s3Key = `{"Version": 1, "AccessKeyId": "theseus", "SecretAccessKey": "a-secret-key"}`

func s3URL(s *httptest.Server, path string) string {
	return "s3://bucket" + path + "?region=eu-west-1&use_path_style=true&endpoint=" + s.URL
}

func TestS3(t *testing.T) {
	runs(t, func(t *testing.T) (string, string) { return s3URL(s3Server(t), "/kv"), s3Key })
}

// TestS3Environment opens the same URL with what the environment has.
func TestS3Environment(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "theseus")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "a-secret-key")
	store := open(t, s3URL(s3Server(t), "/kv"), "")
	if err := store.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

// gcsServer speaks the protocol of Google Cloud Storage. In front of it one gets a token for the key, and nothing without the token.
func gcsServer(t *testing.T) (*httptest.Server, *atomic.Int64) {
	t.Helper()
	fake, err := fakestorage.NewServerWithOptions(fakestorage.Options{NoListener: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Stop)
	fake.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: "bucket"})
	tokens := &atomic.Int64{}
	mux := http.NewServeMux()
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		tokens.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprint(w, `{"access_token": "let-me-in", "token_type": "Bearer", "expires_in": 3600}`)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer let-me-in" {
			http.Error(w, "no token", http.StatusUnauthorized)
			return
		}
		fake.HTTPHandler().ServeHTTP(w, r)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s, tokens
}

// gcsKey is the key file of a service account whose tokens the server gives.
func gcsKey(t *testing.T, s *httptest.Server) string {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := json.Marshal(map[string]string{"type": "service_account", "project_id": "p", "private_key_id": "1", "client_email": "theseus@p.example", "token_uri": s.URL + "/token",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))})
	if err != nil {
		t.Fatal(err)
	}
	return string(key)
}

func TestGCS(t *testing.T) {
	runs(t, func(t *testing.T) (string, string) {
		s, _ := gcsServer(t)
		return "gs://bucket/kv?endpoint=" + s.URL, gcsKey(t, s)
	})
}

const wrongKey = "d3Jvbmcga2V5"

var about = backup.About{System: backup.System{Name: "etcd", Hash: "1"}}

// runs runs the suite over the wire.
func runs(t *testing.T, place func(*testing.T) (url, key string)) {
	backuptest.Run(t, func(t *testing.T) backuptest.Place {
		at, key := place(t)
		bucket, err := cloud.OpenBucket(t.Context(), strings.Replace(at, "/kv?", "?", 1), []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = bucket.Close() })
		return backuptest.Place{Bucket: bucket}
	})
	opens(t, place)
}

// opens tries a place as it is opened, and shows that nobody gets in without the key.
func opens(t *testing.T, place func(*testing.T) (url, key string)) {
	t.Run("wrong key", func(t *testing.T) {
		at, key := place(t)
		switch {
		case strings.HasPrefix(at, "gs:"):
			at, key = at+"&anonymous=true", ""
		default:
			key = strings.NewReplacer("a-secret-key", wrongKey, azureKey, wrongKey).Replace(key)
		}
		store, err := cloud.Open(t.Context(), at, []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		if err := store.Ready(t.Context()); err == nil {
			t.Error("a place can be written to without its key")
		} else if strings.Contains(err.Error(), wrongKey) {
			t.Errorf("%v: the error shows the key", err)
		}
	})
	t.Run("large", func(t *testing.T) { // more than one part, whatever a driver sends at once
		at, key := place(t)
		store := open(t, at, key)
		if _, err := store.Put(t.Context(), backuptest.Name(), backup.FromStream(io.LimitReader(rand.Reader, 20<<20)), about); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Verify(t.Context(), backuptest.Name()); err != nil {
			t.Error(err)
		}
	})
	t.Run("stopped", func(t *testing.T) {
		at, key := place(t)
		store := open(t, at, key)
		ctx, cancel := context.WithCancel(t.Context())
		store.Progress = func(p backup.Progress) {
			if p.Bytes > 4<<20 {
				cancel()
			}
		}
		if _, err := store.Put(ctx, backuptest.Name(), backup.FromStream(io.LimitReader(rand.Reader, 20<<20)), about); !errors.Is(err, context.Canceled) {
			t.Errorf("a put that was stopped: %v", err)
		}
		if list, err := store.List(t.Context(), "kv"); err != nil || len(list) != 0 {
			t.Errorf("it left %+v, %v", list, err)
		}
	})
	t.Run("path", func(t *testing.T) {
		at, key := place(t)
		here, there := open(t, at, key), open(t, strings.Replace(at, "/kv?", "/other?", 1), key)
		name := backuptest.Name()
		if _, err := here.Put(t.Context(), name, backup.FromStream(strings.NewReader("data")), about); err != nil {
			t.Fatal(err)
		}
		if _, err := here.Verify(t.Context(), name); err != nil {
			t.Error(err)
		}
		if list, err := here.List(t.Context(), name.Cluster); err != nil || len(list) != 1 || list[0].State != backup.Complete {
			t.Errorf("the list is %+v, %v", list, err)
		}
		if _, err := here.Put(t.Context(), name, backup.FromStream(strings.NewReader("other")), about); !errors.Is(err, backup.ErrExists) {
			t.Errorf("put again: got %v, want ErrExists", err)
		}
		if _, err := there.Proof(t.Context(), name); !errors.Is(err, backup.ErrNotFound) {
			t.Errorf("below another path: got %v, want ErrNotFound", err)
		}
		if err := here.Delete(t.Context(), name); err != nil {
			t.Error(err)
		}
		if _, err := here.Proof(t.Context(), name); !errors.Is(err, backup.ErrNotFound) {
			t.Errorf("after it was deleted: got %v, want ErrNotFound", err)
		}
	})
}

func open(t *testing.T, at, key string) *backup.Store {
	t.Helper()
	store, err := cloud.Open(t.Context(), at, []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}
