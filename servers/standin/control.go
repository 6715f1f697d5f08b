package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"sync"
	"time"
)

// knobs are what the control file can turn. The zero value is a member that
// behaves. Durations are written as in Go: "500ms", "5s".
type knobs struct {
	ExitAtStart     int      `json:"exitAtStart"`     // end with this code before serving
	NeverReady      bool     `json:"neverReady"`      // start, serve peers, never become ready
	ReadyAfter      duration `json:"readyAfter"`      // not ready before this long after the start
	CrashAfterReady duration `json:"crashAfterReady"` // end with code 3 this long after becoming ready
	AnswerVersion   string   `json:"answerVersion"`   // claim this version in /status
	Unhealthy       bool     `json:"unhealthy"`       // /health says "false"
	Unknown         bool     `json:"unknown"`         // /status and /health never answer
	Garbage         bool     `json:"garbage"`         // /status and /health answer what is no JSON
	Slow            duration `json:"slow"`            // every answer to a client takes this much longer
	SettledAfter    duration `json:"settledAfter"`    // not settled before this long after becoming ready; "left" falls
	NeverSettled    bool     `json:"neverSettled"`    // not settled, and "left" does not fall
	Role            string   `json:"role"`            // claim this role in /status
	Leader          string   `json:"leader"`          // claim this leader in /status
	RefuseHandover  bool     `json:"refuseHandover"`  // /handover answers 409 and changes nothing
	IgnoreHandover  bool     `json:"ignoreHandover"`  // /handover answers 200 and changes nothing
	DropWrites      bool     `json:"dropWrites"`      // acknowledge writes of clients and peers and store nothing
	FailActions     []string `json:"failActions"`     // these /admin actions answer 500 and are not counted
	HangActions     []string `json:"hangActions"`     // these /admin actions are counted and never answered
	StopIgnoresTerm bool     `json:"stopIgnoresTerm"` // SIGTERM does nothing
}

// duration is a time.Duration that is written as text.
type duration time.Duration

func (d *duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = duration(parsed)
	return err
}

// control reads the knobs of one member, again whenever the file has changed.
type control struct {
	file string
	keys []string // layers to apply below the top, weakest first; see layer

	mu      sync.Mutex
	seen    fs.FileInfo // of the file that current was read from; nil: there was none
	current knobs
}

// openControl fails if the file is there and wrong, so that a test with a
// misspelled knob ends at once and does not pass for the wrong reason.
func openControl(opts options) (*control, error) {
	c := &control{file: opts.control, keys: []string{
		"versions/" + opts.version,
		"members/" + opts.name,
		"members/" + opts.name + "@" + opts.version,
	}}
	return c, c.refresh()
}

// knobs returns what the file says now. A file that cannot be read or is wrong
// leaves what was.
func (c *control) knobs() knobs {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refresh(); err != nil {
		log.Print(err)
	}
	return c.current
}

// refresh remembers which file it looked at even if that was wrong: it is
// reported once.
func (c *control) refresh() error {
	if c.file == "" {
		return nil
	}
	info, err := os.Stat(c.file)
	if errors.Is(err, fs.ErrNotExist) {
		c.seen, c.current = nil, knobs{}
		return nil
	}
	if err != nil {
		return fmt.Errorf("control: %w", err)
	}
	if c.seen != nil && os.SameFile(info, c.seen) && info.ModTime().Equal(c.seen.ModTime()) && info.Size() == c.seen.Size() {
		return nil
	}
	c.seen = info
	text, err := os.ReadFile(c.file)
	if err != nil {
		return fmt.Errorf("control: %w", err)
	}
	next, err := readKnobs(text, c.keys)
	if err != nil {
		return fmt.Errorf("control: %s: %w", c.file, err)
	}
	c.current = next
	return nil
}

// readKnobs lays the layers that concern this member over each other. The
// others are read too: a misspelled knob is wrong for everybody.
func readKnobs(text []byte, keys []string) (knobs, error) {
	var file struct {
		knobs
		Versions map[string]json.RawMessage `json:"versions"`
		Members  map[string]json.RawMessage `json:"members"`
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return knobs{}, nil
	}
	if err := strictly(text, &file); err != nil {
		return knobs{}, err
	}
	layers := map[string]json.RawMessage{}
	for name, layer := range file.Versions {
		layers["versions/"+name] = layer
	}
	for name, layer := range file.Members {
		layers["members/"+name] = layer
	}
	for key, layer := range layers {
		if err := strictly(layer, new(knobs)); err != nil {
			return knobs{}, fmt.Errorf("%s: %w", key, err)
		}
	}
	for _, key := range keys {
		if layer, ok := layers[key]; ok {
			_ = strictly(layer, &file.knobs) // read once already
		}
	}
	return file.knobs, nil
}

func strictly(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}
