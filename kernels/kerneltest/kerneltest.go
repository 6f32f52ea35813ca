// Package kerneltest has what tests of the packages of kernels share.
package kerneltest

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"nibble/kernels/cpu"
)

// Must ends a test on an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Normals returns n normally distributed numbers.
func Normals(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

// SameBits compares results bit for bit, but for which NaN a NaN is.
func SameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i, w := range want {
		if g := got[i]; math.Float32bits(g) != math.Float32bits(w) && (g == g || w == w) {
			t.Fatalf("%s: element %d is %g (%#08x), plain Go gives %g (%#08x)", what, i, g, math.Float32bits(g), w, math.Float32bits(w))
		}
	}
}

// Best is the highest tier of this CPU.
func Best() cpu.ISA {
	tiers := cpu.Supported()
	return tiers[len(tiers)-1]
}

// BestOf runs f until the benchmark's time is used and returns the nanoseconds
// of the fastest run: on a machine shared with others the fastest run is the one
// that was not disturbed.
func BestOf(b *testing.B, f func()) float64 {
	best := math.Inf(1)
	f() // warm caches and page tables
	for b.Loop() {
		start := time.Now()
		f()
		best = min(best, float64(time.Since(start).Nanoseconds()))
	}
	return best
}
