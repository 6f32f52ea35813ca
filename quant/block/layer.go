package block

import (
	"context"
	"fmt"

	"nibble/kernels"
)

// The matrices of a layer.
const (
	Q = iota
	K
	V
	O
	Gate
	Up
	Down
	Matrices // how many there are
)

// Kinds names the matrices as model.Module.Kind does.
var Kinds = [Matrices]string{"q", "k", "v", "o", "gate", "up", "down"}

// Layer is one decoder layer: attention and feed-forward, each after a
// normalization and added to what enters it.
type Layer struct {
	Heads, KVHeads, HeadDim int
	Eps                     float32 // of the normalizations
	AttnNorm, MLPNorm       []float32
	W                       [Matrices]kernels.Matrix // outputs x inputs
	Bias                    [Matrices][]float32      // nil for none

	cos, sin []float32 // of the rotations, positions x HeadDim/2
}

// Of returns a layer of a shape whose positions have rotations as
// runtime.Model.Rotations gives them. Its matrices, norms and biases are the
// caller's to set.
func Of(s Shape, cos, sin []float32) Layer {
	return Layer{Heads: s.Heads, KVHeads: s.KVHeads, HeadDim: s.HeadDim, Eps: s.Eps, cos: cos, sin: sin}
}

// Run is a layer at work on some texts: what its forward pass computed. It
// belongs to one goroutine; its memory is used again by the next Forward.
type Run struct {
	eng     *kernels.Engine
	l       *Layer
	lengths []int

	x, norm1, q, k, v, attn, mid, norm2, gate, up, act, y kernels.Matrix
	room                                                  *room
}

// NewRun returns an empty run.
func NewRun(eng *kernels.Engine) *Run { return NewRuns(eng, 1)[0] }

// NewRuns returns runs for layers that follow each other, which share the memory
// of their backward passes: a gradient is valid until that of the run before the
// one before is computed.
func NewRuns(eng *kernels.Engine, n int) []*Run {
	rooms := [2]*room{new(room), new(room)}
	runs := make([]*Run, n)
	for i := range runs {
		runs[i] = &Run{eng: eng, room: rooms[i%2]}
	}
	return runs
}

// shaped returns a matrix of rows x cols in the memory of m if that suffices.
func shaped(m kernels.Matrix, rows, cols int) kernels.Matrix {
	if cap(m.Data) < rows*cols {
		return kernels.NewMatrix(rows, cols)
	}
	return kernels.Matrix{Rows: rows, Cols: cols, Stride: cols, Data: m.Data[:rows*cols]}
}

// apart is shaped with rows that do not all begin in the same place of the
// caches, as those of a power of two do: for transposes, which go down columns.
func apart(m kernels.Matrix, rows, cols int) kernels.Matrix {
	s := shaped(m, rows, cols+16)
	s.Cols = cols
	return s
}

// Forward runs the layer on texts that lie one after the other in x, tokens x
// hidden, and have the given lengths. The result is valid until the next
// Forward; x must not change until Backward is done.
func (r *Run) Forward(ctx context.Context, l *Layer, x kernels.Matrix, lengths []int) (kernels.Matrix, error) {
	n := 0
	for _, t := range lengths {
		if n += t; t < 1 || t*l.HeadDim/2 > len(l.cos) {
			return kernels.Matrix{}, fmt.Errorf("block: a text of %d tokens; 1 to %d fit", t, len(l.cos)*2/l.HeadDim)
		}
	}
	if n != x.Rows {
		panic(fmt.Sprintf("block: texts of %d tokens in %d rows", n, x.Rows))
	}
	r.l, r.lengths, r.x = l, lengths, x
	e := r.eng
	r.norm1 = r.normalize(r.norm1, x, l.AttnNorm)
	var err error
	mul := func(dst *kernels.Matrix, in kernels.Matrix, i int) {
		if err == nil {
			*dst = shaped(*dst, n, l.W[i].Rows)
			err = r.multiply(ctx, *dst, in, i)
		}
	}
	mul(&r.q, r.norm1, Q)
	mul(&r.k, r.norm1, K)
	mul(&r.v, r.norm1, V)
	if err != nil {
		return kernels.Matrix{}, err
	}
	r.rotate(r.q, false)
	r.rotate(r.k, false)
	r.attn = shaped(r.attn, n, l.Heads*l.HeadDim)
	if err := r.attend(ctx); err != nil {
		return kernels.Matrix{}, err
	}
	mul(&r.mid, r.attn, O)
	if err != nil {
		return kernels.Matrix{}, err
	}
	r.each(n, func(i int) { e.Add(r.mid.Row(i), x.Row(i)) })
	r.norm2 = r.normalize(r.norm2, r.mid, l.MLPNorm)
	mul(&r.gate, r.norm2, Gate)
	mul(&r.up, r.norm2, Up)
	if err != nil {
		return kernels.Matrix{}, err
	}
	r.act = shaped(r.act, n, r.gate.Cols)
	r.each(n, func(i int) { e.SwiGLU(r.act.Row(i), r.gate.Row(i), r.up.Row(i)) })
	mul(&r.y, r.act, Down)
	if err != nil {
		return kernels.Matrix{}, err
	}
	r.each(n, func(i int) { e.Add(r.y.Row(i), r.mid.Row(i)) })
	return r.y, nil
}

// Input returns what entered a matrix of the layer in the last Forward.
func (r *Run) Input(matrix int) kernels.Matrix {
	switch matrix {
	case Q, K, V:
		return r.norm1
	case O:
		return r.attn
	case Down:
		return r.act
	}
	return r.norm2
}

// each runs f for every row on all threads.
func (r *Run) each(n int, f func(i int)) {
	r.eng.For(n, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			f(i)
		}
	})
}

func (r *Run) normalize(dst, x kernels.Matrix, w []float32) kernels.Matrix {
	dst = shaped(dst, x.Rows, x.Cols)
	r.each(x.Rows, func(i int) { r.eng.RMSNorm(dst.Row(i), x.Row(i), w, r.l.Eps) })
	return dst
}

// multiply stores in dst what a matrix of the layer gives for x.
func (r *Run) multiply(ctx context.Context, dst, x kernels.Matrix, i int) error {
	if err := r.eng.MulTransposed(ctx, dst, x, r.l.W[i]); err != nil {
		return err
	}
	if b := r.l.Bias[i]; b != nil {
		r.each(dst.Rows, func(t int) { r.eng.Add(dst.Row(t), b) })
	}
	return nil
}

// rotate turns queries or keys by their positions, or back.
func (r *Run) rotate(m kernels.Matrix, back bool) {
	d, half, at := r.l.HeadDim, r.l.HeadDim/2, 0
	for _, n := range r.lengths {
		r.each(n, func(p int) {
			cos, sin := r.l.cos[p*half:(p+1)*half], r.l.sin[p*half:(p+1)*half]
			for h := m.Row(at + p); len(h) > 0; h = h[d:] {
				if back {
					r.eng.Rotate(h[half:d], h[:half], cos, sin)
				} else {
					r.eng.Rotate(h[:half], h[half:d], cos, sin)
				}
			}
		})
		at += n
	}
}
