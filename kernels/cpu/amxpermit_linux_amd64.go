//go:build !noasm

package cpu

import "golang.org/x/sys/unix"

// allowAMX asks the system for the use of AMX tiles, whose 8 KB of state a process
// gets only on request ("Using XSTATE features in user space applications" of the
// kernel's documentation). Signals save that state on the stack of their handler,
// of which Go's has four times the room.
func allowAMX() bool {
	const (
		requestPermission = 0x1023 // ARCH_REQ_XCOMP_PERM
		tileData          = 18     // XFEATURE_XTILEDATA
	)
	_, _, errno := unix.RawSyscall(unix.SYS_ARCH_PRCTL, requestPermission, tileData, 0)
	return errno == 0
}
