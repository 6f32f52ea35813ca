package block

import (
	"context"

	"nibble/kernels"
)

// heads is softmax attention between its projections, text by text.
type heads struct {
	queries, keys, dim int // heads of queries and of keys, their elements
	rule               kernels.AttentionRule
}

// forward stores in out what attention gives.
func (h *heads) forward(ctx context.Context, b *Block, out, q, k, v kernels.Matrix) error {
	cache, err := b.room.cache(h.keys, h.dim)
	if err != nil {
		return err
	}
	at := 0
	for _, n := range b.texts.Lengths {
		cache.Reserve(nil, n, 0)
		b.each(n, func(p int) { b.eng.Store(cache, p, k.Row(at+p), v.Row(at+p)) })
		if err := b.eng.Attention(ctx, out.Data[at*out.Stride:], q.Data[at*q.Stride:], cache, h.queries, n, 0, h.rule); err != nil {
			return err
		}
		at += n
	}
	return nil
}

// cache returns one for keys and values of a text.
func (r *room) cache(heads, dim int) (*kernels.KVCache, error) {
	shape := [2]int{heads, dim}
	if r.caches[shape] == nil {
		c, err := kernels.NewKVCache(heads, dim, kernels.F32)
		if err != nil {
			return nil, err
		}
		if r.caches == nil {
			r.caches = map[[2]int]*kernels.KVCache{}
		}
		r.caches[shape] = c
	}
	return r.caches[shape], nil
}

// backward turns the gradient dout of what forward gave into those of queries, keys
// and values. The heads of all texts are shared out among the threads.
func (h *heads) backward(ctx context.Context, b *Block, dq, dk, dv, dout, out, q, k, v kernels.Matrix) error {
	var texts []kernels.AttentionGradient
	at := 0
	for _, n := range b.texts.Lengths {
		rows := func(m kernels.Matrix) kernels.Matrix { return m.Sub(at, at+n, 0, m.Cols) }
		texts = append(texts, kernels.AttentionGradient{Dim: h.dim, Rule: h.rule, Q: rows(q), K: rows(k), V: rows(v),
			Out: rows(out), DOut: rows(dout), DQ: rows(dq), DK: rows(dk), DV: rows(dv)})
		at += n
	}
	b.each(len(texts)*h.keys, func(i int) {
		if ctx.Err() == nil {
			b.eng.AttentionGradient(texts[i/h.keys], i%h.keys)
		}
	})
	return ctx.Err()
}
