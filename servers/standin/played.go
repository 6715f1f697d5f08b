package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// playing is the software that a program of this name plays, or that its environment names: asd, pravega, or none.
func playing(program string, env func(string) string) string {
	name, _, _ := strings.Cut(filepath.Base(program), "-")
	for _, name := range []string{name, env("STANDIN_PLAYS")} {
		if name == "asd" || name == "pravega" {
			return name
		}
	}
	return ""
}

// toolNamed is the tool of other software that a program of this name plays.
func toolNamed(program string) func(args []string, out io.Writer) error {
	return map[string]func([]string, io.Writer) error{"asinfo": runAsinfo, "asbackup": runAsbackup, "asrestore": runAsrestore, "grep": runGrep}[filepath.Base(program)]
}

func parseEnvironment(program string, env func(string) string) (options, error) {
	opts := options{plays: playing(program, env), version: cmp.Or(env("STANDIN_VERSION"), versionOf(program)), name: env("STANDIN_MEMBER"), listen: env("STANDIN_LISTEN"),
		data: env("STANDIN_DATA"), control: env("STANDIN_KNOBS")}
	if opts.name == "" || opts.listen == "" || opts.data == "" || opts.version == "" {
		return opts, errors.New("STANDIN_MEMBER, STANDIN_LISTEN, STANDIN_DATA and a version there (STANDIN_VERSION) or in the program's name are needed")
	}
	var err error
	opts.peers, err = parsePeers(env("STANDIN_PEERS"), opts.name)
	return opts, err
}

// storageFormat of an Aerospike: 4.2 cannot read what earlier ones wrote, and they cannot read what it wrote.
func storageFormat(version string) int {
	if atLeast(version, 4, 2) {
		return 2
	}
	return 1
}

// atLeast compares the first two numbers of a version.
func atLeast(version string, major, minor int) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false
	}
	a, _ := strconv.Atoi(parts[0])
	b, _ := strconv.Atoi(parts[1])
	return a > major || a == major && b >= minor
}

// takeFormat refuses a folder that another storage format is in.
func (m *member) takeFormat() error {
	if m.opts.plays != "asd" {
		return nil
	}
	want := storageFormat(m.opts.version)
	switch have := m.store.formatNow(); have {
	case want:
		return nil
	case 0:
		return m.store.put(record{Format: want})
	default:
		return fmt.Errorf("the data has storage format %d, and %s reads format %d", have, m.opts.version, want)
	}
}

func (s *store) formatNow() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.format
}

// handlePlayed adds what the software that is played answers.
func (m *member) handlePlayed(mux *http.ServeMux) {
	switch m.opts.plays {
	case "asd":
		mux.HandleFunc("POST /info", m.spoiled(m.postInfo))
	case "pravega":
		mux.HandleFunc("GET /v1/scopes", m.spoiled(m.whenReady(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"scopes":[{"scopeName":"_system"}]}`)
		})))
		if atLeast(m.opts.version, 0, 10) {
			mux.HandleFunc("GET /v1/health/readiness", m.spoiled(m.getReadiness))
		}
	}
}

func (m *member) getReadiness(w http.ResponseWriter, _ *http.Request) {
	_, ready := m.ready()
	fmt.Fprint(w, ready && !m.control.knobs().Unhealthy)
}

// postInfo answers one command of Aerospike's info protocol.
func (m *member) postInfo(w http.ResponseWriter, r *http.Request) {
	s := m.status(r.Context())
	command := r.FormValue("v")
	name, argument, _ := strings.Cut(command, ":")
	switch name {
	case "build":
		fmt.Fprintln(w, s.Version)
	case "status":
		if s.Ready && !m.control.knobs().Unhealthy {
			fmt.Fprintln(w, "ok")
		} else {
			fmt.Fprintln(w, "ERROR")
		}
	case "statistics":
		_, ready := m.look(r.Context())
		fmt.Fprintf(w, "cluster_size=%d;cluster_integrity=true;uptime=%d;migrate_partitions_remaining=%d;migrate_allowed=true\n",
			len(ready), int(time.Since(m.started).Seconds()), s.Left)
	case "tip-clear", "services-alumni-reset":
		log.Printf("info: %s", command)
		if err := m.store.put(record{Action: strings.TrimSuffix(name+"."+strings.NewReplacer("host-port-list=", "", ":", ".").Replace(argument), ".")}); err != nil {
			refuse(w, http.StatusInternalServerError, err)
			return
		}
		fmt.Fprintln(w, "ok")
	default:
		fmt.Fprintln(w, "ERROR:4:unrecognized command")
	}
}

// infoFlags are those of asinfo, asbackup and asrestore that are used.
type infoFlags struct{ host, port, value, namespace, out, in string }

func parseInfo(name string, args []string) (infoFlags, error) {
	f := infoFlags{}
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.StringVar(&f.host, "h", "127.0.0.1", "host")
	flags.StringVar(&f.port, "p", "3000", "port")
	switch name {
	case "asinfo":
		flags.StringVar(&f.value, "v", "", "command")
	case "asbackup":
		flags.StringVar(&f.namespace, "n", "", "namespace")
		flags.StringVar(&f.out, "o", "", "file; - is stdout")
		flags.Bool("c", false, "give up when the cluster changes")
	case "asrestore":
		flags.StringVar(&f.namespace, "n", "", "namespace")
		flags.StringVar(&f.in, "i", "", "file")
	}
	return f, flags.Parse(args)
}

func runAsinfo(args []string, out io.Writer) error {
	f, err := parseInfo("asinfo", args)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+f.host+":"+f.port+"/info", strings.NewReader(url.Values{"v": {f.value}}.Encode()))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("asinfo: %s", response.Status)
	}
	_, err = io.Copy(out, response.Body)
	return err
}

// runAsbackup writes what the backup of the stand-in is, under the first lines of one of Aerospike.
func runAsbackup(args []string, out io.Writer) error {
	f, err := parseInfo("asbackup", args)
	if err != nil {
		return err
	}
	if f.namespace == "" || f.out != "-" {
		return errors.New("asbackup: -n NAMESPACE and -o - are needed")
	}
	if _, err := fmt.Fprintf(out, "Version 3.1\n# namespace %s\n# first-file\n", f.namespace); err != nil {
		return err
	}
	return runBackup([]string{"--from", f.host + ":" + f.port}, out)
}

// runAsrestore writes what runAsbackup wrote into members that run, as any client would.
func runAsrestore(args []string, _ io.Writer) error {
	f, err := parseInfo("asrestore", args)
	if err != nil {
		return err
	}
	if f.namespace == "" || f.in == "" {
		return errors.New("asrestore: -n NAMESPACE and -i FILE are needed")
	}
	text, err := os.ReadFile(f.in)
	if err != nil {
		return err
	}
	head := fmt.Sprintf("Version 3.1\n# namespace %s\n# first-file\n", f.namespace)
	keys, ok := strings.CutPrefix(string(text), head)
	if !ok {
		return fmt.Errorf("asrestore: %s is no backup of namespace %s", f.in, f.namespace)
	}
	b, err := parseBackup([]byte(keys))
	if err != nil {
		return fmt.Errorf("asrestore: %s: %w", f.in, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for key, value := range b.Keys {
		if err := putAt(ctx, f.host+":"+f.port, key, value); err != nil {
			return fmt.Errorf("asrestore: %s: %w", key, err)
		}
	}
	return nil
}

func putAt(ctx context.Context, address, key, value string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+address+"/kv/"+url.PathEscape(key), strings.NewReader(value))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

// runGrep looks for a line that begins with a text: grep -q ^TEXT FILE.
func runGrep(args []string, _ io.Writer) error {
	if len(args) != 3 || args[0] != "-q" || !strings.HasPrefix(args[1], "^") {
		return errors.New("grep: only -q ^TEXT FILE is played")
	}
	text, err := os.ReadFile(args[2])
	if err != nil {
		return err
	}
	if !bytes.Contains(append([]byte("\n"), text...), []byte("\n"+args[1][1:])) {
		return fmt.Errorf("grep: no line of %s begins with %q", args[2], args[1][1:])
	}
	return nil
}
