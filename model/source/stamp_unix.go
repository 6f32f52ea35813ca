//go:build unix

package source

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// fileID is a file, whatever its name and content.
type fileID struct{ device, inode uint64 }

func (s *Stamp) identify(f *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return &os.PathError{Op: "stat", Path: s.path, Err: err}
	}
	s.id = fileID{uint64(st.Dev), uint64(st.Ino)} //nolint:unconvert // narrower on some systems
	s.touched = time.Unix(st.Ctim.Unix())
	return nil
}
