package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"
)

// streams are where a command reads and writes. Results go to out and stay stable; talk goes to err.
type streams struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

// terminal says whether talk is read by a person at a terminal, and how wide it is.
func (s streams) terminal() (width int, ok bool) {
	f, isFile := s.err.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" {
		return 0, false
	}
	w, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		w = 80
	}
	return w, true
}

// The colors of talk.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	dim    = "2"
)

// paint colors talk for a person at a terminal who does not mind (https://no-color.org).
func (s streams) paint(color, text string) string {
	if _, ok := s.terminal(); !ok || color == "" || os.Getenv("NO_COLOR") != "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

func (s streams) printf(format string, args ...any) { fmt.Fprintf(s.out, format, args...) }

// talkf is for people and never for scripts.
func (s streams) talkf(format string, args ...any) { fmt.Fprintf(s.err, format+"\n", args...) }

func (s streams) printJSON(v any) {
	e := json.NewEncoder(s.out)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		s.talkf("print: %v", err)
	}
}

// table prints rows in columns.
func (s streams) table(head []string, rows [][]string) {
	var text strings.Builder
	t := tabwriter.NewWriter(&text, 0, 0, 3, ' ', 0)
	if len(head) > 0 {
		fmt.Fprintln(t, strings.Join(head, "\t"))
	}
	for _, r := range rows {
		fmt.Fprintln(t, strings.Join(r, "\t"))
	}
	t.Flush()
	for l := range strings.Lines(text.String()) {
		s.printf("%s\n", strings.TrimRight(l, " \n"))
	}
}

// roughly is a duration as people say it.
func roughly(d time.Duration) string {
	unit := time.Second
	if d >= time.Hour {
		unit = time.Minute
	}
	text := d.Round(unit).String()
	if strings.HasSuffix(text, "m0s") {
		return strings.TrimSuffix(text, "0s")
	}
	return text
}

func seconds(s float64) string { return roughly(time.Duration(s * float64(time.Second))) }
