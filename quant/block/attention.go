package block

import (
	"context"
	"math"

	"nibble/kernels"
	"nibble/model/arch"
	rt "nibble/runtime"
)

// attention is softmax attention with grouped queries.
type attention struct {
	*arch.Attention
	qm, km, vm, fused, om *linear
	qWay, kWay, vWay      way
	heads                 heads

	wide                kernels.Matrix // what a fused matrix gave, or that of queries and gates
	q, k, v, out, gated kernels.Matrix
	kept                KeysValues // k and v for other blocks
}

func (c *compiler) attention(a *arch.Attention) operation {
	out := &attention{Attention: a, qm: c.linear(a.Q), km: c.linear(a.K), vm: c.linear(a.V), fused: c.linear(a.Fused), om: c.linear(a.O),
		heads: heads{a.Heads, a.KVHeads, a.HeadDim, kernels.AttentionRule{Scale: a.Scale, SoftCap: a.SoftCap, Window: a.Window, Slopes: a.Slopes, Sinks: c.vector(a.Sinks)}}}
	turn := c.rotation(a.Rope)
	out.qWay, out.kWay, out.vWay = newWay(a, c.norm(a.QNorm), turn), newWay(a, c.norm(a.KNorm), turn), newWay(a, c.norm(a.VNorm), rotation{})
	c.b.lender = out
	return out
}

func (a *attention) own() bool { return a.KVFrom < 0 }

func (a *attention) forward(ctx context.Context, b *Block, x, dst kernels.Matrix) error {
	q, k, v, err := a.project(ctx, b, x)
	if err != nil {
		return err
	}
	a.q = a.qWay.forward(b, q)
	a.warm(b, a.q)
	if a.own() {
		a.k, a.v = a.kWay.forward(b, k), a.vWay.forward(b, v)
	} else {
		a.k, a.v = b.texts.Borrowed.Keys, b.texts.Borrowed.Values
	}
	a.kept = KeysValues{Keys: a.k, Values: a.v}
	if b.lends {
		a.kept.DKeys, a.kept.DValues = b.kept.matrix(x.Rows, a.k.Cols), b.kept.matrix(x.Rows, a.v.Cols)
		clear(a.kept.DKeys.Data)
		clear(a.kept.DValues.Data)
	}
	a.out = b.kept.matrix(x.Rows, a.Heads*a.HeadDim)
	if err := a.heads.forward(ctx, b, a.out, a.q, a.k, a.v); err != nil {
		return err
	}
	a.gated = a.out
	if a.Gated {
		a.gated = b.kept.matrix(x.Rows, a.out.Cols)
		b.each(x.Rows, func(i int) {
			for j, v := range a.out.Row(i) {
				a.gated.Row(i)[j] = v * rt.Sigmoid(a.wide.Row(i)[a.gateOf(j)])
			}
		})
	}
	return b.multiplyTo(ctx, a.om, dst, a.gated)
}

// queryOf and gateOf are the columns of an element's query and gate where one matrix
// gives both for each head.
func (a *attention) queryOf(i int) int { return i + i/a.HeadDim*a.HeadDim }
func (a *attention) gateOf(i int) int  { return a.queryOf(i) + a.HeadDim }

// project computes queries, keys and values; those of another block have no data.
func (a *attention) project(ctx context.Context, b *Block, x kernels.Matrix) (q, k, v kernels.Matrix, err error) {
	wide, keys := a.Heads*a.HeadDim, a.KVHeads*a.HeadDim
	if a.fused != nil {
		a.wide, err = b.multiply(ctx, a.fused, x)
		q, k, v = b.kept.matrix(x.Rows, wide), b.kept.matrix(x.Rows, keys), b.kept.matrix(x.Rows, keys)
		b.each(x.Rows, func(i int) { a.pieces(a.wide.Row(i), q.Row(i), k.Row(i), v.Row(i), false) })
		return q, k, v, err
	}
	if q, err = b.multiply(ctx, a.qm, x); err != nil {
		return q, k, v, err
	}
	if a.Gated {
		a.wide, q = q, b.kept.matrix(x.Rows, wide)
		b.each(x.Rows, func(i int) {
			for j := range wide {
				q.Row(i)[j] = a.wide.Row(i)[a.queryOf(j)]
			}
		})
	}
	if !a.own() {
		return q, k, v, nil
	}
	if k, err = b.multiply(ctx, a.km, x); err != nil {
		return q, k, v, err
	}
	if a.ValuesFromKeys {
		v = b.kept.matrix(x.Rows, keys)
		b.copy(v, k)
		return q, k, v, nil
	}
	v, err = b.multiply(ctx, a.vm, x)
	return q, k, v, err
}

// pieces copies a row of a fused matrix's outputs to queries, keys and values, or back.
func (a *attention) pieces(row, q, k, v []float32, back bool) {
	move := func(part []float32) {
		if back {
			copy(row, part)
		} else {
			copy(part, row)
		}
		row = row[len(part):]
	}
	if a.Order == arch.QThenKThenV {
		move(q)
		move(k)
		move(v)
		return
	}
	d := a.HeadDim
	group := a.Heads / a.KVHeads * d
	for h := range a.KVHeads {
		move(q[h*group : (h+1)*group])
		move(k[h*d : (h+1)*d])
		move(v[h*d : (h+1)*d])
	}
}

// warm multiplies queries, or their gradients, by the temperature of their positions.
func (a *attention) warm(b *Block, q kernels.Matrix) {
	t := a.Temperature
	if t == nil {
		return
	}
	at := 0
	for _, n := range b.texts.Lengths {
		b.each(n, func(p int) {
			f := float32(1 + float64(t.Beta)*math.Log(1+math.Floor(float64(p)/float64(t.Original))))
			for i := range q.Row(at + p) {
				q.Row(at + p)[i] *= f
			}
		})
		at += n
	}
}

func (a *attention) backward(ctx context.Context, b *Block, d, dx kernels.Matrix) error {
	r := b.room
	mark := r.next
	defer func() { r.next = mark }()
	n := d.Rows
	dout := r.matrix(n, a.out.Cols)
	if err := b.through(ctx, dout, back{a.om, d}); err != nil {
		return err
	}
	var dwide kernels.Matrix
	if a.wide.Data != nil {
		dwide = r.matrix(n, a.wide.Cols)
	}
	if a.Gated {
		b.each(n, func(i int) {
			out, gates, dgates := a.out.Row(i), a.wide.Row(i), dwide.Row(i)
			for j, v := range dout.Row(i) {
				s := rt.Sigmoid(gates[a.gateOf(j)])
				dgates[a.gateOf(j)] = v * out[j] * s * (1 - s)
				dout.Row(i)[j] = v * s
			}
		})
	}
	dq, dk, dv := r.matrix(n, a.q.Cols), r.matrix(n, a.k.Cols), r.matrix(n, a.v.Cols)
	if err := a.heads.backward(ctx, b, dq, dk, dv, dout, a.out, a.q, a.k, a.v); err != nil {
		return err
	}
	if to := b.texts.Borrowed; !a.own() && to.DKeys.Data != nil {
		b.add(to.DKeys, dk)
		b.add(to.DValues, dv)
	}
	if a.own() && b.lends {
		b.add(dk, a.kept.DKeys)
		b.add(dv, a.kept.DValues)
	}
	a.warm(b, dq)
	dq = a.qWay.backward(b, dq)
	if a.own() {
		dk, dv = a.kWay.backward(b, dk), a.vWay.backward(b, dv)
	}
	return a.projectBackward(ctx, b, dwide, dq, dk, dv, dx)
}

// projectBackward takes the gradients of queries, keys and values to what the
// projections read.
func (a *attention) projectBackward(ctx context.Context, b *Block, dwide, dq, dk, dv, dx kernels.Matrix) error {
	if a.fused != nil {
		b.each(dq.Rows, func(i int) { a.pieces(dwide.Row(i), dq.Row(i), dk.Row(i), dv.Row(i), true) })
		return b.through(ctx, dx, back{a.fused, dwide})
	}
	all := []back{{a.qm, dq}}
	if a.Gated {
		b.each(dq.Rows, func(i int) {
			for j, v := range dq.Row(i) {
				dwide.Row(i)[a.queryOf(j)] = v
			}
		})
		all[0].d = dwide
	}
	switch {
	case !a.own():
	case a.ValuesFromKeys:
		b.add(dk, dv)
		all = append(all, back{a.km, dk})
	default:
		all = append(all, back{a.km, dk}, back{a.vm, dv})
	}
	return b.through(ctx, dx, all...)
}
