package vector

import "math"

// RoundSums adds up what rounding does to weights. Each sum is kept in four lanes,
// the column modulo 4, so that every tier adds in the same order.
type RoundSums struct {
	Err    [4]float64 // squared errors
	Energy [4]float64 // squared weights; not finite exactly if a weight is not
	Worst  [4]float64 // largest errors
}

// Grid is the values a group can take: (code - Zero) * Scale, for codes from Low
// to High.
type Grid struct {
	Scale           float32 // an F16 value
	Zero, Low, High int
}

// Range returns the least and the largest of x and 0.
func (ops *Ops) Range(x []float32) (lo, hi float32) { return ops.extent(x) }

// RoundGroup stores the nearest codes of a group's weights in dst, as
// [QTensor.Codes] has them, and adds to sums. Ties go to even multiples of the
// scale. A zero scale, of a group of zeros or of values too small for F16, gives
// the zero point.
func (ops *Ops) RoundGroup(dst []byte, x []float32, bits int, g Grid, sums *RoundSums) {
	if g.Scale == 0 {
		roundGroupGeneric(dst, x, bits, g, sums)
		return
	}
	ops.roundGroup(dst, x, bits, g, sums)
}

func extentGeneric(x []float32) (lo, hi float32) {
	for _, v := range x {
		if v < lo {
			lo = v
		}
		if v > hi {
			hi = v
		}
	}
	return lo, hi
}

// roundGroupGeneric divides in float64, where the quotient of a float32 and an
// F16 is never rounded across the middle between two codes, and where the error
// before it is squared is exact.
func roundGroupGeneric(dst []byte, x []float32, bits int, g Grid, sums *RoundSums) {
	scale, zero, low, high := float64(g.Scale), float64(g.Zero), float64(g.Low), float64(g.High)
	for i, w := range x {
		v, code := float64(w), zero
		if scale != 0 {
			code = max(low, min(high, math.RoundToEven(v/scale)+zero))
		}
		if bits == 8 {
			dst[i] = uint8(int(code))
		} else if i%2 == 0 {
			dst[i/2] = uint8(int(code)) & 15
		} else {
			dst[i/2] |= uint8(int(code)) << 4
		}
		d := v - (code-zero)*scale
		sums.Err[i%4] += float64(d * d)
		sums.Energy[i%4] += v * v
		sums.Worst[i%4] = max(sums.Worst[i%4], math.Abs(d))
	}
}
