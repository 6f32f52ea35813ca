package block

import (
	"context"
	"math"

	"nibble/kernels"
)

// room is memory that runs share: what a pass forgets with its layer.
type room struct {
	cache *kernels.KVCache

	weights                kernels.Matrix // of a matrix, transposed
	dact, dup, dnorm, more kernels.Matrix
	dmid, dattn, dq, dk    kernels.Matrix
	dv, dx                 kernels.Matrix
	left, right            kernels.Matrix // of a gradient of a matrix
	turnedOf               *float32       // what right is the transpose of
}

// Gradients receive the gradients of a layer's matrices, which are added to what
// they hold. Those without data are not computed.
type Gradients [Matrices]kernels.Matrix

// Backward takes the gradient of a loss with respect to the last Forward's
// result, adds the matrices' to grads, and returns the input's, valid until the
// next Backward. The layer must be as it was in Forward.
func (r *Run) Backward(ctx context.Context, dy kernels.Matrix, grads *Gradients) (kernels.Matrix, error) {
	l, b, n := r.l, r.room, dy.Rows
	b.turnedOf = nil
	var err error
	// through takes the gradient of a matrix's outputs, d, to that of its inputs.
	through := func(dst *kernels.Matrix, i int, d, in kernels.Matrix) {
		if err == nil {
			w := l.W[i]
			*dst, b.weights = shaped(*dst, n, w.Cols), apart(b.weights, w.Cols, w.Rows)
			r.eng.Transpose(b.weights, w)
			err = r.eng.MulTransposed(ctx, *dst, d, b.weights)
		}
		if err == nil {
			err = r.gradient(ctx, grads[i], d, in)
		}
	}
	through(&b.dact, Down, dy, r.act)
	if err != nil {
		return kernels.Matrix{}, err
	}
	b.dup = shaped(b.dup, n, b.dact.Cols)
	r.each(n, func(i int) { r.swiGLUBackward(b.dact.Row(i), b.dup.Row(i), r.gate.Row(i), r.up.Row(i)) })
	through(&b.dnorm, Gate, b.dact, r.norm2)
	through(&b.more, Up, b.dup, r.norm2)
	if err != nil {
		return kernels.Matrix{}, err
	}
	b.dmid = shaped(b.dmid, n, dy.Cols)
	r.each(n, func(i int) {
		r.eng.Add(b.dnorm.Row(i), b.more.Row(i))
		normBackward(b.dmid.Row(i), b.dnorm.Row(i), r.mid.Row(i), l.MLPNorm, l.Eps)
		r.eng.Add(b.dmid.Row(i), dy.Row(i))
	})
	through(&b.dattn, O, b.dmid, r.attn)
	if err != nil {
		return kernels.Matrix{}, err
	}
	b.dq, b.dk, b.dv = shaped(b.dq, n, r.q.Cols), shaped(b.dk, n, r.k.Cols), shaped(b.dv, n, r.v.Cols)
	if err := r.attendBackward(ctx, b.dq, b.dk, b.dv, b.dattn); err != nil {
		return kernels.Matrix{}, err
	}
	r.rotate(b.dq, true)
	r.rotate(b.dk, true)
	through(&b.dnorm, Q, b.dq, r.norm1)
	through(&b.more, K, b.dk, r.norm1)
	if err != nil {
		return kernels.Matrix{}, err
	}
	r.each(n, func(i int) { r.eng.Add(b.dnorm.Row(i), b.more.Row(i)) })
	through(&b.more, V, b.dv, r.norm1)
	if err != nil {
		return kernels.Matrix{}, err
	}
	b.dx = shaped(b.dx, n, dy.Cols)
	r.each(n, func(i int) {
		r.eng.Add(b.dnorm.Row(i), b.more.Row(i))
		normBackward(b.dx.Row(i), b.dnorm.Row(i), r.x.Row(i), l.AttnNorm, l.Eps)
		r.eng.Add(b.dx.Row(i), b.dmid.Row(i))
	})
	return b.dx, nil
}

// gradient adds to g, if that has data, the products of outputs' gradients and
// inputs, summed over tokens.
func (r *Run) gradient(ctx context.Context, g, d, x kernels.Matrix) error {
	if g.Data == nil {
		return nil
	}
	b := r.room
	b.left = apart(b.left, d.Cols, d.Rows)
	r.eng.Transpose(b.left, d)
	if b.turnedOf != &x.Data[0] { // matrices that share their inputs come one after the other
		b.right = apart(b.right, x.Cols, x.Rows)
		r.eng.Transpose(b.right, x)
		b.turnedOf = &x.Data[0]
	}
	return r.eng.AddMulTransposed(ctx, g, b.left, b.right)
}

// swiGLUBackward replaces d, the gradient of silu(gate) * up, by that of gate,
// and stores that of up.
func (r *Run) swiGLUBackward(d, dup, gate, up []float32) {
	for i, g := range gate {
		dup[i] = -g
	}
	r.eng.Exp(dup, dup, 0)
	for i, e := range dup {
		s := 1 / (1 + e) // silu(g) = g s, and its derivative is s (1 + g (1 - s))
		g, du := gate[i], d[i]
		d[i] = du * up[i] * s * (1 + g*(1-s))
		dup[i] = du * g * s
	}
}

// normBackward stores the gradient of x for that of its normalization, d.
func normBackward(dst, d, x, w []float32, eps float32) {
	var squares, dot float64
	for i, v := range x {
		squares += float64(v) * float64(v)
		dot += float64(d[i]*w[i]) * float64(v)
	}
	n := float64(len(x))
	inv := 1 / math.Sqrt(squares/n+float64(eps))
	a, b := float32(inv), float32(dot*inv*inv*inv/n)
	for i, v := range x {
		dst[i] = a*d[i]*w[i] - b*v
	}
}

// NormBackward is the gradient of a normalization's input x, row by row, for
// that of its output.
func NormBackward(eng *kernels.Engine, dst, d, x kernels.Matrix, w []float32, eps float32) {
	eng.For(x.Rows, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			normBackward(dst.Row(i), d.Row(i), x.Row(i), w, eps)
		}
	})
}
