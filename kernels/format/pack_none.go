//go:build (!amd64 && !arm64) || noasm

package format

// archPackNibbles and archPackBytes report that there is no assembly for packing.
func archPackNibbles(_, _ []byte, _, _ int) bool { return false }

func archPackBytes(_, _ []byte, _, _ int) bool { return false }
