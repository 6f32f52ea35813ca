package block

import (
	"nibble/kernels"
	"nibble/model/arch"
	rt "nibble/runtime"
)

// way is that of queries, keys or values from their projection into attention: they
// are clipped, normalized and turned in the order that the description gives.
type way struct {
	dim   int // of a head
	limit float32
	norm  *rt.Norm
	turn  rotation

	clipsLate, normLate bool // the limit follows the norm; the norm follows the rotation

	unclipped, unnormed kernels.Matrix // what the limit and the norm read
}

func newWay(a *arch.Attention, n *rt.Norm, turn rotation) way {
	return way{dim: a.HeadDim, limit: a.Clip, norm: n, turn: turn, clipsLate: a.ClipAfterNorm, normLate: a.NormAfterRope && turn.pairs > 0}
}

// forward may change x.
func (w *way) forward(b *Block, x kernels.Matrix) kernels.Matrix {
	if !w.clipsLate {
		x = w.clip(b, x)
	}
	if !w.normLate {
		w.unnormed = x
		x = b.normalize(w.norm, x)
	}
	if w.clipsLate {
		x = w.clip(b, x)
	}
	b.turn(w.turn, x, w.dim, 0, false)
	if w.normLate {
		w.unnormed = x
		x = b.normalize(w.norm, x)
	}
	return x
}

// backward returns the gradient of what forward read for that of what it gave, which
// it may change.
func (w *way) backward(b *Block, d kernels.Matrix) kernels.Matrix {
	if w.normLate {
		d = b.normGradient(w.norm, d, w.unnormed)
	}
	b.turn(w.turn, d, w.dim, 0, true)
	if w.clipsLate {
		w.unclip(b, d)
	}
	if !w.normLate {
		d = b.normGradient(w.norm, d, w.unnormed)
	}
	if !w.clipsLate {
		w.unclip(b, d)
	}
	return d
}

// clip returns x within the limit, if there is one.
func (w *way) clip(b *Block, x kernels.Matrix) kernels.Matrix {
	if w.limit == 0 {
		return x
	}
	y := b.kept.matrix(x.Rows, x.Cols)
	w.unclipped = x
	b.each(x.Rows, func(i int) {
		for j, v := range x.Row(i) {
			y.Row(i)[j] = min(max(v, -w.limit), w.limit)
		}
	})
	return y
}

// unclip takes away the gradient of elements beyond the limit.
func (w *way) unclip(b *Block, d kernels.Matrix) {
	if w.limit == 0 {
		return
	}
	b.each(d.Rows, func(i int) {
		for j, v := range w.unclipped.Row(i) {
			if v < -w.limit || v > w.limit {
				d.Row(i)[j] = 0
			}
		}
	})
}
