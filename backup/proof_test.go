package backup_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gocloud.dev/blob/memblob"

	"theseus.dev/backup"
	"theseus.dev/backup/backuptest"
)

func proofOf(paths ...string) backup.Proof {
	p := backup.Proof{Name: backuptest.Name()}
	for _, path := range paths {
		p.Files = append(p.Files, backup.File{Path: path, Size: 1, SHA256: strings.Repeat("ab", 32), Mode: 0o600})
		p.Total++
	}
	return p
}

func TestProofsThatNobodyShouldFollow(t *testing.T) {
	total, sum, name := proofOf("a"), proofOf("a"), proofOf("a")
	total.Total = 2
	sum.Files[0].SHA256 = "abc"
	name.Name.Cluster = ""
	proofs := []backup.Proof{
		total, sum, name, proofOf(), proofOf("/etc/passwd"), proofOf("../x"), proofOf("a/../../x"), proofOf("."), proofOf(""), proofOf("a", "a"), proofOf("a\x00"),
	}
	for _, proof := range proofs {
		data, err := backup.EncodeProof(proof)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := backup.DecodeProof(data); err == nil {
			t.Errorf("taken: %s", data)
		}
	}
	newer, err := backup.EncodeProof(proofOf("a"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = backup.DecodeProof(bytes.Replace(newer, []byte(`"format": 1`), []byte(`"format": 2`), 1))
	if err == nil || !strings.Contains(err.Error(), "format 2") {
		t.Errorf("a proof of format 2: got %v", err)
	}
}

// A proof that uses a file as a folder passes for a proof, and makes no mess.
func TestGetOfAnImpossibleTree(t *testing.T) {
	bucket := memblob.OpenBucket(nil)
	defer bucket.Close()
	store := backup.New(bucket, "")
	proof, err := store.Put(t.Context(), backuptest.Name(), backup.FromStream(strings.NewReader("x")), backup.About{})
	if err != nil {
		t.Fatal(err)
	}
	below := proof.Files[0]
	below.Path = "data/below"
	proof.Files, proof.Total = append(proof.Files, below), 2
	data, err := backup.EncodeProof(proof)
	if err != nil {
		t.Fatal(err)
	}
	if err := bucket.WriteAll(t.Context(), proof.Name.String()+"/backup.json", data, nil); err != nil {
		t.Fatal(err)
	}
	parent := t.TempDir()
	if _, err := store.Get(t.Context(), proof.Name, filepath.Join(parent, "new")); err == nil {
		t.Error("got no error")
	}
	if left, _ := os.ReadDir(parent); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

func FuzzDecodeProof(f *testing.F) {
	for _, proof := range []backup.Proof{proofOf(), proofOf("a"), proofOf("a/b", "../c")} {
		data, err := backup.EncodeProof(proof)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		proof, err := backup.DecodeProof(data)
		if err != nil {
			return
		}
		again, err := backup.EncodeProof(proof)
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("%q was read and written as %q, %v", data, again, err)
		}
		for _, file := range proof.Files {
			if !filepath.IsLocal(file.Path) {
				t.Errorf("taken: path %q", file.Path)
			}
		}
	})
}
