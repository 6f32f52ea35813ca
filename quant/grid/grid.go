package grid

import (
	"math"

	"nibble/kernels"
)

// Grid is the values a group can take: (code - zero) * scale, or the entries of a code
// table times the scale.
type Grid struct {
	Scale uint16 // F16 bits
	Zero  int
}

// Code returns the nearest code. A zero scale, of a group of zeros or of values
// too small for F16, gives the zero point.
func Code(v, scale float32, zero int, s kernels.Scheme) int {
	if e := tables[s.Table]; e != nil {
		if scale == 0 {
			return int(e.smallest())
		}
		return int(e.code(float64(v) / float64(scale)))
	}
	if scale == 0 {
		return zero
	}
	q := math.RoundToEven(float64(v)/float64(scale)) + float64(zero)
	return int(max(float64(s.MinCode()), min(float64(s.MaxCode()), q))) // clipped first: q may exceed an int
}

// RoundScale stores a scale as F16, at most the largest finite one.
func RoundScale(s float64) uint16 {
	return kernels.F32ToF16(float32(max(-65504, min(65504, s))))
}

// rangeOf returns the least and the largest weight, zero included: the zero
// point is a code, so every grid holds zero.
func rangeOf(x []float32) (lo, hi float64) {
	for _, v := range x {
		lo, hi = min(lo, float64(v)), max(hi, float64(v))
	}
	return lo, hi
}

// plainGrid spans the group's range.
func plainGrid(x []float32, s kernels.Scheme) Grid {
	lo, hi := rangeOf(x)
	return Span(lo, hi, s)
}

// Span spans a range that holds zero.
//
// Symmetric codes of 4 bits reach from -8 to 7: the weight of largest magnitude,
// whatever its sign, is put on the -8 by a scale of the opposite sign, so that
// the whole range is used (the same choice as GGUF's Q4_0). With 8 bits it is
// put on -127, and on the first entry of a code table likewise.
func Span(lo, hi float64, s kernels.Scheme) Grid {
	if s.Sym {
		extreme := lo
		if hi > -lo {
			extreme = hi
		}
		return Grid{RoundScale(-extreme / Reach(s)), s.MidCode()}
	}
	top := s.MaxCode()
	scale := RoundScale((hi - lo) / float64(top))
	zero := 0
	if s := float64(kernels.F16ToF32(scale)); s > 0 {
		zero = max(0, min(top, int(math.RoundToEven(-lo/s))))
	}
	return Grid{scale, zero}
}

// Reach is how many steps the weight of largest magnitude of a group may be from zero.
func Reach(s kernels.Scheme) float64 {
	switch e := tables[s.Table]; {
	case e != nil:
		return -float64(e.values[0])
	case s.Sym:
		return float64(s.MidCode() - s.MinCode())
	}
	return float64(s.MaxCode())
}

// groupError is the squared error of a group on a grid, weighed by h unless that
// is nil.
func groupError(x, h []float32, g Grid, s kernels.Scheme) float64 {
	scale := kernels.F16ToF32(g.Scale)
	sum := 0.0
	for i, v := range x {
		d := float64(v) - float64(float32(s.Value(uint8(Code(v, scale, g.Zero, s)), uint8(g.Zero)))*scale)
		sum += float64(weight(h, i) * float64(d*d))
	}
	return sum
}
