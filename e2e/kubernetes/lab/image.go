//go:build linux

package lab

import (
	"archive/tar"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
)

// Image is a container image made of files of this machine. There is no
// registry: what is not loaded on a node cannot run there.
type Image struct {
	Name       string            // in full, as in lab.test/app:v1: a host, a path, and a tag that is not latest
	Files      map[string]string // path in the image to file here; its mode counts. Programs are static
	Entrypoint []string
	Env        []string // NAME=value
	User       string   // uid or uid:gid; "" is root
}

// pauseName is the image of the first process of every pod.
const pauseName = "lab.test/pause:1"

func (record) pauseImage(program string) Image {
	return Image{Name: pauseName, Files: map[string]string{"/pause": program}, Entrypoint: []string{"/pause"}, User: "65535"}
}

func (i Image) check() error {
	host, rest, _ := strings.Cut(i.Name, "/")
	_, tag, _ := strings.Cut(rest, ":")
	switch {
	case !strings.Contains(host, "."):
		return fmt.Errorf("image %q: the name must begin with a host, as in lab.test/%s", i.Name, cmp.Or(rest, host))
	case tag == "" || tag == "latest":
		return fmt.Errorf("image %q: the name must end with a tag that is not latest: of latest, a node asks a registry", i.Name)
	case len(i.Files) == 0:
		return fmt.Errorf("image %q has no files", i.Name)
	}
	return nil
}

// write makes an archive in the layout of the Open Container Initiative, with
// one layer. The same image gives the same bytes.
func (i Image) write(file string) error {
	if err := i.check(); err != nil {
		return err
	}
	layer, err := i.layer()
	if err != nil {
		return fmt.Errorf("image %s: %w", i.Name, err)
	}
	blobs := archive{}
	config := blobs.addJSON("application/vnd.oci.image.config.v1+json", i.config(digest(layer)))
	manifest := blobs.addJSON("application/vnd.oci.image.manifest.v1+json", map[string]any{
		"schemaVersion": 2,
		"mediaType":     "application/vnd.oci.image.manifest.v1+json",
		"config":        config,
		"layers":        []descriptor{blobs.add("application/vnd.oci.image.layer.v1.tar", layer)},
	})
	manifest.Annotations = map[string]string{"io.containerd.image.name": i.Name}
	blobs.files = append(blobs.files,
		blob{"index.json", mustJSON(map[string]any{"schemaVersion": 2, "manifests": []descriptor{manifest}})},
		blob{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)})
	return blobs.write(file)
}

func (i Image) config(layer string) any {
	return map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       map[string]any{"Entrypoint": i.Entrypoint, "Env": append([]string{"PATH=/usr/bin:/bin:/"}, i.Env...), "User": i.User},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{layer}},
	}
}

// layer is a tar of the files, with the folders above them and a /tmp.
func (i Image) layer() ([]byte, error) {
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	folders := map[string]bool{"/": true, "/tmp": true}
	err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777})
	for _, name := range slices.Sorted(maps.Keys(i.Files)) {
		if err == nil {
			err = addFolders(t, path.Dir(name), folders)
		}
		if err == nil {
			err = addFile(t, name, i.Files[name])
		}
	}
	if err == nil {
		err = t.Close()
	}
	return b.Bytes(), err
}

func addFolders(t *tar.Writer, folder string, there map[string]bool) error {
	if there[folder] {
		return nil
	}
	there[folder] = true
	if err := addFolders(t, path.Dir(folder), there); err != nil {
		return err
	}
	return t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: strings.TrimPrefix(folder, "/") + "/", Mode: 0o755})
}

func addFile(t *tar.Writer, name, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h := &tar.Header{Name: strings.TrimPrefix(name, "/"), Mode: int64(info.Mode().Perm()), Size: info.Size()}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}

// descriptor is how one blob of an image speaks of another.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// archive is an image as files, in the order in which they were added.
type archive struct{ files []blob }

type blob struct {
	name string
	data []byte
}

func (a *archive) add(mediaType string, data []byte) descriptor {
	d := descriptor{MediaType: mediaType, Digest: digest(data), Size: len(data)}
	a.files = append(a.files, blob{"blobs/" + strings.Replace(d.Digest, ":", "/", 1), data})
	return d
}

func (a *archive) addJSON(mediaType string, v any) descriptor { return a.add(mediaType, mustJSON(v)) }

func (a *archive) write(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	t := tar.NewWriter(f)
	for _, b := range a.files {
		if err := t.WriteHeader(&tar.Header{Name: b.name, Mode: 0o644, Size: int64(len(b.data))}); err != nil {
			return err
		}
		if _, err := t.Write(b.data); err != nil {
			return err
		}
	}
	if err := t.Close(); err != nil {
		return err
	}
	return f.Close()
}

func digest(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

// mustJSON is for values that are known to have a JSON form.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
