// Command testpod is what runs in the pods of the tests: a small server, and
// verbs for a look around from inside, for exec.
//
//	testpod serve              answers on :8080 until it is told to end
//	testpod get URL            prints the answer's body
//	testpod resolve NAME       prints the addresses, one a line
//	testpod write FILE TEXT
//	testpod cat FILE
//	testpod fail CODE          ends with that exit code
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var verbs = map[string]func(args []string) error{
	"serve":   serve,
	"get":     get,
	"resolve": resolve,
	"write":   func(args []string) error { return os.WriteFile(args[0], []byte(args[1]), 0o644) },
	"cat":     cat,
	"fail":    fail,
}

func main() {
	verb, args := "serve", os.Args[1:]
	if len(args) > 0 {
		verb, args = args[0], args[1:]
	}
	do, known := verbs[verb]
	if !known {
		log.Fatalf("%s is no verb", verb)
	}
	if err := do(args); err != nil {
		log.Fatal(err)
	}
}

// serve answers /ready, and everything else with the name of the pod and VERSION.
func serve([]string) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	http.HandleFunc("/ready", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%s %s", name, os.Getenv("VERSION"))
	})
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	server := &http.Server{Addr: ":8080"}
	go func() { log.Print(server.ListenAndServe()) }()
	log.Printf("serving as %s", name)
	<-ctx.Done()
	log.Print("told to end")
	return server.Shutdown(context.Background())
}

func get(args []string) error {
	client := http.Client{Timeout: 5 * time.Second}
	answer, err := client.Get(args[0])
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(os.Stdout, answer.Body)
	return err
}

func resolve(args []string) error {
	addresses, err := net.DefaultResolver.LookupHost(context.Background(), args[0])
	fmt.Println(strings.Join(addresses, "\n"))
	return err
}

func cat(args []string) error {
	b, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(b)
	return err
}

func fail(args []string) error {
	code, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	os.Exit(code)
	return nil
}
