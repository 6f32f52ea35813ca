package graph

import (
	"context"

	"nibble/kernels"
	"nibble/model/arch"
)

// perLayerInput adds what a block gets besides the stream.
type perLayerInput struct {
	*arch.PerLayerInput
	gate, out *Linear
	column    int // of the block's own inputs among those of all
	number    int
}

// perLayerRecord is what the gate's matrix gave.
type perLayerRecord struct{ g kernels.Matrix }

func (c *compiler) perLayerInput(l *arch.PerLayerInput) operation {
	return &perLayerInput{l, c.linear(l.Gate), c.linear(l.Out), c.column, c.number()}
}

// own are the block's columns of a matrix of all blocks' inputs.
func (l *perLayerInput) own(all kernels.Matrix) kernels.Matrix {
	return all.Sub(0, all.Rows, l.column, l.column+l.Width)
}

func (l *perLayerInput) forward(ctx context.Context, p *Pass, x, dst kernels.Matrix) (err error) {
	r := record[perLayerRecord](p, l.number)
	if r.g, err = p.apply(ctx, l.gate, x); err != nil {
		return err
	}
	inner, inputs := p.another(r.g), l.own(p.perLayer)
	p.each(x.Rows, func(i int) { activate(p.eng, l.Act, 0, inner.Row(i), r.g.Row(i), inputs.Row(i)) })
	return p.multiply(ctx, inner, product{l.out, dst})
}

func (l *perLayerInput) backward(ctx context.Context, p *Pass, d, dx kernels.Matrix) error {
	rec, r := record[perLayerRecord](p, l.number), p.room
	defer r.rewind(r.next)
	inner := r.matrix(d.Rows, l.Width)
	if err := p.through(ctx, inner, back{l.out, d}); err != nil {
		return err
	}
	inputs, dinputs := l.own(p.perLayer), l.own(p.dperLayer)
	p.each(d.Rows, func(i int) {
		activateGradient(p.eng, l.Act, 0, inner.Row(i), dinputs.Row(i), inner.Row(i), rec.g.Row(i), inputs.Row(i))
	})
	return p.through(ctx, dx, back{l.gate, inner})
}
