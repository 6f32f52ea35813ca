package hub

import (
	"context"
	"crypto/sha1" //nolint:gosec // the hash that git names content by
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"nibble/kernels/durable"
)

// part is a file that is not whole yet. What it is hashed to is always that of the
// bytes it has.
type part struct {
	f    *os.File
	file File
	size int64
	sum  hash.Hash // nil if the hub names no hash
}

// newSum begins the hash that the hub names a content by.
func newSum(f File) hash.Hash {
	switch {
	case len(f.Hash) == 2*sha256.Size && hashForm.MatchString(f.Hash):
		return sha256.New()
	case len(f.Hash) == 2*sha1.Size && hashForm.MatchString(f.Hash) && f.Size >= 0:
		h := sha1.New() //nolint:gosec // see above
		fmt.Fprintf(h, "blob %d\x00", f.Size)
		return h
	}
	return nil
}

// partForm is what is left of downloads of a content, by this program or others.
func partForm(blob string) *regexp.Regexp {
	return regexp.MustCompile(`^` + regexp.QuoteMeta(filepath.Base(blob)) + `(\.[0-9a-f]{8})?\.incomplete$`)
}

// begun lists what there is of a content, and the longest of it that can be gone on
// with: its path and size, "" and 0 if there is none.
func begun(blob string, file File) (all []string, best string, size int64) {
	dir, form := filepath.Dir(blob), partForm(blob)
	entries, _ := os.ReadDir(dir) // without a directory there is nothing
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && form.MatchString(e.Name()) {
			all = append(all, filepath.Join(dir, e.Name()))
			if n := info.Size(); n > size && n <= file.Size {
				best, size = filepath.Join(dir, e.Name()), n
			}
		}
	}
	return all, best, size
}

// openPart opens what there is of a content, which nobody else writes to while the
// lock is held.
func openPart(blob string, file File) (*part, error) {
	name := blob + ".incomplete"
	found, best, size := begun(blob, file)
	if best != "" && best != name {
		if err := os.Rename(best, name); err != nil {
			return nil, err
		}
	}
	for _, other := range found {
		if other != best && other != name {
			os.Remove(other) //nolint:errcheck // it only takes room
		}
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	p := &part{f: f, file: file}
	if size == 0 {
		return p, p.reset()
	}
	p.sum = newSum(file)
	if p.sum != nil {
		p.size, err = io.Copy(p.sum, f)
	} else {
		p.size, err = f.Seek(0, io.SeekEnd)
	}
	return p, err
}

// reset throws away what there is.
func (p *part) reset() error {
	p.size, p.sum = 0, newSum(p.file)
	_, err := p.f.Seek(0, io.SeekStart)
	return errors.Join(err, p.f.Truncate(0))
}

// Write implements io.Writer.
func (p *part) Write(b []byte) (int, error) {
	n, err := p.f.Write(b)
	p.size += int64(n)
	if p.sum != nil {
		p.sum.Write(b[:n])
	}
	return n, err
}

// verify compares the whole content with what the hub calls it.
func (p *part) verify() error {
	if p.file.Size < 0 { // known now
		p.file.Size = p.size
		if p.sum = newSum(p.file); p.sum != nil {
			if _, err := io.Copy(p.sum, io.NewSectionReader(p.f, 0, p.size)); err != nil {
				return err
			}
		}
	}
	if p.sum == nil {
		return nil
	}
	if got := hex.EncodeToString(p.sum.Sum(nil)); got != p.file.Hash {
		return fmt.Errorf("%w: the hash of %s is %.12s…, not %.12s…", ErrDamaged, p.file.Name, got, p.file.Hash)
	}
	return nil
}

// maxUnknown bounds a file whose size nobody says.
const maxUnknown = 64 << 20

// transfer brings a content to its place among the blobs, from where an earlier try
// ended. The lock is held.
func (p *pull) transfer(ctx context.Context, file File, blob string) error {
	if err := os.MkdirAll(filepath.Dir(blob), 0o755); err != nil {
		return err
	}
	to, err := openPart(blob, file)
	if err != nil {
		return err
	}
	defer to.f.Close()
	p.meter.begin(file.Name, to.size)
	for again := true; ; again = false { // once from the beginning if it is wrong
		err := p.client.retry(ctx, file.Name, func() (bool, error) {
			before := to.size
			err := p.once(ctx, to)
			return to.size > before, err
		})
		if err != nil {
			return p.kept(ctx, to, err)
		}
		if err = to.verify(); err == nil {
			break
		}
		if bad := to.reset(); bad != nil {
			return bad
		}
		p.meter.at(file.Name, 0)
		if !errors.Is(err, ErrDamaged) || !again {
			return fmt.Errorf("%s: %w; nothing of it was kept: give the command again", p.ref, err)
		}
	}
	if err := to.f.Sync(); err != nil {
		return err
	}
	if err := to.f.Close(); err != nil {
		return err
	}
	if err := os.Rename(to.f.Name(), blob); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(blob))
}

// kept adds to an error that a download goes on from where it ended.
func (p *pull) kept(ctx context.Context, to *part, err error) error {
	if to.size == 0 || ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("%w; %d MB of the file are kept: the same command goes on", err, to.size/1e6)
}

// once asks for what is missing and writes what comes.
func (p *pull) once(ctx context.Context, to *part) error {
	file := to.file
	if to.size == file.Size {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	header := http.Header{"Accept-Encoding": {"identity"}}
	if to.size > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", to.size))
	}
	a, err := p.client.ask(ctx, http.MethodGet, p.client.fileAt(p.ref, p.commit, file.Name), header, p.ref, file.Name)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	wrong := func(format string, args ...any) error {
		return retriable(fmt.Errorf("%s: %w: %s: %s", p.ref, ErrDamaged, file.Name, fmt.Sprintf(format, args...)))
	}
	total := a.ContentLength
	switch from, all := contentRange(a.Header.Get("Content-Range")); {
	case a.StatusCode == http.StatusPartialContent && from != to.size:
		return errors.Join(wrong("bytes from %d on were asked for, and others came", to.size), to.reset())
	case a.StatusCode == http.StatusPartialContent:
		if total >= 0 {
			total += to.size
		}
		if all >= 0 {
			total = all
		}
	case a.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		return errors.Join(wrong("it has no bytes from %d on, and should have %d", to.size, file.Size), to.reset())
	case to.size > 0: // the whole comes again
		if err := to.reset(); err != nil {
			return err
		}
		p.meter.at(file.Name, 0)
	}
	if e := a.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return wrong("it comes packed, as %q, which was not asked for", e)
	}
	if file.Size >= 0 && total >= 0 && total != file.Size {
		return wrong("it comes with %d bytes, and should have %d", total, file.Size)
	}
	limit := file.Size
	if limit < 0 {
		limit = maxUnknown
	}
	body := &watched{r: a.Body, silence: p.client.pace.silence, moved: func() { p.meter.at(file.Name, to.size) }}
	body.timer = time.AfterFunc(body.silence, func() { cancel(errSilence) })
	defer body.timer.Stop()
	_, err = io.Copy(to, io.LimitReader(body, limit-to.size))
	p.meter.at(file.Name, to.size)
	switch {
	case body.err != nil:
		if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errSilence) {
			return cause
		} else if cause != nil {
			body.err = cause
		}
		return retriable(fmt.Errorf("%s: %w: %s: %s", p.ref, ErrNetwork, file.Name, networkError(body.err)))
	case err != nil:
		return err // of the disk
	}
	if n, _ := io.ReadFull(body, make([]byte, 1)); n > 0 {
		return errors.Join(wrong("more than the %d bytes come that it should have", limit), to.reset())
	}
	if file.Size >= 0 && to.size < file.Size {
		return wrong("%d bytes came of the %d that it should have", to.size, file.Size)
	}
	return nil
}

var errSilence = errors.New("nothing has come for too long")

// watched is a body that ends a connection on which nothing moves.
type watched struct {
	r       io.Reader
	silence time.Duration
	timer   *time.Timer
	moved   func()
	err     error // why reading ended early
}

// Read implements io.Reader.
func (w *watched) Read(b []byte) (int, error) {
	n, err := w.r.Read(b)
	if n > 0 {
		w.timer.Reset(w.silence)
		w.moved()
	}
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

// contentRange reads "bytes 5-9/10": -1 is what is not said.
func contentRange(s string) (from, all int64) {
	from, all = -1, -1
	span, total, ok := strings.Cut(strings.TrimPrefix(s, "bytes "), "/")
	if !ok {
		return from, all
	}
	first, _, _ := strings.Cut(span, "-")
	if n, err := strconv.ParseInt(strings.TrimSpace(first), 10, 64); err == nil {
		from = n
	}
	if n, err := strconv.ParseInt(strings.TrimSpace(total), 10, 64); err == nil {
		all = n
	}
	return from, all
}

// copyFile copies a content, whole or not at all.
func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(to), ".copy-*")
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Chmod(0o644), out.Sync(), out.Close()); err == nil {
		err = os.Rename(out.Name(), to)
	}
	if err != nil {
		os.Remove(out.Name()) //nolint:errcheck // what failed is told
	}
	return err
}
