package eval

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"nibble/kernels"
	rt "nibble/runtime"
)

// cache is a directory of what base models answered: hidden states and answers
// to questions. It may be deleted at any time, and any number of processes may
// use it: a file appears whole under its name, and its name says what it holds.
type cache struct {
	dir   string // "" keeps nothing
	limit int64  // of all files together, in bytes
}

// maxCache bounds the cache. The longest unused files go first.
const maxCache = 8 << 30

// cachePrefix begins the names of the cache's files, partial ones with a dot
// before it. The directory may hold others.
const cachePrefix = "reference-"

func newCache(dir string) cache { return cache{dir, maxCache} }

// key names what a file holds: the SHA-256 of all that its content depends on.
// The program's own hash stands for its code, so that figures of another build
// are never mixed in. A model that is no checkpoint's has no key, "".
func (c cache) key(m *rt.Model, parts ...any) string {
	program := kernels.ProgramHash()
	if c.dir == "" || program == "" || m.Hash() == "" {
		return ""
	}
	data, err := json.Marshal(append([]any{program, m.Engine.ISA(), m.Hash()}, parts...))
	if err != nil {
		panic(err) // parts are strings and numbers
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// path is where the file of a key is kept.
func (c cache) path(key, ext string) string {
	return filepath.Join(c.dir, cachePrefix+key[:32]+ext)
}

// open opens a kept file and marks it as used.
func (c cache) open(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	_ = os.Chtimes(path, now, now) // a cache of another user works as well
	return f, nil
}

// create begins a file that publish gives its name.
func (c cache) create() (*os.File, error) {
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return nil, err
	}
	return os.CreateTemp(c.dir, "."+cachePrefix+"*")
}

// publish makes a file durable and visible, and removes what is too much.
func (c cache) publish(f *os.File, path string) error {
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	c.trim(filepath.Base(path))
	return nil
}

// put keeps a small file.
func (c cache) put(path string, data []byte) error {
	f, err := c.create()
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone once it has its name
	if _, err := f.Write(data); err != nil {
		f.Close()
		return err
	}
	return c.publish(f, path)
}

// abandoned is the age at which a partial file has no writer any more.
const abandoned = 24 * time.Hour

// trim removes the longest unused files until the rest keeps the limit, and
// partial files that a killed process left; but not the one named.
func (c cache) trim(keep string) {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return
	}
	var kept []os.FileInfo
	total := int64(0)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		switch {
		case strings.HasPrefix(e.Name(), "."+cachePrefix) && time.Since(info.ModTime()) > abandoned:
			_ = os.Remove(filepath.Join(c.dir, e.Name()))
		case strings.HasPrefix(e.Name(), cachePrefix):
			kept = append(kept, info)
			total += info.Size()
		}
	}
	slices.SortFunc(kept, func(a, b os.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), cmp.Compare(a.Name(), b.Name()))
	})
	for _, info := range kept {
		if total <= c.limit {
			return
		}
		if info.Name() != keep && os.Remove(filepath.Join(c.dir, info.Name())) == nil {
			total -= info.Size()
		}
	}
}
