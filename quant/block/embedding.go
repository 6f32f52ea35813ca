package block

import (
	"context"

	"nibble/kernels"
	"nibble/model/arch"
	rt "nibble/runtime"
)

// Embedding turns tokens into what enters the first block, and takes gradients back to
// its table.
type Embedding struct {
	eng       *kernels.Engine
	d         *arch.Embedding
	row       func(dst []float32, l *arch.Linear, token int)
	positions []float32 // nil for none
	norm      *rt.Norm
	perLayer  *perLayer // nil for none
	gradient  kernels.Matrix

	tokens [][]int32
	kept   memory
	sum    kernels.Matrix // what the norm reads
}

// perLayer are the inputs of all blocks besides the stream.
type perLayer struct {
	*arch.PerLayer
	projection Weight
	norm       *rt.Norm

	projected, inputs kernels.Matrix // what the norm reads, and all inputs of each token
}

// NewEmbedding gives the description of a model's embedding its parts. The table's
// gradient is added to gradient; without data it is not computed.
func NewEmbedding(eng *kernels.Engine, d *arch.Embedding, p Parts, gradient kernels.Matrix) (*Embedding, error) {
	e := &Embedding{eng: eng, d: d, row: p.Row, norm: rt.NewNorm(d.Norm, p.Vector), gradient: gradient}
	if d.Positions != nil {
		e.positions = p.Vector(d.Positions.Tensor)
	}
	if d.PerLayer == nil {
		return e, nil
	}
	e.perLayer = &perLayer{PerLayer: d.PerLayer, norm: rt.NewNorm(d.PerLayer.Norm, p.Vector)}
	var err error
	e.perLayer.projection, err = p.Weight(&d.PerLayer.Projection)
	return e, err
}

// Forward embeds texts. The result is valid until the next Forward.
func (e *Embedding) Forward(ctx context.Context, tokens [][]int32) (kernels.Matrix, error) {
	n := 0
	for _, text := range tokens {
		n += len(text)
	}
	e.tokens, e.kept.next = tokens, 0
	x := e.kept.matrix(n, e.d.Cols)
	e.sum = x
	if e.norm != nil {
		x = e.kept.matrix(n, e.d.Cols)
	}
	e.each(func(i, position int, token int32) {
		row := e.sum.Row(i)
		e.row(row, &e.d.Linear, int(token))
		multiplyRow(row, e.d.Scale)
		if e.positions != nil {
			e.eng.Add(row, e.positions[(position+e.d.Positions.Offset)*len(row):][:len(row)])
		}
		if e.norm != nil {
			e.norm.Row(e.eng, x.Row(i), row)
		}
	})
	if e.perLayer == nil {
		return x, nil
	}
	return x, e.inputs(ctx, x)
}

// each runs f for every token, with its row and its position, on all threads.
func (e *Embedding) each(f func(i, position int, token int32)) {
	first := 0
	for _, text := range e.tokens {
		e.eng.For(len(text), func(_, lo, hi int) {
			for p := lo; p < hi; p++ {
				f(first+p, p, text[p])
			}
		})
		first += len(text)
	}
}

// inputs computes those of all blocks.
func (e *Embedding) inputs(ctx context.Context, x kernels.Matrix) error {
	p := e.perLayer
	all := p.projection.Value.Rows
	p.projected, p.inputs = e.kept.matrix(x.Rows, all), e.kept.matrix(x.Rows, all)
	if err := e.eng.MulTransposed(ctx, p.projected, x, p.projection.Value); err != nil {
		return err
	}
	own := e.kept.matrix(x.Rows, all)
	e.each(func(i, _ int, token int32) {
		multiplyRow(p.projected.Row(i), p.ProjectionScale)
		row := p.inputs.Row(i)
		p.norm.Row(e.eng, row, p.projected.Row(i))
		e.row(own.Row(i), &p.Table, int(token))
		for j, v := range own.Row(i) {
			row[j] = (row[j] + v*p.Scale) * p.SumScale
		}
	})
	return nil
}

// PerLayer returns the inputs of a block after Forward; without data for none.
func (e *Embedding) PerLayer(layer int) kernels.Matrix {
	if e.perLayer == nil {
		return kernels.Matrix{}
	}
	m, w := e.perLayer.inputs, e.perLayer.Width
	return m.Sub(0, m.Rows, layer*w, (layer+1)*w)
}

// Backward adds the table's gradient for those of what Forward gave and, with inputs of
// the blocks, of these: perLayer has them side by side.
func (e *Embedding) Backward(ctx context.Context, dx, perLayer kernels.Matrix) error {
	if e.gradient.Data == nil {
		return nil
	}
	d := e.kept.matrix(dx.Rows, dx.Cols)
	clear(d.Data)
	if p := e.perLayer; p != nil {
		dprojected := e.kept.matrix(perLayer.Rows, perLayer.Cols)
		e.each(func(i, _ int, _ int32) {
			multiplyRow(perLayer.Row(i), p.SumScale)
			p.norm.Gradient(dprojected.Row(i), perLayer.Row(i), p.projected.Row(i))
			multiplyRow(dprojected.Row(i), p.ProjectionScale)
		})
		w := p.projection.Value
		turned := e.kept.matrix(w.Cols, w.Rows)
		e.eng.Transpose(turned, w)
		if err := e.eng.MulTransposed(ctx, d, dprojected, turned); err != nil {
			return err
		}
	}
	dsum := e.kept.matrix(dx.Rows, dx.Cols)
	e.each(func(i, _ int, _ int32) {
		e.eng.Add(d.Row(i), dx.Row(i))
		if e.norm == nil {
			copy(dsum.Row(i), d.Row(i))
		} else {
			e.norm.Gradient(dsum.Row(i), d.Row(i), e.sum.Row(i))
		}
		multiplyRow(dsum.Row(i), e.d.Scale)
	})
	at := 0
	for _, text := range e.tokens { // one after the other: tokens occur again
		for _, token := range text {
			e.eng.Add(e.gradient.Row(int(token)), dsum.Row(at))
			at++
		}
	}
	return nil
}

// multiplyRow multiplies all elements by f.
func multiplyRow(x []float32, f float32) {
	if f == 1 {
		return
	}
	for i := range x {
		x[i] *= f
	}
}
