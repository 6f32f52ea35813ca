// Package durabletest damages files as disks and crashes do, for the tests of what
// reads them.
package durabletest

import (
	"fmt"
	"slices"
)

// Damage calls f with a copy of data for every way to damage it, at so many places:
// a bit that flipped, the end missing, a stretch of zeros, a stretch there twice.
func Damage(data []byte, places int, f func(how string, bad []byte)) {
	const stretch = 64
	for i := 0; i < len(data); i += 1 + len(data)/places {
		end := min(len(data), i+stretch)
		flipped, zeroed := slices.Clone(data), slices.Clone(data)
		flipped[i] ^= 1 << (i % 8)
		clear(zeroed[i:end])
		f(fmt.Sprintf("bit %d of byte %d flipped", i%8, i), flipped)
		f(fmt.Sprintf("cut to %d bytes", i), slices.Clone(data[:i]))
		f(fmt.Sprintf("zeros from byte %d on", i), zeroed)
		f(fmt.Sprintf("bytes %d to %d twice", i, end), slices.Concat(data[:end], data[i:]))
	}
}
