//go:build linux || darwin || freebsd

package plan

import (
	"time"

	"golang.org/x/sys/unix"
)

// processorTime is what all threads of this process have taken of processors.
func processorTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
