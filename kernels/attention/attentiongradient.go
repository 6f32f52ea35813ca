package attention

import (
	"math"
	"sync"

	"nibble/kernels/layout"
	"nibble/kernels/number"
	"nibble/kernels/vector"
)

// AttentionGradient is causal attention over one text, positions x (heads*Dim),
// with what its derivative starts from and where it goes. Queries are a multiple
// of keys in heads.
type AttentionGradient struct {
	Dim        int // elements of a head
	Rule       AttentionRule
	Q, K, V    vector.Matrix // what Attention was given
	Out, DOut  vector.Matrix // what it gave, and the gradient of that
	DQ, DK, DV vector.Matrix // receive the gradients
}

// gradientRows is how many queries go through keys and values together: their
// weights and what becomes of them stay in the second-level cache for a thousand
// positions.
const gradientRows = 64

// gradientRoom is memory for a head and a tile of its queries.
type gradientRoom struct {
	keys, values []float32 // of the head, interleaved as in a KVCache
	rows         []float32 // the keys, positions x width
	q, dout      []float32 // of the tile, row by row, dout with one more column
	wideQ        []float32 // queries, rows x width
	wideOut      []float32 // gradients of the outputs over the sums of the weights
	p, dp        []float32 // weights before they are divided by their sums, and gradients
	turned       []float32 // a transpose of either
	part         []float32
	inverse      [gradientRows]float32
}

var gradientRooms = sync.Pool{New: func() any { return new(gradientRoom) }}

// AttentionGradient computes the gradients of the queries, keys and values of one
// key head of a text. Calls for other heads and texts may run at once.
//
// Weights are computed again, for a tile of queries at a time, from the keys up to
// its last. The derivative of a softmax p, p (dp - Σ p dp), takes Σ p dp from
// outputs and their gradients, whose inner product it is (Dao, "FlashAttention-2",
// 2023).
func (e *Heads) AttentionGradient(g AttentionGradient, head int) {
	room := gradientRooms.Get().(*gradientRoom)
	defer gradientRooms.Put(room)
	n, d := g.Q.Rows, g.Dim
	width, k0 := number.RoundUp(d, layout.KeyBlock), head*d
	room.keys = interleave(e, room.keys, g.K.Sub(0, n, k0, k0+d), d)
	room.values = interleave(e, room.values, g.V.Sub(0, n, k0, k0+d), d+1)
	for b := range blocksOf(n) {
		for lane := range layout.KeyBlock {
			room.values[(b*(d+1)+d)*layout.KeyBlock+lane] = 1 // meets -Σ p dp
		}
	}
	room.rows = number.Grow(room.rows, n*width)
	for i := range n {
		widen(room.rows[i*width:][:width], g.K.Row(i)[k0:k0+d], 1)
		clear(g.DK.Row(i)[k0 : k0+d])
		clear(g.DV.Row(i)[k0 : k0+d])
	}
	group := g.Q.Cols / g.K.Cols
	for h := head * group; h < (head+1)*group; h++ {
		for at := 0; at < n; at += gradientRows {
			e.gradientTile(g, room, h, k0, at, min(gradientRows, n-at))
		}
	}
}

// gradientTile does so for rows queries of a head from at on; that of their keys
// begins at column k0.
func (e *Heads) gradientTile(g AttentionGradient, s *gradientRoom, head, k0, at, rows int) {
	d, n := g.Dim, at+rows
	q0 := head * d
	width, blocks := number.RoundUp(d, layout.KeyBlock), blocksOf(n)
	seen := blocks * layout.KeyBlock
	ld, turnedLD := scoresApart(blocks), gradientRows+layout.KeyBlock // that neither is a multiple of a page
	s.q, s.dout = number.Grow(s.q, rows*d), number.Grow(s.dout, rows*(d+1))
	s.wideQ, s.wideOut = number.Grow(s.wideQ, rows*width), number.Grow(s.wideOut, rows*width)
	s.p, s.dp = number.Grow(s.p, rows*ld), number.Grow(s.dp, rows*ld)
	s.turned, s.part = number.Grow(s.turned, seen*turnedLD), number.Grow(s.part, seen*width)
	scale := g.Rule.scale(d)
	for r := range rows {
		q, dout := s.wideQ[r*width:][:width], g.DOut.Row(at + r)[q0:q0+d]
		widen(q, g.Q.Row(at + r)[q0:q0+d], scale)
		copy(s.q[r*d:], q[:d])
		copy(s.dout[r*(d+1):], dout)
		s.dout[r*(d+1)+d] = -vector.Dot(dout, g.Out.Row(at + r)[q0:q0+d])
	}
	e.ops.scores(s.p, ld, s.q, number.Bytes(s.keys), d*layout.KeyBlock, number.F32, blocks, d, rows)
	slope := s.capped(g.Rule.SoftCap, ld, rows)
	for r := range rows {
		s.inverse[r] = g.Rule.softmax(e.vec, s.p[r*ld:][:seen], head, at+r, 0)
		widen(s.wideOut[r*width:][:width], g.DOut.Row(at + r)[q0:q0+d], s.inverse[r])
	}
	e.ops.scores(s.dp, ld, s.dout, number.Bytes(s.values), (d+1)*layout.KeyBlock, number.F32, blocks, d+1, rows)
	for r := range rows {
		dp := s.dp[r*ld:][:seen]
		e.vec.ScaleMul(dp, dp, s.p[r*ld:][:seen], s.inverse[r])
		if slope != nil {
			e.vec.ScaleMul(dp, dp, slope[r*ld:][:seen], 1)
		}
	}
	// gather adds to dst the products of the columns of weights and the rows of x.
	gather := func(dst vector.Matrix, weights, x []float32) {
		e.vec.Transpose(s.turned, turnedLD, weights, ld, rows, seen)
		e.ops.values(s.part, width, s.turned, turnedLD, number.Bytes(x), width*layout.KeyBlock, number.F32, rows, width, n, false)
		for j := range n {
			e.vec.Add(dst.Row(j)[k0:k0+d], s.part[j*width:][:d])
		}
	}
	gather(g.DV, s.p, s.wideOut)
	gather(g.DK, s.dp, s.wideQ)
	e.ops.values(s.part, width, s.dp, ld, number.Bytes(s.rows), width*layout.KeyBlock, number.F32, n, width, rows, false)
	for r := range rows {
		widen(g.DQ.Row(at + r)[q0:q0+d], s.part[r*width:][:d], scale)
	}
}

// capped returns the slopes of the cap at the scores of rows queries, ld apart: one
// minus the square of the hyperbolic tangent. It is nil without a cap.
func (s *gradientRoom) capped(limit float32, ld, rows int) []float32 {
	if limit == 0 {
		return nil
	}
	slope := make([]float32, rows*ld)
	for i, v := range s.p[:rows*ld] {
		t := math.Tanh(float64(v / limit))
		slope[i] = float32(1 - t*t)
	}
	return slope
}

// interleave stores rows as a KVCache does keys, dim elements each of which x may
// have fewer.
func interleave(e *Heads, dst []float32, x vector.Matrix, dim int) []float32 {
	blocks := blocksOf(x.Rows)
	dst = number.Grow(dst, blocks*dim*layout.KeyBlock)
	clear(dst[(blocks-1)*dim*layout.KeyBlock:])
	for b := range blocks {
		e.vec.Transpose(dst[b*dim*layout.KeyBlock:], layout.KeyBlock, x.Data[b*layout.KeyBlock*x.Stride:], x.Stride, min(layout.KeyBlock, x.Rows-b*layout.KeyBlock), x.Cols)
	}
	return dst
}

// widen stores x times scale in dst, and zeros after it.
func widen(dst, x []float32, scale float32) {
	for i, v := range x {
		dst[i] = v * scale
	}
	clear(dst[len(x):])
}
