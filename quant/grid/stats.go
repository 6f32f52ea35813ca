package grid

import (
	"context"
	"math"

	"nibble/kernels"
)

// Damage is how far a matrix is from what it was: the relative error of its
// outputs where inputs were measured, else that of its weights.
func (s Stats) Damage() float64 {
	if s.OutErr > 0 {
		return s.OutErr
	}
	return s.RelErr
}

// SampleRows is how many inputs the errors of outputs are measured on.
const SampleRows = 256

// Measure compares a quantized matrix with its weights, which row returns and may
// decode into the buffer that it gets.
func Measure(eng *kernels.Engine, row func(buf []float32, r int) []float32, q *kernels.QTensor) Stats {
	errs := make([]rowError, q.Rows)
	eng.For(q.Rows, func(_, lo, hi int) {
		buf, back := make([]float32, q.Cols), make([]float32, q.Cols)
		for r := lo; r < hi; r++ {
			q.DequantRow(back, r)
			errs[r].measure(row(buf, r), back)
		}
	})
	return total(errs, q.Rows*q.Cols)
}

// MeasureOutputs compares a quantized matrix with its weights, and its outputs for inputs
// x, of which the first count.
func MeasureOutputs(ctx context.Context, eng *kernels.Engine, w kernels.Matrix, q *kernels.QTensor, x kernels.Matrix) (Stats, error) {
	s := Measure(eng, RowsOf(w), q)
	err := measureOutputs(ctx, eng, &s, w, q, x.Sub(0, min(SampleRows, x.Rows), 0, x.Cols))
	return s, err
}

// measureOutputs adds to s what quantizing w did to its outputs for inputs x, and
// what plain rounding would have done.
func measureOutputs(ctx context.Context, eng *kernels.Engine, s *Stats, w kernels.Matrix, q *kernels.QTensor, x kernels.Matrix) error {
	scheme := q.Scheme
	scheme.Top = 0
	plain, _, err := Quantize(ctx, eng, w.Rows, w.Cols, scheme, Search{Plain: true}, RowsOf(w), nil)
	if err != nil {
		return err
	}
	const band = 256 // rows at a time
	want, got, back := kernels.NewMatrix(x.Rows, band), kernels.NewMatrix(x.Rows, band), kernels.NewMatrix(band, w.Cols)
	var energy float64
	var errs [2]float64
	for r0 := 0; r0 < w.Rows; r0 += band {
		n := min(band, w.Rows-r0)
		a, b := want.Sub(0, x.Rows, 0, n), got.Sub(0, x.Rows, 0, n)
		if err := eng.MulTransposed(ctx, a, x, w.Sub(r0, r0+n, 0, w.Cols)); err != nil {
			return err
		}
		for i, t := range []*kernels.QTensor{q, plain} {
			eng.For(n, func(_, lo, hi int) {
				for r := lo; r < hi; r++ {
					t.DequantRow(back.Row(r), r0+r)
				}
			})
			if err := eng.MulTransposed(ctx, b, x, back.Sub(0, n, 0, w.Cols)); err != nil {
				return err
			}
			for r := range x.Rows {
				for c, v := range a.Row(r) {
					d := float64(v) - float64(b.Row(r)[c])
					errs[i] += d * d
					if i == 0 {
						energy += float64(v) * float64(v)
					}
				}
			}
		}
	}
	if energy > 0 {
		s.OutErr, s.OutErrRTN = math.Sqrt(errs[0]/energy), math.Sqrt(errs[1]/energy)
	}
	return nil
}

// RowsOf returns a function that gives the rows of a matrix.
func RowsOf(w kernels.Matrix) func(buf []float32, r int) []float32 {
	return func(_ []float32, r int) []float32 { return w.Row(r) }
}

// Stats measures what quantization did to a matrix.
type Stats struct {
	MSE    float64 `json:"mse"`     // mean squared error of a weight
	RelErr float64 `json:"rel_err"` // root of the error's energy over the weights'
	MaxErr float64 `json:"max_err"` // largest error of a weight

	// Root of the error's energy over that of the outputs, on a sample of the
	// calibration, and what it would be with plain rounding; 0 if not measured.
	OutErr    float64 `json:"out_err,omitempty"`
	OutErrRTN float64 `json:"out_err_rtn,omitempty"`
}

// firstNotFinite returns the index of the first NaN or infinity, or -1.
func firstNotFinite(w []float32) int {
	for i, v := range w {
		if math.Float32bits(v)&0x7f800000 == 0x7f800000 {
			return i
		}
	}
	return -1
}

// rowError holds the sums of one row, added up in order so that the total does
// not depend on threads.
type rowError struct {
	err, energy, worst float64 // energy is not finite exactly if a weight is not
}

// add takes over what rounding a row summed up.
func (e *rowError) add(s kernels.RoundSums) {
	e.err += s.Err[0] + s.Err[1] + (s.Err[2] + s.Err[3])
	e.energy += s.Energy[0] + s.Energy[1] + (s.Energy[2] + s.Energy[3])
	e.worst = max(e.worst, s.Worst[0], s.Worst[1], s.Worst[2], s.Worst[3])
}

func (e *rowError) measure(w, back []float32) {
	for i, v := range w {
		d := float64(v) - float64(back[i])
		e.err += float64(d * d)
		e.energy += float64(v) * float64(v)
		e.worst = max(e.worst, math.Abs(d))
	}
}

func total(rows []rowError, n int) Stats {
	var t rowError
	for _, e := range rows {
		t.err += e.err
		t.energy += e.energy
		t.worst = max(t.worst, e.worst)
	}
	s := Stats{MSE: t.err / float64(n), MaxErr: t.worst}
	if t.energy > 0 {
		s.RelErr = math.Sqrt(t.err / t.energy)
	}
	return s
}
