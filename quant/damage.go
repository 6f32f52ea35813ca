package quant

import (
	"cmp"
	"context"
	"math"
	"slices"

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

// ByDamage returns the matrices that are quantized, the most damaged first.
func ByDamage(lines []ModuleReport) []ModuleReport {
	out := slices.DeleteFunc(slices.Clone(lines), func(m ModuleReport) bool { return m.Spec == Keep.String() })
	slices.SortStableFunc(out, func(a, b ModuleReport) int { return cmp.Compare(b.Damage(), a.Damage()) })
	return out
}

// sampleRows is how many inputs the errors of outputs are measured on.
const sampleRows = 256

// measure compares a quantized matrix with its weights, which row returns and may
// decode into the buffer that it gets.
func measure(eng *kernels.Engine, row func(buf []float32, r int) []float32, q *kernels.QTensor) Stats {
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

// measureOn compares a quantized matrix with its weights, and its outputs for inputs
// x, of which the first count.
func measureOn(ctx context.Context, eng *kernels.Engine, w kernels.Matrix, q *kernels.QTensor, x kernels.Matrix) (Stats, error) {
	s := measure(eng, rowsOf(w), q)
	err := measureOutputs(ctx, eng, &s, w, q, x.Sub(0, min(sampleRows, x.Rows), 0, x.Cols))
	return s, err
}

// measureOutputs adds to s what quantizing w did to its outputs for inputs x, and
// what plain rounding would have done.
func measureOutputs(ctx context.Context, eng *kernels.Engine, s *Stats, w kernels.Matrix, q *kernels.QTensor, x kernels.Matrix) error {
	scheme := q.Scheme
	scheme.Top = 0
	plain, _, err := quantize(ctx, eng, w.Rows, w.Cols, scheme, Search{Plain: true}, rowsOf(w), nil)
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
