package number

import "math"

// FMA returns a*b+c rounded once to float32.
//
// The product of two float32 is exact in float64, but adding c there and
// converting rounds twice. That matters where the sum has come to lie in the middle
// between two float32, which for normal ones the bits that are to go tell.
func FMA(a, b, c float32) float32 {
	if s := float64(a)*float64(b) + float64(c); RoundsOnce(s) {
		return float32(s)
	}
	return FMAOdd(a, b, c)
}

// RoundsOnce reports that a sum in float64 surely becomes the float32 that the exact
// sum would.
func RoundsOnce(s float64) bool {
	bits := math.Float64bits(s)
	return bits&(1<<29-1) != 1<<28 && bits<<1-1 >= minNormal<<1
}

// minNormal is the bits of the smallest normal float32 as a float64.
const minNormal = (1023 - 126) << 52

// FMAOdd is FMA for every sum: rounded to odd first, it makes the second rounding
// right (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
func FMAOdd(a, b, c float32) float32 {
	p, d := float64(a)*float64(b), float64(c)
	s := p + d
	t := s - p // Knuth's two-sum: e is the exact error of s
	e := (p - (s - t)) + (d - t)
	if e != 0 && !math.IsInf(s, 0) {
		bits := math.Float64bits(s)
		if bits&1 == 0 {
			if (e > 0) == (s > 0) {
				bits++
			} else {
				bits--
			}
			s = math.Float64frombits(bits)
		}
	}
	return float32(s)
}
