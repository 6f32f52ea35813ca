// Package slowtest tells whether tests shall prove what takes too long for every run
// of them: NIBBLE_SLOW=1 in the environment asks for it, and CI does.
package slowtest

import "os"

// On reports whether slow proofs are asked for.
func On() bool { return os.Getenv("NIBBLE_SLOW") != "" }

// Skip leaves a test out unless slow proofs are asked for.
func Skip(t interface{ Skip(...any) }) {
	if !On() {
		t.Skip("slow: NIBBLE_SLOW=1 runs it")
	}
}

// Or is the whole of what can be tested where slow proofs are asked for, and else a
// part of it.
func Or[T any](part, whole T) T {
	if On() {
		return whole
	}
	return part
}
