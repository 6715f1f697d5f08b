package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// badHome is a home with everything that bad input can meet: calm runs, with a place for backups; strict has edges that ask
// for one and no place; resting has an attempt that waits for a person; newer and newest were written by a newer Theseus; half was not restored to its end.
type badHome struct {
	*testing.T
	dir string
}

const head = "apiVersion: theseus.dev/v1alpha1\nkind: Cluster\nmetadata: {name: %s}\nspec: "

func newBadHome(t *testing.T) *badHome {
	h := &badHome{T: t, dir: t.TempDir()}
	t.Cleanup(func() {
		for _, name := range []string{"newer", "newest", "half"} {
			os.RemoveAll(h.path("home", name)) // they have no members
		}
		if err := takeDown(h.path("home")); err != nil {
			t.Error(err)
		}
	})
	h.write("calm.yaml", fmt.Sprintf(head, "calm")+"{system: standin, version: 1.0.0, backup: {url: 'file://"+h.path("backups")+"'}, upgrade: {soak: 100ms}}")
	h.write("resting.yaml", fmt.Sprintf(head, "resting")+"{system: standin, version: 1.0.0, upgrade: {soak: 100ms, pauseAfter: 1}}")
	h.write("strict.yaml", strictSystem(h.run("systems", "standin", "--file").out))
	h.write("strictly.yaml", fmt.Sprintf(head, "strict")+"{system: ./strict.yaml, version: 1.1.0, upgrade: {soak: 100ms}}")
	h.must(0, "up", "strictly.yaml")
	h.must(0, "up", "calm.yaml")
	h.must(0, "backup", "calm")
	h.must(0, "up", "resting.yaml")
	h.must(4, "upgrade", "resting", "--to", "1.1.0")
	h.copyCluster("newer", func(j map[string]any) { j["format"] = 99 })
	h.copyCluster("newest", func(j map[string]any) { j["status"].(map[string]any)["journal"] = 99 })
	h.copyCluster("half", func(map[string]any) {})
	h.write("home/half/hollow", "")
	h.damageBackup()
	return h
}

// strictSystem is the stand-in with other edges.
func strictSystem(standin string) string {
	before, rest, _ := strings.Cut(standin, "edges:")
	_, after, _ := strings.Cut(rest, "components:")
	return strings.Replace(before, "name: standin}", "name: strict}", 1) + `edges:
- {from: 1.0.x, to: 1.1.x}
- {from: 1.1.x, to: 1.2.x, backup: Required, before: [{name: announce, post: ":client/admin/announce", timeout: 10s}]}
components:` + after
}

func (h *badHome) path(elem ...string) string {
	return filepath.Join(append([]string{h.dir}, elem...)...)
}

func (h *badHome) write(name, text string) {
	h.Helper()
	if err := os.MkdirAll(filepath.Dir(h.path(name)), 0o700); err != nil {
		h.Fatal(err)
	}
	if err := os.WriteFile(h.path(name), []byte(text), 0o600); err != nil {
		h.Fatal(err)
	}
}

func (h *badHome) edit(from, to string, edit [2]string) {
	h.Helper()
	text, err := os.ReadFile(h.path(from))
	if err != nil || !strings.Contains(string(text), edit[0]) {
		h.Fatalf("%s does not contain %q (%v)", from, edit[0], err)
	}
	h.write(to, strings.Replace(string(text), edit[0], edit[1], 1))
}

func (h *badHome) run(args ...string) result {
	cmd := exec.Command(theseus, args...)
	cmd.Dir = h.dir
	cmd.Env = []string{"THESEUS_HOME=" + h.path("home"), "THESEUS_PROGRAMS=" + programs, "HOME=" + h.dir, "PATH=" + bin + ":" + os.Getenv("PATH")}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // the exit code says it
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

func (h *badHome) must(code int, args ...string) {
	h.Helper()
	if r := h.run(args...); r.code != code {
		h.Fatalf("theseus %s: want exit code %d: %s", strings.Join(args, " "), code, r)
	}
}

// copyCluster makes another cluster of calm's files, without members, and changes its journal.
func (h *badHome) copyCluster(name string, change func(map[string]any)) {
	h.Helper()
	for _, file := range []string{"cluster.json", "status.json", "addresses.json"} {
		text, err := os.ReadFile(h.path("home", "calm", file))
		if err != nil {
			h.Fatal(err)
		}
		if file == "status.json" {
			var j map[string]any
			if err := json.Unmarshal(text, &j); err != nil {
				h.Fatal(err)
			}
			change(j)
			if text, err = json.Marshal(j); err != nil {
				h.Fatal(err)
			}
		}
		h.write(filepath.Join("home", name, file), string(bytes.ReplaceAll(text, []byte(`"name": "calm"`), []byte(`"name": "`+name+`"`))))
	}
}

// damageBackup copies the one backup to another place and changes a file of it there.
func (h *badHome) damageBackup() {
	h.Helper()
	if err := os.CopyFS(h.path("damaged"), os.DirFS(h.path("backups"))); err != nil {
		h.Fatal(err)
	}
	err := filepath.WalkDir(h.path("damaged"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Base(path) == "data" {
			return os.WriteFile(path, []byte("something else"), 0o600)
		}
		return err
	})
	if err != nil {
		h.Fatal(err)
	}
}

// digest is of all files but locks and what members write.
func (h *badHome) digest() map[string]string {
	sums := map[string]string{}
	err := filepath.WalkDir(h.dir, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(h.dir, path)
		switch base := filepath.Base(path); {
		case err != nil:
			return err
		case strings.Contains(rel, "/members/"), slices.Contains([]string{"lock", ".write", ".create"}, base):
			return nil
		case d.IsDir():
			sums[rel] = "folder"
			return nil
		}
		text, err := os.ReadFile(path)
		sums[rel] = fmt.Sprintf("%x", sha256.Sum256(text))
		return err
	})
	if err != nil {
		h.Fatal(err)
	}
	return sums
}

// badRow is one mistake. spec, if given, is the spec of cluster "new" in new.yaml; text is all of that file; {dir} stands for
// the folder of the test.
type badRow struct {
	name string
	args string
	spec string
	text string
	edit [2]string // old and new: new.yaml is strict.yaml with this edit
	want []string  // in the message
}

// otherSystem is one that is not the stand-in.
const otherSystem = `apiVersion: theseus.dev/v1alpha1
kind: System
metadata: {name: other}
versions: {listed: [1.0.0], program: nosuchprogram}
components:
- name: one
  ports: {client: 7100}
  start: [nosuchprogram]
  ask: {health: {get: ":client/"}}
  ready: m.health.status == 200
  version: string(m.health.status)
backup: {run: [nosuchprogram]}
restore: {run: [nosuchprogram, "${file}"]}
`

// TestBadInput: whatever a person gets wrong ends with exit code 2 and one message that names it and what to do, and
// nothing is changed.
func TestBadInput(t *testing.T) {
	h := newBadHome(t)
	h.write("empty.yaml", "")
	h.write("comment.yaml", "# nothing but this\n")
	h.write("binary.yaml", "\x7fELF\x00\x01\xfe\xff\x00")
	h.write("big.yaml", strings.Repeat("# 0123456789\n", 100_000))
	h.write("folder/file", "")
	h.write("other.yaml", otherSystem)
	h.write("servers/etcd-3.5.35", "")
	taken, err := net.Listen("tcp", "127.9.9.9:7000")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	backups, err := filepath.Glob(h.path("backups", "calm", "*"))
	if err != nil || len(backups) != 1 {
		t.Fatalf("want one backup, got %v (%v)", backups, err)
	}
	backup := "calm/" + filepath.Base(backups[0])
	for _, row := range badRows {
		t.Run(row.name, func(t *testing.T) {
			fill := strings.NewReplacer("{dir}", h.dir, "{backup}", backup)
			os.Remove(h.path("new.yaml"))
			if row.spec != "" {
				h.write("new.yaml", fill.Replace(fmt.Sprintf(head, "new")+row.spec))
			} else if row.text != "" {
				h.write("new.yaml", fill.Replace(row.text))
			} else if row.edit[0] != "" {
				h.edit("strict.yaml", "new.yaml", row.edit)
			}
			before := h.digest()
			args := strings.Fields(fill.Replace(row.args))
			r := h.run(args...)
			if r.code != 2 {
				t.Errorf("theseus %s: want exit code 2: %s", row.args, r)
			}
			if r.out != "" {
				t.Errorf("theseus %s: stdout has %q, want nothing", row.args, r.out)
			}
			if n := strings.Count("\n"+r.err, "\ntheseus: "); n != 1 {
				t.Errorf("theseus %s: %d messages, want one: %s", row.args, n, r.err)
			}
			for _, w := range row.want {
				if !strings.Contains(r.err, fill.Replace(w)) {
					t.Errorf("theseus %s: the message lacks %q: %s", row.args, w, r.err)
				}
			}
			t.Log(r.err)
			for name, sum := range h.digest() {
				if before[name] != sum {
					t.Errorf("theseus %s: changed %s", row.args, name)
				}
				delete(before, name)
			}
			for name := range before {
				t.Errorf("theseus %s: removed %s", row.args, name)
			}
		})
	}
}

var badRows = []badRow{
	// Commands, flags, arguments.
	{name: "unknown command", args: "upgrad calm", want: []string{`"upgrad"`, "did you mean upgrade?"}},
	{name: "unknown command like none", args: "frobnicate", want: []string{"there are abort, "}},
	{name: "unknown flag", args: "upgrade calm --too 1.1.0", want: []string{"--too", "did you mean --to?"}},
	{name: "unknown flag like none", args: "status calm --frobnicate", want: []string{"unknown flag: --frobnicate", "see: theseus status --help"}},
	{name: "flag without value", args: "upgrade calm --to", want: []string{"--to", "see: theseus upgrade --help"}},
	{name: "unknown shorthand", args: "logs calm -z", want: []string{"-z"}},
	{name: "a flag's wrong type", args: "logs calm --lines many", want: []string{"--lines many: want a whole number"}},
	{name: "a duration without unit", args: "override resting soak --for 10", want: []string{"--for 10: want a duration, for example 10m"}},
	{name: "for nothing", args: "override resting soak --for 0s", want: []string{"--for 0s", "10m"}},
	{name: "for less than nothing", args: "override resting soak --for -5m", want: []string{"--for -5m"}},
	{name: "no name", args: "upgrade --to 1.1.0", want: []string{"give the name of one cluster", "theseus status"}},
	{name: "two names", args: "status calm resting", want: []string{"calm resting"}},
	{name: "no file", args: "up", want: []string{"give one file"}},
	{name: "no file to validate", args: "validate", want: []string{"at least one file"}},
	{name: "an argument too many", args: "version now", want: []string{"now"}},
	{name: "unknown shell", args: "completion csh", want: []string{"bash, zsh, fish"}},
	{name: "negative lines", args: "logs calm --lines -3", want: []string{"--lines -3"}},
	{name: "watch nobody", args: "status --watch", want: []string{"--watch", "name the cluster"}},
	{name: "follow everybody", args: "logs calm --follow", want: []string{"--follow", "calm-standin-0"}},

	// Names of clusters, members, rules.
	{name: "unknown cluster", args: "status clam", want: []string{`no cluster "clam"`, "did you mean calm?"}},
	{name: "unknown cluster like none", args: "upgrade production --to 1.1.0", want: []string{`"production"`, "there are calm"}},
	{name: "unknown member", args: "logs calm calm-standin-7", want: []string{`no member "calm-standin-7"`, "did you mean calm-standin-"}},
	{name: "member of another cluster", args: "logs calm x", want: []string{"it has calm-standin-0, calm-standin-1, calm-standin-2"}},
	{name: "unknown rule", args: "override resting soack", want: []string{`"soack"`, "did you mean 'soak'?"}},
	{name: "rule without an attempt", args: "override calm soak", want: []string{"no attempt is under way"}},

	// Requests that mean nothing now.
	{name: "pause nothing", args: "pause calm", want: []string{"pause of calm: no attempt is under way", "theseus status calm"}},
	{name: "resume nothing", args: "resume calm", want: []string{"no attempt is under way"}},
	{name: "abort nothing", args: "abort calm", want: []string{"no attempt is under way"}},
	{name: "roll nothing back", args: "rollback calm", want: []string{"no attempt is under way"}},
	{name: "finalize nothing", args: "finalize calm", want: []string{"no attempt is under way"}},
	{name: "retry nothing", args: "retry calm", want: []string{"nothing failed"}},
	{name: "adopt into nothing", args: "adopt-system calm", want: []string{"no attempt is under way"}},
	{name: "pause what rests", args: "pause resting", want: []string{"rests already"}},
	{name: "abort after a disruption", args: "abort resting", want: []string{"a member was disrupted already; choose pause or rollback"}},
	{name: "restart during an attempt", args: "restart resting", want: []string{"an attempt is under way"}},

	// Versions.
	{name: "version not listed", args: "upgrade calm --to 1.1.7", want: []string{"--to", `"1.1.7"`}},
	{name: "no version at all", args: "upgrade calm --to latest", want: []string{"--to", `"latest"`}},
	{name: "downgrade", args: "upgrade strict --to 1.0.0", want: []string{"1.0.0", "1.1.0"}},
	{name: "path not allowed", args: "upgrade strict --to 2.0.0", want: []string{"1.1.0", "2.0.0"}},
	{name: "hop that is left out", args: "plan strict --to 2.1.0", want: []string{"1.1.0", "2.1.0", "one can reach 1.2.0"}},
	{name: "required backup without a place", args: "upgrade strict --to 1.2.0", want: []string{"spec.backup", "from 1.1.0 to 1.2.0 requires a backup", "set spec.backup.url"}},
	{name: "plan of a required backup without a place", args: "plan strict --to 1.2.0", want: []string{"set spec.backup.url"}},
	{name: "plan a version not listed", args: "plan calm --to 3.0.0", want: []string{`"3.0.0"`}},
	{name: "dry run of a version not listed", args: "upgrade calm --to 3.0.0 --dry-run", want: []string{`"3.0.0"`}},
	{name: "another target in mid-attempt", args: "upgrade resting --to 1.2.0", want: []string{"spec.version 1.2.0", "1.1.0 is under way", "roll back"}},
	{name: "all members down at once", args: "upgrade calm --to 2.0.0", want: []string{"spec.upgrade.allowDowntime", "stops all members at once", "set it to true"}},
	{name: "another version by up", args: "up new.yaml", text: fmt.Sprintf(head, "calm") + "{system: standin, version: 1.1.0}",
		want: []string{"spec.version 1.1.0", "theseus upgrade calm --to 1.1.0"}},
	{name: "up with a file that is behind, in mid-attempt", args: "up resting.yaml", want: []string{"the upgrade from 1.0.0 to 1.1.0", "theseus rollback resting"}},
	{name: "an edit in mid-attempt", args: "up new.yaml", text: fmt.Sprintf(head, "resting") + "{system: standin, version: 1.1.0, options: {control: /x}, upgrade: {soak: 100ms, pauseAfter: 1}}",
		want: []string{"spec.options", "an attempt is under way"}},

	// Files.
	{name: "file not there", args: "up nowhere.yaml", want: []string{"nowhere.yaml: there is no such file"}},
	{name: "empty file", args: "up empty.yaml", want: []string{"empty.yaml"}},
	{name: "empty file to validate", args: "validate empty.yaml", want: []string{"empty.yaml"}},
	{name: "only a comment", args: "up comment.yaml", want: []string{"comment.yaml"}},
	{name: "binary garbage", args: "up binary.yaml", want: []string{"binary.yaml"}},
	{name: "too big", args: "up big.yaml", want: []string{"big.yaml", "at most 1048576"}},
	{name: "a folder", args: "up folder", want: []string{"folder: it is a folder; name a file"}},
	{name: "a folder to validate", args: "validate folder", want: []string{"folder"}},
	{name: "two clusters in a file", args: "up new.yaml", text: fmt.Sprintf(head, "one") + "{system: standin, version: 1.0.0}\n---\n" + fmt.Sprintf(head, "two") + "{system: standin, version: 1.0.0}\n",
		want: []string{"more than one Cluster"}},
	{name: "only a System", args: "up new.yaml", text: "apiVersion: theseus.dev/v1alpha1\nkind: System\nmetadata: {name: x}\nversions: {listed: [1.0.0]}\n", want: []string{"no Cluster in this file"}},
	{name: "another kind", args: "up new.yaml", text: "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n", want: []string{"Pod"}},
	{name: "not YAML", args: "up new.yaml", text: "spec: [1, 2\n", want: []string{"new.yaml"}},

	// Specs; the manifest's own tests have more.
	{name: "unknown field", args: "up new.yaml", spec: "{system: standin, version: 1.0.0, upgrede: {}}", want: []string{"upgrede", "upgrade"}},
	{name: "wrong type", args: "up new.yaml", spec: "{system: standin, version: 1.0.0, components: {standin: {replicas: many}}}", want: []string{"spec.components.standin.replicas", "many"}},
	{name: "unknown System", args: "up new.yaml", spec: "{system: standing, version: 1.0.0}", want: []string{"spec.system", "did you mean standin?"}},
	{name: "System file not there", args: "up new.yaml", spec: "{system: ./mine.yaml, version: 1.0.0}", want: []string{"{dir}/mine.yaml"}},
	{name: "System file is none", args: "up new.yaml", spec: "{system: ./calm.yaml, version: 1.0.0}", want: []string{"no System in this file"}},
	{name: "first version not listed", args: "up new.yaml", spec: "{system: standin, version: 9.9.9}", want: []string{"spec.version", "9.9.9"}},
	{name: "zero members", args: "up new.yaml", spec: "{system: standin, version: 1.0.0, components: {standin: {replicas: 0}}}", want: []string{"spec.components.standin.replicas", "0"}},
	{name: "unknown component", args: "up new.yaml", spec: "{system: standin, version: 1.0.0, components: {standing: {replicas: 3}}}", want: []string{"standing", "standin"}},
	{name: "unknown option", args: "up new.yaml", spec: "{system: standin, version: 1.0.0, options: {contrl: x}}", want: []string{"contrl", "control"}},
	{name: "name that is no folder", args: "up new.yaml", text: fmt.Sprintf(head, "../evil") + "{system: standin, version: 1.0.0}", want: []string{"metadata.name"}},
	{name: "name that is taken by programs", args: "up new.yaml", text: fmt.Sprintf(head, "programs") + "{system: standin, version: 1.0.0}", want: []string{"metadata.name", "programs"}},
	{name: "more members", args: "up new.yaml", text: fmt.Sprintf(head, "calm") + "{system: standin, version: 1.0.0, components: {standin: {replicas: 5}}, backup: {url: 'file://{dir}/backups'}, upgrade: {soak: 100ms}}",
		want: []string{"spec.components.standin.replicas 5", "cannot change yet (it is 3)", "set it back to 3"}},
	{name: "fewer members, dry", args: "up new.yaml --dry-run", text: fmt.Sprintf(head, "calm") + "{system: standin, version: 1.0.0, components: {standin: {replicas: 1}}}",
		want: []string{"spec.components.standin.replicas 1"}},
	{name: "address in use", args: "up new.yaml", spec: "{system: standin, version: 1.0.0, components: {standin: {replicas: 3, addresses: [127.9.9.9, 127.9.9.10, 127.9.9.11]}}}",
		want: []string{"spec.components.standin.addresses", "127.9.9.9:7000", "taken by another program"}},
	{name: "address not of this machine", args: "up new.yaml", spec: "{system: standin, version: 1.0.0, components: {standin: {replicas: 3, addresses: [192.0.2.1, 127.9.9.10, 127.9.9.11]}}}",
		want: []string{"spec.components.standin.addresses", "192.0.2.1"}},
	{name: "address twice", args: "up new.yaml", spec: "{system: standin, version: 1.0.0, components: {standin: {replicas: 3, addresses: [127.9.9.10, 127.9.9.10, 127.9.9.11]}}}",
		want: []string{"spec.components.standin.addresses", "127.9.9.10"}},
	{name: "too few addresses", args: "up new.yaml", spec: "{system: standin, version: 1.0.0, components: {standin: {replicas: 3, addresses: [127.9.9.10]}}}",
		want: []string{"spec.components.standin.addresses", "one address for each member"}},
	{name: "program missing", args: "up new.yaml", spec: "{system: ./other.yaml, version: 1.0.0}", want: []string{"nosuchprogram", "--programs or $THESEUS_PROGRAMS"}},
	{name: "path of a program that is not there", args: "up new.yaml", spec: "{system: standin, version: 1.0.0, programs: {1.0.0: {path: /nowhere/standin}}}", want: []string{"/nowhere/standin", "1.0.0"}},

	// Backups and restores.
	{name: "bad backup URL", args: "up new.yaml", spec: "{system: standin, version: 1.0.0, backup: {url: 'backups'}}", want: []string{"spec.backup.url", "backups"}},
	{name: "backup URL of an unknown store", args: "up new.yaml", spec: "{system: standin, version: 1.0.0, backup: {url: 'ftp://host/path'}}", want: []string{"spec.backup.url", "ftp"}},
	{name: "backups in the cluster's folder", args: "up new.yaml", spec: "{system: standin, version: 1.0.0, backup: {url: 'file://{dir}/home/new/backups'}}",
		want: []string{"spec.backup.url", "inside the cluster's own folder", "name one beside it"}},
	{name: "backups in the cluster's folder, later", args: "up new.yaml", text: fmt.Sprintf(head, "calm") + "{system: standin, version: 1.0.0, backup: {url: 'file://{dir}/home/calm'}, upgrade: {soak: 100ms}}",
		want: []string{"spec.backup.url", "name one beside it"}},
	{name: "no place for backups", args: "backup resting", want: []string{"spec.backup.url", "theseus up FILE"}},
	{name: "backup of nothing", args: "backup clam", want: []string{"did you mean calm?"}},
	{name: "restore without a backup", args: "restore new.yaml", spec: "{system: standin, version: 1.0.0, backup: {url: 'file://{dir}/backups'}}", want: []string{"--from", "--list"}},
	{name: "restore from an unknown backup", args: "restore new.yaml --from calm-9", spec: "{system: standin, version: 1.0.0, backup: {url: 'file://{dir}/backups'}}", want: []string{"--from calm-9", "--list"}},
	{name: "restore without a place", args: "restore new.yaml --from {backup}", spec: "{system: standin, version: 1.0.0}", want: []string{"--url", "spec.backup.url"}},
	{name: "restore from a bad place", args: "restore new.yaml --from {backup} --url backups", spec: "{system: standin, version: 1.0.0}", want: []string{"backups"}},
	{name: "restore over a cluster", args: "restore calm.yaml --from {backup}", want: []string{"cluster calm exists", "another metadata.name"}},
	{name: "restore of a damaged backup", args: "restore new.yaml --from {backup} --url file://{dir}/damaged", spec: "{system: standin, version: 1.0.0}", want: []string{"{backup}", "theseus backup calm --list"}},
	{name: "restore into another System", args: "restore new.yaml --from {backup}", spec: "{system: ./other.yaml, version: 1.0.0, programs: {1.0.0: {path: /bin/true}}, backup: {url: 'file://{dir}/backups'}}",
		want: []string{"it is one of standin", "new is a other"}},

	// State folders.
	{name: "journal file of a newer Theseus", args: "status newer", want: []string{"format 99", "use that one"}},
	{name: "journal of a newer Theseus", args: "upgrade newest --to 1.1.0", want: []string{"journal 99", "use that one"}},
	{name: "down of a newer Theseus", args: "down newest", want: []string{"journal 99"}},
	{name: "half restored", args: "upgrade half", want: []string{"its restore has not ended", "theseus down half --delete-data"}},
	{name: "down without a yes", args: "down calm --delete-data", want: []string{"not confirmed", "--yes"}},

	// Measuring.
	{name: "probe nothing", args: "probe", want: []string{"--endpoints", "--duration"}},
	{name: "probe with an unknown profile", args: "probe calm --profile slow", want: []string{"slow"}},
	{name: "probe without a rate", args: "probe calm --rate 0", want: []string{"--rate 0"}},
	{name: "probe what has no driver", args: "probe calm", want: []string{"standin", "drivers: etcd"}},
	{name: "demo over a folder of yours", args: "demo --programs {dir}/servers --dir folder", want: []string{"--dir", "name another"}},

	// Systems; the manifest's and the system's own tests have more.
	{name: "CEL that does not compile", args: "validate new.yaml", edit: [2]string{"ready: m.health.json.health ==", "ready: m.health.json.health = ="}, want: []string{"new.yaml:", "components.standin.ready"}},
	{name: "hook without timeout", args: "validate new.yaml", edit: [2]string{", timeout: 10s", ""}, want: []string{"new.yaml:", "timeout"}},
	{name: "names twice", args: "validate new.yaml", edit: [2]string{"- {name: follower}", "- {name: follower}\n  - {name: follower}"}, want: []string{"new.yaml:", "follower"}},
	{name: "unknown answer", args: "validate new.yaml", edit: [2]string{"role: m.status.json.role", "role: m.statos.json.role"}, want: []string{"new.yaml:", "statos"}},
	{name: "unknown scheme", args: "validate new.yaml", edit: [2]string{"  listed:", "  scheme: Roman\n  listed:"}, want: []string{"new.yaml:", "Roman"}},
	{name: "edge to nowhere", args: "validate new.yaml", edit: [2]string{"to: 1.1.x", "to: one"}, want: []string{"new.yaml:", "one"}},
	{name: "System that is not shipped", args: "systems etdc", want: []string{"etdc"}},
}

// TestTornJournal: what cannot be read is for a person to look at, and is left as it is.
func TestTornJournal(t *testing.T) {
	h := &badHome{T: t, dir: t.TempDir()}
	h.write("home/torn/cluster.json", `{"apiVersion": "theseus.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "torn"}, "spec": {"system": "standin", "version": "1.0.0"}}`)
	h.write("home/torn/status.json", `{"format": 1, "mark`)
	before := h.digest()
	for _, args := range []string{"status torn", "upgrade torn", "down torn", "status"} {
		if r := h.run(strings.Fields(args)...); r.code != 3 || !strings.Contains(r.err, "status.json") || !strings.Contains(r.err, "nothing was changed") {
			t.Errorf("theseus %s: want exit code 3 and the file named: %s", args, r)
		}
	}
	if after := h.digest(); !maps.Equal(before, after) {
		t.Errorf("something was changed: %v, before %v", after, before)
	}
}
