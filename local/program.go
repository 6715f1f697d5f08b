package local

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// ProgramsFromEnv are the program folders in $THESEUS_PROGRAMS, separated like PATH.
func ProgramsFromEnv() []string { return filepath.SplitList(os.Getenv("THESEUS_PROGRAMS")) }

// finder finds programs: in folders first, then in PATH.
type finder struct {
	home    Home
	folders []string
}

// finder of a platform has absolute folders: jobs and shims work elsewhere.
func (p *Platform) finder() finder {
	f := finder{home: p.State.home}
	for _, folder := range p.Programs {
		if abs, err := filepath.Abs(folder); err == nil {
			f.folders = append(f.folders, abs)
		}
	}
	return f
}

// ProgramError says that a version's program is not usable on this machine.
type ProgramError struct {
	Program string
	Version string
	Reason  string
	Remedy  string
}

func (e *ProgramError) Error() string {
	return fmt.Sprintf("program %s of version %s: %s; %s", e.Program, e.Version, e.Reason, e.Remedy)
}

// find is how a name becomes a path, for members and for programs that questions and actions run.
func (f finder) find(name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, executable(name)
	}
	if filepath.Base(name) != name {
		return "", fmt.Errorf("%s is neither a name nor an absolute path", name)
	}
	barred := ""
	for _, folder := range f.folders {
		path := filepath.Join(folder, name)
		switch err := executable(path); {
		case err == nil:
			return path, nil
		case barred == "" && errors.Is(err, errNotExecutable):
			barred = path
		}
	}
	path, err := exec.LookPath(name)
	switch {
	case err != nil && barred != "":
		return "", fmt.Errorf("%s is there but %w: chmod +x %s", barred, errNotExecutable, barred)
	case err != nil:
		return "", fmt.Errorf("not found in %s", strings.Join(append(f.folders, "PATH"), ", "))
	}
	return filepath.Abs(path)
}

var errNotExecutable = errors.New("not executable")

func executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return errors.New("there is no such file")
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return errors.New("it is not a file")
	case unix.Access(path, unix.X_OK) != nil:
		return fmt.Errorf("it is %w", errNotExecutable)
	}
	return nil
}

// locate finds the program of a member. A download must be there already.
func (f finder) locate(p system.Process, version string) (string, error) {
	if p.Source != nil && p.Source.URL != "" {
		path := f.downloaded(p.Source)
		if err := executable(path); err != nil {
			return "", &ProgramError{p.Source.URL, version, "it was not downloaded", "resume, so that preflight gets it again"}
		}
		return path, nil
	}
	path, err := f.find(p.Program)
	if err != nil {
		return "", &ProgramError{p.Program, version, err.Error(), fmt.Sprintf(
			"put it into a folder of --programs or $THESEUS_PROGRAMS, or set spec.programs[%q].path", version)}
	}
	return path, nil
}

// obtain does all that locate needs and checks the sum of what has one.
func (f finder) obtain(ctx context.Context, p system.Process, version string) (string, error) {
	if p.Source != nil && p.Source.URL != "" {
		if err := f.download(ctx, p.Source); err != nil {
			return "", &ProgramError{p.Source.URL, version, err.Error(), fmt.Sprintf("correct spec.programs[%q]", version)}
		}
	}
	path, err := f.locate(p, version)
	if err == nil && p.Source != nil && p.Source.Path != "" && p.Source.SHA256 != "" {
		err = checkSum(path, p.Source.SHA256, version)
	}
	return path, err
}

func checkSum(path, want, version string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); !strings.EqualFold(got, want) {
		return &ProgramError{path, version, "its SHA-256 is " + got, fmt.Sprintf("correct the file or spec.programs[%q].sha256", version)}
	}
	return nil
}

func (f finder) downloaded(p *v1alpha1.Program) string {
	return filepath.Join(string(f.home), programsFolder, strings.ToLower(p.SHA256))
}

// download gets a program once for all clusters of the home. What has the wrong sum never gets its final name.
func (f finder) download(ctx context.Context, p *v1alpha1.Program) error {
	path := f.downloaded(p)
	if executable(path) == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	body, err := open(ctx, p.URL)
	if err != nil {
		return err
	}
	defer body.Close()
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(file, sum), body)
	if err := errors.Join(err, file.Chmod(0o755), file.Sync(), file.Close()); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); !strings.EqualFold(got, p.SHA256) {
		return fmt.Errorf("its SHA-256 is %s and not %s", got, strings.ToLower(p.SHA256))
	}
	return os.Rename(file.Name(), path)
}

// open begins to read a URL of the schemes https, http and file.
func open(ctx context.Context, address string) (io.ReadCloser, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "file" {
		return os.Open(u.Path)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("scheme %q: want https, http or file", u.Scheme)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Timeout: downloadTimeout}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, fmt.Errorf("the server says %s", response.Status)
	}
	return response.Body, nil
}

const downloadTimeout = 10 * time.Minute

// FindProgram is how Theseus finds a program by its name on this machine: in the folders first, then in PATH.
func FindProgram(folders []string, name string) (string, error) {
	return finder{folders: folders}.find(name)
}
