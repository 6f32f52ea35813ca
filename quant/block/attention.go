package block

import (
	"context"

	"nibble/kernels"
)

// attend computes r.attn, text by text.
func (r *Run) attend(ctx context.Context) error {
	b, at := r.room, 0
	if b.cache == nil {
		var err error
		if b.cache, err = kernels.NewKVCache(r.l.KVHeads, r.l.HeadDim, kernels.F32); err != nil {
			return err
		}
	}
	for _, n := range r.lengths {
		b.cache.Reserve(nil, n, 0)
		r.each(n, func(p int) { r.eng.Store(b.cache, p, r.k.Row(at+p), r.v.Row(at+p)) })
		q, out := r.q.Sub(at, at+n, 0, r.q.Cols), r.attn.Sub(at, at+n, 0, r.q.Cols)
		if err := r.eng.Attention(ctx, out.Data, q.Data, b.cache, r.l.Heads, n, 0, kernels.AttentionRule{}); err != nil {
			return err
		}
		at += n
	}
	return nil
}

// attendBackward turns the gradient of the attention's output into those of
// queries, keys and values, before the rotation is undone. The heads of all texts
// are shared out among the threads.
func (r *Run) attendBackward(ctx context.Context, dq, dk, dv, dattn kernels.Matrix) error {
	var texts []kernels.AttentionGradient
	at := 0
	for _, n := range r.lengths {
		rows := func(m kernels.Matrix) kernels.Matrix { return m.Sub(at, at+n, 0, m.Cols) }
		texts = append(texts, kernels.AttentionGradient{Dim: r.l.HeadDim, Q: rows(r.q), K: rows(r.k), V: rows(r.v),
			Out: rows(r.attn), DOut: rows(dattn), DQ: rows(dq), DK: rows(dk), DV: rows(dv)})
		at += n
	}
	r.each(len(texts)*r.l.KVHeads, func(i int) {
		if ctx.Err() == nil {
			r.eng.AttentionGradient(texts[i/r.l.KVHeads], i%r.l.KVHeads)
		}
	})
	return ctx.Err()
}
