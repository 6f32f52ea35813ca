package graph

import (
	"context"
	"math"

	"nibble/kernels"
	"nibble/model/arch"
)

// attention is softmax attention with grouped queries over keys and values that a cache
// keeps.
type attention struct {
	*arch.Attention
	q, k, v, fused, o *Linear
	qWay, kWay, vWay  way
	turn              turn
	heads
	own    bool // keys and values are its own, not another block's
	lends  bool // other blocks use them
	number int
}

// attentionRecord is what an attention keeps of a pass.
type attentionRecord struct {
	wide    kernels.Matrix // what a fused matrix gave, or that of queries and gates; no data without either
	q, k, v wayRecord
	out     kernels.Matrix // of attention, before gates
}

func (c *compiler) attention(block int, a *arch.Attention) operation {
	out := &attention{Attention: a, q: c.linear(a.Q), k: c.linear(a.K), v: c.linear(a.V), fused: c.linear(a.Fused), o: c.linear(a.O),
		turn: c.turn(a.Rope), own: a.KVFrom < 0, number: c.number(),
		heads: heads{queries: a.Heads, keys: a.KVHeads, dim: a.HeadDim,
			rule: kernels.AttentionRule{Scale: a.Scale, SoftCap: a.SoftCap, Window: a.Window, Slopes: a.Slopes, Sinks: c.vector(a.Sinks)}}}
	turns := a.Rope != nil
	out.qWay, out.kWay, out.vWay = newWay(a, c.norm(a.QNorm), turns), newWay(a, c.norm(a.KNorm), turns), newWay(a, c.norm(a.VNorm), false)
	if out.own {
		out.cache = c.cache(a.KVHeads, a.HeadDim)
		c.caches[block] = out
	} else {
		out.cache = c.cacheOf(a.KVFrom, a.KVHeads, a.HeadDim)
	}
	return out
}

func (a *attention) forward(ctx context.Context, p *Pass, x, dst kernels.Matrix) error {
	r := record[attentionRecord](p, a.number)
	q, k, v, err := a.project(ctx, p, r, x)
	if err != nil {
		return err
	}
	a.qWay.begin(p, &r.q, q)
	if a.own {
		a.kWay.begin(p, &r.k, k)
		a.vWay.begin(p, &r.v, v)
		a.lend(p, r)
	} else if p.keeps {
		r.k.out, r.v.out = p.lent[a.cache].Keys, p.lent[a.cache].Values
	}
	r.out = p.matrix(x.Rows, a.Heads*a.HeadDim)
	turn, tables := a.turn.of(p)
	for _, t := range p.texts {
		cache := a.cacheOf(p, t)
		p.eachPlace(t, func(i, position int) {
			a.qWay.forward(p.eng, &r.q, i, position, turn, tables)
			a.warm(r.q.out.Row(i), position)
			if a.own {
				a.kWay.forward(p.eng, &r.k, i, position, turn, tables)
				a.vWay.forward(p.eng, &r.v, i, position, nil, tables)
			}
			if a.own || p.keeps {
				a.store(p, cache, position, r.k.out.Row(i), r.v.out.Row(i))
			}
		})
		if err := a.heads.forward(ctx, p, t, cache, r.out, r.q.out); err != nil {
			return err
		}
	}
	return p.multiply(ctx, a.gate(p, r), product{a.o, dst})
}

// lend notes keys and values for other blocks.
func (a *attention) lend(p *Pass, r *attentionRecord) {
	if !p.keeps || !a.lends {
		return
	}
	n, width := r.k.out.Rows, r.k.out.Cols
	lent := KeysValues{r.k.out, r.v.out, p.matrix(n, width), p.matrix(n, width)}
	clear(lent.DKeys.Data)
	clear(lent.DValues.Data)
	p.lent[a.cache] = lent
}

// project computes queries, keys and values; those of another block have no data.
func (a *attention) project(ctx context.Context, p *Pass, r *attentionRecord, x kernels.Matrix) (q, k, v kernels.Matrix, err error) {
	n := x.Rows
	if a.fused != nil {
		r.wide, err = p.apply(ctx, a.fused, x)
		q, k, v = a.apart(p, r.wide)
		return q, k, v, err
	}
	all := append(make([]product, 0, 3), p.output(a.q, n))
	if a.own {
		all = append(all, p.output(a.k, n))
	}
	if a.v != nil {
		all = append(all, p.output(a.v, n))
	}
	if err := p.multiply(ctx, x, all...); err != nil {
		return q, k, v, err
	}
	if q = all[0].dst; a.Gated {
		r.wide, q = q, a.ungated(p, q)
	}
	if a.own {
		k = all[1].dst
	}
	if a.v != nil {
		v = all[2].dst
	} else if a.own { // values from keys
		v = p.matrix(n, k.Cols)
		p.copy(v, k)
	}
	return q, k, v, nil
}

// apart takes what a fused matrix gave apart.
func (a *attention) apart(p *Pass, wide kernels.Matrix) (q, k, v kernels.Matrix) {
	queries, keys, values := p.matrix(wide.Rows, a.Heads*a.HeadDim), p.matrix(wide.Rows, a.KVHeads*a.HeadDim), p.matrix(wide.Rows, a.KVHeads*a.HeadDim)
	p.each(wide.Rows, func(i int) { a.pieces(wide.Row(i), queries.Row(i), keys.Row(i), values.Row(i), false) })
	return queries, keys, values
}

// ungated are the queries of a matrix that gives gates as well.
func (a *attention) ungated(p *Pass, wide kernels.Matrix) kernels.Matrix {
	q := p.matrix(wide.Rows, a.Heads*a.HeadDim)
	p.each(wide.Rows, func(i int) {
		for h := range a.Heads {
			copy(a.head(q.Row(i), h), a.head(wide.Row(i), 2*h))
		}
	})
	return q
}

// head is one of a row of heads. Where one matrix gives queries and gates, a gate follows
// each query.
func (a *attention) head(row []float32, h int) []float32 { return row[h*a.HeadDim:][:a.HeadDim] }

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

// warm multiplies queries, or their gradients, by the temperature of their position.
func (a *attention) warm(q []float32, position int) {
	if t := a.Temperature; t != nil {
		scaleRow(q, float32(1+float64(t.Beta)*math.Log(1+math.Floor(float64(position)/float64(t.Original)))))
	}
}

// gate returns what attention gave, multiplied by gates where there are some.
func (a *attention) gate(p *Pass, r *attentionRecord) kernels.Matrix {
	if !a.Gated {
		return r.out
	}
	gated := p.another(r.out)
	p.each(r.out.Rows, func(i int) {
		for h := range a.Heads {
			to, gates := a.head(gated.Row(i), h), a.head(r.wide.Row(i), 2*h+1)
			for j, v := range a.head(r.out.Row(i), h) {
				to[j] = v * sigmoid(gates[j])
			}
		}
	})
	return gated
}

func (a *attention) backward(ctx context.Context, p *Pass, d, dx kernels.Matrix) error {
	rec, r, n := record[attentionRecord](p, a.number), p.room, d.Rows
	defer r.rewind(r.next)
	dout := r.matrix(n, rec.out.Cols)
	if err := p.through(ctx, dout, back{a.o, d}); err != nil {
		return err
	}
	var dwide kernels.Matrix
	if a.Gated || a.fused != nil {
		dwide = r.matrix(n, rec.wide.Cols)
	}
	if a.Gated {
		p.each(n, func(i int) {
			for h := range a.Heads {
				out, gates, dgates := a.head(rec.out.Row(i), h), a.head(rec.wide.Row(i), 2*h+1), a.head(dwide.Row(i), 2*h+1)
				for j, v := range a.head(dout.Row(i), h) {
					s := sigmoid(gates[j])
					dgates[j] = v * out[j] * s * (1 - s)
					a.head(dout.Row(i), h)[j] = v * s
				}
			}
		})
	}
	k, v := rec.k.out, rec.v.out
	dq, dk, dv := r.matrix(n, rec.q.out.Cols), r.matrix(n, k.Cols), r.matrix(n, v.Cols)
	if err := a.heads.backward(ctx, p, dq, dk, dv, dout, rec.out, rec.q.out, k, v); err != nil {
		return err
	}
	lent := p.lent[a.cache]
	switch {
	case !a.own && lent.DKeys.Data != nil:
		p.add(lent.DKeys, dk)
		p.add(lent.DValues, dv)
	case a.own && a.lends:
		p.add(dk, lent.DKeys)
		p.add(dv, lent.DValues)
	}
	for _, t := range p.texts {
		p.eachPlace(t, func(i, position int) { a.warm(dq.Row(i), position) })
	}
	turn, tables := a.turn.of(p)
	dq = a.qWay.backward(p, &rec.q, dq, turn, tables)
	if a.own {
		dk, dv = a.kWay.backward(p, &rec.k, dk, turn, tables), a.vWay.backward(p, &rec.v, dv, nil, tables)
	}
	return a.projectBackward(ctx, p, dwide, dq, dk, dv, dx)
}

// projectBackward takes the gradients of queries, keys and values to what the
// projections read.
func (a *attention) projectBackward(ctx context.Context, p *Pass, dwide, dq, dk, dv, dx kernels.Matrix) error {
	if a.fused != nil {
		p.each(dq.Rows, func(i int) { a.pieces(dwide.Row(i), dq.Row(i), dk.Row(i), dv.Row(i), true) })
		return p.through(ctx, dx, back{a.fused, dwide})
	}
	all := []back{{a.q, dq}}
	if a.Gated {
		p.each(dq.Rows, func(i int) {
			for h := range a.Heads {
				copy(a.head(dwide.Row(i), 2*h), a.head(dq.Row(i), h))
			}
		})
		all[0].d = dwide
	}
	if a.own {
		all = append(all, back{a.k, dk})
		if a.v != nil {
			all = append(all, back{a.v, dv})
		} else {
			p.add(dk, dv)
		}
	}
	return p.through(ctx, dx, all...)
}
