package graph

import (
	"nibble/kernels"
	"nibble/model/arch"
)

// way is that of queries, keys or values from their projection into attention: they
// are clipped, normalized and turned in the order that the description gives.
type way struct {
	dim   int // of a head
	limit float32
	norm  *Norm

	clipsLate, normLate bool // the limit follows the norm; the norm follows the rotation
}

// wayRecord is what a way makes of what it reads; where it does nothing it is the same.
type wayRecord struct{ in, clipped, normed, out kernels.Matrix }

func newWay(a *arch.Attention, n *Norm, turns bool) way {
	return way{dim: a.HeadDim, limit: a.Clip, norm: n, clipsLate: a.ClipAfterNorm, normLate: a.NormAfterRope && turns}
}

// begin prepares for rows of x, which forward may change.
func (w *way) begin(p *Pass, r *wayRecord, x kernels.Matrix) {
	if r.in = x; w.limit == 0 && w.norm == nil {
		r.out = x
		return
	}
	clip := func() {
		if w.limit != 0 {
			x = p.another(x)
		}
		r.clipped = x
	}
	if !w.clipsLate {
		clip()
	}
	if w.norm != nil {
		x = p.another(x)
	}
	if r.normed = x; w.clipsLate {
		clip()
	}
	r.out = x
}

// forward takes a row at a position all the way.
func (w *way) forward(e *kernels.Engine, r *wayRecord, i, position int, turn *rope, t tables) {
	x := r.in.Row(i)
	if w.limit == 0 && w.norm == nil {
		turn.row(e, x, w.dim, 0, position, t, false)
		return
	}
	if !w.clipsLate {
		x = w.clip(r, i, x)
	}
	if w.norm != nil && !w.normLate {
		w.norm.Row(e, r.normed.Row(i), x)
		x = r.normed.Row(i)
	}
	if w.clipsLate {
		x = w.clip(r, i, x)
	}
	turn.row(e, x, w.dim, 0, position, t, false)
	if w.norm != nil && w.normLate {
		w.norm.Row(e, r.normed.Row(i), x)
	}
}

// clip returns a row x within the limit, if there is one.
func (w *way) clip(r *wayRecord, i int, x []float32) []float32 {
	if w.limit == 0 {
		return x
	}
	y := r.clipped.Row(i)
	for j, v := range x {
		y[j] = min(max(v, -w.limit), w.limit)
	}
	return y
}

// backward returns the gradient of what begin read for that of what forward gave, which
// it may change.
func (w *way) backward(p *Pass, r *wayRecord, d kernels.Matrix, turn *rope, t tables) kernels.Matrix {
	unnormed, unclipped := r.clipped, r.in
	if w.clipsLate {
		unnormed, unclipped = r.in, r.normed
	}
	if w.normLate {
		d = p.normGradient(w.norm, d, unnormed)
	}
	for _, text := range p.texts {
		p.eachPlace(text, func(i, position int) { turn.row(p.eng, d.Row(i), w.dim, 0, position, t, true) })
	}
	if w.clipsLate {
		w.unclip(p, d, unclipped)
	}
	if !w.normLate {
		d = p.normGradient(w.norm, d, unnormed)
	}
	if !w.clipsLate {
		w.unclip(p, d, unclipped)
	}
	return d
}

// unclip takes away the gradient of elements beyond the limit.
func (w *way) unclip(p *Pass, d, unclipped kernels.Matrix) {
	if w.limit == 0 {
		return
	}
	p.each(d.Rows, func(i int) {
		for j, v := range unclipped.Row(i) {
			if v < -w.limit || v > w.limit {
				d.Row(i)[j] = 0
			}
		}
	})
}
