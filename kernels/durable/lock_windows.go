package durable

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockFile locks an open file, for itself or shared. It returns false if a lock of
// another stands against that. What is locked is a byte far behind the content,
// which others can read so.
func lockFile(f *os.File, exclusive bool) bool {
	flags := uint32(windows.LOCKFILE_FAIL_IMMEDIATELY)
	if exclusive {
		flags |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &windows.Overlapped{OffsetHigh: 1 << 30})
	return !errors.Is(err, windows.ERROR_LOCK_VIOLATION) && !errors.Is(err, windows.ERROR_IO_PENDING)
}
