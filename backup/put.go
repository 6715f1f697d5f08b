package backup

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// blockSize is how much is copied between two calls of Progress, in bytes.
const blockSize = 1 << 20

// About is what a proof says beside the data itself.
type About struct {
	System System
	// Check, if set, is the System's own check of the backup. It is called once
	// after the last byte was stored and before the proof is written, when a
	// stream's action has ended too. An error or an exit code other than 0
	// means that there is no backup.
	Check func(context.Context) (Check, error)
}

// Put stores a backup and then its proof, and returns that. It is ErrExists if
// the name has a proof; the rest of an attempt that was cut off is removed
// first. When Put returns nil the backup is durable; Verify then shows that it
// can be read. After an error it removes what it wrote, as far as it can.
func (s *Store) Put(ctx context.Context, name Name, from Source, about About) (Proof, error) {
	what := "put backup " + name.String()
	if err := name.Validate(); err != nil {
		return Proof{}, s.explain(what, fmt.Errorf("name: %w", err))
	}
	exists, err := s.bucket.Exists(ctx, key(name, proofObject))
	if err == nil && exists {
		err = ErrExists
	}
	if err == nil {
		err = s.clear(ctx, name)
	}
	if err != nil {
		return Proof{}, s.explain(what, err)
	}
	proof, err := s.put(ctx, name, from, about)
	if err != nil && !errors.Is(err, ErrExists) {
		s.abandon(ctx, name)
	}
	return proof, s.explain(what, err)
}

// abandon gives back the space of a failed Put. It goes on when the context
// has ended, which is one way to fail. What it leaves is incomplete.
func (s *Store) abandon(ctx context.Context, name Name) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	_ = s.clear(ctx, name)
}

func (s *Store) put(ctx context.Context, name Name, from Source, about About) (Proof, error) {
	name.Time = name.Time.UTC().Round(0)
	proof := Proof{Name: name, System: about.System, Started: s.now()}
	if err := s.putFiles(ctx, &proof, from); err != nil {
		return Proof{}, err
	}
	if err := putCheck(ctx, &proof, about.Check); err != nil {
		return Proof{}, err
	}
	// All files are durable in their folders before the proof exists.
	if err := s.disk.tree(name.String()); err != nil {
		return Proof{}, fmt.Errorf("sync: %w", err)
	}
	return s.putProof(ctx, proof)
}

func (s *Store) putFiles(ctx context.Context, proof *Proof, from Source) error {
	contents, err := from.contents()
	if err != nil {
		return fmt.Errorf("read source: %w", err)
	}
	defer func() { _ = contents.close() }()
	proof.Folders = contents.folders
	for _, content := range contents.files {
		file, err := s.putFile(ctx, proof, content, contents.total)
		if err != nil {
			return fmt.Errorf("file %s: %w", content.path, err)
		}
		proof.Files = append(proof.Files, file)
		proof.Total += file.Size
	}
	if proof.Total == 0 {
		return errors.New("read source: it holds no data: the action wrote nothing, or somewhere else")
	}
	return nil
}

func (s *Store) putFile(ctx context.Context, proof *Proof, c content, total int64) (File, error) {
	from, err := c.open()
	if err != nil {
		return File{}, fmt.Errorf("read source: %w", err)
	}
	defer func() { _ = from.Close() }()
	meter := &meter{ctx: ctx, from: from, report: s.Progress, now: Progress{proof.Name, c.path, proof.Total, total}}
	size, sum, err := s.write(ctx, fileKey(proof.Name, c.path), meter, false)
	return File{Path: c.path, Size: size, SHA256: sum, Mode: c.mode}, err
}

func putCheck(ctx context.Context, proof *Proof, run func(context.Context) (Check, error)) error {
	if run == nil {
		return nil
	}
	check, err := run(ctx)
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	check = check.bounded()
	if check.ExitCode != 0 {
		return fmt.Errorf("check: %q exited with %d: %s", check.Command, check.ExitCode, check.Output)
	}
	proof.Check = &check
	return nil
}

func (s *Store) putProof(ctx context.Context, proof Proof) (Proof, error) {
	proof.Finished = s.now()
	data, err := EncodeProof(proof)
	if err != nil {
		return Proof{}, err
	}
	// What cannot be read back must not be written: a field that JSON changes
	// would be found when the backup is needed.
	if proof, err = DecodeProof(data); err != nil {
		return Proof{}, err
	}
	_, _, err = s.write(ctx, key(proof.Name, proofObject), bytes.NewReader(data), true)
	if gcerrors.Code(err) == gcerrors.FailedPrecondition {
		return Proof{}, ErrExists
	}
	if err == nil {
		err = s.disk.tree(proof.Name.String())
	}
	if err != nil {
		return Proof{}, fmt.Errorf("proof: %w", err)
	}
	return proof, nil
}

// write stores one object durably and returns its size and SHA-256 in hex. An
// object that fails halfway never appears: the context is ended before the
// writer is closed, which is how drivers are told to drop it.
func (s *Store) write(ctx context.Context, key string, from io.Reader, ifAbsent bool) (int64, string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var file *os.File
	w, err := s.bucket.NewWriter(ctx, key, &blob.WriterOptions{
		// A content type makes the driver open its file now, and not when it has seen enough to guess.
		ContentType: "application/octet-stream",
		IfNotExist:  ifAbsent,
		BeforeWrite: func(as func(any) bool) error { as(&file); return nil },
	})
	if err != nil {
		return 0, "", remedy(err)
	}
	sum := sha256.New()
	size, err := copyBlocks(io.MultiWriter(placeWriter{w}, sum), from)
	if err == nil {
		err = remedy(s.disk.file(file))
	}
	if err != nil {
		cancel()
		_ = closeWriter(w)
		return 0, "", err
	}
	return size, hex.EncodeToString(sum.Sum(nil)), remedy(closeWriter(w))
}

// closeWriter closes a writer. The driver of Azure, as of gocloud.dev v0.47, panics when an upload has failed: it closes a pipe that it has let go of.
func closeWriter(w *blob.Writer) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the upload failed: %v", p)
		}
	}()
	return w.Close()
}

// placeWriter tells errors of the place from those of the source.
type placeWriter struct{ io.Writer }

func (w placeWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	return n, remedy(err)
}

// copyBlocks is io.Copy by blocks of our size, past the shortcuts that readers
// and writers offer: those hash and report nothing on the way.
func copyBlocks(to io.Writer, from io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, blockSize))
}

// meter is a reader that reports what passes, and ends with its context.
type meter struct {
	ctx    context.Context
	from   io.Reader
	report func(Progress)
	now    Progress
}

func (m *meter) Read(p []byte) (int, error) {
	if err := m.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := m.from.Read(p)
	m.now.Bytes += int64(n)
	if m.report != nil && n > 0 {
		m.report(m.now)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("read: %w", err)
	}
	return n, err
}

// Ready shows that backups can be written to this place and read back, with an
// object that it removes again. Call it before anything that needs a backup.
func (s *Store) Ready(ctx context.Context) error {
	what := "try the place for backups"
	word := rand.Text()
	trial := "theseus-trial-" + word
	if _, _, err := s.write(ctx, trial, bytes.NewReader([]byte(word)), true); err != nil {
		return s.explain(what, err)
	}
	got, err := s.bucket.ReadAll(ctx, trial)
	if err == nil && string(got) != word {
		err = errors.New("it does not give back what was written")
	}
	return s.explain(what, errors.Join(err, s.remove(ctx, trial)))
}
