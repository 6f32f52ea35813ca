package graph

import (
	"context"

	"nibble/kernels"
	"nibble/model/arch"
)

// embedding turns tokens into the first hidden states.
type embedding struct {
	table     *Linear
	project   *Linear // of rows to the stream's width; nil for none
	scale     float32
	positions []float32 // learned, rows as wide as the stream; nil for none
	offset    int       // the row of the first position
	columns   int       // of the table
	norm      *Norm
	perLayer  *perLayer // nil for none

	number int
}

// perLayer are inputs that every block gets of each token.
type perLayer struct {
	*arch.PerLayer
	table, projection *Linear
	norm              *Norm
}

// embeddingRecord is what an embedding keeps of a pass.
type embeddingRecord struct {
	texts     [][]int32
	sum       kernels.Matrix // what the norm reads
	projected kernels.Matrix // what that of the blocks' inputs reads
}

func (c *compiler) embedding(e *arch.Embedding) embedding {
	out := embedding{table: c.linear(&e.Linear), project: c.linear(e.Project), scale: e.Scale, norm: c.norm(e.Norm), columns: e.Cols, number: c.number()}
	if e.Positions != nil {
		out.positions, out.offset = c.parts.Vector(e.Positions.Tensor), e.Positions.Offset
	}
	if p := e.PerLayer; p != nil {
		out.perLayer = &perLayer{p, c.linear(&p.Table), c.linear(&p.Projection), c.norm(p.Norm)}
	}
	return out
}

// Embed makes the embeddings of tokens, whose positions follow those before, the stream.
func (p *Pass) Embed(ctx context.Context, tokens []int32, position int) error {
	return p.g.embed.forward(ctx, p, [][]int32{tokens}, p.Begin(len(tokens), position))
}

// forward makes the embeddings of the texts at hand the stream, in the memory of x, and
// computes the blocks' inputs.
func (e *embedding) forward(ctx context.Context, p *Pass, texts [][]int32, x kernels.Matrix) error {
	r := record[embeddingRecord](p, e.number)
	r.texts, r.sum = texts, x
	if p.stream = x; e.norm != nil {
		p.stream = p.another(x)
	}
	rows := x
	if e.project != nil {
		rows = p.matrix(x.Rows, e.columns)
	}
	e.each(p, texts, func(i, _ int, token int32) {
		e.table.row(rows.Row(i), int(token))
		scaleRow(rows.Row(i), e.scale)
	})
	if e.project != nil {
		if err := p.multiply(ctx, rows, product{e.project, x}); err != nil {
			return err
		}
	}
	if e.positions == nil && e.norm == nil && e.perLayer == nil {
		return nil
	}
	e.each(p, texts, func(i, position int, _ int32) {
		row := r.sum.Row(i)
		if e.positions != nil {
			p.eng.Add(row, e.positions[(position+e.offset)*len(row):][:len(row)])
		}
		if e.norm != nil {
			e.norm.Row(p.eng, p.stream.Row(i), row)
		}
	})
	if e.perLayer == nil {
		return nil
	}
	return e.inputs(ctx, p, r)
}

// each runs f for every token, with its row and its position, on all threads.
func (e *embedding) each(p *Pass, texts [][]int32, f func(i, position int, token int32)) {
	for i, t := range p.texts {
		p.eachPlace(t, func(row, position int) { f(row, position, texts[i][row-t.first]) })
	}
}

// inputs computes those of all blocks.
func (e *embedding) inputs(ctx context.Context, p *Pass, r *embeddingRecord) (err error) {
	l := e.perLayer
	if r.projected, err = p.apply(ctx, l.projection, p.stream); err != nil {
		return err
	}
	p.perLayer = p.another(r.projected)
	own := p.matrix(p.perLayer.Rows, p.perLayer.Cols)
	e.each(p, r.texts, func(i, _ int, token int32) {
		scaleRow(r.projected.Row(i), l.ProjectionScale)
		row := p.perLayer.Row(i)
		l.norm.Row(p.eng, row, r.projected.Row(i))
		l.table.row(own.Row(i), int(token))
		for j, v := range own.Row(i) {
			row[j] = (row[j] + v*l.Scale) * l.SumScale
		}
	})
	return nil
}

// backward adds the table's gradient for those of the embeddings and of the blocks'
// inputs. Neither the table nor the projection of these inputs is trained.
func (e *embedding) backward(ctx context.Context, p *Pass, dx kernels.Matrix) error {
	if e.table.Gradient.Data == nil {
		return nil
	}
	rec, r := record[embeddingRecord](p, e.number), p.room
	d, dsum := r.matrix(dx.Rows, dx.Cols), r.matrix(dx.Rows, dx.Cols)
	clear(d.Data)
	if l := e.perLayer; l != nil {
		dinputs := p.dperLayer
		dprojected := r.matrix(dinputs.Rows, dinputs.Cols)
		p.each(dx.Rows, func(i int) {
			scaleRow(dinputs.Row(i), l.SumScale)
			l.norm.Gradient(dprojected.Row(i), dinputs.Row(i), rec.projected.Row(i))
			scaleRow(dprojected.Row(i), l.ProjectionScale)
		})
		if err := p.through(ctx, d, back{l.projection, dprojected}); err != nil {
			return err
		}
	}
	p.each(dx.Rows, func(i int) {
		p.eng.Add(d.Row(i), dx.Row(i))
		if e.norm == nil {
			copy(dsum.Row(i), d.Row(i))
		} else {
			e.norm.Gradient(dsum.Row(i), d.Row(i), rec.sum.Row(i))
		}
	})
	if e.project != nil {
		dstream := dsum
		dsum = r.matrix(dx.Rows, e.columns)
		if err := p.through(ctx, dsum, back{e.project, dstream}); err != nil {
			return err
		}
	}
	p.scale(dsum, e.scale)
	for i, t := range p.texts { // one after the other: tokens occur again
		for j, token := range rec.texts[i] {
			p.eng.Add(e.table.Gradient.Row(int(token)), dsum.Row(t.first+j))
		}
	}
	return nil
}
