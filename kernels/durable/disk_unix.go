//go:build linux || darwin || freebsd

package durable

import "golang.org/x/sys/unix"

// FreeDisk is what an ordinary user may write on a directory's file system, -1 if
// that is unknown.
func FreeDisk(dir string) int64 {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return -1
	}
	return int64(s.Bavail) * int64(s.Bsize)
}
