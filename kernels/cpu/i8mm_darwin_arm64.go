//go:build !noasm

package cpu

import "golang.org/x/sys/unix"

// hasI8MM reports the 8-bit matrix multiply, which cpuid does not know. The name
// is Apple's, "Determining Instruction Set Characteristics".
func hasI8MM() bool {
	v, err := unix.SysctlUint32("hw.optional.arm.FEAT_I8MM")
	return err == nil && v != 0
}
