package main

import (
	"strings"
	"testing"
	"time"

	"theseus.dev/backup"
	"theseus.dev/backup/cloud"
	"theseus.dev/operator"
)

// A backup is found by the name that events, status and history show, and by the one that backup --list shows.
func TestFindBackup(t *testing.T) {
	store, err := cloud.Open(t.Context(), "file://"+t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var long []string
	for i, cluster := range []string{"kv", "kv-3.5.35"} { // one name begins as the other one's backups do
		n := backup.Name{Cluster: cluster, From: "3.5.35", To: "3.6.16", Attempt: "a3-20", Kind: backup.Auto, Time: time.Date(2026, 1, 2, 3, 4, i, 0, time.UTC)}
		if _, err := store.Put(t.Context(), n, backup.FromStream(strings.NewReader("x")), backup.About{}); err != nil {
			t.Fatal(err)
		}
		long = append(long, n.String())
	}
	a := &app{}
	for given, want := range map[string]string{
		"kv-3.5.35-3.6.16-a3-20":        long[0],
		"kv-3.5.35-3.5.35-3.6.16-a3-20": long[1],
		long[0]:                         long[0],
	} {
		if got, err := a.findBackup(t.Context(), store, given); err != nil || got.String() != want {
			t.Errorf("%s: got %s, %v; want %s", given, got, err, want)
		}
	}
	if _, err := a.findBackup(t.Context(), store, "kv-3.5.35-3.6.16-a3-21"); codeOf(err) != exitInput {
		t.Errorf("one that is not there: got %v", err)
	}
	again := backup.Name{Cluster: "kv", From: "3.5.35", To: "3.6.16", Attempt: "a3-20", Kind: backup.Auto, Time: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)} // of a cluster made anew
	if _, err := store.Put(t.Context(), again, backup.FromStream(strings.NewReader("y")), backup.About{}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.findBackup(t.Context(), store, shortName(again)); codeOf(err) != exitInput || !strings.Contains(err.Error(), long[0]) || !strings.Contains(err.Error(), again.String()) {
		t.Errorf("a name that two have: got %v, want both by their own names", err)
	}
}

// The Job that forgets one backup leaves another of the same second alone, and can be done again.
func TestForget(t *testing.T) {
	url := "file://" + t.TempDir()
	store, err := cloud.Open(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var names []backup.Name
	for own := range time.Duration(2) {
		n := backup.Name{Cluster: "kv", From: "3.5.35", Kind: backup.Manual, Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(own)}
		if _, err := store.Put(t.Context(), n, backup.FromStream(strings.NewReader("x")), backup.About{}); err != nil {
			t.Fatal(err)
		}
		names = append(names, n)
	}
	for range 2 {
		if _, err := podForget(t.Context(), &operator.ForgetOrder{URL: url, Name: names[0].String()}); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := store.List(t.Context(), "kv"); err != nil || len(left) != 1 || left[0].Name != names[1] || left[0].State != backup.Complete {
		t.Errorf("left are %+v, %v; want %s", left, err, names[1])
	}
}
