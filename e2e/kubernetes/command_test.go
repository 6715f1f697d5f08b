//go:build linux

package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"theseus.dev/api/v1alpha1"
)

// TestCommand does from outside what a person does with a cluster in Kubernetes from its first start to its end: commands of the local mode, with a
// flag. What is asked of attempts beside pause and resume is tested in cmd/theseus, and backup, restore and probe in tests of their own.
func TestCommand(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	loadTheseus(t)
	for _, version := range []string{"1.0.0", "1.1.0", "1.2.0"} {
		loadStandin(t, version)
	}
	c.installCRDs()
	c.installChart()
	p := &person{c: c, dir: t.TempDir()}

	p.write("si.yaml", strings.ReplaceAll(standinCluster, "VERSION", "1.0.0"))
	p.exits(2, "status", "si").says(`there is no cluster "si"`, "to make one: theseus up FILE --namespace "+c.namespace)
	p.exits(0, "validate", "si.yaml", "--server-side").prints("Cluster si is valid")
	p.exits(0, "up", "si.yaml", "--dry-run").prints("create si to 1.0.0")
	p.exits(0, "up", "si.yaml").prints("si runs 1.0.0, 3 of 3 members ready").says("start standin +done: 3 members ready")
	p.exits(0, "status").prints(`si +1\.0\.0 +1\.0\.0 +3 +3`)

	p.exits(0, "plan", "si", "--to", "1.1.0").prints("upgrade si from 1.0.0 to 1.1.0", "roll standin, one member after the other", "not looked at: the members themselves")
	p.exits(0, "upgrade", "si", "--to", "1.1.0", "--dry-run").prints("roll standin")
	p.exits(2, "plan", "si", "--to", "9.9.9").says("is not listed")
	p.refusals()
	if si, err := c.get(t.Context(), "si"); err != nil || si.Generation != 1 {
		t.Fatalf("plans and refused edits left generation %d of the spec, %v; want 1", si.Generation, err)
	}

	p.pausedAndResumed("si", "si-standin-2", "1.1.0")
	p.exits(0, "history", "si", "--events").prints("upgrade +1.0.0 +1.1.0 +succeeded", "pause .*lunch")
	p.exits(0, "logs", "si", "--lines", "2").prints("── si-standin-1", "version 1.1.0 serves on")
	p.exits(2, "logs", "si", "si-standin-7").says("has no member")
	p.exits(2, "backup", "si").says("no place for backups")
	p.plugin("status", "si").prints("members +3 of 3 ready")
	p.plugin("resume", "si").says("no attempt is under way", "see: kubectl theseus status si --namespace "+c.namespace)

	p.keptByAnother()
	p.interrupted()
	p.takenDown()
}

// person types commands.
type person struct {
	c   *cluster
	dir string
}

func (p *person) write(file, text string) {
	p.c.t.Helper()
	must(p.c.t, os.WriteFile(filepath.Join(p.dir, file), []byte(text), 0o600))
}

// told is what a command wrote.
type told struct {
	t        *testing.T
	what     string
	out, err string
}

// prints looks for texts in the results.
func (w told) prints(patterns ...string) told {
	w.t.Helper()
	return w.has(w.out, "stdout", patterns)
}

// says looks for texts in the talk.
func (w told) says(patterns ...string) told {
	w.t.Helper()
	return w.has(w.err, "stderr", patterns)
}

func (w told) has(text, stream string, patterns []string) told {
	w.t.Helper()
	for _, p := range patterns {
		if !regexp.MustCompile(p).MatchString(text) {
			w.t.Fatalf("%s: %s has no %q:\n%s%s", w.what, stream, p, w.out, w.err)
		}
	}
	return w
}

func (p *person) start(program string, args ...string) (cmd *exec.Cmd, out *bytes.Buffer, talk *paper) {
	p.c.t.Helper()
	out, talk = &bytes.Buffer{}, &paper{}
	cmd = exec.Command(program, append(args, "--namespace", p.c.namespace)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, out, talk
	cmd.Env = append(os.Environ(), "THESEUS_HOME="+filepath.Join(p.dir, "home"))
	must(p.c.t, cmd.Start())
	return cmd, out, talk
}

// paper is written on while it is read.
type paper struct {
	mu   sync.Mutex
	text strings.Builder
}

func (p *paper) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *paper) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// exits runs theseus to its end.
func (p *person) exits(code int, args ...string) told {
	p.c.t.Helper()
	cmd, out, talk := p.start(program(p.c.t), args...)
	_ = cmd.Wait()
	w := told{p.c.t, "theseus " + strings.Join(args, " "), out.String(), talk.String()}
	if got := cmd.ProcessState.ExitCode(); got != code {
		p.c.t.Fatalf("%s: exit code %d, want %d:\n%s%s", w.what, got, code, w.out, w.err)
	}
	return w
}

// plugin runs the same program under the name by which kubectl finds it.
func (p *person) plugin(args ...string) told {
	p.c.t.Helper()
	link := filepath.Join(p.dir, "kubectl-theseus")
	if _, err := os.Lstat(link); err != nil {
		must(p.c.t, os.Symlink(program(p.c.t), link))
	}
	cmd, out, talk := p.start(link, args...)
	_ = cmd.Wait()
	return told{p.c.t, "kubectl theseus " + strings.Join(args, " "), out.String(), talk.String()}
}

// refusals are edits that the webhook or the CRD does not accept.
func (p *person) refusals() {
	p.c.t.Helper()
	for old, wrong := range map[string]struct{ new, want string }{
		"storage: 10Mi": {"storage: 20Mi", "the storage of a component cannot change"},
		"  upgrade:":    {"  backup: {url: \"file:///b\"}\n  upgrade:", "spec.backup.claim: is missing"},
		"soak: 1s":      {"soak: -1s", "spec.upgrade.soak"},
		"1.0.0":         {"1.1.0", "to upgrade: theseus upgrade si --to 1.1.0 --namespace " + p.c.namespace},
	} {
		p.write("wrong.yaml", strings.Replace(strings.ReplaceAll(standinCluster, "VERSION", "1.0.0"), old, wrong.new, 1))
		p.exits(2, "up", "wrong.yaml").says(wrong.want)
	}
	p.exits(2, "validate", "wrong.yaml", "--server-side", "--context", "nowhere").says("there is no such context")
}

// pausedAndResumed pauses an upgrade from a second terminal. The first member to go is named.
func (p *person) pausedAndResumed(name, first, version string) {
	t := p.c.t
	t.Helper()
	cmd, out, talk := p.start(program(t), "upgrade", name, "--to", version)
	p.c.await(name, "upgrades", func(c *v1alpha1.Cluster) bool { return c.Status.TargetVersion == version && c.Status.Attempt.Disrupted })
	p.exits(0, "pause", name, "--reason", "lunch").prints(name + " runs 1.*paused as asked")
	_ = cmd.Wait()
	w := told{t, "the upgrade", out.String(), talk.String()}
	if code := cmd.ProcessState.ExitCode(); code != 4 {
		t.Fatalf("a paused upgrade ends with exit code %d, want 4:\n%s%s", code, w.out, w.err)
	}
	w.says(first+" +replace it by "+version, "paused as asked", "to go on: theseus resume "+name+" --namespace "+p.c.namespace)
	p.exits(0, "status", name).prints("upgrade from 1.0.0 to "+version+": paused", "theseus resume "+name+" --namespace "+p.c.namespace)
	p.exits(2, "pause", name).says("the attempt rests already")
	p.exits(0, "resume", name).prints(name + " runs " + version + ", 3 of 3 members ready")
	status := p.exits(0, "status", name, "--json")
	c := &v1alpha1.Cluster{}
	if err := json.Unmarshal([]byte(status.out), c); err != nil || c.Status.CurrentVersion != version {
		t.Fatalf("status --json: %v, version %q", err, c.Status.CurrentVersion)
	}
}

// keptByAnother has a GitOps tool keep the version.
func (p *person) keptByAnother() {
	t := p.c.t
	t.Helper()
	text := `{"apiVersion": "theseus.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "si"}, "spec": {"version": "1.1.0"}}`
	_, err := p.c.any.Resource(clusters).Namespace(p.c.namespace).Patch(t.Context(), "si", types.ApplyPatchType, []byte(text), metav1.PatchOptions{FieldManager: "argocd-controller"})
	must(t, err)
	p.exits(0, "plan", "si", "--to", "1.2.0").prints("warning: spec.version is kept by argocd-controller")
	p.exits(2, "upgrade", "si", "--to", "1.2.0").says("spec.version of si is kept by argocd-controller, which would set it back", "--force")
}

// interrupted is Ctrl-C in an upgrade: the operator goes on.
func (p *person) interrupted() {
	t := p.c.t
	t.Helper()
	cmd, out, talk := p.start(program(t), "upgrade", "si", "--to", "1.2.0", "--force")
	p.c.await("si", "upgrades", func(si *v1alpha1.Cluster) bool { return si.Status.TargetVersion == "1.2.0" })
	must(t, cmd.Process.Signal(os.Interrupt))
	_ = cmd.Wait()
	w := told{t, "the interrupted upgrade", out.String(), talk.String()}
	if code := cmd.ProcessState.ExitCode(); code != 4 {
		t.Fatalf("it ends with exit code %d, want 4:\n%s%s", code, w.out, w.err)
	}
	w.says("stopped watching; the operator goes on by itself", "to watch again: theseus status si --watch --namespace")
	p.exits(0, "upgrade", "si").prints("si runs 1.2.0, 3 of 3 members ready")
}

// takenDown deletes the cluster: first its volumes stay, then they go too.
func (p *person) takenDown() {
	t := p.c.t
	t.Helper()
	p.exits(2, "down", "si").says("Type its name", "not confirmed; nothing was changed")
	p.exits(0, "down", "si", "--yes").prints("the members of si are stopped; their volumes stay in .*, for a cluster of this name at version 1.2.0")
	if n := p.claims(); n != 3 {
		t.Errorf("down left %d volumes, want 3", n)
	}
	p.exits(2, "up", "si.yaml").says(`spec.version: "1.0.0": is older than 1.2.0, which wrote to the volumes that are there for its members already; write 1.2.0`)
	if _, err := p.c.get(t.Context(), "si"); !apierrors.IsNotFound(err) {
		t.Errorf("the refused file made a Cluster, or nobody knows: %v", err)
	}
	p.write("si.yaml", strings.ReplaceAll(standinCluster, "VERSION", "1.2.0"))
	p.exits(0, "up", "si.yaml").prints("si runs 1.2.0, 3 of 3 members ready")
	p.exits(0, "down", "si", "--yes", "--delete-data").prints("si is deleted")
	p.c.eventually("the volumes go", func(context.Context) error {
		if n := p.claims(); n > 0 {
			return errLeft(n)
		}
		return nil
	})
}

type errLeft int

func (e errLeft) Error() string { return "some volumes are left" }

func (p *person) claims() int {
	p.c.t.Helper()
	claims, err := p.c.CoreV1().PersistentVolumeClaims(p.c.namespace).List(p.c.t.Context(), metav1.ListOptions{})
	must(p.c.t, err)
	return len(claims.Items)
}
