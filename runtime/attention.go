package runtime

import (
	"context"
	"math"

	"nibble/kernels"
	"nibble/model/arch"
)

// attention is softmax attention over keys and values that a cache keeps.
type attention struct {
	*arch.Attention
	q, k, v, fused, o   linear
	qNorm, kNorm, vNorm *Norm
	rope, long          *rope // long is for long contexts; nil for none
	rule                kernels.AttentionRule
	cache               int  // its number in the session
	own                 bool // keys and values are its own, not another block's
}

func (c *compiler) attention(block int, a *arch.Attention) operation {
	out := &attention{Attention: a, q: c.linear(a.Q), k: c.linear(a.K), v: c.linear(a.V), fused: c.linear(a.Fused), o: c.linear(a.O),
		qNorm: c.norm(a.QNorm), kNorm: c.norm(a.KNorm), vNorm: c.norm(a.VNorm), own: a.KVFrom < 0,
		rule: kernels.AttentionRule{Scale: a.Scale, SoftCap: a.SoftCap, Window: a.Window, Slopes: a.Slopes, Sinks: c.vector(a.Sinks)}}
	out.rope, out.long = c.ropes(a.Rope)
	if out.own {
		out.cache = c.cache(a.KVHeads, a.HeadDim)
		c.caches[block] = out.cache
	} else {
		out.cache = c.cacheOf(a.KVFrom)
	}
	return out
}

func (a *attention) run(ctx context.Context, s *Session, n int, x, dst []float32) error {
	b, wide := &s.buf, a.Heads*a.HeadDim
	if err := a.project(ctx, s, n, x); err != nil {
		return err
	}
	pos := len(s.tokens)
	if a.store(s, n, pos); s.beyond.Load() && s.kv[a.cache].DType() == kernels.F16 {
		return errBeyondF16
	}
	b.attn = resize(b.attn, n*wide)
	if err := s.m.Engine.Attention(ctx, b.attn, b.q[:n*wide], s.kv[a.cache], a.Heads, n, pos, a.rule); err != nil {
		return err
	}
	if a.Gated {
		s.rows(n, func(r int) {
			out, gates := b.attn[r*wide:(r+1)*wide], b.wide[r*2*wide:(r+1)*2*wide]
			for h := range a.Heads {
				for i, g := range gates[(2*h+1)*a.HeadDim : (2*h+2)*a.HeadDim] {
					out[h*a.HeadDim+i] *= Sigmoid(g)
				}
			}
		})
	}
	return s.mul(ctx, b.attn, n, wide, output{&a.o, dst})
}

// project computes queries, keys and values into buffers of their own.
func (a *attention) project(ctx context.Context, s *Session, n int, x []float32) error {
	b, hidden, wide, keys := &s.buf, s.m.Config.Hidden, a.Heads*a.HeadDim, a.KVHeads*a.HeadDim
	b.q, b.k, b.v = resize(b.q, n*wide), resize(b.k, n*keys), resize(b.v, n*keys)
	if a.Fused != nil {
		all := wide + 2*keys
		b.wide = resize(b.wide, n*all)
		if err := s.mul(ctx, x, n, hidden, output{&a.fused, b.wide}); err != nil {
			return err
		}
		s.rows(n, func(r int) {
			a.part(b.wide[r*all:(r+1)*all], b.q[r*wide:(r+1)*wide], b.k[r*keys:(r+1)*keys], b.v[r*keys:(r+1)*keys])
		})
		return nil
	}
	q := output{&a.q, b.q}
	if a.Gated {
		b.wide = resize(b.wide, n*2*wide)
		q.dst = b.wide
	}
	outs := []output{q, {&a.k, b.k}, {&a.v, b.v}}
	switch {
	case !a.own:
		outs = outs[:1]
	case a.ValuesFromKeys:
		outs = outs[:2]
	}
	if err := s.mul(ctx, x, n, hidden, outs...); err != nil {
		return err
	}
	if a.Gated {
		s.rows(n, func(r int) {
			for h := range a.Heads {
				copy(b.q[r*wide+h*a.HeadDim:][:a.HeadDim], b.wide[(r*2*a.Heads+2*h)*a.HeadDim:])
			}
		})
	}
	if a.ValuesFromKeys {
		copy(b.v[:n*keys], b.k[:n*keys])
	}
	return nil
}

// part takes a row of a fused matrix's outputs apart.
func (a *attention) part(row, q, k, v []float32) {
	if a.Order == arch.QThenKThenV {
		copy(q, row)
		copy(k, row[len(q):])
		copy(v, row[len(q)+len(k):])
		return
	}
	d := a.HeadDim
	group := a.Heads / a.KVHeads * d
	for h := range a.KVHeads {
		head := row[h*(group+2*d):]
		copy(q[h*group:(h+1)*group], head)
		copy(k[h*d:(h+1)*d], head[group:])
		copy(v[h*d:(h+1)*d], head[group+d:])
	}
}

// store normalizes and rotates the chunk's queries and keys and puts keys and
// values into the cache.
func (a *attention) store(s *Session, n, pos int) {
	b, e, wide, keys := &s.buf, s.m.Engine, a.Heads*a.HeadDim, a.KVHeads*a.HeadDim
	turn := s.rope(a.rope, a.long)
	cos, sin := turn.tables(pos + n)
	s.rows(n, func(r int) {
		p := pos + r
		q := b.q[r*wide : (r+1)*wide]
		a.ready(e, a.qNorm, q, turn, p, cos, sin)
		if t := a.Temperature; t != nil {
			f := float32(1 + float64(t.Beta)*math.Log(1+math.Floor(float64(p)/float64(t.Original))))
			for i := range q {
				q[i] *= f
			}
		}
		if !a.own {
			return
		}
		k, v := b.k[r*keys:(r+1)*keys], b.v[r*keys:(r+1)*keys]
		a.ready(e, a.kNorm, k, turn, p, cos, sin)
		a.ready(e, a.vNorm, v, nil, p, nil, nil)
		if !e.Store(s.kv[a.cache], p, k, v) {
			s.beyond.Store(true)
		}
	})
}

// ready clips, normalizes and turns a row of queries, keys or values in the order
// that the description gives.
func (a *attention) ready(e *kernels.Engine, norm *Norm, x []float32, turn *rope, pos int, cos, sin []float32) {
	if !a.ClipAfterNorm {
		clip(a.Clip, x)
	}
	late := a.NormAfterRope && turn != nil
	if norm != nil && !late {
		norm.Row(e, x, x)
	}
	if a.ClipAfterNorm {
		clip(a.Clip, x)
	}
	turn.row(e, x, a.HeadDim, pos, cos, sin)
	if norm != nil && late {
		norm.Row(e, x, x)
	}
}

// clip keeps elements within a limit; 0 is none.
func clip(limit float32, x []float32) {
	if limit == 0 {
		return
	}
	for i, v := range x {
		x[i] = min(max(v, -limit), limit)
	}
}

// Sigmoid is the logistic function, computed in float64.
func Sigmoid(v float32) float32 { return float32(1 / (1 + math.Exp(-float64(v)))) }
