package backup_test

import (
	"testing"

	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/memblob"

	"theseus.dev/backup/backuptest"
)

func TestFolderStore(t *testing.T) {
	backuptest.Run(t, func(t *testing.T) backuptest.Place {
		root := t.TempDir()
		bucket, err := fileblob.OpenBucket(root, &fileblob.Options{NoTempDir: true, Metadata: fileblob.MetadataDontWrite, DirFileMode: 0o700})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = bucket.Close() })
		return backuptest.Place{Bucket: bucket, Root: root}
	})
}

func TestMemoryStore(t *testing.T) {
	backuptest.Run(t, func(t *testing.T) backuptest.Place {
		bucket := memblob.OpenBucket(nil)
		t.Cleanup(func() { _ = bucket.Close() })
		return backuptest.Place{Bucket: bucket}
	})
}
