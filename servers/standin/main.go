// Command standin plays one member of a replicated system, for the tests of
// upgrades: its data is real, and everything else about it is what a file
// says. One program serves as every version.
//
//	standin --name a --listen 127.0.1.1:7000 --data DIR --peers a=127.0.1.1:7000,b=127.0.1.2:7000,c=127.0.1.3:7000
//	        [--version V] [--control FILE]
//	standin backup --from ADDR > FILE    every acknowledged key, read from a majority
//	standin check FILE                   whether a backup is whole; prints its count
//	standin restore --data DIR FILE      a new data folder from a backup
//
// Without --version the version is what follows the dash in the name of the
// program: a symlink standin-1.2.0 is version 1.2.0.
//
// # In the place of other software
//
// Called asd-VERSION or pravega-VERSION it plays a server of Aerospike or of Pravega, and called asinfo or asbackup a tool of
// Aerospike: enough of each that the shipped Systems are used as they are. The command line is then that of the other
// software, and who the member is stands in its environment:
//
//	STANDIN_MEMBER, STANDIN_DATA, STANDIN_KNOBS, STANDIN_PEERS as the flags; STANDIN_LISTEN=ADDR,ADDR,...
//
// In an image, where programs have the names that they have, STANDIN_PLAYS and STANDIN_VERSION say what it plays. Called grep it is enough of that
// for the check of a backup.
//
// # What it answers
//
//	GET  /health         {"health":"true"} or "false"; true once it is ready
//	GET  /status         see type status
//	POST /handover       {"to":"b"}: gives the leadership to b. 409 from a member that does not lead, or if b is not ready
//	PUT  /kv/KEY         stores the body; 200 when a majority has it on disk
//	GET  /kv/KEY         the value that was acknowledged last, or 404
//	GET  /backup         {"count":n,"keys":{...}}
//	POST /admin/ACTION   counts the call on disk; the counts are in /status under "actions"
//	GET  /metrics        a few counters as Prometheus text
//
// Replication is quorum reads and writes of each key with a version number, so
// it does not depend on who leads: no acknowledged write is lost while the
// data folders of a majority survive. A member that starts catches up from the
// others before it is ready. The leader is the one named last by a handover;
// when that one is gone, the ready member with the lowest name.
//
// # What the control file says
//
// JSON, read again whenever it has changed; one file may serve all members:
//
//	{
//	  "slow": "10ms",
//	  "versions": {"1.2.0": {"crashAfterReady": "5s"}},
//	  "members":  {"b": {"unhealthy": true}, "b@1.2.0": {"neverReady": true}}
//	}
//
// What stands under versions overrides the top, a member overrides its
// version, and a member@version overrides both. The knobs are the fields of
// type knobs. A knob that does not exist is an error: at the start it ends the
// program with exit code 2; later it is reported and the last good file counts.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Exit codes beside 0 and the one that the knob exitAtStart names.
const (
	exitFault   = 1
	exitUsage   = 2
	exitCrashed = 3 // the knob crashAfterReady
)

func main() {
	log.SetFlags(log.LstdFlags | log.Lmicroseconds)
	if tool := toolNamed(os.Args[0]); tool != nil {
		exitOn(tool(os.Args[1:], os.Stdout), exitFault)
		return
	}
	if len(os.Args) > 1 && tools[os.Args[1]] != nil {
		exitOn(tools[os.Args[1]](os.Args[2:], os.Stdout), exitFault)
		return
	}
	opts, err := parse(os.Args[0], os.Args[1:])
	if playing(os.Args[0], os.Getenv) != "" {
		opts, err = parseEnvironment(os.Args[0], os.Getenv)
	}
	exitOn(err, exitUsage)
	ctl, err := openControl(opts)
	exitOn(err, exitUsage)
	if code := ctl.knobs().ExitAtStart; code != 0 {
		log.Printf("control: exit at start with code %d", code)
		os.Exit(code)
	}
	exitOn(serve(opts, ctl), exitFault)
}

func exitOn(err error, code int) {
	if err == nil {
		return
	}
	log.Print(err)
	os.Exit(code)
}

// options are the command line: who this member is and where its files are.
type options struct {
	name    string
	version string
	plays   string            // asd or pravega; empty: itself
	listen  string            // address, with port; further ones after commas
	data    string            // folder, made if it does not exist
	control string            // file; empty or missing: no knob is set
	peers   map[string]string // name to address, this member not among them
}

func parse(program string, args []string) (options, error) {
	opts := options{}
	peers := ""
	flags := flag.NewFlagSet("standin", flag.ContinueOnError)
	flags.StringVar(&opts.name, "name", "", "name of this member")
	flags.StringVar(&opts.version, "version", versionOf(program), "version to play")
	flags.StringVar(&opts.listen, "listen", "", "address to serve on")
	flags.StringVar(&opts.data, "data", "", "folder of the data")
	flags.StringVar(&opts.control, "control", "", "file that says how to behave")
	flags.StringVar(&peers, "peers", "", "members of the group: name=address,...")
	if err := flags.Parse(args); err != nil {
		return opts, err
	}
	if opts.name == "" || opts.listen == "" || opts.data == "" {
		return opts, errors.New("--name, --listen and --data are needed")
	}
	var err error
	opts.peers, err = parsePeers(peers, opts.name)
	return opts, err
}

// versionOf takes the version from the program's own name.
func versionOf(program string) string {
	_, version, _ := strings.Cut(filepath.Base(program), "-")
	return version
}

func parsePeers(list, self string) (map[string]string, error) {
	peers := map[string]string{}
	for _, peer := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' }) {
		name, addr, ok := strings.Cut(peer, "=")
		if !ok {
			return nil, fmt.Errorf("--peers: %q is not name=address", peer)
		}
		if name != self {
			peers[name] = addr
		}
	}
	return peers, nil
}

// serve runs the member until it is told to stop.
func serve(opts options, ctl *control) error {
	m, err := openMember(opts, ctl)
	if err != nil {
		return err
	}
	if err := m.takeFormat(); err != nil {
		return err
	}
	var listeners []net.Listener
	for _, addr := range strings.Split(opts.listen, ",") {
		listener, err := net.Listen("tcp", addr)
		if err != nil {
			return err
		}
		listeners = append(listeners, listener)
	}
	server := &http.Server{Handler: m.handler(), ReadHeaderTimeout: 10 * time.Second}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		shutdownOnSignal(server, ctl)
	}()
	go m.catchUp(context.Background())
	go m.crashOnTime()
	log.Printf("%s version %s serves on %s", opts.name, opts.version, opts.listen)
	for _, also := range listeners[1:] {
		go func() { _ = server.Serve(also) }() // it ends as the first one does
	}
	if err := server.Serve(listeners[0]); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	<-stopped // Serve returns before the requests in hand are answered
	return nil
}

// shutdownOnSignal ends the server at SIGTERM or SIGINT once the requests in
// hand are answered, or after a second: a question may hang on purpose.
func shutdownOnSignal(server *http.Server, ctl *control) {
	signals := make(chan os.Signal, 8) // one that is ignored must not displace the next
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	for s := range signals {
		if s == syscall.SIGTERM && ctl.knobs().StopIgnoresTerm {
			log.Print("control: SIGTERM ignored")
			continue
		}
		log.Printf("stop: %s", s)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close() // what still hangs was made to hang
		}
		return
	}
}
