package grid

import (
	"math"

	"nibble/kernels"
)

// LeastScale is the smallest scale that F16 holds with two bits more than the codes
// have; what is smaller spoils the codes.
func LeastScale(s kernels.Scheme) float64 { return math.Ldexp(1, s.Bits+1-24) }

// CoarseRows counts the rows of a quantized matrix, not all zeros, whose scales are
// all too small.
func CoarseRows(q *kernels.QTensor, row func(buf []float32, r int) []float32) int {
	least, groups, n := kernels.F32ToF16(float32(LeastScale(q.Scheme))), q.Groups(), 0
	var buf []float32
	for r := range q.Rows {
		most := uint16(0)
		for _, s := range q.Scales[r*groups : (r+1)*groups] {
			if most = max(most, s&0x7fff); most >= least {
				break
			}
		}
		if most >= least {
			continue
		}
		if buf == nil {
			buf = make([]float32, q.Cols)
		}
		for _, v := range row(buf, r) {
			if v != 0 {
				n++
				break
			}
		}
	}
	return n
}
