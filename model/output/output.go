// Package output is where commands put what they make. It checks the place before
// any work, keeps it to one process, and gives what is finished its name in one
// step.
package output

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"nibble/kernels/durable"
)

// What can stand against an output.
var (
	ErrUnwritable = errors.New("output is not writable")
	ErrNotEmpty   = errors.New("output directory is not empty")
	ErrExists     = errors.New("the output file exists already")
	ErrSource     = errors.New("output is in the model's own directory")
	ErrBusy       = errors.New("it is being written")
	ErrDisk       = errors.New("the disk is too small")
)

// Kind is what an output is.
type Kind int

// The kinds.
const (
	Directory Kind = iota
	File
)

// Place is where an output will be.
type Place struct {
	Path     string // as it was given
	Occupied error  // what is there already, ErrNotEmpty or ErrExists; nil if nothing is
	real     string // Path, absolute and with links followed
	kind     Kind
}

// Find checks a path that is to become an output. Links are followed. Beside an
// error there is Occupied for what may be the same output, made before.
func Find(path string, kind Kind) (Place, error) {
	p := Place{Path: path, kind: kind}
	if path == "" {
		return p, fmt.Errorf("%w: no output is given", ErrUnwritable)
	}
	if last := path[len(path)-1]; kind == File && os.IsPathSeparator(last) {
		return p, fmt.Errorf("%s: %w: this names a directory; give the name of a file in it", path, ErrUnwritable)
	}
	var err error
	if p.real, err = follow(path); err != nil {
		return p, p.unwritable(err)
	}
	info, err := os.Lstat(p.real)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return p, p.checkParent()
	case err != nil:
		return p, p.unwritable(err)
	case kind == File:
		p.Occupied = fmt.Errorf("%s: %w: give a new name or remove it first", path, ErrExists)
		return p, nil
	case !info.IsDir():
		return p, fmt.Errorf("%s: %w: a file is in the way; give another name", path, ErrUnwritable)
	}
	entries, err := os.ReadDir(p.real)
	switch {
	case err != nil:
		return p, p.unwritable(err)
	case len(entries) > 0 && p.holdsCurrent():
		p.Occupied = fmt.Errorf("%s: %w: give the name of a new directory in it, such as %s", path, ErrNotEmpty, filepath.Join(path, "model"))
		return p, nil
	case len(entries) > 0:
		p.Occupied = fmt.Errorf("%s: %w: give a new name or remove it first", path, ErrNotEmpty)
		return p, nil
	case isCurrent(info):
		return p, p.unwritable(fmt.Errorf("it is the current directory, which cannot be replaced; give the name of a new directory, such as %s", filepath.Join(path, "model")))
	case isMount(p.real):
		return p, p.unwritable(fmt.Errorf("it is a mount point, which cannot be replaced; give a new directory in it, such as %s", filepath.Join(path, "model")))
	}
	return p, p.checkParent()
}

func (p Place) unwritable(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) && at.Path == p.Path {
		err = at.Err
	}
	return fmt.Errorf("%s: %w: %v", p.Path, ErrUnwritable, err)
}

// checkParent makes sure that the directory of the output can be written, or made.
func (p Place) checkParent() error {
	dir := p.ancestor()
	probe, err := os.MkdirTemp(dir, ".nibble-*")
	if err == nil {
		err = os.Remove(probe)
	}
	if at := (*fs.PathError)(nil); errors.As(err, &at) {
		return p.unwritable(fmt.Errorf("%s: %w", dir, at.Err))
	}
	if err != nil {
		return p.unwritable(err)
	}
	return nil
}

// ancestor is the nearest directory above the output that exists.
func (p Place) ancestor() string {
	dir := filepath.Dir(p.real)
	for {
		if _, err := os.Lstat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// Outside refuses an output that is the directory of the model it is made from, or
// a directory in it.
func (p Place) Outside(source string) error {
	source, err := follow(source)
	if err != nil {
		return nil // it is no directory
	}
	if rest, in := strings.CutPrefix(p.real, source); in && (rest == "" || p.kind == Directory && os.IsPathSeparator(rest[0])) {
		return fmt.Errorf("%s: %w; give a directory outside of it", p.Path, ErrSource)
	}
	return nil
}

// Room refuses an output that needs more bytes than its disk has free.
func (p Place) Room(need int64) error {
	if free := durable.FreeDisk(p.ancestor()); free >= 0 && need > free {
		return fmt.Errorf("%s: %w: %d MB are needed and %d MB are free; free some, or give a place on another disk", p.Path, ErrDisk, (need+1e6-1)/1e6, free/1e6)
	}
	return nil
}

// Work is the directory in which the output is made: a hidden one beside it, on the
// same file system, the same each time.
func (p Place) Work() string {
	return filepath.Join(filepath.Dir(p.real), "."+filepath.Base(p.real)+".partial")
}

func (p Place) lock() string { return filepath.Join(p.Work(), lockName) }

const lockName = "lock"

// Busy returns the error of Claim if another process has the place.
func (p Place) Busy() error {
	if owner, held := durable.HeldBy(p.lock()); held {
		return p.busy(&durable.Held{Owner: owner})
	}
	return nil
}

func (p Place) busy(held *durable.Held) error {
	return fmt.Errorf("%s: %w: %s: wait for it to end, or give another name", p.Path, ErrBusy, held.Owner)
}
