package train

import (
	"slices"

	"nibble/kernels"
	"nibble/quant/grid"
)

// Rounding is a matrix whose codes and scales are trained: the code of a weight w
// is the integer nearest to w / scale + offset (on the axis of a code table: see
// grid.Axis), and both the offset and the group's scale and zero point move by the
// signs of their gradients (Cheng et al., "SignRound", 2023).
type Rounding struct {
	Weights kernels.Matrix
	offset  []float32 // by weight
	scale   []float32 // by group; what is stored is rounded to F16
	zero    []float32 // by group; what is stored is rounded to a code
	start   []float32 // the scales at first
	Codes   *kernels.QTensor
	Rows    []bool         // which of them are trained; nil is all
	Value   kernels.Matrix // of the codes
	Grad    kernels.Matrix // of a loss with respect to value
}

// NewRounding starts from a quantized matrix. Weights whose code is not the
// nearest begin halfway between it and the edge of what rounds to it, so that a
// step does not undo what was chosen.
func NewRounding(eng *kernels.Engine, w kernels.Matrix, from *kernels.QTensor) *Rounding {
	groups := from.Groups()
	n := w.Rows * groups
	r := &Rounding{Weights: w, offset: make([]float32, w.Rows*w.Cols), scale: make([]float32, n), zero: make([]float32, n),
		start: make([]float32, n), Codes: grid.Clone(from), Value: kernels.NewMatrix(w.Rows, w.Cols), Grad: kernels.NewMatrix(w.Rows, w.Cols)}
	const edge, inside = 0.499, 0.25
	width, axis := from.Scheme.GroupWidth(w.Cols), grid.AxisOf(from.Scheme)
	eng.For(w.Rows, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			for g := range groups {
				at := i*groups + g
				scale, zero := from.Scale(i, g), float32(from.Zero(i, g))
				r.scale[at], r.start[at], r.zero[at] = scale, scale, zero
				if scale == 0 {
					continue
				}
				bottom, top := float32(from.Scheme.MinCode()), float32(from.Scheme.MaxCode())
				for c := g * width; c < min((g+1)*width, w.Cols); c++ {
					exact := axis.Place(w.Row(i)[c]/scale) + zero
					code := float32(from.Code(i, c))
					switch {
					case exact > code+edge && code < top:
						r.offset[i*w.Cols+c] = code + inside - exact
					case exact < code-edge && code > bottom:
						r.offset[i*w.Cols+c] = code - inside - exact
					}
				}
			}
		}
	})
	r.Round(eng)
	for _, i := range from.TopRows {
		from.DequantRow(r.Value.Row(int(i)), int(i))
	}
	return r
}

// settle ends training with the codes that turned out best.
func (r *Rounding) settle(eng *kernels.Engine, q *kernels.QTensor) {
	r.Codes = q
	eng.For(q.Rows, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			q.DequantRow(r.Value.Row(i), i)
		}
	})
}

// Round computes the codes and their values.
func (r *Rounding) Round(eng *kernels.Engine) {
	groups, width, s := r.Codes.Groups(), r.Codes.Scheme.GroupWidth(r.Weights.Cols), r.Codes.Scheme
	axis := grid.AxisOf(s)
	eng.For(r.Weights.Rows, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			if _, top := slices.BinarySearch(r.Codes.TopRows, int32(i)); top {
				continue // what is left to train in 8 bits is nothing
			}
			w, value, offset := r.Weights.Row(i), r.Value.Row(i), r.offset[i*r.Weights.Cols:(i+1)*r.Weights.Cols]
			for g := range groups {
				at := i*groups + g
				r.Codes.Scales[at] = grid.RoundScale(float64(r.scale[at]))
				zero := float32(s.MidCode())
				if !s.Sym {
					zero = roundCode(r.zero[at], float32(s.MinCode()), float32(s.MaxCode()))
					r.Codes.Zeros[at] = uint8(zero)
				}
				scale := kernels.F16ToF32(r.Codes.Scales[at])
				inv := float32(0)
				if scale != 0 {
					inv = 1 / scale
				}
				bottom, top := float32(s.MinCode()), float32(s.MaxCode())
				for c := g * width; c < min((g+1)*width, len(w)); c++ {
					code := zero
					if inv != 0 {
						code = roundCode(axis.Place(float32(w[c]*inv))+offset[c]+zero, bottom, top)
					}
					r.Codes.SetCode(i, c, uint8(code))
					value[c] = axis.Value(code, zero) * scale
				}
			}
		}
	})
}

// roundCode is the code nearest to x.
func roundCode(x, bottom, top float32) float32 {
	if !(x > bottom) { // NaN as well
		return bottom
	} else if x >= top {
		return top
	}
	return float32(int32(x + 0.5))
}

// Step moves offsets by rate, scales by rate times share of themselves and zero
// points by rate, against the signs of their gradients, and clears those.
// Rounding is taken for the identity where it does not clip.
func (r *Rounding) Step(eng *kernels.Engine, rate, share float32) {
	groups, width, s := r.Codes.Groups(), r.Codes.Scheme.GroupWidth(r.Weights.Cols), r.Codes.Scheme
	axis := grid.AxisOf(s)
	bottom, top := float32(s.MinCode()), float32(s.MaxCode())
	eng.For(r.Weights.Rows, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			if _, top := slices.BinarySearch(r.Codes.TopRows, int32(i)); top || r.Rows != nil && !r.Rows[i] {
				clear(r.Grad.Row(i))
				continue
			}
			w, grad, offset := r.Weights.Row(i), r.Grad.Row(i), r.offset[i*r.Weights.Cols:(i+1)*r.Weights.Cols]
			for g := range groups {
				at := i*groups + g
				scale, zero := kernels.F16ToF32(r.Codes.Scales[at]), float32(r.Codes.Zero(i, g))
				if scale == 0 {
					continue
				}
				inv := 1 / scale
				move := rate
				if scale < 0 {
					move = -rate
				}
				var ofScale, ofZero float32
				for c := g * width; c < min((g+1)*width, len(w)); c++ {
					d, steps := grad[c], float32(w[c]*inv)
					x := axis.Place(steps) + offset[c] + zero
					switch {
					case x < bottom-0.5:
						ofScale += d * axis.Value(bottom, zero)
						ofZero -= d * scale
					case x > top+0.5:
						ofScale += d * axis.Value(top, zero)
						ofZero -= d * scale
					default:
						ofScale += d * (axis.Value(roundCode(x, bottom, top), zero) - steps)
						if d > 0 {
							offset[c] -= move
						} else if d < 0 {
							offset[c] += move
						}
					}
				}
				r.scale[at] -= rate * share * r.start[at] * sign(ofScale*r.start[at])
				if !s.Sym {
					r.zero[at] = max(bottom, min(top, r.zero[at]-rate*sign(ofZero)))
				}
			}
			clear(grad)
		}
	})
}

func sign(x float32) float32 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return 0
}

// decay is a learning rate that falls in a line.
func decay(rate float64, i, n int) float32 { return float32(rate * (1 - float64(i)/float64(n))) }
