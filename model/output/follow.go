package output

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// maxLinks is how many links may follow each other.
const maxLinks = 40

// follow returns the absolute path that a path comes to when all links are followed,
// also those to what does not exist yet.
func follow(path string) (string, error) {
	if !filepath.IsAbs(path) {
		dir, err := os.Getwd()
		if err != nil {
			return "", err
		}
		path = dir + string(filepath.Separator) + path // not cleaned: what is before .. may be a link
	}
	for range maxLinks {
		real, err := existing(path)
		if err != nil {
			return "", err
		}
		target, err := os.Readlink(real)
		if err != nil {
			return real, nil // it is no link
		}
		if !filepath.IsAbs(target) {
			target = filepath.Dir(real) + string(filepath.Separator) + target
		}
		path = target
	}
	return "", fmt.Errorf("more than %d links follow each other", maxLinks)
}

// existing follows the links of the part of a path that exists.
func existing(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return real, err
	}
	for path != "" && os.IsPathSeparator(path[len(path)-1]) {
		path = path[:len(path)-1]
	}
	parent, name := filepath.Split(path) // which cleans nothing: links come before ..
	if parent == "" {
		return "", err
	}
	if real, err = existing(parent); err != nil {
		return "", err
	}
	return filepath.Join(real, name), nil
}

// holdsCurrent reports whether a place is the current directory, or one above it.
func (p Place) holdsCurrent() bool {
	here, err := follow(".")
	if err != nil {
		return false
	}
	rest, err := filepath.Rel(p.real, here)
	return err == nil && filepath.IsLocal(rest)
}

// isCurrent reports whether a directory is the current one.
func isCurrent(info fs.FileInfo) bool {
	here, err := os.Stat(".")
	return err == nil && os.SameFile(here, info)
}
