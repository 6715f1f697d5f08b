//go:build faults

package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/local"
)

// faults lets tests kill this process at each point around a durable write, with SIGKILL. Only tests build this.
//
// With THESEUS_FAULTS=DIR every process adds the points that it passes to DIR/points, a line each, and dies at one that
// DIR/kill names: a pattern a line, * is anything but a slash. It takes that file away first and writes the point into
// DIR/killed, so that this happens once.
//
// A file DIR/spare lets the first point before a write pass, so that a process that dies before each write gets somewhere.
//
// A point is named KIND/OF/NAME#N: which sort of process, the cluster, member or job that it is about, the write, and how
// often processes about the same came to it. What a journal write says, or a job does, is added behind a tab.
func faults(kind, folder string) local.Fault {
	dir := os.Getenv("THESEUS_FAULTS")
	if dir == "" {
		return nil
	}
	return func(name string) {
		point := notePoint(dir, kind+"/"+filepath.Base(folder)+"/"+name, about(name, folder))
		if strings.HasSuffix(name, ".begin") && os.Remove(filepath.Join(dir, "spare")) == nil {
			return
		}
		wanted, err := os.ReadFile(filepath.Join(dir, "kill"))
		if err != nil || !slices.ContainsFunc(strings.Fields(string(wanted)), func(w string) bool { is, _ := filepath.Match(w, point); return is }) {
			return
		}
		if os.Rename(filepath.Join(dir, "kill"), filepath.Join(dir, "done")) == nil {
			_ = os.WriteFile(filepath.Join(dir, "killed"), []byte(point), 0o600)
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // not a step further
		}
	}
}

// notePoint adds a point to the list and returns its whole name.
func notePoint(dir, name, about string) string {
	f, err := os.OpenFile(filepath.Join(dir, "points"), os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		panic(err)
	}
	text, err := io.ReadAll(f)
	if err != nil {
		panic(err)
	}
	point := fmt.Sprintf("%s#%d", name, bytes.Count(text, []byte("\n"+name+"#"))+1)
	if len(text) == 0 {
		point = "\n" + point // so that every line has one before it
	}
	fmt.Fprintf(f, "%s\t%s\n", point, about)
	return strings.TrimSpace(point)
}

// about says what a job does, and what the journal says where a write of it is done.
func about(name, folder string) string {
	var job struct{ Action string }
	if input, err := os.ReadFile(folder + ".json"); err == nil && json.Unmarshal(input, &job) == nil {
		return job.Action
	}
	text, err := os.ReadFile(filepath.Join(folder, "status.json"))
	var j struct{ Status v1alpha1.ClusterStatus }
	if name != "journal.done" || err != nil || json.Unmarshal(text, &j) != nil || j.Status.Attempt == nil {
		return ""
	}
	at := j.Status.Attempt
	words := []string{string(at.Kind), string(at.Phase)}
	for _, st := range at.Steps {
		if st.Phase != v1alpha1.StepRunning && st.Phase != v1alpha1.StepUndoing {
			continue
		}
		words = append(words, string(st.Kind))
		if st.Hand != nil {
			words = append(words, string(st.Hand.Phase))
		}
	}
	if at.Intent != nil {
		words = append(words, "intends "+cmp.Or(at.Intent.Action, string(at.Intent.Act)))
	}
	return strings.Join(words, " ")
}
