package matmul

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"nibble/kernels/cpu"
	"nibble/kernels/kerneltest"
	"nibble/kernels/vector"
)

// Every kernel's float products that are added to what is there have the bits of plain
// Go; TestFloatProducts says so of the others.
func TestAddedProductsGiveTheSameBits(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	plain := testEngine(t, Options{ISA: cpu.Generic, Threads: 1})
	for _, kernel := range floatKernels()[1:] {
		if !kerneltest.Best().Allows(kernel.ISA) {
			continue
		}
		e := testEngine(t, Options{ISA: kernel.ISA, Threads: 1})
		e.float = func() floatChoice { return floatChoice{floatKernel: kernel} }
		for _, c := range [][3]int{{1, 1, 1}, {3, 15, 2}, {21, 16, 7}, {21, 33, 8}, {5, 172, 1}, {18, 172, 6}, {21, 400, 3}, {5, 400, 50}, {17, 1030, 1}, {4, 1030, 105}} {
			n, k, m := c[0], c[1], c[2]
			w, x, start := vector.Matrix{Rows: n, Cols: k, Stride: k, Data: kerneltest.Normals(rng, n*k)}, vector.Matrix{Rows: m, Cols: k, Stride: k, Data: kerneltest.Normals(rng, m*k)}, kerneltest.Normals(rng, m*n)
			add := func(e *Engine) []float32 {
				dst := vector.Matrix{Rows: m, Cols: n, Stride: n, Data: slices.Clone(start)}
				kerneltest.Must(t, e.AddMulTransposed(context.Background(), dst, x, w))
				return dst.Data
			}
			kerneltest.SameBits(t, fmt.Sprintf("%s %v", kernel, c), add(e), add(plain))
		}
	}
}
