package block

import (
	"context"

	"nibble/kernels"
	"nibble/model/arch"
	rt "nibble/runtime"
)

// mlp is a feed-forward step, with a gate or without.
type mlp struct {
	*arch.MLP
	gate, up, gateUp, down *linear

	g, u kernels.Matrix // what the first matrices gave; without a gate u has no data
}

func (c *compiler) mlp(m *arch.MLP) *mlp {
	return &mlp{MLP: m, gate: c.linear(m.Gate), up: c.linear(m.Up), gateUp: c.linear(m.GateUp), down: c.linear(m.Down)}
}

func (m *mlp) forward(ctx context.Context, b *Block, x, dst kernels.Matrix) error {
	if err := m.first(ctx, b, x); err != nil {
		return err
	}
	inner := b.kept.matrix(x.Rows, m.Inner)
	b.each(x.Rows, func(i int) { rt.Activate(b.eng, m.Act, m.Limit, inner.Row(i), m.g.Row(i), rowOf(m.u, i)) })
	return b.multiplyTo(ctx, m.down, dst, inner)
}

// first runs the first matrices.
func (m *mlp) first(ctx context.Context, b *Block, x kernels.Matrix) (err error) {
	switch {
	case m.gateUp != nil:
		var both kernels.Matrix
		if both, err = b.multiply(ctx, m.gateUp, x); err == nil {
			m.g, m.u = both.Sub(0, x.Rows, 0, m.Inner), both.Sub(0, x.Rows, m.Inner, 2*m.Inner)
		}
	case m.gate == nil:
		m.g, err = b.multiply(ctx, m.up, x)
	default:
		if m.g, err = b.multiply(ctx, m.gate, x); err == nil {
			m.u, err = b.multiply(ctx, m.up, x)
		}
	}
	return err
}

func (m *mlp) backward(ctx context.Context, b *Block, d, dx kernels.Matrix) error {
	mark := b.room.next
	defer func() { b.room.next = mark }()
	inner := b.room.matrix(d.Rows, m.Inner)
	if err := b.through(ctx, inner, back{m.down, d}); err != nil {
		return err
	}
	dg, du, all := inner, kernels.Matrix{}, []back(nil)
	switch {
	case m.gateUp != nil:
		both := b.room.matrix(d.Rows, 2*m.Inner)
		dg, du = both.Sub(0, d.Rows, 0, m.Inner), both.Sub(0, d.Rows, m.Inner, 2*m.Inner)
		all = []back{{m.gateUp, both}}
	case m.gate == nil:
		all = []back{{m.up, dg}}
	default:
		du = b.room.matrix(d.Rows, m.Inner)
		all = []back{{m.gate, dg}, {m.up, du}}
	}
	b.each(d.Rows, func(i int) {
		rt.ActivateGradient(b.eng, m.Act, m.Limit, dg.Row(i), rowOf(du, i), inner.Row(i), m.g.Row(i), rowOf(m.u, i))
	})
	return b.through(ctx, dx, all...)
}

// rowOf is a row of a matrix, nil of one without data.
func rowOf(m kernels.Matrix, i int) []float32 {
	if m.Data == nil {
		return nil
	}
	return m.Row(i)
}

// perLayerInput adds a block's own inputs.
type perLayerInput struct {
	act       arch.Activation
	gate, out *linear

	g kernels.Matrix // what the gate's matrix gave
}

func (p *perLayerInput) forward(ctx context.Context, b *Block, x, dst kernels.Matrix) (err error) {
	if p.g, err = b.multiply(ctx, p.gate, x); err != nil {
		return err
	}
	inner := b.kept.matrix(p.g.Rows, p.g.Cols)
	b.perLayer = b.kept.matrix(p.g.Rows, p.g.Cols)
	b.each(x.Rows, func(i int) { rt.Activate(b.eng, p.act, 0, inner.Row(i), p.g.Row(i), b.texts.PerLayer.Row(i)) })
	return b.multiplyTo(ctx, p.out, dst, inner)
}

func (p *perLayerInput) backward(ctx context.Context, b *Block, d, dx kernels.Matrix) error {
	mark := b.room.next
	defer func() { b.room.next = mark }()
	inner := b.room.matrix(p.g.Rows, p.g.Cols)
	if err := b.through(ctx, inner, back{p.out, d}); err != nil {
		return err
	}
	b.each(d.Rows, func(i int) {
		rt.ActivateGradient(b.eng, p.act, 0, inner.Row(i), b.perLayer.Row(i), inner.Row(i), p.g.Row(i), b.texts.PerLayer.Row(i))
	})
	return b.through(ctx, dx, back{p.gate, inner})
}
