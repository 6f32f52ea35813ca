package graph

import (
	"context"

	"nibble/kernels"
)

// heads is softmax attention between its projections.
type heads struct {
	queries, keys, dim int // heads of queries and of keys, their elements
	rule               kernels.AttentionRule
	cache              int // its number
}

// cacheOf returns where keys and values of a text are: those of the tokens before are in
// it. A tape has one for all texts, one after the other.
func (h *heads) cacheOf(p *Pass, t text) *kernels.KVCache {
	if p.cache != nil {
		return p.cache.KV[h.cache]
	}
	s := shape{h.keys, h.dim}
	if p.scratch[s] == nil {
		p.scratch[s] = newKV(s, kernels.F32)
	}
	p.scratch[s].Reserve(nil, t.n, 0)
	return p.scratch[s]
}

// store puts a token's keys and values where attention finds them.
func (h *heads) store(p *Pass, to *kernels.KVCache, position int, k, v []float32) {
	if !p.eng.Store(to, position, k, v) && p.cache != nil {
		p.cache.Beyond.Store(true)
	}
}

// forward stores in out what attention gives for a text, whose keys and values are stored.
func (h *heads) forward(ctx context.Context, p *Pass, t text, from *kernels.KVCache, out, q kernels.Matrix) error {
	if p.cache != nil && p.cache.Beyond.Load() && from.DType() == kernels.F16 {
		return ErrBeyondF16
	}
	return p.eng.Attention(ctx, out.Data[t.first*out.Stride:], q.Data[t.first*q.Stride:], from, h.queries, t.n, t.position, h.rule)
}

// backward turns the gradient dout of what forward gave into those of queries, keys
// and values. The heads of all texts are shared out among the threads.
func (h *heads) backward(ctx context.Context, p *Pass, dq, dk, dv, dout, out, q, k, v kernels.Matrix) error {
	var texts []kernels.AttentionGradient
	for _, t := range p.texts {
		rows := func(m kernels.Matrix) kernels.Matrix { return m.Sub(t.first, t.first+t.n, 0, m.Cols) }
		texts = append(texts, kernels.AttentionGradient{Dim: h.dim, Rule: h.rule, Q: rows(q), K: rows(k), V: rows(v),
			Out: rows(out), DOut: rows(dout), DQ: rows(dq), DK: rows(dk), DV: rows(dv)})
	}
	p.each(len(texts)*h.keys, func(i int) {
		if ctx.Err() == nil {
			p.eng.AttentionGradient(texts[i/h.keys], i%h.keys)
		}
	})
	return ctx.Err()
}
