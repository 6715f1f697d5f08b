package backup

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
)

// URLError is a place for backups that cannot be used, by the fault of who
// named it.
type URLError struct {
	// URL is the place without its secrets.
	URL string
	// Problem says what is wrong, Remedy what to write instead.
	Problem, Remedy string
}

func (e *URLError) Error() string {
	return fmt.Sprintf("backup url %q: %s; %s", e.URL, e.Problem, e.Remedy)
}

// CheckURL says whether raw can be the URL of a Store, without looking at the
// place itself. Its error is a *URLError.
func CheckURL(raw string) error {
	_, err := parseURL(raw)
	return err
}

// Schemes returns the URL schemes that this program was built with, sorted.
func Schemes() []string {
	schemes := slices.Clone(blob.DefaultURLMux().BucketSchemes())
	slices.Sort(schemes)
	return schemes
}

const exampleURL = "write for example file:///var/backups/theseus"

func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case raw == "":
		return nil, &URLError{raw, "it is empty", exampleURL}
	case err != nil:
		return nil, &URLError{redactText(raw), "it is not a URL", exampleURL}
	case u.Scheme == "" && strings.HasPrefix(raw, "/"):
		return nil, &URLError{redactText(raw), "it has no scheme", "a folder is written file://" + redactText(raw)}
	case u.Scheme == "":
		return nil, &URLError{redactText(raw), "it is a relative path without a scheme", "a folder is written with its whole path: file:///path"}
	case !slices.Contains(Schemes(), u.Scheme):
		return nil, &URLError{redact(u), fmt.Sprintf("scheme %q is not in this build", u.Scheme), "it has: " + strings.Join(Schemes(), ", ")}
	case u.User != nil:
		return nil, &URLError{redact(u), "it holds credentials", "take them out and name a secret instead"}
	case u.Fragment != "":
		return nil, &URLError{redact(u), "it holds a #", "write %23 if it belongs to the path"}
	case u.Scheme == fileblob.Scheme:
		return u, checkFileURL(u)
	}
	return u, nil
}

func checkFileURL(u *url.URL) error {
	fault := func(problem, remedy string) error { return &URLError{redact(u), problem, remedy} }
	switch {
	case u.Opaque != "" || u.Host == "." || u.Host == "..":
		return fault("its path is relative", "write the whole path: file:///path")
	case u.Host != "":
		return fault(fmt.Sprintf("it names a host, %q, but a folder is on this machine", u.Host), "write three slashes: file:///"+u.Host+u.Path)
	case u.RawQuery != "" || u.ForceQuery:
		return fault("a folder takes no options after a ?", "write %3F if it belongs to the path")
	case strings.ContainsRune(u.Path, 0):
		return fault("its path holds a zero byte", exampleURL)
	case filepath.Clean("/"+u.Path) == "/":
		return fault("it is the root folder", "name a folder of its own: file:///var/backups/theseus")
	}
	return nil
}

// redact renders a URL without what may be a secret: user, password and the
// values of the query (access keys, signatures).
func redact(u *url.URL) string {
	shown := *u
	if u.User != nil {
		shown.User = url.User("REDACTED")
	}
	if strings.Contains(u.Opaque, "@") {
		shown.Opaque = "REDACTED"
	}
	query := u.Query()
	for key := range query {
		query[key] = []string{"REDACTED"}
	}
	shown.RawQuery = query.Encode()
	return shown.String()
}

// redactText is redact for what cannot be parsed, or not as a URL: anything
// that might be a credential hides the rest.
func redactText(raw string) string {
	if !strings.ContainsAny(raw, "@?") {
		return raw
	}
	scheme, _, ok := strings.Cut(raw, "://")
	if !ok {
		return "REDACTED"
	}
	return scheme + "://REDACTED"
}

// redactedError keeps its cause for errors.Is and errors.As and hides the
// secrets of a URL in its text: drivers like to quote the URL that they got.
type redactedError struct {
	text  string
	cause error
}

func (e *redactedError) Error() string { return e.text }
func (e *redactedError) Unwrap() error { return e.cause }

func redactError(err error, u *url.URL) error {
	text := strings.ReplaceAll(err.Error(), u.String(), redact(u))
	for _, values := range u.Query() {
		for _, value := range values {
			if value != "" {
				text = strings.ReplaceAll(text, value, "REDACTED")
				text = strings.ReplaceAll(text, url.QueryEscape(value), "REDACTED")
			}
		}
	}
	return &redactedError{text, err}
}

// refuseForbidden makes sure that the folder of a store lies beside the given
// folders: neither inside one, where it would be lost with it, nor around one,
// where backups and members would write side by side.
func refuseForbidden(u *url.URL, forbidden []string) error {
	folder, err := resolve(filepath.Clean(u.Path))
	if err != nil {
		return err
	}
	var faults []error
	for _, path := range forbidden {
		other, err := resolve(path)
		if err != nil {
			return err
		}
		if within(folder, other) || within(other, folder) {
			faults = append(faults, &URLError{redact(u), "it and the cluster's folder " + path + " lie one inside the other",
				"backups must outlive the cluster: choose a folder beside it, on another disk if possible"})
		}
	}
	return errors.Join(faults...)
}

func within(path, folder string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && filepath.IsLocal(rel)
}

// resolve makes a path absolute and follows the links in the part of it that
// exists.
func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("resolve %s: %w", path, err)
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real, nil
	}
	if filepath.Dir(path) == path {
		return path, nil
	}
	parent, err := resolve(filepath.Dir(path))
	return filepath.Join(parent, filepath.Base(path)), err
}
