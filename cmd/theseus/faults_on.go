//go:build faults

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"theseus.dev/local"
)

// faults kills this process with SIGKILL at the n-th point around a durable write whose name begins as asked:
// THESEUS_KILL_AT=PREFIX:N. With THESEUS_POINTS=FILE every point passed is written down there, so that a test can enumerate
// them. Only tests build this.
func faults() local.Fault {
	prefix, number, _ := strings.Cut(os.Getenv("THESEUS_KILL_AT"), ":")
	at, _ := strconv.Atoi(number)
	list := os.Getenv("THESEUS_POINTS")
	passed := 0
	return func(point string) {
		if list != "" {
			note(list, point)
		}
		if at == 0 || !strings.HasPrefix(point, prefix) {
			return
		}
		if passed++; passed == at {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // not a step further
		}
	}
}

func note(list, point string) {
	f, err := os.OpenFile(list, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(f, point)
	f.Close()
}
