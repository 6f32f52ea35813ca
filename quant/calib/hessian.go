package calib

import (
	"context"

	"nibble/kernels"
)

// Hessian sums up the second moments of a matrix's inputs, x xᵀ over all tokens:
// half the Hessian of the squared error of its outputs.
type Hessian struct {
	eng    *kernels.Engine
	sum    kernels.Matrix // columns x columns; the upper triangle
	buf    kernels.Matrix // inputs not yet in sum, columns x tokens
	held   int            // tokens in buf
	Tokens int
}

// HessianTokens is how many tokens are gathered for a product.
const HessianTokens = 1024

// NewHessian starts with no inputs of so many columns.
func NewHessian(eng *kernels.Engine, cols int) *Hessian {
	return &Hessian{eng: eng, sum: kernels.NewMatrix(cols, cols), buf: kernels.NewMatrix(cols, HessianTokens)}
}

// Add takes rows of inputs.
func (h *Hessian) Add(ctx context.Context, x []float32, rows, cols int) error {
	for at := 0; at < rows; {
		n := min(rows-at, HessianTokens-h.held)
		h.eng.For(cols, func(_, lo, hi int) {
			for c := lo; c < hi; c++ {
				out := h.buf.Row(c)[h.held : h.held+n]
				for i := range out {
					out[i] = x[(at+i)*cols+c]
				}
			}
		})
		at, h.held, h.Tokens = at+n, h.held+n, h.Tokens+n
		if h.held == HessianTokens {
			if err := h.Flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// Flush adds the products of what is gathered.
func (h *Hessian) Flush(ctx context.Context) error {
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

// At returns an element.
func (h *Hessian) At(i, j int) float32 { return h.sum.Row(min(i, j))[max(i, j)] }

// LeastDamping is the damping that GPTQ's authors use, as a share of the mean of
// the diagonal.
const LeastDamping = 0.01

// Damping is how much is added to the diagonal, as a share of its mean, before the
// first attempt. A Hessian of few tokens knows the directions that they happen to
// have, and GPTQ pays with all others for a loss of nothing in those; so there is
// white noise in it as of one token for each column, which says the less the more
// real ones there are.
func (h *Hessian) Damping() float64 {
	return max(LeastDamping, float64(h.sum.Rows)/float64(max(1, h.Tokens)))
}

// Silent is the number of inputs that were never anything but 0.
func (h *Hessian) Silent() int {
	n := 0
	for c := range h.sum.Rows {
		if h.At(c, c) == 0 {
			n++
		}
	}
	return n
}
