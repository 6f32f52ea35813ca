// Package source reads files that are not nibble's own: a model's, a text. Such a
// path may name something else than a file, a file may be larger than it has any
// reason to be, and it may be cut, replaced or rewritten while it is in use.
//
// [Open] opens regular files only, [Read] reads a bounded one whole, [Map] maps a
// large one. A [Stamp] tells later whether a file is still what it was, and [Guard]
// turns the fault that reading a cut mapping raises into an error.
package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"unicode/utf8"
)

// The kinds of failure.
var (
	ErrSpecial  = errors.New("not a regular file")
	ErrTooLarge = errors.New("too large")
	// ErrChanged is what every [Change] is.
	ErrChanged = errors.New("the file changed while it was in use")
)

// Change says what became of a file while it was in use.
type Change struct {
	Path string
	What string // "was truncated while it was read: 0 of its 100 bytes are left"
}

// Error implements error.
func (c *Change) Error() string {
	return c.Path + " " + c.What + "; give the command again once the file is whole and left alone"
}

// Is makes every Change an ErrChanged.
func (c *Change) Is(target error) bool { return target == ErrChanged }

// Open opens a regular file for reading. What is anything else is neither opened
// blindly, which could wait for ever or move a tape, nor read.
func Open(path string) (*os.File, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if err := regular(path, info); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, err
	}
	// It may have been replaced since it was looked at.
	info, err := f.Stat()
	if err == nil {
		err = regular(path, info)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// kinds names what is no regular file.
var kinds = []struct {
	mode fs.FileMode
	name string
}{
	{fs.ModeDir, "a directory"}, {fs.ModeNamedPipe, "a pipe"}, {fs.ModeSocket, "a socket"}, {fs.ModeCharDevice, "a device"}, {fs.ModeDevice, "a device"},
}

func regular(path string, info fs.FileInfo) error {
	if info.Mode().IsRegular() {
		return nil
	}
	for _, k := range kinds {
		if info.Mode()&k.mode != 0 {
			return fmt.Errorf("%s: %w but %s", path, ErrSpecial, k.name)
		}
	}
	return fmt.Errorf("%s: %w", path, ErrSpecial)
}

// Read reads a regular file of at most limit bytes whole, and stamps it.
func Read(path string, limit int64) ([]byte, Stamp, error) {
	f, err := Open(path)
	if err != nil {
		return nil, Stamp{}, err
	}
	defer f.Close()
	stamp, err := stampOf(path, f)
	if err != nil {
		return nil, Stamp{}, err
	}
	if stamp.size > limit {
		return nil, Stamp{}, fmt.Errorf("%s: %w: it has %d bytes, at most %d are read", path, ErrTooLarge, stamp.size, limit)
	}
	data := make([]byte, stamp.size)
	if _, err := io.ReadFull(f, data); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, Stamp{}, &Change{path, "was truncated while it was read"}
	} else if err != nil {
		return nil, Stamp{}, err
	}
	after, err := stampOf(path, f)
	if err != nil {
		return nil, Stamp{}, err
	}
	if what := stamp.differs(after); what != "" {
		return nil, Stamp{}, &Change{path, what}
	}
	return data, stamp, nil
}

// maxQuote is how much of a file's text a message repeats, in bytes.
const maxQuote = 80

// Quote spells text from a file for a message: in quotes, what controls a terminal
// escaped, and shortened.
func Quote(s string) string {
	if len(s) <= maxQuote {
		return strconv.Quote(s)
	}
	cut := maxQuote
	for cut > maxQuote-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%s… (%d bytes)", strconv.Quote(s[:cut]), len(s))
}
