package runtime

import (
	"context"

	"nibble/model/arch"
)

// embedding turns tokens into the first hidden states.
type embedding struct {
	table     linear
	scale     float32
	positions []float32 // learned, rows as wide as the stream; nil for none
	offset    int       // the row of the first position
	norm      *Norm
	perLayer  *perLayer
}

// perLayer are inputs that every block gets of each token.
type perLayer struct {
	table, projection       linear
	norm                    *Norm
	width                   int
	scale, projected, total float32
}

func (c *compiler) embedding(e *arch.Embedding) embedding {
	out := embedding{table: c.linear(&e.Linear), scale: e.Scale, norm: c.norm(e.Norm)}
	if e.Positions != nil {
		out.positions, out.offset = c.m.shared.vectors[e.Positions.Tensor], e.Positions.Offset
	}
	if p := e.PerLayer; p != nil {
		out.perLayer = &perLayer{c.linear(&p.Table), c.linear(&p.Projection), c.norm(p.Norm), p.Width, p.Scale, p.ProjectionScale, p.SumScale}
	}
	return out
}

// row embeds a token at a position.
func (m *Model) embedRow(dst []float32, token int32, position int) {
	e := &m.graph.embed
	e.table.Row(dst, int(token))
	if e.scale != 1 {
		for i := range dst {
			dst[i] *= e.scale
		}
	}
	if e.positions != nil {
		at := (position + e.offset) * len(dst)
		m.Engine.Add(dst, e.positions[at:at+len(dst)])
	}
	if e.norm != nil {
		e.norm.Row(m.Engine, dst, dst)
	}
}

// embedLayers computes the inputs of all blocks for tokens whose embeddings are x.
func (s *Session) embedLayers(ctx context.Context, tokens []int32, x []float32) error {
	p := s.m.graph.embed.perLayer
	if p == nil {
		return nil
	}
	n, all := len(tokens), p.width*len(s.m.graph.blocks)
	s.buf.perLayer = resize(s.buf.perLayer, n*all)
	if err := s.mul(ctx, x, n, s.m.Config.Hidden, output{&p.projection, s.buf.perLayer}); err != nil {
		return err
	}
	s.buf.wide = resize(s.buf.wide, n*all)
	s.rows(n, func(r int) {
		row, own := s.buf.perLayer[r*all:(r+1)*all], s.buf.wide[r*all:(r+1)*all]
		for i := range row {
			row[i] *= p.projected
		}
		p.norm.Row(s.m.Engine, row, row)
		p.table.Row(own, int(tokens[r]))
		for i, v := range own {
			row[i] = (row[i] + v*p.scale) * p.total
		}
	})
	return nil
}

// perLayerInput adds a block's own inputs.
type perLayerInput struct {
	gate, out linear
	act       arch.Activation
	width     int
	block     int
}

func (p *perLayerInput) run(ctx context.Context, s *Session, n int, x, dst []float32) error {
	b, all := &s.buf, p.width*len(s.m.graph.blocks)
	b.gate = resize(b.gate, n*p.width)
	if err := s.mul(ctx, x, n, s.m.Config.Hidden, output{&p.gate, b.gate}); err != nil {
		return err
	}
	s.rows(n, func(r int) {
		gate := b.gate[r*p.width : (r+1)*p.width]
		activate(s.m.Engine, p.act, gate, gate, b.perLayer[r*all+p.block*p.width:][:p.width])
	})
	return s.mul(ctx, b.gate, n, p.width, output{&p.out, dst})
}
