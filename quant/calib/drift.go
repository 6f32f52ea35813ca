package calib

import (
	"context"
	"errors"
	"iter"

	"nibble/kernels"
	"nibble/model"
)

// Drift returns what the layers before a matrix brought its inputs: the matrix K, inputs
// x inputs and transposed, for which a row w of the matrix gives for these inputs most
// nearly what w gives for the float model's when it is w + w K. With sums over all tokens
// of the inputs x and the float model's f, K is (Σ (f - x) xᵀ) (Σ x xᵀ)⁻¹; factor is that
// of the latter. Where nothing was quantized before, and for experts, which see other
// tokens than in the float model, it has no data.
func (s *Sequence) Drift(ctx context.Context, m model.Module, factor *Factor) (kernels.Matrix, error) {
	if m.Tied || m.Linear.Expert >= 0 || s.Stack.Layer() == 0 && len(s.over) == 0 {
		return kernels.Matrix{}, nil
	}
	if kind := InputOf(m); s.drift.Data != nil && s.drifted == kind {
		return s.drift, nil
	}
	sum, err := s.driftMoments(ctx, m)
	if err != nil {
		return kernels.Matrix{}, err
	}
	n, eng := m.Cols, s.Base.Engine
	inverse, turned := kernels.NewMatrix(n, n), kernels.NewMatrix(n, n) // of the Cholesky factor, rows in the order of columns
	for a, c := range factor.Column {
		copy(inverse.Row(c), factor.Inverse.Row(a))
	}
	eng.Transpose(turned, inverse)
	product := kernels.NewMatrix(n, n)
	if err := eng.MulTransposed(ctx, product, sum, turned); err != nil {
		return kernels.Matrix{}, err
	}
	if err := eng.MulTransposed(ctx, turned, inverse, product); err != nil {
		return kernels.Matrix{}, err
	}
	s.drifted, s.drift = InputOf(m), turned
	return s.drift, nil
}

var errStopped = errors.New("no more of the float model's inputs are needed")

// driftMoments sums up the products of how far inputs are off with the inputs.
func (s *Sequence) driftMoments(ctx context.Context, m model.Module) (kernels.Matrix, error) {
	if err := s.floatsBefore(ctx, s.Stack.Layer()); err != nil {
		return kernels.Matrix{}, err
	}
	var failed error
	float, stop := iter.Pull(func(yield func([]float32) bool) {
		failed = s.InputsOf(ctx, s.floats, s.Base, m, func(x []float32, rows, cols int) error {
			if !yield(x[:rows*cols]) {
				return errStopped
			}
			return nil
		})
	})
	defer stop()
	sum := newCrossMoments(s.Base.Engine, m.Cols)
	err := s.Input(ctx, m, func(x []float32, rows, cols int) error {
		f, ok := float()
		if !ok {
			return failed
		}
		return sum.add(ctx, f, x[:rows*cols], rows)
	})
	if err == nil {
		err = sum.flush(ctx)
	}
	return sum.sum, err
}

// crossMoments sums up (f - x) xᵀ over tokens.
type crossMoments struct {
	eng    *kernels.Engine
	sum    kernels.Matrix
	off, x kernels.Matrix // not yet in sum, columns x tokens
	held   int
}

func newCrossMoments(eng *kernels.Engine, cols int) *crossMoments {
	return &crossMoments{eng: eng, sum: kernels.NewMatrix(cols, cols), off: kernels.NewMatrix(cols, HessianTokens), x: kernels.NewMatrix(cols, HessianTokens)}
}

func (h *crossMoments) add(ctx context.Context, f, x []float32, rows int) error {
	cols := h.sum.Cols
	for at := 0; at < rows; {
		n := min(rows-at, HessianTokens-h.held)
		h.eng.For(cols, func(_, lo, hi int) {
			for c := lo; c < hi; c++ {
				off, in := h.off.Row(c)[h.held:h.held+n], h.x.Row(c)[h.held:h.held+n]
				for i := range in {
					v := x[(at+i)*cols+c]
					in[i], off[i] = v, f[(at+i)*cols+c]-v
				}
			}
		})
		at, h.held = at+n, h.held+n
		if h.held == HessianTokens {
			if err := h.flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush adds the products of what is gathered.
func (h *crossMoments) flush(ctx context.Context) error {
	if h.held == 0 {
		return nil
	}
	cols := h.sum.Cols
	err := h.eng.AddMulTransposed(ctx, h.sum, h.off.Sub(0, cols, 0, h.held), h.x.Sub(0, cols, 0, h.held))
	h.held = 0
	return err
}
