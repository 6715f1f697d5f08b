package main

import (
	"os"
	"path/filepath"
	"testing"
)

func put(t *testing.T, s *store, key, value string, seq uint64, writer string) {
	t.Helper()
	if err := s.put(record{Entry: &entry{Key: key, Value: value, Seq: seq, Writer: writer}}); err != nil {
		t.Fatal(err)
	}
}

func reopen(t *testing.T, dir string) *store {
	t.Helper()
	s, err := openStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func wantValue(t *testing.T, s *store, key, want string) {
	t.Helper()
	if got, _ := s.get(key); got.Value != want {
		t.Errorf("%s: got %q, want %q", key, got.Value, want)
	}
}

func TestStoreKeepsTheNewest(t *testing.T) {
	dir := t.TempDir()
	s := reopen(t, dir)
	put(t, s, "k", "second", 2, "a")
	put(t, s, "k", "late", 1, "b")
	wantValue(t, s, "k", "second")
	put(t, s, "k", "same number", 2, "b")
	wantValue(t, s, "k", "same number")
	wantValue(t, reopen(t, dir), "k", "same number")
}

func TestStoreCutsOffAnUnfinishedLine(t *testing.T) {
	dir := t.TempDir()
	put(t, reopen(t, dir), "k", "1", 1, "a")
	file := filepath.Join(dir, logName)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range whole {
		if err := os.WriteFile(file, append(whole[:len(whole):len(whole)], whole[:cut]...), 0o600); err != nil {
			t.Fatal(err)
		}
		s := reopen(t, dir)
		wantValue(t, s, "k", "1")
		put(t, s, "after", "2", 1, "a")
		wantValue(t, reopen(t, dir), "after", "2")
	}
}

func TestStoreRefusesDamage(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, logName), []byte("{\"entry\":\n{\"joined\":true}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openStore(dir); err == nil {
		t.Error("a damaged line in the middle: got no error")
	}
}
