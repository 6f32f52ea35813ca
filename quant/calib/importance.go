package calib

import (
	"context"
	"slices"

	"nibble/model"
)

// MomentFloor is added to the second moments of a matrix's inputs, as a share of
// their mean: an input that the calibration never used may still be used.
const MomentFloor = 0.01

// squares sums up the squares of a matrix's inputs by column: the diagonal of the
// Hessian, which llama.cpp calls an importance matrix, without the rest of it.
func squares(ctx context.Context, seq *Sequence, m model.Module) ([]float64, error) {
	sums := make([]float64, m.Cols)
	err := seq.Input(ctx, m, func(x []float32, rows, cols int) error {
		seq.Base.Engine.For(cols, func(_, lo, hi int) {
			mine := slices.Clone(sums[lo:hi]) // apart from those of other threads, which lie on the same cache lines
			for r := range rows {
				for c, v := range x[r*cols+lo : r*cols+hi] {
					mine[c] += float64(float64(v) * float64(v))
				}
			}
			copy(sums[lo:], mine)
		})
		return nil
	})
	return sums, err
}

// Importance scales sums of squares to a mean of one and raises them by the
// floor. Inputs that are all zero are alike.
func Importance(sums []float64) []float32 {
	mean := 0.0
	for _, s := range sums {
		mean += s / float64(len(sums))
	}
	out := make([]float32, len(sums))
	for i, s := range sums {
		out[i] = 1
		if mean > 0 {
			out[i] = float32(s/mean + MomentFloor)
		}
	}
	return out
}

// Importance returns the weights of a matrix's columns. They are found once for
// matrices that share their inputs, which must follow each other.
func (s *Sequence) Importance(ctx context.Context, m model.Module) ([]float32, error) {
	kind := InputOf(m)
	if s.weights == nil || s.weighed != kind {
		sums, err := squares(ctx, s, m)
		if err != nil {
			return nil, err
		}
		s.weighed, s.weights, s.Silent = kind, Importance(sums), 0
		for _, x := range sums {
			if x == 0 {
				s.Silent++
			}
		}
	}
	return s.weights, nil
}
