package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// entry is one value of one key. Of two entries for a key the newer counts,
// on every member and in whatever order they arrive.
type entry struct {
	Key    string `json:"k"`
	Value  string `json:"v"`
	Seq    uint64 `json:"n"` // one more than the highest that a majority knew for the key
	Writer string `json:"w"` // the member that took the write; decides between equal Seq
}

func (e entry) newerThan(o entry) bool {
	return e.Seq > o.Seq || e.Seq == o.Seq && e.Writer > o.Writer
}

// store keeps what must survive the process: entries, counts of actions, and
// whether this folder has ever been complete. One file is only ever appended
// to, a JSON object a line, and synced before anybody is told; so there is
// nothing to close.
type store struct {
	dir     string
	file    *os.File
	pending chan write

	mu      sync.Mutex
	entries map[string]entry
	actions map[string]int
	joined  bool
	format  int
}

// record is one line of the file; one of its fields is set.
type record struct {
	Entry  *entry `json:"entry,omitempty"`
	Action string `json:"action,omitempty"`
	Joined bool   `json:"joined,omitempty"` // everything acknowledged before is in this folder
	Format int    `json:"format,omitempty"` // of this folder; see storageFormat
}

// write is a record on its way to the disk; done gets the outcome.
type write struct {
	record record
	done   chan error
}

const logName = "log"

func openStore(dir string) (*store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, logName), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	s := &store{
		dir: dir, file: file, pending: make(chan write, 256),
		entries: map[string]entry{}, actions: map[string]int{},
	}
	if err := s.replay(); err != nil {
		return nil, fmt.Errorf("replay %s: %w", file.Name(), err)
	}
	if err := syncDir(dir); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	go s.commit()
	return s, nil
}

// replay applies the file and cuts off a last line that was not finished: it
// was never acknowledged. A bad line in the middle is damage, and an error.
func (s *store) replay() error {
	whole := int64(0)
	lines := bufio.NewReader(s.file)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			return fmt.Errorf("at byte %d: %w", whole, err)
		}
		s.apply(r)
		whole += int64(len(line))
	}
	if err := s.file.Truncate(whole); err != nil {
		return err
	}
	_, err := s.file.Seek(whole, io.SeekStart)
	return err
}

func (s *store) apply(r record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.Entry != nil:
		if old, ok := s.entries[r.Entry.Key]; !ok || r.Entry.newerThan(old) {
			s.entries[r.Entry.Key] = *r.Entry
		}
	case r.Action != "":
		s.actions[r.Action]++
	case r.Joined:
		s.joined = true
	case r.Format != 0:
		s.format = r.Format
	}
}

// put returns when the record is on disk and visible.
func (s *store) put(r record) error {
	w := write{record: r, done: make(chan error, 1)}
	s.pending <- w
	return <-w.done
}

// commit writes what has gathered while the last sync ran, with one sync for
// all of it. After a failed write the file's end is unknown, so nothing is
// accepted any more.
func (s *store) commit() {
	var broken error
	for first := range s.pending {
		batch := []write{first}
		for len(s.pending) > 0 {
			batch = append(batch, <-s.pending)
		}
		if broken == nil {
			broken = s.append(batch)
		}
		for _, w := range batch {
			if broken == nil {
				s.apply(w.record)
			}
			w.done <- broken
		}
	}
}

func (s *store) append(batch []write) error {
	var text []byte
	for _, w := range batch {
		line, err := json.Marshal(w.record)
		if err != nil {
			return err
		}
		text = append(append(text, line...), '\n')
	}
	if _, err := s.file.Write(text); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return nil
}

func (s *store) get(key string) (entry, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[key]
	return e, ok
}

// dump returns a copy of everything.
func (s *store) dump() dump {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := dump{Joined: s.joined, Entries: make([]entry, 0, len(s.entries))}
	for _, e := range s.entries {
		d.Entries = append(d.Entries, e)
	}
	return d
}

func (s *store) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries)
}

func (s *store) isJoined() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.joined
}

func (s *store) actionCounts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := make(map[string]int, len(s.actions))
	for name, n := range s.actions {
		counts[name] = n
	}
	return counts
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, fs.ErrInvalid) {
		return err
	}
	return nil
}
