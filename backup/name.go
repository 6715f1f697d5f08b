package backup

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

// Kind says who asked for a backup.
type Kind string

const (
	// Auto is a backup that an attempt took because its hop requires one.
	Auto Kind = "auto"
	// Manual is a backup that a person asked for.
	Manual Kind = "manual"
)

// Name identifies one backup. Different names never share an object: the
// rendered form keeps every byte of every field and parses back to them.
type Name struct {
	// Cluster is the cluster that the data comes from.
	Cluster string `json:"cluster"`
	// From is the version that wrote the data.
	From string `json:"from"`
	// To is the version that the hop leads to; empty for some manual backups.
	To string `json:"to,omitempty"`
	// Attempt is the id of the attempt; empty for manual backups.
	Attempt string `json:"attempt,omitempty"`
	Kind    Kind   `json:"kind"`
	// Time is when the backup was decided on. The caller journals it with the
	// intent, so that a repeated Put after a crash has the same name.
	Time time.Time `json:"time"`
}

const (
	nameTime = "20060102T150405.999999999Z"
	// maxSegment is the longest file name that common file systems take.
	maxSegment = 255
)

// String renders the name as the prefix of its objects, without the slash at
// the end: cluster/time_from_to_attempt_kind.
func (n Name) String() string {
	return escape(n.Cluster, "-.") + "/" + strings.Join([]string{
		n.Time.UTC().Format(nameTime),
		escape(n.From, "-."), escape(n.To, "-."), escape(n.Attempt, "-."), escape(string(n.Kind), "-."),
	}, "_")
}

// ParseName reads back what String rendered. Only the one canonical rendering
// of a name is taken.
func ParseName(s string) (Name, error) {
	n, err := parseName(s)
	if err == nil {
		err = n.Validate()
	}
	if err == nil && n.String() != s {
		err = errors.New("not in canonical form")
	}
	if err != nil {
		return Name{}, fmt.Errorf("backup name %q: %w", s, err)
	}
	return n, nil
}

func parseName(s string) (Name, error) {
	cluster, rest, ok := strings.Cut(s, "/")
	parts := strings.Split(rest, "_")
	if !ok || len(parts) != 5 {
		return Name{}, errors.New("not of the form cluster/time_from_to_attempt_kind")
	}
	at, err := time.Parse(nameTime, parts[0])
	if err != nil {
		return Name{}, fmt.Errorf("time %q: not of the form %s", parts[0], nameTime)
	}
	var fields [5]string
	for i, part := range append([]string{cluster}, parts[1:]...) {
		if fields[i], err = url.PathUnescape(part); err != nil {
			return Name{}, err
		}
	}
	return Name{Cluster: fields[0], From: fields[1], To: fields[2], Attempt: fields[3], Kind: Kind(fields[4]), Time: at}, nil
}

// Validate says which field cannot be part of a name, and why.
func (n Name) Validate() error {
	switch {
	case n.Cluster == "":
		return errors.New("cluster is empty: a backup belongs to a cluster")
	case n.From == "":
		return errors.New("from is empty: name the version that wrote the data")
	case n.Kind != Auto && n.Kind != Manual:
		return fmt.Errorf("kind %q: want %q or %q", n.Kind, Auto, Manual)
	case n.Kind == Auto && (n.To == "" || n.Attempt == ""):
		return fmt.Errorf("to %q, attempt %q: an automatic backup names both", n.To, n.Attempt)
	case n.Time.UTC().Year() < 1 || n.Time.UTC().Year() > 9999 || n.Time.IsZero():
		return fmt.Errorf("time %v: want a time in the years 1 to 9999", n.Time)
	case !utf8.ValidString(n.Cluster + "|" + n.From + "|" + n.To + "|" + n.Attempt):
		return fmt.Errorf("%+q, %+q, %+q, %+q: want UTF-8", n.Cluster, n.From, n.To, n.Attempt)
	}
	return n.validateLength()
}

func (n Name) validateLength() error {
	for segment := range strings.SplitSeq(n.String(), "/") {
		if len(segment) > maxSegment {
			return fmt.Errorf("%q has %d bytes, at most %d fit in a file name: shorten the cluster's name or the versions", segment, len(segment), maxSegment)
		}
	}
	return nil
}

// escape writes every byte of a path segment that is neither a letter, a digit
// nor in plain as %XX, so that different segments stay different. Two endings
// are escaped because the file driver gives them a meaning: it treats ".." as
// a way out of its folder and refuses ".attrs".
func escape(segment, plain string) string {
	var b strings.Builder
	for i := range len(segment) {
		c, last := segment[i], i == len(segment)-1
		reserved := last && (c == '.' || strings.HasSuffix(segment, ".attrs"))
		if !reserved && (isAlphanumeric(c) || strings.IndexByte(plain, c) >= 0) {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
