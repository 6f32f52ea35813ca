package grid

import (
	"math"

	"nibble/kernels"
)

// The search tries ranges from a little wider than the weights, which helps when
// both ends of a symmetric range are needed, to half as wide, which loses the
// extremes and gains resolution for the rest.
const (
	searchWidest   = 1.15
	searchNarrow   = 0.5
	searchSteps    = 28
	searchZeros    = 4 // placements tried of a narrowed asymmetric range
	searchPolishes = 4
)

// fit is what least squares needs to know of a group's codes: with y the code
// less the zero point, the squared error at scale s is xx - 2*s*xy + s*s*yy, and
// s = xy/yy makes it least.
type fit struct{ xy, yy float64 }

func (f fit) scale() uint16 {
	if f.yy == 0 {
		return 0
	}
	return RoundScale(f.xy / f.yy)
}

// gain is how far below xx the error is at a scale.
func (f fit) gain(scale float64) float64 { return scale * (2*f.xy - scale*f.yy) }

// Find looks for the grid of least squared error: it scans clipped ranges,
// judges each by the refitted scale, rounded to F16, of the codes it gives, and
// polishes the best by alternating codes and scale. The plain grid is kept when
// nothing beats it, so the result is never worse. h weighs the squared errors;
// nil weighs them alike.
func Find(x, h []float32, s kernels.Scheme) Grid {
	plain := plainGrid(x, s)
	least := groupError(x, h, plain, s)
	if least == 0 {
		return plain
	}
	var g Grid
	switch e := tables[s.Table]; {
	case e != nil:
		g = e.scan(x, h)
	case s.Sym:
		g = scanSymmetric(x, h, s)
	default:
		g = scanAsymmetric(x, h, s)
	}
	best := plain
	for range searchPolishes {
		e := groupError(x, h, g, s)
		if e < least {
			best, least = g, e
		}
		next := polish(x, h, g, s)
		if next == g {
			break
		}
		g = next
	}
	return best
}

// scanSymmetric finds a good scale of either sign. With mid = 8 a positive scale
// reaches from -8 to 7 steps and a negative one from -7 to 8: codes inside are
// the same, so one pass over the weights judges both. With 8 bits either sign
// reaches from -127 to 127.
func scanSymmetric(x, h []float32, s kernels.Scheme) Grid {
	mid := s.MidCode()
	edge := float64(mid)
	reach := float64(1 - s.MinCode()) // 1 if one sign goes a step further
	most := 0.0
	for _, v := range x {
		most = max(most, math.Abs(float64(v)))
	}
	var best Grid
	gain := math.Inf(-1)
	for i := range searchSteps {
		step := kernels.F16ToF32(RoundScale(most / edge * shrink(i)))
		if step == 0 {
			break
		}
		inv := 1 / float64(step)
		var up, down, both fit // reaching +8, reaching -8, inside
		for i, v := range x {
			w, k := float64(v), weight(h, i)
			q := nearest(w * inv)
			if q >= edge {
				up.add(k, w, reach, reach*(2*edge-1))
				q = edge - 1
			} else if q <= -edge {
				down.add(k, w, -reach, reach*(2*edge-1))
				q = 1 - edge
			}
			both.add(k, w, q, q*q)
		}
		for _, c := range []struct {
			f    fit
			flip uint16
		}{{fit{both.xy + down.xy, both.yy + down.yy}, 0}, {fit{both.xy + up.xy, both.yy + up.yy}, 0x8000}} {
			scale := c.f.scale()
			if g := c.f.gain(float64(kernels.F16ToF32(scale))); g > gain {
				gain, best = g, Grid{scale ^ c.flip, mid}
			}
		}
	}
	return best
}

// scanAsymmetric finds a good scale and zero point: for every step size, the
// zero points that place the range between covering the lowest weight and
// covering the highest.
func scanAsymmetric(x, h []float32, s kernels.Scheme) Grid {
	lo, hi := rangeOf(x)
	top := float64(s.MaxCode())
	var best Grid
	gain := math.Inf(-1)
	for i := range searchSteps {
		step := float64(kernels.F16ToF32(RoundScale((hi - lo) / top * shrink(i))))
		if step == 0 {
			break
		}
		first, last := nearest(top-hi/step), nearest(-lo/step)
		first, last = max(0, min(first, last)), min(top, max(first, last))
		stride := max(1, math.Ceil((last-first)/(searchZeros-1)))
		for zero := first; zero <= last; zero += stride {
			f := fitCodes(x, h, 1/step, -zero, top-zero)
			scale := f.scale()
			if g := f.gain(float64(kernels.F16ToF32(scale))); g > gain {
				gain, best = g, Grid{scale, int(zero)}
			}
		}
	}
	return best
}

// shrink is the width of the i-th range, in widths of the weights' own.
func shrink(i int) float64 {
	return searchWidest - (searchWidest-searchNarrow)*float64(i)/(searchSteps-1)
}

func (f *fit) add(k, w, y, yy float64) {
	f.xy += float64(k * float64(w*y))
	f.yy += float64(k * yy)
}

// weight is the i-th weight, or 1.
func weight(h []float32, i int) float64 {
	if h == nil {
		return 1
	}
	return float64(h[i])
}

// fitCodes sums up the codes less the zero point, from low to high, that a step,
// given by its inverse, gives to x.
func fitCodes(x, h []float32, inv, low, high float64) fit {
	var f fit
	for i, v := range x {
		w := float64(v)
		q := nearest(w * inv)
		if q < low {
			q = low
		} else if q > high {
			q = high
		}
		f.add(weight(h, i), w, q, float64(q*q))
	}
	return f
}

// polish refits a grid to the codes it gives: the scale alone when symmetric,
// else the line through weights and codes, whose offset moves the zero point.
func polish(x, h []float32, g Grid, s kernels.Scheme) Grid {
	scale := float64(kernels.F16ToF32(g.Scale))
	if scale == 0 {
		return g
	}
	if e := tables[s.Table]; e != nil {
		return Grid{Scale: e.fit(x, h, 1/scale).scale()}
	}
	bottom, top, zero := float64(s.MinCode()), float64(s.MaxCode()), float64(g.Zero)
	if !s.Sym {
		var sx, sy, n float64
		low, high := -zero, top-zero
		for i, v := range x {
			k := weight(h, i)
			sx += float64(k * float64(v))
			sy += float64(k * max(low, min(high, nearest(float64(v)/scale))))
			n += k
		}
		f := fitCodes(x, h, 1/scale, low, high)
		if vary := n*f.yy - sy*sy; vary > 0 {
			if slope := (n*f.xy - sx*sy) / vary; slope > 0 {
				offset := (sx - slope*sy) / n
				zero = max(0, min(top, zero-nearest(offset/slope)))
			}
		}
	}
	return Grid{fitCodes(x, h, 1/scale, bottom-zero, top-zero).scale(), int(zero)}
}

// nearest rounds to the nearest integer, ties to even; |v| must be below 2^51.
// The product is rounded before it is added, so that processors with fused
// multiply-add give the same codes as those without.
func nearest(v float64) float64 {
	const shift = 3 << 51
	return float64(v) + shift - shift
}
