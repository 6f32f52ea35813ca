//go:build unix

package source

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What is no file is refused at once, by every way in and through links.
func TestSpecial(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Skip(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(fifo, link); err != nil {
		t.Fatal(err)
	}
	paths := map[string]string{fifo: "a pipe", link: "a pipe", os.DevNull: "a device", dir: "a directory"}
	if l, err := net.Listen("unix", filepath.Join(dir, "s")); err == nil {
		defer l.Close()
		paths[filepath.Join(dir, "s")] = "a socket"
	}
	for path, kind := range paths {
		for how, open := range map[string]func() error{
			"Open": func() error { _, err := Open(path); return err },
			"Read": func() error { _, _, err := Read(path, 1<<20); return err },
			"Map":  func() error { _, err := Map(path); return err },
		} {
			if err := open(); !errors.Is(err, ErrSpecial) || !strings.Contains(err.Error(), path) || !strings.HasSuffix(err.Error(), kind) {
				t.Errorf("%s %s: %v", how, path, err)
			}
		}
	}
}

// Reading a mapping whose file was cut is an error that names the file, also from
// a goroutine that guards itself; other panics pass.
func TestGuard(t *testing.T) {
	page := os.Getpagesize()
	path := write(t, filepath.Join(t.TempDir(), "weights"), make([]byte, 3*page))
	m, err := Map(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := Guard(func() error { return nil }); err != nil {
		t.Error(err)
	}
	if err := os.Truncate(path, int64(page)); err != nil {
		t.Fatal(err)
	}
	sum := byte(0)
	read := func() error {
		for _, b := range m.Data {
			sum += b
		}
		return nil
	}
	elsewhere := func() error {
		failed := make(chan error)
		go func() { failed <- Guard(read) }()
		if err := <-failed; err != nil {
			panic(err)
		}
		return nil
	}
	copied := func() error { copy(make([]byte, len(m.Data)), m.Data); return nil }
	for name, f := range map[string]func() error{"read": read, "elsewhere": elsewhere, "copied": copied} {
		err := Guard(f)
		if !errors.Is(err, ErrChanged) || !strings.HasPrefix(err.Error(), path+" was truncated while it was read: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Guard(func() error { sum += m.Data[page-1]; return nil }); err != nil {
		t.Errorf("what is left cannot be read: %v", err)
	}
	for name, f := range map[string]func() error{
		"other": func() error { panic("boom") },
		"nil":   func() error { var p *int; *p = 1; return nil },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: the panic was lost", name)
				}
			}()
			t.Errorf("%s: %v", name, Guard(f))
		}()
	}
}
