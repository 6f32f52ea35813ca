package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// abandoned is the age at which a half-written file has no writer any more.
const abandoned = 24 * time.Hour

// WriteFile gives a file new content, whose parts follow each other, in one step:
// after a crash there is the old file or the new one, whole. It makes the directory
// if there is none. Any number of processes may write the same file: the last wins.
func WriteFile(path string, parts ...[]byte) error {
	dir, base := filepath.Split(path)
	if err := os.MkdirAll(filepath.Clean(dir), 0o755); err != nil {
		return err
	}
	prefix := "." + base + ".new-"
	removeAbandoned(filepath.Clean(dir), prefix)
	next := filepath.Join(dir, fmt.Sprintf("%s%d-%08x", prefix, os.Getpid(), rand.Uint32()))
	f, err := os.OpenFile(next, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if err == nil {
			_, err = f.Write(p)
		}
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		os.Remove(next) //nolint:errcheck // what failed is told
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// removeAbandoned removes what killed writers left half-written.
func removeAbandoned(dir, prefix string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasPrefix(e.Name(), prefix) && time.Since(info.ModTime()) > abandoned {
			os.Remove(filepath.Join(dir, e.Name())) //nolint:errcheck // another attempt follows
		}
	}
}

// SyncDir makes the names in a directory durable, where the file system can.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err == nil {
		err = errors.Join(d.Sync(), d.Close())
	}
	if slices.ContainsFunc(cannotSync, func(e error) bool { return errors.Is(err, e) }) {
		return nil
	}
	return err
}

// cannotSync is what file systems and systems answer that have no such operation.
var cannotSync = []error{fs.ErrInvalid, errors.ErrUnsupported, fs.ErrPermission}
