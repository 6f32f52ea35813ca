//go:build !darwin && !noasm

package cpu

import "golang.org/x/sys/cpu"

// hasI8MM reports the 8-bit matrix multiply, which cpuid does not know.
func hasI8MM() bool { return cpu.ARM64.HasI8MM }
