package vector

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"nibble/kernels/cpu"
	"nibble/kernels/number"
)

// Every tier rounds and adds up as the reference does, bit for bit, also where
// quotients fall on and next to the middle between two codes.
func TestRoundGroup(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, isa := range cpu.Supported() {
		e := testEngine(t, Options{Threads: 1, ISA: isa})
		for _, bits := range []int{4, 8} {
			for _, n := range []int{1, 7, 8, 31, 32, 128, 1001} {
				for _, g := range []Grid{{0.125, 8, 0, 15}, {-0.0371, 8, 0, 15}, {0.9, 3, 0, 15}, {0, 5, 0, 15}, {1e-7, 8, 1, 15}} {
					if bits == 8 {
						g.Zero, g.High = g.Zero*9, 255
					}
					g.Scale = number.F16ToF32(number.F32ToF16(g.Scale))
					x := make([]float32, n)
					for i := range x {
						x[i] = float32(rng.NormFloat64())
						switch rng.IntN(4) {
						case 0: // a middle
							x[i] = (float32(rng.IntN(20)-10) + 0.5) * g.Scale
						case 1: // next to one
							x[i] = math.Nextafter32((float32(rng.IntN(20)-10)+0.5)*g.Scale, x[i])
						}
					}
					want, got := make([]byte, n), make([]byte, n)
					var a, b RoundSums
					for range 2 { // sums go on
						roundGroupGeneric(want, x, bits, g, &a)
						e.RoundGroup(got, x, bits, g, &b)
					}
					if string(got) != string(want) || a != b {
						t.Errorf("%s: %d bits, %d weights, %+v: codes %x and %+v, want %x and %+v", isa, bits, n, g, got, b, want, a)
					}
					lo, hi := extentGeneric(x)
					if l, h := e.Range(x); l != lo || h != hi {
						t.Errorf("%s: range of %d weights %g to %g, want %g to %g", isa, n, l, h, lo, hi)
					}
				}
			}
		}
	}
}

// A weight that is not finite shows in the energy.
func TestRoundGroupOfDamaged(t *testing.T) {
	for _, isa := range cpu.Supported() {
		e := testEngine(t, Options{Threads: 1, ISA: isa})
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			for _, at := range []int{0, 13, 34} {
				x := make([]float32, 35)
				x[at] = float32(bad)
				var s RoundSums
				e.RoundGroup(make([]byte, 35), x, 8, Grid{0.5, 128, 1, 255}, &s)
				if v := s.Energy[at%4]; !math.IsNaN(v) && !math.IsInf(v, 0) {
					t.Errorf("%s: %g at %d leaves the energy %g", isa, bad, at, v)
				}
			}
		}
	}
}

func BenchmarkRoundGroup(b *testing.B) {
	for _, isa := range cpu.Supported() {
		for _, bits := range []int{4, 8} {
			b.Run(fmt.Sprintf("%s/w%d", isa, bits), func(b *testing.B) {
				e := testEngine(b, Options{Threads: 1, ISA: isa})
				x, dst := make([]float32, 4096), make([]byte, 4096)
				for i := range x {
					x[i] = float32(i%17) * 0.1
				}
				b.SetBytes(int64(4 * len(x)))
				var s RoundSums
				for b.Loop() {
					for g := 0; g < len(x); g += 32 {
						lo, hi := e.Range(x[g : g+32])
						e.RoundGroup(dst[g*bits/8:], x[g:g+32], bits, Grid{(hi - lo) / 15, 8, 0, 15}, &s)
					}
				}
			})
		}
	}
}
