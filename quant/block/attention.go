package block

import (
	"context"
	"math"

	"nibble/kernels"
)

// head is one query head of one text.
type head struct {
	q, k, v kernels.Matrix // tokens x HeadDim
	at      int            // first row of the text
	query   int            // first column of the queries and outputs
	key     int            // first column of the keys and values
	rows    int
}

// heads calls f for each query head of each text, those that share keys one
// after the other.
func (r *Run) heads(f func(h head) error) error {
	l, at := r.l, 0
	group := l.Heads / l.KVHeads
	for _, n := range r.lengths {
		for i := range l.Heads {
			h := head{at: at, query: i * l.HeadDim, key: i / group * l.HeadDim, rows: n}
			h.q = r.q.Sub(at, at+n, h.query, h.query+l.HeadDim)
			h.k = r.k.Sub(at, at+n, h.key, h.key+l.HeadDim)
			h.v = r.v.Sub(at, at+n, h.key, h.key+l.HeadDim)
			if err := f(h); err != nil {
				return err
			}
		}
		at += n
	}
	return nil
}

// weigh stores in p, rows x rows, how a head's positions attend to those up to
// them.
func (r *Run) weigh(ctx context.Context, p kernels.Matrix, h head) error {
	if err := r.eng.MulTransposed(ctx, p, h.q, h.k); err != nil {
		return err
	}
	scale := float32(1 / math.Sqrt(float64(r.l.HeadDim)))
	r.each(h.rows, func(i int) {
		row := p.Row(i)
		seen := row[:i+1]
		for j := range seen {
			seen[j] *= scale
		}
		r.eng.Softmax(seen)
		clear(row[i+1:])
	})
	return nil
}

// attend computes r.attn.
func (r *Run) attend(ctx context.Context) error {
	b := r.room
	return r.heads(func(h head) error {
		b.p = shaped(b.p, h.rows, h.rows)
		if err := r.weigh(ctx, b.p, h); err != nil {
			return err
		}
		b.values = apart(b.values, r.l.HeadDim, h.rows)
		transpose(r.eng, b.values, h.v)
		return r.eng.MulTransposed(ctx, r.attn.Sub(h.at, h.at+h.rows, h.query, h.query+r.l.HeadDim), b.p, b.values)
	})
}

// attendBackward turns the gradient of the attention's output into those of
// queries, keys and values, before the rotation is undone. The weights are
// computed again: keeping them would take heads x tokens² floats.
func (r *Run) attendBackward(ctx context.Context, dq, dk, dv, dattn kernels.Matrix) error {
	b, e, d := r.room, r.eng, r.l.HeadDim
	scale := float32(1 / math.Sqrt(float64(d)))
	clear(dk.Data)
	clear(dv.Data)
	return r.heads(func(h head) error {
		n := h.rows
		b.p, b.dp, b.turned = shaped(b.p, n, n), shaped(b.dp, n, n), apart(b.turned, n, n)
		b.values, b.part = apart(b.values, d, n), shaped(b.part, n, d)
		do := dattn.Sub(h.at, h.at+n, h.query, h.query+d)
		if err := r.weigh(ctx, b.p, h); err != nil {
			return err
		}
		if err := e.MulTransposed(ctx, b.dp, do, h.v); err != nil {
			return err
		}
		// gather adds to dst the products of the columns of b.turned's source and src.
		gather := func(dst, p, src kernels.Matrix) error {
			transpose(e, b.turned, p)
			transpose(e, b.values, src)
			if err := e.MulTransposed(ctx, b.part, b.turned, b.values); err != nil {
				return err
			}
			r.each(n, func(i int) { e.Add(dst.Row(i), b.part.Row(i)) })
			return nil
		}
		if err := gather(dv.Sub(h.at, h.at+n, h.key, h.key+d), b.p, do); err != nil {
			return err
		}
		r.each(n, func(i int) { // of the softmax: p (dp - Σ p dp)
			p, dp := b.p.Row(i)[:i+1], b.dp.Row(i)
			mean := kernels.Dot(p, dp[:i+1])
			for j, v := range p {
				dp[j] = v * (dp[j] - mean) * scale
			}
			clear(dp[i+1:])
		})
		if err := gather(dk.Sub(h.at, h.at+n, h.key, h.key+d), b.dp, h.q); err != nil {
			return err
		}
		transpose(e, b.values, h.k)
		return e.MulTransposed(ctx, dq.Sub(h.at, h.at+n, h.query, h.query+d), b.dp, b.values)
	})
}
