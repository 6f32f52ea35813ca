//go:build linux || darwin || freebsd

package quant

import "golang.org/x/sys/unix"

// addressSpace is how much more a process that takes some may take of addresses
// (ulimit -v), -1 if there is no limit.
func addressSpace(taken int64) int64 {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_AS, &l) != nil || l.Cur >= 1<<62 {
		return -1
	}
	return max(0, int64(l.Cur)-taken)
}
