package calib

import (
	"context"
	"errors"
	"math"
	"slices"

	"nibble/kernels"
)

// Factor is what GPTQ needs of a Hessian: the order in which columns are
// quantized and the Cholesky factor of its inverse in that order.
//
// With the columns in reverse order, H = L Lᵀ and the factor of the inverse is
// the inverse of L: one factorization where inverting first would need two.
// Index a below counts the columns from the last one quantized.
type Factor struct {
	Column  []int          // of the weight matrix, by a
	Groups  [][2]int       // first and last+1 a of each group, in the order of quantization
	Inverse kernels.Matrix // of L, transposed: row c, column a holds element (a, c)
	Weights []float32      // by a: what a squared error there costs once the columns left have made up for it
	Damping float64        // that was used, as a share of the mean of the diagonal
}

// ErrSingular reports a Hessian that no damping makes positive definite: inputs
// that are not finite.
var ErrSingular = errors.New("its inputs are not finite for the calibration, or far too large: is a weight before it?")

// NewFactor orders the columns and factorizes. Groups of width columns stay
// together, the ones with the largest inputs first, and within each the columns
// with the largest: errors are then made up for by what matters less, without
// the index that reordering freely would have to store: group-aware reordering, as
// in GPTQModel.
func (h *Hessian) NewFactor(ctx context.Context, width int) (*Factor, error) {
	n := h.sum.Rows
	f := &Factor{Column: make([]int, 0, n)}
	type group struct {
		columns []int
		size    float64
	}
	var groups []group
	mean := 0.0
	for g := 0; g < n; g += width {
		var gr group
		for c := g; c < min(g+width, n); c++ {
			gr.columns = append(gr.columns, c)
			gr.size = max(gr.size, float64(h.At(c, c)))
			mean += float64(h.At(c, c)) / float64(n)
		}
		groups = append(groups, gr)
	}
	if math.IsNaN(mean) || math.IsInf(mean, 0) {
		return nil, ErrSingular
	}
	// Ascending in a, because quantization goes from the last a to the first.
	slices.SortStableFunc(groups, func(a, b group) int { return compareFloat(a.size, b.size) })
	for _, g := range groups {
		slices.SortStableFunc(g.columns, func(a, b int) int { return compareFloat(float64(h.At(a, a)), float64(h.At(b, b))) })
		f.Groups = append(f.Groups, [2]int{len(f.Column), len(f.Column) + len(g.columns)})
		f.Column = append(f.Column, g.columns...)
	}
	slices.Reverse(f.Groups)
	if mean == 0 {
		mean = 1 // no input at all: every code is as good
	}
	a := kernels.NewMatrix(n, n)
	damping := h.Damping()
	for range 4 {
		h.eng.For(n, func(_, lo, hi int) {
			for i := lo; i < hi; i++ {
				row := a.Row(i)
				for j := range i + 1 {
					row[j] = h.At(f.Column[i], f.Column[j])
				}
				row[i] += float32(damping * mean)
			}
		})
		ok, err := cholesky(ctx, h.eng, a)
		if err != nil {
			return nil, err
		}
		if ok {
			f.Damping = damping
			if f.Inverse, err = invertLower(ctx, h.eng, a); err != nil {
				return nil, err
			}
			for i := range n {
				d := f.Inverse.Row(i)[i]
				f.Weights = append(f.Weights, 1/(d*d))
			}
			return f, nil
		}
		damping *= 10
	}
	return nil, ErrSingular
}

func compareFloat(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
