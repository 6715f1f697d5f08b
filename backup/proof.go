package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	proofFormat = 1
	// maxOutput bounds what is kept of a check's output, in bytes.
	maxOutput = 64 << 10
	// maxProof bounds how much of a proof is read, in bytes: a few hundred
	// thousand files.
	maxProof = 64 << 20
)

// Proof is what makes a backup one: what was stored and how it can be told
// from something else. It is the object backup.json, written after all others.
type Proof struct {
	Format int    `json:"format"`
	Name   Name   `json:"name"`
	System System `json:"system"`
	// Folders are listed as well, parents first, so that a restore has the
	// empty ones too.
	Files   []File   `json:"files"`
	Folders []Folder `json:"folders,omitempty"`
	// Total is the size of all files in bytes.
	Total    int64     `json:"total"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
	// Check is the verdict of the System's own check, nil if it has none.
	Check *Check `json:"check,omitempty"`
	// Seal is the SHA-256 of the proof itself, written with an empty seal.
	Seal string `json:"seal"`
}

// System says which System, by name and hash, knew how to take the backup.
type System struct {
	Name string `json:"name"`
	Hash string `json:"hash"`
}

// File is one stored file. Path is relative and has slashes.
type File struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	Mode   Mode   `json:"mode"`
}

// Folder is one folder of a stored tree.
type Folder struct {
	Path string `json:"path"`
	Mode Mode   `json:"mode"`
}

// Check is the outcome of the program with which a System checks its backups.
// Command must not hold secrets: it is stored as it is.
type Check struct {
	Command  []string `json:"command"`
	ExitCode int      `json:"exitCode"`
	// Output is cut to 64 KiB.
	Output string `json:"output,omitempty"`
}

// Mode holds permission bits; it is written in octal.
type Mode fs.FileMode

// MarshalText implements encoding.TextMarshaler.
func (m Mode) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%04o", uint32(m)), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *Mode) UnmarshalText(text []byte) error {
	bits, err := strconv.ParseUint(string(text), 8, 32)
	if err != nil || fs.FileMode(bits)&^fs.ModePerm != 0 {
		return fmt.Errorf("mode %q: want octal permission bits", text)
	}
	*m = Mode(bits)
	return nil
}

// EncodeProof seals a proof and renders it.
func EncodeProof(p Proof) ([]byte, error) {
	p.Format = proofFormat
	p.Seal = ""
	unsealed, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode proof: %w", err)
	}
	sum := sha256.Sum256(unsealed)
	p.Seal = hex.EncodeToString(sum[:])
	sealed, err := json.MarshalIndent(p, "", "  ")
	return append(sealed, '\n'), err
}

// DecodeProof reads what EncodeProof rendered; one changed byte is an error.
func DecodeProof(data []byte) (Proof, error) {
	var format struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(data, &format); err != nil {
		return Proof{}, fmt.Errorf("decode proof: %w", err)
	}
	if format.Format != proofFormat {
		return Proof{}, fmt.Errorf("decode proof: format %d, this program reads %d: use the version of theseus that wrote it", format.Format, proofFormat)
	}
	var p Proof
	if err := json.Unmarshal(data, &p); err != nil {
		return Proof{}, fmt.Errorf("decode proof: %w", err)
	}
	again, err := EncodeProof(p)
	if err != nil || !bytes.Equal(again, data) {
		return Proof{}, errors.New("decode proof: its seal does not match: it was changed after it was written")
	}
	return p, p.validate()
}

// validate holds for every proof that Put writes. The seal does not replace
// it: whoever can write to the store can seal, and paths become files.
func (p Proof) validate() error {
	if err := p.Name.Validate(); err != nil {
		return fmt.Errorf("proof: name: %w", err)
	}
	var total int64
	seen := map[string]bool{".": true}
	for _, folder := range p.Folders {
		if err := checkPath(folder.Path, seen); err != nil {
			return err
		}
	}
	for _, file := range p.Files {
		if err := errors.Join(checkPath(file.Path, seen), file.validate()); err != nil {
			return err
		}
		total += file.Size
	}
	if total != p.Total || total <= 0 {
		return fmt.Errorf("proof: total %d, files add up to %d: want the same and more than nothing", p.Total, total)
	}
	return nil
}

func (f File) validate() error {
	sum, err := hex.DecodeString(f.SHA256)
	if err != nil || len(sum) != sha256.Size || f.Size < 0 {
		return fmt.Errorf("proof: file %q: size %d, sha256 %q", f.Path, f.Size, f.SHA256)
	}
	return nil
}

func checkPath(path string, seen map[string]bool) error {
	if !fs.ValidPath(path) || strings.ContainsRune(path, 0) {
		return fmt.Errorf("proof: path %q: want a relative path that stays inside", path)
	}
	if seen[path] {
		return fmt.Errorf("proof: path %q: named twice", path)
	}
	seen[path] = true
	return nil
}

// bounded returns the check as it can be stored: output cut, text valid.
func (c Check) bounded() Check {
	valid := make([]string, len(c.Command))
	for i, word := range c.Command {
		valid[i] = strings.ToValidUTF8(word, "�")
	}
	c.Command = valid
	c.Output = strings.ToValidUTF8(c.Output, "�")
	if cut := len(c.Output) - maxOutput; cut > 0 {
		end := maxOutput
		for !utf8.RuneStart(c.Output[end]) {
			end--
		}
		c.Output = fmt.Sprintf("%s… (%d bytes more)", c.Output[:end], len(c.Output)-end)
	}
	return c
}
