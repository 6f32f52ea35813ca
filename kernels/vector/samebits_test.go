package vector

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"nibble/kernels/cpu"
	"nibble/kernels/kerneltest"
	"nibble/kernels/number"
)

// forTiers runs f with the engines of plain Go and of each other tier.
func forTiers(t *testing.T, f func(t *testing.T, plain, e *Engine)) {
	plain := testEngine(t, Options{ISA: cpu.Generic, Threads: 2})
	for _, isa := range cpu.Supported()[1:] {
		t.Run(string(isa), func(t *testing.T) { f(t, plain, testEngine(t, Options{ISA: isa, Threads: 2})) })
	}
}

// Every tier's operations on vectors give the bits of plain Go, for every length and
// for values that overflow, underflow and are not numbers, and write no further.
func TestVectorOpsGiveTheSameBits(t *testing.T) {
	forTiers(t, func(t *testing.T, plain, e *Engine) {
		rng := rand.New(rand.NewPCG(5, 6))
		nan, inf := float32(math.NaN()), float32(math.Inf(1))
		for n := 1; n <= 70; n++ {
			x, up := kerneltest.Normals(rng, n), kerneltest.Normals(rng, n)
			finite := slices.Clone(x)
			for i := range x {
				x[i] *= 30
			}
			for i, v := range []float32{-200, 100, -inf, nan, 88, -87.5, -87.33654, 88.37626, 1e-40, 0} {
				if n > 3*i+20 {
					x[3*i] = v
				}
			}
			const guard = -4321
			// on runs an operation that changes a vector, on a copy of each.
			on := func(what string, op func(e *Engine, dst []float32)) {
				t.Helper()
				got, want := append(slices.Clone(finite), guard), slices.Clone(finite)
				op(e, got[:n])
				op(plain, want)
				kerneltest.SameBits(t, fmt.Sprintf("%s of %d", what, n), got, append(want, guard))
			}
			for name, v := range map[string][]float32{"numbers": finite, "anything": x} {
				on("exp of "+name, func(e *Engine, dst []float32) {
					sum := e.Exp(dst, v, 1)
					if n > 1 {
						dst[0] = sum
					}
				})
				on("SwiGLU of "+name, func(e *Engine, dst []float32) { e.SwiGLU(dst, v, up) })
				on("norm of "+name, func(e *Engine, dst []float32) { e.RMSNorm(dst, v, up, 1e-5) })
				on("sum of "+name, func(e *Engine, dst []float32) { e.Add(dst, v) })
				on("softmax of "+name, func(e *Engine, dst []float32) { copy(dst, v); e.Softmax(dst) })
				on("logarithm of the sum of "+name, func(e *Engine, dst []float32) { dst[0] = float32(e.LogSumExp(v)) })
			}
			on("maximum", func(e *Engine, dst []float32) { dst[0] = e.Ops.maximum(finite) })
			on("scaling", func(e *Engine, dst []float32) { e.Ops.ScaleMul(dst, x, up, 0.3) })
			cos, sin := make([]float32, n), make([]float32, n)
			for i := range cos {
				s, c := math.Sincos(float64(i))
				cos[i], sin[i] = float32(c), float32(s)
			}
			on("rotation, first", func(e *Engine, dst []float32) { e.Rotate(dst, slices.Clone(up), cos, sin) })
			on("rotation, second", func(e *Engine, dst []float32) { e.Rotate(slices.Clone(up), dst, cos, sin) })
			half, wantHalf := append(make([]uint16, n), 77), append(make([]uint16, n), 77)
			e.Ops.EncodeF16(half[:n], x)
			plain.Ops.EncodeF16(wantHalf[:n], x)
			for i, w := range wantHalf {
				if f := number.F16ToF32(w); half[i] != w && f == f {
					t.Fatalf("half of %d: element %d became %#04x, want %#04x", n, i, half[i], w)
				}
			}
		}
	})
}
