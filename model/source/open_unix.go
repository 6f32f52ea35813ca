//go:build unix

package source

import "golang.org/x/sys/unix"

// nonblock keeps the opening of a pipe that took a file's place from waiting for a
// writer. Reading regular files ignores it.
const nonblock = unix.O_NONBLOCK
