package grid

import (
	"math"

	"nibble/kernels"
)

// The codes of 8 bits: GGUF's Q8_0 need not hold -128, and the largest is 16 times
// the largest of 4 bits and half a step of theirs.
const (
	topLeast = -127
	topMost  = 16*7 + 7
)

// Raise gives rows of a matrix 8 bits, rounded to nearest. row returns a row's
// weights, which it may decode into the buffer that it gets.
func Raise(eng *kernels.Engine, q *kernels.QTensor, row func(buf []float32, r int) []float32, rows []int32) {
	q.TopRows, q.TopCodes = rows, make([]byte, len(rows)*q.RowBytes())
	further := &kernels.QTensor{Rows: len(rows), Cols: q.Cols, Scheme: kernels.Scheme{Bits: 4, Group: q.Scheme.Group, Sym: true}, Codes: q.TopCodes}
	width := q.Scheme.GroupWidth(q.Cols)
	eng.For(len(rows), func(_, lo, hi int) {
		buf := make([]float32, q.Cols)
		for i := lo; i < hi; i++ {
			r := int(rows[i])
			w := row(buf, r)
			for g := range q.Groups() {
				from, to := g*width, min((g+1)*width, q.Cols)
				x := w[from:to]
				small := topScale(x)
				q.Scales[r*q.Groups()+g] = kernels.F32ToF16(16 * small)
				for c, v := range x {
					n := 0
					if small != 0 {
						n = int(math.RoundToEven(min(max(float64(v)/float64(small), topLeast), topMost)))
					}
					high := (n + 136) >> 4 // leaves -8 to 7
					q.SetCode(r, from+c, uint8(high))
					further.SetCode(i, from+c, uint8(n-16*(high-8)+8))
				}
			}
		}
	})
}

// topScale returns the scale of a group of 8 bits, so that 16 times it has an F16
// value as well.
func topScale(x []float32) float32 {
	lo, hi := rangeOf(x)
	up := max(-lo/-topLeast, hi/topMost)
	if down := max(hi/-topLeast, -lo/topMost); down < up {
		up = -down // of the other sign: the larger side has more codes
	}
	up = max(min(up, maxTopScale), -maxTopScale)
	return kernels.F16ToF32(RoundScale(up))
}

// maxTopScale is a sixteenth of the largest F16.
const maxTopScale = 65504.0 / 16
