//go:build !linux && !noasm

package cpu

// allowAMX is false where nibble does not know how to ask for AMX tiles.
func allowAMX() bool { return false }
