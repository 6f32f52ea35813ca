package block

import (
	"context"

	"nibble/kernels"
	"nibble/model/arch"
	rt "nibble/runtime"
)

// latentAttention expands a shared low-rank vector of each position to the keys and
// values of all heads. Queries, keys and values have the width of the widest, filled
// up with zeros.
type latentAttention struct {
	*arch.LatentAttention
	q, qa, qb, kva, kvb, o *linear
	qNorm, kvNorm          *rt.Norm
	rotation               rotation
	heads                  heads

	lowQ, low              kernels.Matrix // of queries, and of keys and values, before their norms
	latent                 kernels.Matrix // the columns of low that are normalized
	queries, keys, values  kernels.Matrix
	out                    kernels.Matrix
	head, pair, dim, width int // of a query; of a key and a value; of the widest; of what leaves
}

func (c *compiler) latentAttention(a *arch.LatentAttention) operation {
	out := &latentAttention{LatentAttention: a, q: c.linear(a.Q), qa: c.linear(a.QA), qb: c.linear(a.QB), kva: c.linear(a.KVA), kvb: c.linear(a.KVB),
		o: c.linear(a.O), qNorm: c.norm(a.QANorm), kvNorm: c.norm(a.KVANorm), rotation: c.rotation(a.Rope),
		head: a.NopeDim + a.RopeDim, pair: a.NopeDim + a.ValueDim, width: a.Heads * a.ValueDim}
	out.dim = max(out.head, a.ValueDim)
	out.heads = heads{a.Heads, a.Heads, out.dim, kernels.AttentionRule{Scale: a.Scale}}
	return out
}

func (a *latentAttention) forward(ctx context.Context, b *Block, x, dst kernels.Matrix) (err error) {
	n := x.Rows
	var from, both kernels.Matrix // queries; keys without rotation and values
	if a.q != nil {
		from, err = b.multiply(ctx, a.q, x)
	} else if a.lowQ, err = b.multiply(ctx, a.qa, x); err == nil {
		from, err = b.multiply(ctx, a.qb, b.normalize(a.qNorm, a.lowQ))
	}
	if err != nil {
		return err
	}
	if a.low, err = b.multiply(ctx, a.kva, x); err != nil {
		return err
	}
	a.latent = a.low.Sub(0, n, 0, a.Rank)
	if both, err = b.multiply(ctx, a.kvb, b.normalize(a.kvNorm, a.latent)); err != nil {
		return err
	}
	b.turn(a.rotation, from, a.head, a.NopeDim, false)
	b.turn(a.rotation, a.low.Sub(0, n, a.Rank, a.Rank+a.RopeDim), a.RopeDim, 0, false)
	wide := a.Heads * a.dim
	a.queries, a.keys, a.values = b.kept.matrix(n, wide), b.kept.matrix(n, wide), b.kept.matrix(n, wide)
	b.each(n, func(i int) {
		q, k, v := a.queries.Row(i), a.keys.Row(i), a.values.Row(i)
		clear(q)
		clear(k)
		clear(v)
		for h := range a.Heads {
			at, own := h*a.dim, both.Row(i)[h*a.pair:][:a.pair]
			copy(q[at:], from.Row(i)[h*a.head:][:a.head])
			copy(k[at:], own[:a.NopeDim])
			copy(k[at+a.NopeDim:], a.low.Row(i)[a.Rank:])
			copy(v[at:], own[a.NopeDim:])
		}
	})
	a.out = b.kept.matrix(n, wide)
	if err := a.heads.forward(ctx, b, a.out, a.queries, a.keys, a.values); err != nil {
		return err
	}
	narrow := b.kept.matrix(n, a.width)
	b.each(n, func(i int) {
		for h := range a.Heads {
			copy(narrow.Row(i)[h*a.ValueDim:][:a.ValueDim], a.out.Row(i)[h*a.dim:])
		}
	})
	return b.multiplyTo(ctx, a.o, dst, narrow)
}

func (a *latentAttention) backward(ctx context.Context, b *Block, d, dx kernels.Matrix) error {
	r, n, wide := b.room, d.Rows, a.Heads*a.dim
	mark := r.next
	defer func() { r.next = mark }()
	narrow, dout := r.matrix(n, a.width), r.matrix(n, wide)
	if err := b.through(ctx, narrow, back{a.o, d}); err != nil {
		return err
	}
	b.each(n, func(i int) {
		clear(dout.Row(i))
		for h := range a.Heads {
			copy(dout.Row(i)[h*a.dim:], narrow.Row(i)[h*a.ValueDim:][:a.ValueDim])
		}
	})
	dq, dk, dv := r.matrix(n, wide), r.matrix(n, wide), r.matrix(n, wide)
	if err := a.heads.backward(ctx, b, dq, dk, dv, dout, a.out, a.queries, a.keys, a.values); err != nil {
		return err
	}
	from, both, low := r.matrix(n, a.Heads*a.head), r.matrix(n, a.Heads*a.pair), r.matrix(n, a.low.Cols)
	b.each(n, func(i int) {
		shared := low.Row(i)[a.Rank:]
		clear(shared)
		for h := range a.Heads {
			at, own := h*a.dim, both.Row(i)[h*a.pair:][:a.pair]
			copy(from.Row(i)[h*a.head:][:a.head], dq.Row(i)[at:])
			copy(own[:a.NopeDim], dk.Row(i)[at:])
			copy(own[a.NopeDim:], dv.Row(i)[at:])
			b.eng.Add(shared, dk.Row(i)[at+a.NopeDim:][:a.RopeDim])
		}
	})
	b.turn(a.rotation, from, a.head, a.NopeDim, true)
	b.turn(a.rotation, low.Sub(0, n, a.Rank, a.Rank+a.RopeDim), a.RopeDim, 0, true)
	dlatent := r.matrix(n, a.Rank)
	if err := b.through(ctx, dlatent, back{a.kvb, both}); err != nil {
		return err
	}
	b.copy(low.Sub(0, n, 0, a.Rank), b.normGradient(a.kvNorm, dlatent, a.latent))
	first := back{a.q, from}
	if a.q == nil {
		dlow := r.matrix(n, a.lowQ.Cols)
		if err := b.through(ctx, dlow, back{a.qb, from}); err != nil {
			return err
		}
		first = back{a.qa, b.normGradient(a.qNorm, dlow, a.lowQ)}
	}
	return b.through(ctx, dx, first, back{a.kva, low})
}
