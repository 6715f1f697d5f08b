package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// tools are the commands beside serving.
var tools = map[string]func(args []string, out io.Writer) error{
	"backup":  runBackup,
	"check":   runCheck,
	"restore": runRestore,
}

func runBackup(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("standin backup", flag.ContinueOnError)
	from := flags.String("from", "", "address of a member")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+*from+"/backup", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("backup: %s answers %s", *from, response.Status)
	}
	_, err = io.Copy(out, response.Body)
	return err
}

func runCheck(args []string, out io.Writer) error {
	if len(args) != 1 {
		return errors.New("check: name one file")
	}
	b, err := readBackup(args[0])
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, b.Count)
	return err
}

func readBackup(file string) (backup, error) {
	var b backup
	text, err := os.ReadFile(file)
	if err != nil {
		return b, err
	}
	if b, err = parseBackup(text); err != nil {
		return b, fmt.Errorf("backup %s: %w", file, err)
	}
	return b, nil
}

func parseBackup(text []byte) (b backup, err error) {
	if err := json.Unmarshal(text, &b); err != nil {
		return b, err
	}
	if b.Count != len(b.Keys) {
		return b, fmt.Errorf("it has %d keys and says %d", len(b.Keys), b.Count)
	}
	return b, nil
}

// runRestore makes a folder that counts as complete, so it is to be done for
// every member of the new group, or for one that the others then copy from.
func runRestore(args []string, _ io.Writer) error {
	flags := flag.NewFlagSet("standin restore", flag.ContinueOnError)
	dir := flags.String("data", "", "folder to make")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *dir == "" || flags.NArg() != 1 {
		return errors.New("restore: --data and one file are needed")
	}
	b, err := readBackup(flags.Arg(0))
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(*dir, logName)); err == nil {
		return fmt.Errorf("restore: there is data in %s", *dir)
	}
	s, err := openStore(*dir)
	if err != nil {
		return err
	}
	for key, value := range b.Keys {
		if err := s.put(record{Entry: &entry{Key: key, Value: value, Seq: 1, Writer: "restore"}}); err != nil {
			return err
		}
	}
	return s.put(record{Joined: true})
}
