package kernels

import (
	"math/rand/v2"
	"testing"

	"nibble/kernels/cpu"
	"nibble/kernels/kerneltest"
)

func TestTranspose(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 8))
	for _, isa := range cpu.Supported() {
		e := testEngine(t, Options{ISA: isa, Threads: 3})
		for _, c := range [][2]int{{1, 1}, {8, 8}, {7, 9}, {64, 65}, {130, 24}, {23, 200}} {
			src := Matrix{Rows: c[0], Cols: c[1], Stride: c[1] + 5, Data: kerneltest.Normals(rng, c[0]*(c[1]+5))}
			whole := NewMatrix(c[1]+1, c[0]+3)
			e.Transpose(whole.Sub(0, c[1], 0, c[0]), src)
			for i := range whole.Rows {
				for j, got := range whole.Row(i) {
					want := float32(0) // beyond the edge
					if i < c[1] && j < c[0] {
						want = src.Row(j)[i]
					}
					if got != want {
						t.Fatalf("%s %v: element %d, %d is %g, want %g", isa, c, i, j, got, want)
					}
				}
			}
		}
	}
}
