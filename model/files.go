package model

import (
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"nibble/model/demo"
	"nibble/model/source"
)

// files is where a checkpoint's files come from: a directory or the program
// itself.
type files interface {
	// read returns a small file whole; a missing one is fs.ErrNotExist.
	read(name string) ([]byte, error)
	// mapped returns a large file without reading it.
	mapped(name string) ([]byte, error)
	// mappings reports whether mapped files are mapped, not in memory.
	mappings() bool
	// release gives pages of mapped files back.
	release(part []byte)
	// settle waits until any change from now on can be told by its time.
	settle()
	// unchanged reports what became of the files that were used since. whole, which
	// reads the mapped ones again, is asked about those whose status alone differs.
	unchanged(whole func() (same bool, err error)) error
	// path names a file for messages.
	path(name string) string
	close() error
}

// limitOf bounds the small files, well above what any model has.
func limitOf(name string) int64 {
	switch {
	case slices.Contains(tokenizerModels, name), filepath.Ext(name) == ".tiktoken":
		return 64 << 20
	}
	switch name {
	case "tokenizer.json", "vocab.json", "merges.txt", indexName:
		return 64 << 20
	}
	return 4 << 20
}

// dirFiles are the files of a directory. It remembers the state in which each was
// first used.
type dirFiles struct {
	dir     string
	looking bool // nothing is asked later about what is read

	mu   sync.Mutex
	seen map[string]seenFile // small ones, by name
	maps []*source.Mapping
}

type seenFile struct {
	stamp source.Stamp
	sum   [sha256.Size]byte
}

func (d *dirFiles) path(name string) string { return filepath.Join(d.dir, name) }

func (d *dirFiles) read(name string) ([]byte, error) {
	data, stamp, err := source.Read(d.path(name), limitOf(name))
	if errors.Is(err, source.ErrTooLarge) || errors.Is(err, source.ErrSpecial) {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	} else if err != nil {
		return nil, err
	}
	if d.looking {
		return data, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	sum := sha256.Sum256(data)
	if before, ok := d.seen[name]; ok && before.sum != sum {
		return nil, rewritten(d.path(name))
	} else if !ok {
		d.seen[name] = seenFile{stamp, sum}
	}
	return data, nil
}

func rewritten(path string) error {
	return &source.Change{Path: path, What: "was rewritten while it was in use"}
}

func (d *dirFiles) mapped(name string) ([]byte, error) {
	// A name from an index file must stay inside the directory. Symbolic links are
	// followed: the Hugging Face cache is made of them.
	if !filepath.IsLocal(name) || strings.ContainsAny(name, `/\`) {
		return nil, fmt.Errorf("%s: %w: file name %s leaves the model directory", d.dir, ErrCorrupt, source.Quote(name))
	}
	m, err := source.Map(d.path(name))
	if errors.Is(err, source.ErrSpecial) {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	} else if err != nil {
		return nil, err
	}
	d.maps = append(d.maps, m)
	return m.Data, nil
}

func (d *dirFiles) mappings() bool { return len(d.maps) > 0 }

func (d *dirFiles) release(part []byte) {
	for _, m := range d.maps {
		m.Release(part)
	}
}

func (d *dirFiles) settle() {
	var stamps []source.Stamp
	for _, s := range d.seen {
		stamps = append(stamps, s.stamp)
	}
	for _, m := range d.maps {
		stamps = append(stamps, m.Stamp)
	}
	source.Settle(stamps)
}

func (d *dirFiles) unchanged(whole func() (bool, error)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, s := range d.seen {
		touched, err := s.stamp.Check()
		if err != nil {
			return err
		}
		if !touched {
			continue
		}
		data, now, err := source.Read(d.path(name), limitOf(name))
		if err != nil {
			return err
		}
		if sha256.Sum256(data) != s.sum {
			return rewritten(d.path(name))
		}
		d.seen[name] = seenFile{now, s.sum}
	}
	for _, m := range d.maps {
		touched, err := m.Stamp.Check()
		if err != nil {
			return err
		}
		if !touched {
			continue
		}
		now, err := m.Restamp()
		if err != nil {
			return err
		}
		if same, err := whole(); err != nil {
			return err
		} else if !same {
			return rewritten(m.Stamp.Path())
		}
		m.Stamp = now
	}
	return nil
}

func (d *dirFiles) close() error {
	var errs []error
	for _, m := range d.maps {
		errs = append(errs, m.Close())
	}
	d.maps = nil
	return errors.Join(errs...)
}

// embedFiles are part of the program.
type embedFiles struct{ fs embed.FS }

func (e embedFiles) path(name string) string            { return "demo/" + name }
func (e embedFiles) read(name string) ([]byte, error)   { return e.fs.ReadFile(name) }
func (e embedFiles) mapped(name string) ([]byte, error) { return e.fs.ReadFile(name) }
func (embedFiles) mappings() bool                       { return false }
func (embedFiles) release([]byte)                       {}
func (embedFiles) settle()                              {}
func (embedFiles) unchanged(func() (bool, error)) error { return nil }
func (embedFiles) close() error                         { return nil }

// locate resolves a model reference.
func locate(ref string) (files, string, error) {
	if ref == demo.Name {
		return embedFiles{demo.Files}, demo.Name, nil
	}
	info, err := os.Stat(ref)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "", fmt.Errorf("%s: %w: give %q, the path of a Hugging Face model directory or of a GGUF file, or ORG/NAME on the hub", ref, ErrNotFound, demo.Name)
	case err != nil:
		return nil, "", err
	case !info.IsDir() && isGGUF(ref):
		f, name := newGGUFFiles(ref)
		return f, name, nil
	case !info.IsDir():
		return nil, "", fmt.Errorf("%s: %w: this is a file; give the directory that holds config.json and *.safetensors, or a *.gguf file", ref, ErrNoConfig)
	}
	abs, err := filepath.Abs(ref)
	if err != nil {
		return nil, "", err
	}
	return &dirFiles{dir: ref, seen: make(map[string]seenFile)}, nameOf(abs), nil
}

// nameOf is the name of the model in a directory. In the cache of the hub the
// directory is called by a commit, and the one above by the model.
func nameOf(abs string) string {
	above, in := filepath.Split(abs)
	if repo := filepath.Base(filepath.Dir(filepath.Clean(above))); filepath.Base(above) == "snapshots" && strings.HasPrefix(repo, "models--") {
		return repo[strings.LastIndex(repo, "--")+2:]
	}
	return in
}
