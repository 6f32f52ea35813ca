package quant

import (
	"context"
	"errors"
	"math"
	"slices"

	"nibble/kernels"
)

// hessian sums up the second moments of a matrix's inputs, x xᵀ over all tokens:
// half the Hessian of the squared error of its outputs.
type hessian struct {
	eng    *kernels.Engine
	sum    kernels.Matrix // columns x columns; the upper triangle
	buf    kernels.Matrix // inputs not yet in sum, columns x tokens
	held   int            // tokens in buf
	tokens int
}

// hessianTokens is how many tokens are gathered for a product.
const hessianTokens = 1024

func newHessian(eng *kernels.Engine, cols int) *hessian {
	return &hessian{eng: eng, sum: kernels.NewMatrix(cols, cols), buf: kernels.NewMatrix(cols, hessianTokens)}
}

// add takes rows of inputs.
func (h *hessian) add(ctx context.Context, x []float32, rows, cols int) error {
	for at := 0; at < rows; {
		n := min(rows-at, hessianTokens-h.held)
		h.eng.For(cols, func(_, lo, hi int) {
			for c := lo; c < hi; c++ {
				out := h.buf.Row(c)[h.held : h.held+n]
				for i := range out {
					out[i] = x[(at+i)*cols+c]
				}
			}
		})
		at, h.held, h.tokens = at+n, h.held+n, h.tokens+n
		if h.held == hessianTokens {
			if err := h.flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush adds the products of what is gathered.
func (h *hessian) flush(ctx context.Context) error {
	const band = 256 // rows of the sum at a time
	n := h.sum.Rows
	part := kernels.NewMatrix(min(band, n), n)
	for r0 := 0; r0 < n && h.held > 0; r0 += band {
		r1 := min(r0+band, n)
		dst := part.Sub(0, r1-r0, 0, n-r0)
		if err := h.eng.MulTransposed(ctx, dst, h.buf.Sub(r0, r1, 0, h.held), h.buf.Sub(r0, n, 0, h.held)); err != nil {
			return err
		}
		for i := range dst.Rows {
			h.eng.Add(h.sum.Row(r0 + i)[r0:], dst.Row(i))
		}
	}
	h.held = 0
	return nil
}

// at returns an element.
func (h *hessian) at(i, j int) float32 { return h.sum.Row(min(i, j))[max(i, j)] }

// factor is what GPTQ needs of a Hessian: the order in which columns are
// quantized and the Cholesky factor of its inverse in that order.
//
// With the columns in reverse order, H = L Lᵀ and the factor of the inverse is
// the inverse of L: one factorization where inverting first would need two.
// Index a below counts the columns from the last one quantized.
type factor struct {
	column  []int          // of the weight matrix, by a
	groups  [][2]int       // first and last+1 a of each group, in the order of quantization
	inverse kernels.Matrix // of L, transposed: row c, column a holds element (a, c)
	weights []float32      // by a: what a squared error there costs once the columns left have made up for it
	damping float64        // that was used, as a share of the mean of the diagonal
}

// ErrSingular reports a Hessian that no damping makes positive definite: inputs
// that are not finite.
var ErrSingular = errors.New("its inputs are not finite for the calibration, or far too large: is a weight before it?")

// leastDamping is the damping that GPTQ's authors use, as a share of the mean of
// the diagonal.
const leastDamping = 0.01

// damping is how much is added to the diagonal, as a share of its mean, before the
// first attempt. A Hessian of few tokens knows the directions that they happen to
// have, and GPTQ pays with all others for a loss of nothing in those; so there is
// white noise in it as of one token for each column, which says the less the more
// real ones there are.
func (h *hessian) damping() float64 {
	return max(leastDamping, float64(h.sum.Rows)/float64(max(1, h.tokens)))
}

// silent is the number of inputs that were never anything but 0.
func (h *hessian) silent() int {
	n := 0
	for c := range h.sum.Rows {
		if h.at(c, c) == 0 {
			n++
		}
	}
	return n
}

// newFactor orders the columns and factorizes. Groups of width columns stay
// together, the ones with the largest inputs first, and within each the columns
// with the largest: errors are then made up for by what matters less, without
// the index that reordering freely would have to store: group-aware reordering, as
// in GPTQModel.
func (h *hessian) newFactor(ctx context.Context, width int) (*factor, error) {
	n := h.sum.Rows
	f := &factor{column: make([]int, 0, n)}
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
			gr.size = max(gr.size, float64(h.at(c, c)))
			mean += float64(h.at(c, c)) / float64(n)
		}
		groups = append(groups, gr)
	}
	if math.IsNaN(mean) || math.IsInf(mean, 0) {
		return nil, ErrSingular
	}
	// Ascending in a, because quantization goes from the last a to the first.
	slices.SortStableFunc(groups, func(a, b group) int { return compareFloat(a.size, b.size) })
	for _, g := range groups {
		slices.SortStableFunc(g.columns, func(a, b int) int { return compareFloat(float64(h.at(a, a)), float64(h.at(b, b))) })
		f.groups = append(f.groups, [2]int{len(f.column), len(f.column) + len(g.columns)})
		f.column = append(f.column, g.columns...)
	}
	slices.Reverse(f.groups)
	if mean == 0 {
		mean = 1 // no input at all: every code is as good
	}
	a := kernels.NewMatrix(n, n)
	damping := h.damping()
	for range 4 {
		h.eng.For(n, func(_, lo, hi int) {
			for i := lo; i < hi; i++ {
				row := a.Row(i)
				for j := range i + 1 {
					row[j] = h.at(f.column[i], f.column[j])
				}
				row[i] += float32(damping * mean)
			}
		})
		ok, err := cholesky(ctx, h.eng, a)
		if err != nil {
			return nil, err
		}
		if ok {
			f.damping = damping
			if f.inverse, err = invertLower(ctx, h.eng, a); err != nil {
				return nil, err
			}
			for i := range n {
				d := f.inverse.Row(i)[i]
				f.weights = append(f.weights, 1/(d*d))
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
