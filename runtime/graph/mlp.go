package graph

import (
	"context"

	"nibble/kernels"
	"nibble/model/arch"
)

// mlp is a feed-forward step, with a gate or without.
type mlp struct {
	*arch.MLP
	gate, up, gateUp, down *Linear
	number                 int
}

// mlpRecord is what the first matrices gave; without a gate u has no data.
type mlpRecord struct{ g, u kernels.Matrix }

func (c *compiler) mlp(m *arch.MLP) *mlp {
	return &mlp{m, c.linear(m.Gate), c.linear(m.Up), c.linear(m.GateUp), c.linear(m.Down), c.number()}
}

func (m *mlp) forward(ctx context.Context, p *Pass, x, dst kernels.Matrix) error {
	r, n := record[mlpRecord](p, m.number), x.Rows
	var room [2]product
	if err := p.multiply(ctx, x, m.first(room[:0], p, r, n)...); err != nil {
		return err
	}
	return p.multiply(ctx, m.inner(p, r), product{m.down, dst})
}

// first appends the products of the first matrices for n rows.
func (m *mlp) first(all []product, p *Pass, r *mlpRecord, n int) []product {
	switch {
	case m.gateUp != nil:
		both := p.output(m.gateUp, n)
		r.g, r.u = both.dst.Sub(0, n, 0, m.Inner), both.dst.Sub(0, n, m.Inner, 2*m.Inner)
		return append(all, both)
	case m.gate == nil:
		up := p.output(m.up, n)
		r.g = up.dst
		return append(all, up)
	}
	gate, up := p.output(m.gate, n), p.output(m.up, n)
	r.g, r.u = gate.dst, up.dst
	return append(all, gate, up)
}

// inner is what enters the last matrix.
func (m *mlp) inner(p *Pass, r *mlpRecord) kernels.Matrix {
	inner := p.another(r.g)
	p.each(inner.Rows, func(i int) { activate(p.eng, m.Act, m.Limit, inner.Row(i), r.g.Row(i), rowOf(r.u, i)) })
	return inner
}

func (m *mlp) backward(ctx context.Context, p *Pass, d, dx kernels.Matrix) error {
	rec, r := record[mlpRecord](p, m.number), p.room
	defer r.rewind(r.next)
	inner := r.matrix(d.Rows, m.Inner)
	if err := p.through(ctx, inner, back{m.down, d}); err != nil {
		return err
	}
	dg, du, all := inner, kernels.Matrix{}, []back(nil)
	switch {
	case m.gateUp != nil:
		both := r.matrix(d.Rows, 2*m.Inner)
		dg, du = both.Sub(0, d.Rows, 0, m.Inner), both.Sub(0, d.Rows, m.Inner, 2*m.Inner)
		all = []back{{m.gateUp, both}}
	case m.gate == nil:
		all = []back{{m.up, dg}}
	default:
		du = r.matrix(d.Rows, m.Inner)
		all = []back{{m.gate, dg}, {m.up, du}}
	}
	p.each(d.Rows, func(i int) {
		activateGradient(p.eng, m.Act, m.Limit, dg.Row(i), rowOf(du, i), inner.Row(i), rec.g.Row(i), rowOf(rec.u, i))
	})
	return p.through(ctx, dx, all...)
}

// rowOf is a row of a matrix, nil of one without data.
func rowOf(m kernels.Matrix, i int) []float32 {
	if m.Data == nil {
		return nil
	}
	return m.Row(i)
}
