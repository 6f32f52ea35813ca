package graph

import (
	"context"

	"nibble/kernels"
)

// Pass takes the next tokens of a text through a graph. Memory is used again from step to
// step.
type Pass struct {
	g   *Graph
	eng *kernels.Engine

	Site   func(l *Linear, x kernels.Matrix) error // called with what each matrix is about to read; nil for nothing. An error ends the walk.
	Length int                                     // positions that the text is expected to have: see [Graph.LongFrom]

	cache *Cache // of the text; a tape has none
	texts []text
	memory
	held     [4][]float32 // memory of what outlives an operation: the stream, what branches read and give, and their sum
	acts     kernels.Acts
	products []kernels.Product
	kept     []any // of each operation, what its gradient needs, by its number

	stream   kernels.Matrix // the residual stream
	pending  kernels.Matrix // what the last step adds, which the next normalization does on its way; no data for nothing
	perLayer kernels.Matrix // inputs of blocks besides the stream (see arch.PerLayer), those of all side by side

	tape
}

// text is rows of a pass.
type text struct {
	first, n int
	position int // of its first row
}

// NewPass returns a pass for a text whose steps keep what they do in a cache. acts that
// others use as well would do for one goroutine.
func (g *Graph) NewPass(c *Cache) *Pass {
	return &Pass{g: g, eng: g.eng, cache: c, kept: make([]any, g.operations)}
}

// Acts is the activation buffer of the pass, for products between walks.
func (p *Pass) Acts() *kernels.Acts { return &p.acts }

// Begin makes n rows the stream, at positions from one on, and returns the stream to be filled.
func (p *Pass) Begin(n, position int) kernels.Matrix {
	p.texts, p.next, p.pending = append(p.texts[:0], text{0, n, position}), 0, kernels.Matrix{}
	p.stream = p.hold(0, n, p.g.hidden)
	return p.stream
}

// Stream returns the residual stream as the blocks before left it.
func (p *Pass) Stream() kernels.Matrix {
	p.settle()
	return p.stream
}

// PerLayer returns what the blocks get besides the stream, of all blocks side by side.
func (p *Pass) PerLayer() kernels.Matrix { return p.perLayer }

// Block runs a block over the stream.
func (p *Pass) Block(ctx context.Context, i int) error { return p.g.Blocks[i].forward(ctx, p) }

// Finish normalizes the stream for the head; dst has its rows.
func (p *Pass) Finish(dst []float32) {
	n := p.stream.Rows
	p.enter(p.g.Norm, kernels.Matrix{Rows: n, Cols: p.g.hidden, Stride: p.g.hidden, Data: dst})
}

// settle adds what is pending to the stream.
func (p *Pass) settle() { p.enter(nil, kernels.Matrix{}) }

// enter adds what is pending to the stream, and stores the normalized stream, or without
// a norm the stream, in dst, if that has data.
func (p *Pass) enter(n *Norm, dst kernels.Matrix) {
	x, y, to := p.stream, p.pending, p.stream
	if y.Data == nil && dst.Data == nil {
		return
	}
	if y.Data != nil && p.keeps {
		x, y, to = y, x, y // the stream before stays
	}
	p.each(x.Rows, func(i int) {
		row := x.Row(i)
		if y.Data != nil {
			p.eng.Add(row, y.Row(i))
		}
		switch {
		case dst.Data == nil:
		case n == nil:
			copy(dst.Row(i), row)
		default:
			n.Row(p.eng, dst.Row(i), row)
		}
	})
	p.stream, p.pending = to, kernels.Matrix{}
}

// hold returns memory for what outlives a step's operation: of a tape that of its own, else
// one of three that are used again.
func (p *Pass) hold(which, rows, cols int) kernels.Matrix {
	if p.keeps {
		return p.matrix(rows, cols)
	}
	return matrixIn(&p.held[which], rows, cols)
}

// another returns a matrix for a function of each element of x: x itself, if nothing needs
// what it was.
func (p *Pass) another(x kernels.Matrix) kernels.Matrix {
	if p.keeps || x.Stride != x.Cols {
		return p.matrix(x.Rows, x.Cols)
	}
	return x
}

// mark says what memory is in use, forget frees what is in use since.
func (p *Pass) mark() int { return p.next }
func (p *Pass) forget(mark int) {
	if !p.keeps {
		p.next = mark
	}
}

// record is what an operation keeps for its gradient in a pass.
func record[T any](p *Pass, number int) *T {
	if p.kept[number] == nil {
		p.kept[number] = new(T)
	}
	return p.kept[number].(*T)
}

// state is what a recurrent step keeps of a text.
func (p *Pass) state(number int) *State {
	if p.cache != nil {
		return &p.cache.States[number]
	}
	s := p.g.recurrent[number].start()
	return &s
}

// normalize returns the rows of x, normalized if there is a norm.
func (p *Pass) normalize(n *Norm, x kernels.Matrix) kernels.Matrix {
	if n == nil {
		return x
	}
	y := p.another(x)
	p.each(x.Rows, func(i int) { n.Row(p.eng, y.Row(i), x.Row(i)) })
	return y
}

// each runs f for every row on all threads.
func (p *Pass) each(n int, f func(i int)) {
	if n == 1 {
		f(0)
		return
	}
	p.eng.For(n, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			f(i)
		}
	})
}

// eachPlace is each for the rows of a text, with their positions.
func (p *Pass) eachPlace(t text, f func(row, position int)) {
	if t.n == 1 {
		f(t.first, t.position)
		return
	}
	p.each(t.n, func(i int) { f(t.first+i, t.position+i) })
}

func (p *Pass) add(dst, x kernels.Matrix) {
	p.each(dst.Rows, func(i int) { p.eng.Add(dst.Row(i), x.Row(i)) })
}

func (p *Pass) copy(dst, x kernels.Matrix) {
	p.each(dst.Rows, func(i int) { copy(dst.Row(i), x.Row(i)) })
}

// scale multiplies all elements by f.
func (p *Pass) scale(x kernels.Matrix, f float32) {
	if f != 1 {
		p.each(x.Rows, func(i int) { scaleRow(x.Row(i), f) })
	}
}

func scaleRow(x []float32, f float32) {
	if f == 1 {
		return
	}
	for i := range x {
		x[i] *= f
	}
}

// addTimes adds x times f to dst.
func addTimes(dst, x []float32, f float32) {
	dst = dst[:len(x)]
	for i, v := range x {
		dst[i] += f * v
	}
}
