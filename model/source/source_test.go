package source

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRead(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "f"), []byte("12345"))
	if data, _, err := Read(path, 5); err != nil || string(data) != "12345" {
		t.Errorf("%q, %v", data, err)
	}
	if _, _, err := Read(path, 4); !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), path) {
		t.Errorf("above the limit: %v", err)
	}
	if _, _, err := Read(path+"x", 4); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if _, _, err := Read(filepath.Dir(path), 4); !errors.Is(err, ErrSpecial) || !strings.Contains(err.Error(), "a directory") {
		t.Errorf("directory: %v", err)
	}
}

// What became of a file is told; a file left alone is the same.
func TestCheck(t *testing.T) {
	content := bytes.Repeat([]byte("x"), 100)
	for name, c := range map[string]struct {
		change  func(path string) error
		touched bool
		want    string
	}{
		"alone":     {change: func(string) error { return nil }},
		"truncated": {change: func(p string) error { return os.Truncate(p, 60) }, want: "truncated while it was in use: 60 of its 100"},
		"grown":     {change: func(p string) error { return os.WriteFile(p, append(content, 'x'), 0o644) }, want: "grew"},
		"rewritten": {change: func(p string) error { return os.WriteFile(p, content, 0o644) }, want: "rewritten"},
		"removed":   {change: os.Remove, want: "removed"},
		"replaced": {change: func(p string) error {
			return errors.Join(os.WriteFile(p+"2", content, 0o644), os.Rename(p+"2", p))
		}, want: "replaced"},
		"no file": {change: func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o755)) }, want: "something else"},
		"link moved": {change: func(p string) error {
			return errors.Join(os.Rename(p, p+"2"), os.WriteFile(p+"3", content, 0o644), os.Symlink(p+"3", p))
		}, want: "replaced"},
		"renamed behind a link": {change: func(p string) error {
			return errors.Join(os.Rename(p, p+"2"), os.Symlink(p+"2", p))
		}, touched: true},
		"mode": {change: func(p string) error { return os.Chmod(p, 0o600) }, touched: true},
		"time set back": {change: func(p string) error {
			info, err := os.Stat(p)
			return errors.Join(err, os.WriteFile(p, content, 0o644), os.Chtimes(p, info.ModTime(), info.ModTime()))
		}, touched: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := write(t, filepath.Join(t.TempDir(), "f"), content)
			m, err := Map(path)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			Settle([]Stamp{m.Stamp})
			if err := c.change(path); err != nil {
				t.Fatal(err)
			}
			touched, err := m.Stamp.Check()
			if c.want == "" {
				if err != nil || touched != c.touched {
					t.Errorf("touched %v, %v", touched, err)
				}
			} else if !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), path) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// A later change has another time, however soon it comes.
func TestSettle(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "f"), []byte("1"))
	for range 5 {
		write(t, path, []byte("1"))
		_, stamp, err := Read(path, 1)
		if err != nil {
			t.Fatal(err)
		}
		Settle([]Stamp{stamp})
		write(t, path, []byte("2"))
		if _, err := stamp.Check(); !errors.Is(err, ErrChanged) {
			t.Fatalf("a rewritten file passes: %v", err)
		}
	}
	begun := time.Now()
	Settle([]Stamp{{touched: begun.Add(time.Hour)}}) // of a clock that was set back
	if time.Since(begun) > time.Minute {
		t.Error("waited for a time to come")
	}
}

func TestMapping(t *testing.T) {
	page := os.Getpagesize()
	content := bytes.Repeat([]byte("abc"), page)
	path := write(t, filepath.Join(t.TempDir(), "f"), content)
	m, err := Map(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range [][]byte{m.Data, m.Data[1:], m.Data[page:], m.Data[:0], nil, content} {
		m.Release(part)
		if !bytes.Equal(m.Data, content) {
			t.Fatal("the data differ after their pages were released")
		}
	}
	if err := errors.Join(m.Close(), m.Close()); err != nil {
		t.Error(err)
	}
	if m, err = Map(write(t, path, nil)); err != nil || len(m.Data) != 0 {
		t.Errorf("empty file: %v", err)
	}
	m.Release(content)
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Map(filepath.Dir(path)); !errors.Is(err, ErrSpecial) {
		t.Errorf("directory: %v", err)
	}
}
