package runtime

import (
	"math"

	"nibble/kernels"
)

// unitFactors returns what brings each row of a matrix to length 1.
func unitFactors(e *kernels.Engine, l *kernels.Linear) []float32 {
	factors := make([]float32, l.N())
	e.For(len(factors), func(_, lo, hi int) {
		row := make([]float32, l.K())
		for r := lo; r < hi; r++ {
			l.Row(row, r)
			squares := 0.0
			for _, v := range row {
				squares += float64(v) * float64(v)
			}
			factors[r] = float32(1 / max(math.Sqrt(squares), 1e-7))
		}
	})
	return factors
}
