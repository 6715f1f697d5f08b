package backup_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gocloud.dev/blob"

	"theseus.dev/backup"
)

func TestCheckURL(t *testing.T) {
	for _, good := range []string{"file:///var/backups", "file:///var/backups/", "file:///a%20b/%23", "FILE:///a", "mem://"} {
		if err := backup.CheckURL(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	// Each row: the URL, what its error says, and the remedy in it.
	for _, row := range [][3]string{
		{"", "empty", "file:///var/backups/theseus"},
		{"/var/backups", "no scheme", "file:///var/backups"},
		{"backups/kv", "relative path", "file:///path"},
		{"./kv", "relative path", "file:///path"},
		{"file:kv", "relative", "file:///path"},
		{"file://./kv", "relative", "file:///path"},
		{"file://nas/kv", `names a host, "nas"`, "file:///nas/kv"},
		{"file://localhost/kv", "names a host", "three slashes"},
		{"file:///", "root folder", "file:///var/backups/theseus"},
		{"file:///a/..", "root folder", "file:///var/backups/theseus"},
		{"file://", "root folder", "file:///var/backups/theseus"},
		{"file:///kv?create_dir=1", "no options", "%3F"},
		{"file:///kv#1", "#", "%23"},
		{"file:///kv%00", "zero byte", "file:///"},
		{"s3://bucket/kv", `scheme "s3" is not in this build`, "it has: file"},
		{"mem://user:secret@x", "credentials", "name a secret"},
		{"file:///%zz", "not a URL", "file:///"},
	} {
		err := backup.CheckURL(row[0])
		var fault *backup.URLError
		if !errors.As(err, &fault) || !strings.Contains(fault.Problem, row[1]) || !strings.Contains(fault.Remedy, row[2]) {
			t.Errorf("%q: got %v, want %q and %q", row[0], err, row[1], row[2])
		}
	}
	if !slices.Contains(backup.Schemes(), "file") {
		t.Errorf("schemes: got %v", backup.Schemes())
	}
}

// quoting is a driver that does what some do: it repeats its URL in an error.
type quoting struct{}

func (quoting) OpenBucketURL(_ context.Context, u *url.URL) (*blob.Bucket, error) {
	return nil, fmt.Errorf("open %s with key %q: %w", u, u.Query().Get("key"), os.ErrPermission)
}

func TestErrorsHoldNoSecrets(t *testing.T) {
	blob.DefaultURLMux().RegisterBucket("quoting", quoting{})
	for _, raw := range []string{
		"s3://AKIA:hush@bucket/kv", "s3://bucket?secret=hush", "mem://hush@bucket", "s3://AKIA:hush%zz@bucket", "s3://u:p@host:hush/", "user:hush@host",
		"file://u:hush@h/p", "/kv?key=hush", "file:///kv?key=hush", "kv?sig=hush", "quoting://x?key=hush", "quoting://x?key=hush%2F+hush",
	} {
		err := backup.CheckURL(raw)
		if err == nil {
			_, err = backup.Open(t.Context(), raw)
		}
		if err == nil || strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "AKIA") {
			t.Errorf("%s: got %v", raw, err)
		}
	}
}

func TestOpenBesideTheCluster(t *testing.T) {
	top := t.TempDir()
	cluster := filepath.Join(top, "kv")
	if err := os.MkdirAll(filepath.Join(cluster, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(top, "link")
	if err := os.Symlink(cluster, link); err != nil {
		t.Fatal(err)
	}
	for _, inside := range []string{cluster, cluster + "/data/../x", link + "/x/y", top, link} {
		_, err := backup.Open(t.Context(), "file://"+inside, filepath.Join(top, "elsewhere"), cluster)
		var fault *backup.URLError
		if !errors.As(err, &fault) || !strings.Contains(err.Error(), "beside") {
			t.Errorf("%s: got %v, want a *URLError", inside, err)
		}
	}
	if made, _ := os.ReadDir(cluster); len(made) != 1 {
		t.Errorf("refused places were made: %v", made)
	}
	beside := filepath.Join(top, "kv-backups", "deep")
	store, err := backup.Open(t.Context(), "file://"+beside, cluster)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(store.Ready(t.Context()), store.Close()); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(beside); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder is %v, %v: want one for the owner only", info, err)
	}
}

func TestOpenOverAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, file + "/below"} {
		if _, err := backup.Open(t.Context(), "file://"+path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}
