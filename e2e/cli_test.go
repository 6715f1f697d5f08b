package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// TestCommand runs the scripts in testdata/cli, each in a home of its own. They read as runbooks:
//
//	theseus ARG…               ends with exit code 0
//	exits CODE theseus ARG…    ends with this exit code
//	meanwhile ID theseus ARG…  is started and goes on
//	interrupt ID               Ctrl-C
//	ends ID CODE               waits for its end, and what it wrote is stdout and stderr
//	await REGEXP theseus ARG…  again and again until stdout matches
//	json                       stdout is one JSON document
//	jsonlines                  stdout is JSON documents, a line each
//	put CLUSTER KEY VALUE      writes a key as a client does
//	get CLUSTER KEY VALUE      reads it and compares
//	sub FILE OLD NEW           edits a file
//	newest CLUSTER VARIABLE    the name of the newest backup
//	terminal theseus ARG…      as theseus, and what a terminal shows is stderr
//	examples                   the help of every command has an example that begins with the command
func TestCommand(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/cli",
		Setup:              setUp,
		RequireUniqueNames: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"theseus":   func(ts *testscript.TestScript, neg bool, args []string) { exits(ts, 0, args) },
			"exits":     cmdExits,
			"meanwhile": cmdMeanwhile,
			"interrupt": cmdInterrupt,
			"ends":      cmdEnds,
			"await":     cmdAwait,
			"json":      cmdJSON,
			"jsonlines": cmdJSONLines,
			"put":       cmdPut,
			"get":       cmdGet,
			"sub":       cmdSub,
			"newest":    cmdNewest,
			"examples":  cmdExamples,
			"terminal":  cmdTerminal,
		},
	})
}

type meanwhileKey struct{}

func setUp(e *testscript.Env) error {
	home := filepath.Join(e.WorkDir, "home")
	e.Setenv("THESEUS_HOME", home)
	e.Setenv("THESEUS_PROGRAMS", programs)
	servers := filepath.Join(e.WorkDir, "servers") // reached from where the script stands
	if err := errors.Join(os.Mkdir(servers, 0o700), os.Symlink(filepath.Join(bin, "standin"), filepath.Join(servers, "standin"))); err != nil {
		return err
	}
	e.Setenv("HOME", e.WorkDir)
	started := map[string]*background{}
	e.Values[meanwhileKey{}] = started
	e.Defer(func() {
		for _, b := range started {
			b.kill()
		}
		if err := errors.Join(takeDown(home), takeDown(filepath.Join(e.WorkDir, "here"))); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	})
	return nil
}

// takeDown stops all members of a home. Processes are known by what the home says of them, never by their name.
func takeDown(home string) error {
	folders, err := filepath.Glob(filepath.Join(home, "*", "cluster.json"))
	for _, f := range folders {
		name := filepath.Base(filepath.Dir(f))
		if out, downErr := exec.Command(theseus, "--home", home, "down", name).CombinedOutput(); downErr != nil {
			err = errors.Join(err, fmt.Errorf("theseus down %s: %w: %s", name, downErr, out))
		}
	}
	return err
}

// exits runs theseus to its end.
func exits(ts *testscript.TestScript, want int, args []string) {
	err := ts.Exec(theseus, args...)
	if got := exitCode(ts, err); got != want {
		ts.Fatalf("theseus %s: exit code %d, want %d", strings.Join(args, " "), got, want)
	}
}

func exitCode(ts *testscript.TestScript, err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	ts.Check(err)
	return 0
}

// afterTheseus are the arguments behind the name of the command, which is there so that scripts read well.
func afterTheseus(ts *testscript.TestScript, args []string) []string {
	if len(args) == 0 || args[0] != "theseus" {
		ts.Fatalf("want theseus and its arguments, got %q", args)
	}
	return args[1:]
}

func cmdExits(ts *testscript.TestScript, _ bool, args []string) {
	code, err := strconv.Atoi(args[0])
	ts.Check(err)
	exits(ts, code, afterTheseus(ts, args[1:]))
}

// background is a command that goes on while the script does.
type background struct {
	cmd      *exec.Cmd
	out, err bytes.Buffer
	ended    chan struct{}
	talked   sync.Once
	begun    chan struct{} // closed with the first thing that it prints: from then on it minds signals
}

// listener notices the first write.
type listener struct {
	io.Writer
	b *background
}

func (l listener) Write(p []byte) (int, error) {
	defer l.b.talked.Do(func() { close(l.b.begun) })
	return l.Writer.Write(p)
}

func (b *background) kill() {
	select {
	case <-b.ended:
	default:
		_ = b.cmd.Process.Kill() // ours, and not reaped before ended is closed
		<-b.ended
	}
}

func cmdMeanwhile(ts *testscript.TestScript, _ bool, args []string) {
	b := &background{ended: make(chan struct{}), begun: make(chan struct{})}
	b.cmd = exec.Command(theseus, afterTheseus(ts, args[1:])...)
	b.cmd.Dir, b.cmd.Stdout, b.cmd.Stderr = ts.Getenv("WORK"), listener{&b.out, b}, listener{&b.err, b}
	for _, name := range []string{"THESEUS_HOME", "THESEUS_PROGRAMS", "PATH", "HOME"} {
		b.cmd.Env = append(b.cmd.Env, name+"="+ts.Getenv(name))
	}
	ts.Check(b.cmd.Start())
	go func() {
		_ = b.cmd.Wait()
		close(b.ended)
	}()
	ts.Value(meanwhileKey{}).(map[string]*background)[args[0]] = b
}

func begun(ts *testscript.TestScript, id string) *background {
	b := ts.Value(meanwhileKey{}).(map[string]*background)[id]
	if b == nil {
		ts.Fatalf("nothing was started as %q", id)
	}
	return b
}

func cmdInterrupt(ts *testscript.TestScript, _ bool, args []string) {
	b := begun(ts, args[0])
	select {
	case <-b.begun:
	case <-time.After(patience):
		ts.Fatalf("%s has printed nothing for %s", args[0], patience)
	}
	ts.Check(b.cmd.Process.Signal(syscall.SIGINT))
}

func cmdEnds(ts *testscript.TestScript, _ bool, args []string) {
	b := begun(ts, args[0])
	select {
	case <-b.ended:
	case <-time.After(patience):
		ts.Fatalf("%s goes on after %s:\n%s%s", args[0], patience, b.out.String(), b.err.String())
	}
	fmt.Fprint(ts.Stdout(), b.out.String())
	fmt.Fprint(ts.Stderr(), b.err.String())
	if got := strconv.Itoa(b.cmd.ProcessState.ExitCode()); got != args[1] {
		ts.Fatalf("%s ended with exit code %s, want %s:\n%s", args[0], got, args[1], b.err.String())
	}
}

func cmdAwait(ts *testscript.TestScript, _ bool, args []string) {
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	out := ""
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		exitCode(ts, ts.Exec(theseus, afterTheseus(ts, args[1:])...))
		if out = ts.ReadFile("stdout"); want.MatchString(out) {
			return
		}
	}
	ts.Fatalf("stdout does not match %q after %s:\n%s", args[0], patience, out)
}

func cmdJSON(ts *testscript.TestScript, _ bool, _ []string) {
	d := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	var v any
	if err := d.Decode(&v); err != nil {
		ts.Fatalf("stdout is no JSON: %v", err)
	}
	if _, err := d.Token(); err != io.EOF {
		ts.Fatalf("something follows the JSON on stdout")
	}
}

func cmdJSONLines(ts *testscript.TestScript, _ bool, _ []string) {
	n := 0
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		if n++; !json.Valid([]byte(line)) {
			ts.Fatalf("line %d is no JSON: %s", n, line)
		}
	}
	if n == 0 {
		ts.Fatalf("stdout is empty")
	}
}

// keyURL is where a client finds a key: at the first member.
func keyURL(ts *testscript.TestScript, cluster, key string) string {
	addresses := map[string]string{}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(filepath.Join(ts.Getenv("THESEUS_HOME"), cluster, "addresses.json"))), &addresses))
	return "http://" + addresses[cluster+"-standin-0"] + ":7000/kv/" + key
}

func cmdPut(ts *testscript.TestScript, _ bool, args []string) {
	request, err := http.NewRequest(http.MethodPut, keyURL(ts, args[0], args[1]), strings.NewReader(args[2]))
	ts.Check(err)
	do(ts, request)
}

func cmdGet(ts *testscript.TestScript, _ bool, args []string) {
	request, err := http.NewRequest(http.MethodGet, keyURL(ts, args[0], args[1]), nil)
	ts.Check(err)
	if got := string(do(ts, request)); got != args[2] {
		ts.Fatalf("key %s of %s is %q, want %q", args[1], args[0], got, args[2])
	}
}

func do(ts *testscript.TestScript, request *http.Request) []byte {
	response, err := client.Do(request)
	ts.Check(err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	ts.Check(err)
	if response.StatusCode != http.StatusOK {
		ts.Fatalf("%s %s: %s: %s", request.Method, request.URL, response.Status, text)
	}
	return text
}

func cmdSub(ts *testscript.TestScript, _ bool, args []string) {
	file := ts.MkAbs(args[0])
	text := ts.ReadFile(file)
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s does not contain %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(file, []byte(strings.ReplaceAll(text, args[1], args[2])), 0o600))
}

func cmdNewest(ts *testscript.TestScript, _ bool, args []string) {
	exits(ts, 0, []string{"backup", args[0], "--list"})
	name := ""
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		if f := strings.Fields(line); strings.HasPrefix(f[0], args[0]+"/") {
			name = max(name, f[0])
		}
	}
	ts.Setenv(args[1], name)
}

func cmdExamples(ts *testscript.TestScript, _ bool, _ []string) {
	exits(ts, 0, []string{"--help"})
	commands := regexp.MustCompile(`(?m)^  ([a-z-]+)  +[A-Z]`).FindAllStringSubmatch(ts.ReadFile("stdout"), -1)
	if len(commands) < 24 {
		ts.Fatalf("the help names %d commands, want 24 or more", len(commands))
	}
	for _, c := range commands {
		if c[1] == "help" {
			continue
		}
		exits(ts, 0, []string{c[1], "--help"})
		if _, example, _ := strings.Cut(ts.ReadFile("stdout"), "Examples:"); !strings.Contains(example, "theseus "+c[1]) {
			ts.Fatalf("the help of %s has no example", c[1])
		}
	}
}

func cmdTerminal(ts *testscript.TestScript, _ bool, args []string) {
	shown, screen := openTerminal(ts)
	cmd := exec.Command(theseus, afterTheseus(ts, args)...)
	cmd.Env = []string{"TERM=xterm", "NO_COLOR=" + ts.Getenv("NO_COLOR"), "THESEUS_HOME=" + ts.Getenv("THESEUS_HOME"), "THESEUS_PROGRAMS=" + programs}
	cmd.Dir, cmd.Stdout, cmd.Stderr = ts.Getenv("WORK"), ts.Stdout(), screen
	ts.Check(cmd.Start())
	screen.Close()
	text, err := io.ReadAll(shown) // ends with EIO when nobody has the terminal any more
	if !errors.Is(err, syscall.EIO) {
		ts.Check(err)
	}
	shown.Close()
	ts.Check(cmd.Wait())
	fmt.Fprint(ts.Stderr(), string(text))
}

// openTerminal makes a pseudoterminal: what is written to the screen is read from the other side.
func openTerminal(ts *testscript.TestScript) (shown, screen *os.File) {
	shown, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	ts.Check(err)
	ts.Check(unix.IoctlSetPointerInt(int(shown.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(shown.Fd()), unix.TIOCGPTN)
	ts.Check(err)
	screen, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	ts.Check(err)
	ts.Check(unix.IoctlSetWinsize(int(screen.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 120}))
	return shown, screen
}
