package reference

import (
	"math"

	"nibble/model/arch"
)

func (r *run) attention(a *arch.Attention, x rows) rows {
	q, k, v := r.projections(a, x)
	var gates rows
	if a.Gated {
		q, gates = split(q, a.Heads, a.HeadDim)
	}
	if !a.ClipAfterNorm {
		clip(a.Clip, q, k, v)
	}
	if a.ValuesFromKeys {
		v = plus(k, zeros(k))
	}
	q = r.ready(a, a.QNorm, q)
	if w := a.Temperature; w != nil {
		for t := range q {
			q[t] = scaled(q[t], 1+float64(w.Beta)*math.Log(1+math.Floor(float64(t)/float64(w.Original))))
		}
	}
	if a.KVFrom >= 0 {
		k, v = r.keys[a.KVFrom], r.values[a.KVFrom]
	} else {
		k, v = r.ready(a, a.KNorm, k), r.norm(a.VNorm, v)
		if a.ClipAfterNorm {
			clip(a.Clip, v)
		}
		r.keys[r.block], r.values[r.block] = k, v
	}
	out := make(rows, r.n)
	var sinks []float64
	if a.Sinks != nil {
		sinks = r.vector(a.Sinks)
	}
	for t := range out {
		out[t] = make([]float64, a.Heads*a.HeadDim)
		first := 0
		if a.Window > 0 {
			first = max(0, t-a.Window+1)
		}
		for h := range a.Heads {
			d, kv := a.HeadDim, h/(a.Heads/a.KVHeads)
			scores := make([]float64, 0, t+1)
			for s := first; s <= t; s++ {
				score := dot(q[t][h*d:(h+1)*d], k[s][kv*d:(kv+1)*d]) * float64(a.Scale)
				score = capped(score, a.SoftCap)
				if a.Slopes != nil {
					score -= float64(a.Slopes[h]) * float64(t-s)
				}
				scores = append(scores, score)
			}
			if sinks != nil {
				scores = append(scores, sinks[h])
			}
			for s, p := range softmax(scores)[:t-first+1] {
				for i := range d {
					out[t][h*d+i] += p * v[first+s][kv*d+i]
				}
			}
		}
	}
	for t, g := range gates {
		for i, z := range g {
			out[t][i] *= sigmoid(z)
		}
	}
	return r.linear(a.O, out)
}

// ready normalizes and turns queries or keys.
func (r *run) ready(a *arch.Attention, norm *arch.Norm, x rows) rows {
	if !a.NormAfterRope {
		x = r.norm(norm, x)
	}
	if a.ClipAfterNorm {
		clip(a.Clip, x)
	}
	r.turn(a.Rope, x, a.HeadDim, 0, a.HeadDim)
	if a.NormAfterRope {
		x = r.norm(norm, x)
	}
	return x
}

// zeros has the shape of another.
func zeros(like rows) rows {
	out := make(rows, len(like))
	for t := range out {
		out[t] = make([]float64, len(like[t]))
	}
	return out
}

// projections returns queries, keys and values as separate rows.
func (r *run) projections(a *arch.Attention, x rows) (q, k, v rows) {
	if a.Fused == nil {
		q = r.linear(a.Q, x)
		if a.K != nil {
			k = r.linear(a.K, x)
		}
		if a.V != nil {
			v = r.linear(a.V, x)
		}
		return q, k, v
	}
	d, group := a.HeadDim, a.Heads/a.KVHeads
	for _, row := range r.linear(a.Fused, x) {
		var tq, tk, tv []float64
		if a.Order == arch.QThenKThenV {
			tq, tk, tv = row[:a.Heads*d], row[a.Heads*d:(a.Heads+a.KVHeads)*d], row[(a.Heads+a.KVHeads)*d:]
		} else {
			for ; len(row) > 0; row = row[(group+2)*d:] {
				tq = append(tq, row[:group*d]...)
				tk = append(tk, row[group*d:(group+1)*d]...)
				tv = append(tv, row[(group+1)*d:(group+2)*d]...)
			}
		}
		q, k, v = append(q, tq), append(k, tk), append(v, tv)
	}
	return q, k, v
}

// split takes rows of a query and a gate for each head apart.
func split(x rows, heads, dim int) (queries, gates rows) {
	for _, row := range x {
		var q, g []float64
		for h := range heads {
			q = append(q, row[2*h*dim:(2*h+1)*dim]...)
			g = append(g, row[(2*h+1)*dim:(2*h+2)*dim]...)
		}
		queries, gates = append(queries, q), append(gates, g)
	}
	return queries, gates
}

func clip(limit float32, all ...rows) {
	if limit == 0 {
		return
	}
	for _, x := range all {
		for _, row := range x {
			for i, v := range row {
				row[i] = min(max(v, -float64(limit)), float64(limit))
			}
		}
	}
}

// turn rotates the elements from at on of every head, in place.
func (r *run) turn(rope *arch.Rope, x rows, dim, at, width int) {
	if rope == nil {
		return
	}
	frequencies := rope.Frequencies
	if rope.Long != nil && r.n > rope.LongFrom {
		frequencies = rope.Long
	}
	half := len(frequencies)
	for t, row := range x {
		for ; len(row) > 0; row = row[dim:] {
			part := row[at : at+width]
			for i, f := range frequencies {
				a, b := i, i+half
				if rope.Adjacent {
					a, b = 2*i, 2*i+1
				}
				sin, cos := math.Sincos(float64(t) * f)
				sin, cos = sin*float64(rope.Magnitude), cos*float64(rope.Magnitude)
				part[a], part[b] = part[a]*cos-part[b]*sin, part[b]*cos+part[a]*sin
			}
		}
	}
}

func (r *run) latent(a *arch.LatentAttention, x rows) rows {
	q := x
	if a.QA != nil {
		q = r.linear(a.QB, r.norm(a.QANorm, r.linear(a.QA, x)))
	} else {
		q = r.linear(a.Q, x)
	}
	head := a.NopeDim + a.RopeDim
	r.turn(a.Rope, q, head, a.NopeDim, a.RopeDim)
	low := r.linear(a.KVA, x)
	latent, shared := make(rows, r.n), make(rows, r.n)
	for t, row := range low {
		latent[t], shared[t] = row[:a.Rank], row[a.Rank:]
	}
	r.turn(a.Rope, shared, a.RopeDim, 0, a.RopeDim)
	kv := r.linear(a.KVB, r.norm(a.KVANorm, latent))
	width := a.NopeDim + a.ValueDim
	out := make(rows, r.n)
	for t := range out {
		for h := range a.Heads {
			var scores []float64
			for s := range t + 1 {
				score := dot(q[t][h*head:h*head+a.NopeDim], kv[s][h*width:h*width+a.NopeDim]) +
					dot(q[t][h*head+a.NopeDim:(h+1)*head], shared[s])
				scores = append(scores, score*float64(a.Scale))
			}
			value := make([]float64, a.ValueDim)
			for s, p := range softmax(scores) {
				for i := range value {
					value[i] += p * kv[s][h*width+a.NopeDim+i]
				}
			}
			out[t] = append(out[t], value...)
		}
	}
	return r.linear(a.O, out)
}

func softmax(x []float64) []float64 {
	most := math.Inf(-1)
	for _, v := range x {
		most = max(most, v)
	}
	out, total := make([]float64, len(x)), 0.0
	for i, v := range x {
		out[i] = math.Exp(v - most)
		total += out[i]
	}
	return scaled(out, 1/total)
}

func sigmoid(v float64) float64 { return 1 / (1 + math.Exp(-v)) }
