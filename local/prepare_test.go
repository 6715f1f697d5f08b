package local

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/upgrade"
)

// prepare asks for it and waits for the outcome.
func (w *world) prepare(p *Platform) upgrade.Outcome {
	w.Helper()
	pinned := w.pinned()
	rev := w.sys.Revision(pinned, "standin", pinned.Spec.Version)
	i := v1alpha1.Intent{Act: v1alpha1.ActPrepare, Component: "standin", Revision: rev, Version: pinned.Spec.Version}
	if err := p.Do(w.Context(), w.scene(), i, pinned); err != nil {
		w.Fatal(err)
	}
	var o upgrade.Outcome
	w.await("it is prepared or not", func() bool { o = w.look(p).Prepared[rev]; return o.Phase > upgrade.Underway })
	if o.Phase == upgrade.Failed {
		if again := w.look(p).Prepared[rev]; again.Phase != upgrade.NotBegun {
			w.Errorf("after a failure was shown it is %s, want not begun, so that it can be tried again", again.Phase)
		}
	}
	return o
}

func TestPrepareProgram(t *testing.T) {
	program, err := os.ReadFile(standin)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(program)
	sum := hex.EncodeToString(digest[:])
	downloads := 0
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if downloads++; r.URL.Path != "/standin" {
			http.NotFound(rw, r)
			return
		}
		_, _ = rw.Write(program)
	}))
	t.Cleanup(server.Close)
	wrong := strings.Repeat("0", 64)
	tests := []struct {
		name string
		spec v1alpha1.Program
		want string // of the failure; none: it succeeds
	}{
		{"in a folder", v1alpha1.Program{}, ""},
		{"path", v1alpha1.Program{Path: standin}, ""},
		{"path with its sum", v1alpha1.Program{Path: standin, SHA256: strings.ToUpper(sum)}, ""},
		{"path with another sum", v1alpha1.Program{Path: standin, SHA256: wrong}, "its SHA-256 is " + sum},
		{"no such path", v1alpha1.Program{Path: "/nowhere/standin"}, `set spec.programs["1.0.0"].path`},
		{"download", v1alpha1.Program{URL: server.URL + "/standin", SHA256: sum}, ""},
		{"file", v1alpha1.Program{URL: "file://" + standin, SHA256: sum}, ""},
		{"download with another sum", v1alpha1.Program{URL: server.URL + "/standin", SHA256: wrong}, "its SHA-256 is " + sum + " and not " + wrong},
		{"no such download", v1alpha1.Program{URL: server.URL + "/other", SHA256: sum}, "404"},
		{"no such scheme", v1alpha1.Program{URL: "ftp://127.0.0.1/x", SHA256: sum}, "want https, http or file"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, 1)
			if test.spec != (v1alpha1.Program{}) {
				w.cluster.Spec.Programs = map[string]v1alpha1.Program{"1.0.0": test.spec}
			}
			p := w.platform()
			o := w.prepare(p)
			if test.want != "" {
				if o.Phase != upgrade.Failed || !strings.Contains(o.Message, test.want) {
					t.Errorf("it is %s: %s; want failed, %q", o.Phase, o.Message, test.want)
				}
				return
			}
			if o.Phase != upgrade.Succeeded {
				t.Fatalf("it is %s: %s; want succeeded", o.Phase, o.Message)
			}
			w.start(p, "kv-standin-0")
			before := downloads
			if o := w.prepare(w.platform()); o.Phase != upgrade.Succeeded || downloads != before {
				t.Errorf("another driver: it is %s, %d more downloads; want succeeded and none", o.Phase, downloads-before)
			}
		})
	}
}

// TestPrepareAgain finds the program once it is there.
func TestPrepareAgain(t *testing.T) {
	w := newWorld(t, 1)
	p := w.platform()
	p.Programs = []string{t.TempDir()}
	t.Setenv("PATH", t.TempDir())
	if o := w.prepare(p); o.Phase != upgrade.Failed || !strings.Contains(o.Message, "not found in "+p.Programs[0]) {
		t.Fatalf("it is %s: %s; want failed, and where it was looked for", o.Phase, o.Message)
	}
	if err := os.Symlink(standin, filepath.Join(p.Programs[0], "standin")); err != nil {
		t.Fatal(err)
	}
	if o := w.prepare(p); o.Phase != upgrade.Succeeded {
		t.Errorf("with the program it is %s: %s", o.Phase, o.Message)
	}
}

func TestPrepareAddress(t *testing.T) {
	w := newWorld(t, 1)
	a, err := w.state.addresses()
	if err != nil {
		t.Fatal(err)
	}
	at := net.JoinHostPort(a["kv-standin-0"], "7000")
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	if o := w.prepare(w.platform()); o.Phase != upgrade.Failed || !strings.Contains(o.Message, at+" (port client) is taken by another program") {
		t.Errorf("with a foreign listener it is %s: %s", o.Phase, o.Message)
	}
	l.Close()
	p := w.platform()
	w.start(p, "kv-standin-0")
	if o := w.prepare(p); o.Phase != upgrade.Succeeded {
		t.Errorf("with its own member on the address it is %s: %s", o.Phase, o.Message)
	}
}

func TestPrepareSpace(t *testing.T) {
	w := newWorld(t, 1)
	p := w.platform()
	p.MinFree = 1 << 60
	if o := w.prepare(p); o.Phase != upgrade.Failed || !strings.Contains(o.Message, "MiB are needed; make room") {
		t.Errorf("it is %s: %s; want failed for lack of room", o.Phase, o.Message)
	}
}

// TestPrepareFolder mounts data folders that are small or read-only, in a mount namespace of its own: the test runs again in there.
func TestPrepareFolder(t *testing.T) {
	if os.Getenv("THESEUS_TEST_MOUNTS") == "" {
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(exe, "-test.run=^TestPrepareFolder$", "-test.v")
		cmd.Env = append(os.Environ(), "THESEUS_TEST_MOUNTS=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}}
		out, err := cmd.CombinedOutput()
		if len(out) == 0 && err != nil {
			t.Skipf("no mount namespaces here: %v", err)
		}
		if err != nil || !strings.Contains(string(out), "--- PASS: TestPrepareFolder") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	for options, want := range map[string]string{"size=1m": "1 MiB are free", "ro,size=100m": "cannot be written: read-only file system; mount it writable"} {
		w := newWorld(t, 1)
		data := w.state.DataDir("kv-standin-0")
		if err := os.MkdirAll(data, 0o700); err != nil {
			t.Fatal(err)
		}
		var flags uintptr
		if rest, ok := strings.CutPrefix(options, "ro,"); ok {
			flags, options = syscall.MS_RDONLY, rest
		}
		if err := syscall.Mount("tmpfs", data, "tmpfs", flags, options); err != nil {
			t.Skipf("no mounts here: %v", err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(data, 0) })
		if o := w.prepare(w.platform()); o.Phase != upgrade.Failed || !strings.Contains(o.Message, want) || !strings.Contains(o.Message, data) {
			t.Errorf("%s: it is %s: %s; want failed, %q", options, o.Phase, o.Message, want)
		}
	}
}
