package grid

import (
	"math"

	"nibble/kernels"
)

// A code table gives a group uneven steps, finer near zero, where most weights are: its
// codes stand for the table's entries times the scale, which may be negative. There is no
// zero point.

// entries is a table whose entries ascend, with the nearest of them to any number.
type entries struct {
	values  []int8
	nearest []uint8 // by the whole part of twice the number, less that of the first entry
}

// tables holds the tables that weights are quantized to.
var tables = map[kernels.CodeTable]*entries{kernels.NL4: newEntries(kernels.NL4.Values())}

func newEntries(values []int8) *entries {
	e := &entries{values: values}
	code := 0
	// The middle between two entries is a multiple of a half.
	for twice := 2 * int(values[0]); twice <= 2*int(values[len(values)-1]); twice++ {
		if code+1 < len(values) && twice >= int(values[code])+int(values[code+1]) {
			code++
		}
		e.nearest = append(e.nearest, uint8(code))
	}
	return e
}

// code returns the entry nearest to v; NaN gives the first.
func (e *entries) code(v float64) uint8 {
	at := math.Floor(2*v) - 2*float64(e.values[0])
	switch {
	case !(at > 0):
		return 0
	case at >= float64(len(e.nearest)):
		return uint8(len(e.values) - 1)
	}
	return e.nearest[int(at)]
}

// smallest returns the entry of least magnitude, which stands for zeros.
func (e *entries) smallest() uint8 { return e.code(0) }

// fit sums up the entries that a step, given by its inverse, gives to x.
func (e *entries) fit(x, h []float32, inv float64) fit {
	var f fit
	for i, v := range x {
		w := float64(v)
		y := float64(e.values[e.code(w*inv)])
		f.add(weight(h, i), w, y, float64(y*y))
	}
	return f
}

// The weight of largest magnitude goes on either end of the table or some way beyond or
// within it.
const (
	tableWidest = 1.2
	tableNarrow = 0.72
	tableSteps  = 17
)

// scan finds a good scale of either sign.
func (e *entries) scan(x, h []float32) Grid {
	lo, hi := rangeOf(x)
	extreme := lo
	if hi > -lo {
		extreme = hi
	}
	var best Grid
	gain := math.Inf(-1)
	for _, end := range []int8{e.values[0], e.values[len(e.values)-1]} {
		for i := range tableSteps {
			narrow := tableWidest - (tableWidest-tableNarrow)*float64(i)/(tableSteps-1)
			step := float64(kernels.F16ToF32(RoundScale(extreme / float64(end) * narrow)))
			if step == 0 {
				break
			}
			f := e.fit(x, h, 1/step)
			scale := f.scale()
			if g := f.gain(float64(kernels.F16ToF32(scale))); g > gain {
				gain, best = g, Grid{Scale: scale}
			}
		}
	}
	return best
}

// round stores the nearest entries of a group's weights in a row, from column at on, and
// adds to sums.
func (e *entries) round(q *kernels.QTensor, r, at int, x []float32, scale float32, sums *kernels.RoundSums) {
	for i, v := range x {
		code := e.smallest()
		if scale != 0 {
			code = e.code(float64(v) / float64(scale))
		}
		q.SetCode(r, at+i, code)
		d := float64(v) - float64(float32(e.values[code])*scale)
		lane := i % len(sums.Err)
		sums.Err[lane] += float64(d * d)
		sums.Energy[lane] += float64(v) * float64(v)
		sums.Worst[lane] = max(sums.Worst[lane], math.Abs(d))
	}
}

// Axis puts numbers of steps on a line on which the codes of a scheme are one apart, less
// their zero point. Codes are trained there.
type Axis struct {
	e   *entries // nil: even steps
	mid float32
}

// AxisOf returns the axis of a scheme's codes.
func AxisOf(s kernels.Scheme) Axis { return Axis{tables[s.Table], float32(s.MidCode())} }

// Place returns where a number of steps is; beyond the ends of a table its outermost
// steps go on.
func (a Axis) Place(steps float32) float32 {
	if a.e == nil {
		return steps
	}
	i := int(a.e.code(float64(steps)))
	if steps < float32(a.e.values[i]) {
		i--
	}
	i = max(0, min(i, len(a.e.values)-2))
	low, high := float32(a.e.values[i]), float32(a.e.values[i+1])
	return float32(i) + (steps-low)/(high-low) - a.mid
}

// Value returns what a code stands for, in steps.
func (a Axis) Value(code, zero float32) float32 {
	if a.e == nil {
		return code - zero
	}
	return float32(a.e.values[int(code)])
}
