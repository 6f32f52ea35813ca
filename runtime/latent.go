package runtime

import (
	"context"

	"nibble/kernels"
	"nibble/model/arch"
)

// latentAttention expands the shared low-rank vector of each position to the keys
// and values of all heads, and keeps those: a head's key has Nope elements of its
// own and the rotated ones that all heads share. Values are filled up with zeros
// to the width of keys.
type latentAttention struct {
	*arch.LatentAttention
	q, qa, qb, kva, kvb, o linear
	qNorm, kvNorm          *Norm
	rope, long             *rope
	cache                  int
}

func (c *compiler) latentAttention(a *arch.LatentAttention) operation {
	out := &latentAttention{LatentAttention: a, q: c.linear(a.Q), qa: c.linear(a.QA), qb: c.linear(a.QB), kva: c.linear(a.KVA), kvb: c.linear(a.KVB),
		o: c.linear(a.O), qNorm: c.norm(a.QANorm), kvNorm: c.norm(a.KVANorm), cache: c.cache(a.Heads, max(a.NopeDim+a.RopeDim, a.ValueDim))}
	out.rope, out.long = c.ropes(a.Rope)
	return out
}

func (a *latentAttention) run(ctx context.Context, s *Session, n int, x, dst []float32) error {
	b, e, hidden := &s.buf, s.m.Engine, s.m.Config.Hidden
	head := a.NopeDim + a.RopeDim
	dim := max(head, a.ValueDim)
	if err := a.queries(ctx, s, n, x); err != nil {
		return err
	}
	low := a.Rank + a.RopeDim
	b.up = resize(b.up, n*low)
	if err := s.mul(ctx, x, n, hidden, output{&a.kva, b.up}); err != nil {
		return err
	}
	b.gate = resize(b.gate, n*a.Rank)
	s.rows(n, func(r int) { a.kvNorm.Row(e, b.gate[r*a.Rank:(r+1)*a.Rank], b.up[r*low:][:a.Rank]) })
	pair := a.NopeDim + a.ValueDim
	b.attn = resize(b.attn, n*a.Heads*pair)
	if err := s.mul(ctx, b.gate, n, a.Rank, output{&a.kvb, b.attn}); err != nil {
		return err
	}
	pos, wide := len(s.tokens), a.Heads*dim
	b.q, b.k, b.v = resize(b.q, n*wide), resize(b.k, n*wide), resize(b.v, n*wide)
	turn := s.rope(a.rope, a.long)
	cos, sin := turn.tables(pos + n)
	s.rows(n, func(r int) {
		shared := b.up[r*low+a.Rank : (r+1)*low]
		turn.row(e, shared, a.RopeDim, pos+r, cos, sin)
		q, k, v := b.q[r*wide:(r+1)*wide], b.k[r*wide:(r+1)*wide], b.v[r*wide:(r+1)*wide]
		clear(q)
		clear(k)
		clear(v)
		for h := range a.Heads {
			from := b.wide[(r*a.Heads+h)*head:][:head]
			turn.row(e, from[a.NopeDim:], a.RopeDim, pos+r, cos, sin)
			copy(q[h*dim:], from)
			both := b.attn[(r*a.Heads+h)*pair:][:pair]
			copy(k[h*dim:], both[:a.NopeDim])
			copy(k[h*dim+a.NopeDim:], shared)
			copy(v[h*dim:], both[a.NopeDim:])
		}
		if !e.Store(s.kv[a.cache], pos+r, k, v) {
			s.beyond.Store(true)
		}
	})
	if s.beyond.Load() && s.kv[a.cache].DType() == kernels.F16 {
		return errBeyondF16
	}
	b.attn = resize(b.attn, n*wide)
	if err := e.Attention(ctx, b.attn[:n*wide], b.q, s.kv[a.cache], a.Heads, n, pos, kernels.AttentionRule{Scale: a.Scale}); err != nil {
		return err
	}
	b.wide = resize(b.wide, n*a.Heads*a.ValueDim)
	s.rows(n, func(r int) {
		for h := range a.Heads {
			copy(b.wide[(r*a.Heads+h)*a.ValueDim:][:a.ValueDim], b.attn[r*wide+h*dim:])
		}
	})
	return s.mul(ctx, b.wide, n, a.Heads*a.ValueDim, output{&a.o, dst})
}

// queries leaves them in b.wide, head by head, before their rotation.
func (a *latentAttention) queries(ctx context.Context, s *Session, n int, x []float32) error {
	b, hidden, wide := &s.buf, s.m.Config.Hidden, a.Heads*(a.NopeDim+a.RopeDim)
	b.wide = resize(b.wide, n*wide)
	if a.Q != nil {
		return s.mul(ctx, x, n, hidden, output{&a.q, b.wide})
	}
	rank := a.QA.Rows
	b.gate = resize(b.gate, n*rank)
	if err := s.mul(ctx, x, n, hidden, output{&a.qa, b.gate}); err != nil {
		return err
	}
	s.rows(n, func(r int) {
		row := b.gate[r*rank : (r+1)*rank]
		a.qNorm.Row(s.m.Engine, row, row)
	})
	return s.mul(ctx, b.gate, n, rank, output{&a.qb, b.wide})
}
