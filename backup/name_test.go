package backup_test

import (
	"strings"
	"testing"
	"time"

	"theseus.dev/backup"
	"theseus.dev/backup/backuptest"
)

func TestNameString(t *testing.T) {
	name := backuptest.Name()
	if got, want := name.String(), "kv/20260304T050607.00000089Z_3.5.35_3.6.16_a1_auto"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	name = backup.Name{Cluster: "team/kv.", From: "15.0.0.Final", Kind: backup.Manual, Time: name.Time.Truncate(time.Second)}
	if got, want := name.String(), "team%2Fkv%2E/20260304T050607Z_15.0.0.Final___manual"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNamesDoNotCollide(t *testing.T) {
	seen := map[string][3]string{}
	for _, from := range []string{"4.2.0.10", "4.20.1.0", "4.2.01.0", "4_2", "4%5F2", "4/2"} {
		for _, to := range []string{"5_1", "5", "1_5"} {
			for _, cluster := range []string{"kv", "KV", "kv.", "..", ".attrs"} {
				name := backuptest.Name()
				name.Cluster, name.From, name.To = cluster, from, to
				fields := [3]string{cluster, from, to}
				if other, ok := seen[name.String()]; ok {
					t.Errorf("%v and %v are both %s", fields, other, name)
				}
				seen[name.String()] = fields
			}
		}
	}
}

func TestInvalidNames(t *testing.T) {
	for doing, spoil := range map[string]func(*backup.Name){
		"no cluster":    func(n *backup.Name) { n.Cluster = "" },
		"no version":    func(n *backup.Name) { n.From = "" },
		"no target":     func(n *backup.Name) { n.To = "" },
		"no attempt":    func(n *backup.Name) { n.Attempt = "" },
		"unknown kind":  func(n *backup.Name) { n.Kind = "weekly" },
		"no time":       func(n *backup.Name) { n.Time = time.Time{} },
		"far future":    func(n *backup.Name) { n.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"not UTF-8":     func(n *backup.Name) { n.Attempt = "\xff" },
		"long cluster":  func(n *backup.Name) { n.Cluster = strings.Repeat("k", 256) },
		"long versions": func(n *backup.Name) { n.To = strings.Repeat("_", 80) },
	} {
		name := backuptest.Name()
		spoil(&name)
		if err := name.Validate(); err == nil {
			t.Errorf("%s: %+v is valid", doing, name)
		}
	}
	for _, text := range []string{
		"", "kv", "kv/", "/20260304T050607Z_1_2_a_auto", "kv/20260304T050607Z_1_2_a", "kv/20260304T050607Z_1_2_a_auto_",
		"kv/2026-03-04_1_2_a_auto", "kv/20260304T050607.10Z_1_2_a_auto", "kv/20260304T050607,1Z_1_2_a_auto",
		"kv/20260304T050607Z_1_2_a%5f_auto", "%6Bv/20260304T050607Z_1_2_a_auto", "kv/20260304T050607Z_1_2_a_auto/", "kv/20260304T050607Z_%_2_a_auto",
	} {
		if name, err := backup.ParseName(text); err == nil {
			t.Errorf("%q was read as %+v", text, name)
		}
	}
}

func FuzzNameRoundTrip(f *testing.F) {
	f.Add("kv", "3.5.35", "3.6.16", "a1", int64(1))
	f.Add("a/b", "0.5.0-1", "_", "%", int64(-1e9))
	f.Add("..", "\x00", "é", ".attrs", int64(1e18))
	f.Fuzz(func(t *testing.T, cluster, from, to, attempt string, nanos int64) {
		name := backup.Name{Cluster: cluster, From: from, To: to, Attempt: attempt, Kind: backup.Auto, Time: time.Unix(0, nanos).UTC()}
		if name.Validate() != nil {
			return
		}
		got, err := backup.ParseName(name.String())
		if err != nil || got != name {
			t.Errorf("%+v became %q and then %+v, %v", name, name, got, err)
		}
	})
}

func FuzzParseName(f *testing.F) {
	f.Add("kv/20260304T050607.00000089Z_3.5.35_3.6.16_a1_auto")
	f.Add("team%2Fkv%2E/20260304T050607Z_15.0.0.Final___manual")
	f.Fuzz(func(t *testing.T, text string) {
		name, err := backup.ParseName(text)
		if err == nil && name.String() != text {
			t.Errorf("%q was read as %+v, which is %q", text, name, name)
		}
	})
}
