//go:build linux || darwin || freebsd

package quant

import (
	"time"

	"golang.org/x/sys/unix"
)

// freeDisk is what an ordinary user may write on a directory's file system, -1 if
// that is unknown.
func freeDisk(dir string) int64 {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return -1
	}
	return int64(s.Bavail) * int64(s.Bsize)
}

// processorTime is what all threads of this process have taken of processors.
func processorTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
