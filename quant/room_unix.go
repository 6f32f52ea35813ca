//go:build linux || darwin || freebsd

package quant

import "golang.org/x/sys/unix"

// freeDisk is what an ordinary user may write on a directory's file system, -1 if
// that is unknown.
func freeDisk(dir string) int64 {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return -1
	}
	return int64(s.Bavail) * int64(s.Bsize)
}
