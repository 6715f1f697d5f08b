package backup

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode/utf8"
)

// streamPath is the path of the one file that a stream becomes.
const streamPath = "data"

// Source is where the bytes of a backup come from: FromStream or FromFolder.
type Source struct {
	stream io.Reader
	folder string
}

// FromStream takes the standard output of an action; it is stored as the one file
// "data". The end of an output says nothing about how the action ended: either
// the reader returns an error when it failed, or About.Check does.
func FromStream(r io.Reader) Source { return Source{stream: r} }

// FromFolder takes all files below a folder that an action has filled, with their
// permissions. Nobody may write to it until Put has returned. Links and other
// special files are refused, because a restore would not bring them back.
func FromFolder(path string) Source { return Source{folder: path} }

// contents is what a source holds, read once, from first to last.
type contents struct {
	files   []content
	folders []Folder
	// total is 0 if it is known only at the end.
	total int64
	close func() error
}

type content struct {
	path string
	mode Mode
	open func() (io.ReadCloser, error)
}

func (s Source) contents() (*contents, error) {
	switch {
	case s.stream != nil:
		open := func() (io.ReadCloser, error) { return io.NopCloser(s.stream), nil }
		return &contents{files: []content{{streamPath, 0o600, open}}, close: func() error { return nil }}, nil
	case s.folder != "":
		return folderContents(s.folder)
	}
	return nil, errors.New("neither a stream nor a folder was given")
}

func folderContents(path string) (*contents, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	c := &contents{close: root.Close}
	err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		return c.add(root, path, d)
	})
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return c, nil
}

func (c *contents) add(root *os.Root, path string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	mode := Mode(info.Mode().Perm())
	switch {
	case !utf8.ValidString(path) || strings.ContainsRune(path, 0):
		return fmt.Errorf("%+q: a file name must be UTF-8 to be restored", path)
	case d.IsDir():
		c.folders = append(c.folders, Folder{path, mode})
	case d.Type().IsRegular():
		c.total += info.Size()
		c.files = append(c.files, content{path, mode, func() (io.ReadCloser, error) { return root.Open(path) }})
	default:
		return fmt.Errorf("%s: %v is neither a file nor a folder: an action must leave only these", path, d.Type())
	}
	return nil
}
