package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// Stamp is what tells one state of a file from another without reading it.
type Stamp struct {
	path     string
	size     int64
	modified time.Time // of the content; programs can set it back
	touched  time.Time // of anything; they cannot. Zero where the system has no such time
	id       fileID
}

// differs says what became of a file, "" if its content seems to be the same.
func (s Stamp) differs(now Stamp) string {
	switch {
	case s.id != now.id:
		return "was replaced by another file while it was in use"
	case now.size < s.size:
		return fmt.Sprintf("was truncated while it was in use: %d of its %d bytes are left", now.size, s.size)
	case now.size != s.size:
		return fmt.Sprintf("grew while it was in use, from %d to %d bytes", s.size, now.size)
	case !s.modified.Equal(now.modified):
		return "was rewritten while it was in use"
	}
	return ""
}

// Check looks at the file again. An error says what became of it. Where touched is
// true only its status differs: a new mode or link, or a content whose time was set
// back, which only reading it can tell.
func (s Stamp) Check() (touched bool, err error) {
	f, err := Open(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, &Change{s.path, "was removed while it was in use"}
	case errors.Is(err, ErrSpecial):
		return false, &Change{s.path, "was replaced by something else while it was in use"}
	case err != nil:
		return false, err
	}
	defer f.Close()
	now, err := stampOf(s.path, f)
	if err != nil {
		return false, err
	}
	if what := s.differs(now); what != "" {
		return false, &Change{s.path, what}
	}
	return !s.touched.Equal(now.touched), nil
}

// Path names the file.
func (s Stamp) Path() string { return s.path }

// tick is more than the steps in which local file systems of Unix count time.
const tick = 15 * time.Millisecond

// Settle waits, a moment at most, until any further change of the files gets a
// time that differs from the stamps'.
func Settle(stamps []Stamp) {
	var last time.Time
	for _, s := range stamps {
		if s.touched.After(last) {
			last = s.touched
		}
	}
	if age := time.Since(last); age >= 0 && age < tick {
		time.Sleep(tick - age)
	}
}

// stampOf stamps an open file.
func stampOf(path string, f *os.File) (Stamp, error) {
	info, err := f.Stat()
	if err != nil {
		return Stamp{}, err
	}
	s := Stamp{path: path, size: info.Size(), modified: info.ModTime()}
	return s, s.identify(f)
}
