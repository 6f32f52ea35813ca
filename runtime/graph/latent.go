package graph

import (
	"context"

	"nibble/kernels"
	"nibble/model/arch"
)

// latentAttention expands the shared low-rank vector of each position to the keys
// and values of all heads, and keeps those: a head's key has Nope elements of its
// own and the rotated ones that all heads share. Queries, keys and values have the width
// of the widest, filled up with zeros.
type latentAttention struct {
	*arch.LatentAttention
	q, qa, qb, kva, kvb, o *Linear
	qNorm, kvNorm          *Norm
	turn                   turn
	heads                  heads
	number                 int

	head, pair, dim, width int // of a query; of a key and a value; of the widest; of what leaves
}

// latentRecord is what a latent attention keeps of a pass.
type latentRecord struct {
	lowQ, low             kernels.Matrix // of queries, and of keys and values, before their norms
	latent                kernels.Matrix // the columns of low that are normalized
	queries, keys, values kernels.Matrix
	out                   kernels.Matrix
}

func (c *compiler) latentAttention(a *arch.LatentAttention) operation {
	out := &latentAttention{LatentAttention: a, q: c.linear(a.Q), qa: c.linear(a.QA), qb: c.linear(a.QB), kva: c.linear(a.KVA), kvb: c.linear(a.KVB),
		o: c.linear(a.O), qNorm: c.norm(a.QANorm), kvNorm: c.norm(a.KVANorm), turn: c.turn(a.Rope), number: c.number(),
		head: a.NopeDim + a.RopeDim, pair: a.NopeDim + a.ValueDim, width: a.Heads * a.ValueDim}
	out.dim = max(out.head, a.ValueDim)
	out.heads = heads{a.Heads, a.Heads, out.dim, kernels.AttentionRule{Scale: a.Scale}, c.cache(a.Heads, out.dim)}
	return out
}

func (a *latentAttention) forward(ctx context.Context, p *Pass, x, dst kernels.Matrix) (err error) {
	r, n := record[latentRecord](p, a.number), x.Rows
	var from, both kernels.Matrix // queries; keys without rotation and values
	if a.q != nil {
		from, err = p.apply(ctx, a.q, x)
	} else if r.lowQ, err = p.apply(ctx, a.qa, x); err == nil {
		from, err = p.apply(ctx, a.qb, p.normalize(a.qNorm, r.lowQ))
	}
	if err != nil {
		return err
	}
	if r.low, err = p.apply(ctx, a.kva, x); err != nil {
		return err
	}
	r.latent = r.low.Sub(0, n, 0, a.Rank)
	if both, err = p.apply(ctx, a.kvb, p.normalize(a.kvNorm, r.latent)); err != nil {
		return err
	}
	wide := a.Heads * a.dim
	r.queries, r.keys, r.values, r.out = p.matrix(n, wide), p.matrix(n, wide), p.matrix(n, wide), p.matrix(n, wide)
	turn, tables := a.turn.of(p)
	for _, t := range p.texts {
		cache := a.heads.cacheOf(p, t)
		p.eachPlace(t, func(i, position int) {
			shared := r.low.Row(i)[a.Rank:]
			turn.row(p.eng, from.Row(i), a.head, a.NopeDim, position, tables, false)
			turn.row(p.eng, shared, a.RopeDim, 0, position, tables, false)
			q, k, v := r.queries.Row(i), r.keys.Row(i), r.values.Row(i)
			clear(q)
			clear(k)
			clear(v)
			for h := range a.Heads {
				at, own := h*a.dim, both.Row(i)[h*a.pair:][:a.pair]
				copy(q[at:], from.Row(i)[h*a.head:][:a.head])
				copy(k[at:], own[:a.NopeDim])
				copy(k[at+a.NopeDim:], shared)
				copy(v[at:], own[a.NopeDim:])
			}
			a.heads.store(p, cache, position, k, v)
		})
		if err := a.heads.forward(ctx, p, t, cache, r.out, r.queries); err != nil {
			return err
		}
	}
	narrow := p.matrix(n, a.width)
	p.each(n, func(i int) {
		for h := range a.Heads {
			copy(narrow.Row(i)[h*a.ValueDim:][:a.ValueDim], r.out.Row(i)[h*a.dim:])
		}
	})
	return p.multiply(ctx, narrow, product{a.o, dst})
}

func (a *latentAttention) backward(ctx context.Context, p *Pass, d, dx kernels.Matrix) error {
	rec, r, n, wide := record[latentRecord](p, a.number), p.room, d.Rows, a.Heads*a.dim
	defer r.rewind(r.next)
	narrow, dout := r.matrix(n, a.width), r.matrix(n, wide)
	if err := p.through(ctx, narrow, back{a.o, d}); err != nil {
		return err
	}
	p.each(n, func(i int) {
		clear(dout.Row(i))
		for h := range a.Heads {
			copy(dout.Row(i)[h*a.dim:], narrow.Row(i)[h*a.ValueDim:][:a.ValueDim])
		}
	})
	dq, dk, dv := r.matrix(n, wide), r.matrix(n, wide), r.matrix(n, wide)
	if err := a.heads.backward(ctx, p, dq, dk, dv, dout, rec.out, rec.queries, rec.keys, rec.values); err != nil {
		return err
	}
	from, both, low := r.matrix(n, a.Heads*a.head), r.matrix(n, a.Heads*a.pair), r.matrix(n, rec.low.Cols)
	turn, tables := a.turn.of(p)
	for _, t := range p.texts {
		p.eachPlace(t, func(i, position int) {
			shared := low.Row(i)[a.Rank:]
			clear(shared)
			for h := range a.Heads {
				at, own := h*a.dim, both.Row(i)[h*a.pair:][:a.pair]
				copy(from.Row(i)[h*a.head:][:a.head], dq.Row(i)[at:])
				copy(own[:a.NopeDim], dk.Row(i)[at:])
				copy(own[a.NopeDim:], dv.Row(i)[at:])
				p.eng.Add(shared, dk.Row(i)[at+a.NopeDim:][:a.RopeDim])
			}
			turn.row(p.eng, from.Row(i), a.head, a.NopeDim, position, tables, true)
			turn.row(p.eng, shared, a.RopeDim, 0, position, tables, true)
		})
	}
	dlatent := r.matrix(n, a.Rank)
	if err := p.through(ctx, dlatent, back{a.kvb, both}); err != nil {
		return err
	}
	p.copy(low.Sub(0, n, 0, a.Rank), p.normGradient(a.kvNorm, dlatent, rec.latent))
	first := back{a.q, from}
	if a.q == nil {
		dlow := r.matrix(n, rec.lowQ.Cols)
		if err := p.through(ctx, dlow, back{a.qb, from}); err != nil {
			return err
		}
		first = back{a.qa, p.normGradient(a.qNorm, dlow, rec.lowQ)}
	}
	return p.through(ctx, dx, first, back{a.kva, low})
}
