package graph

import (
	"math"
	"slices"

	"nibble/model/arch"
)

// routing turns a router's outputs into the experts of a token and their weights.
type routing struct {
	arch.Routing
	topK        int
	correction  []float32 // nil for none
	expertScale []float32 // nil for none
}

// newRouting gives a description its tensors, which vector finds by their names.
func newRouting(m *arch.MoE, vector func(tensor string) []float32) routing {
	r := routing{Routing: m.Routing, topK: m.TopK}
	if v := m.Routing.Correction; v != nil {
		r.correction = vector(v.Tensor)
	}
	if v := m.Routing.ExpertScale; v != nil {
		r.expertScale = vector(v.Tensor)
	}
	return r
}

// choose calls give with each chosen expert, in order.
func (r *routing) choose(logits []float32, give func(expert int, weight float32)) {
	if r.Score == arch.SparseMixer {
		r.sparseMixer(logits, give)
		return
	}
	scores := r.scores(logits)
	ranked := slices.Clone(scores)
	for i, c := range r.correction {
		ranked[i] += float64(c)
	}
	r.limitGroups(ranked)
	chosen := highest(ranked, r.topK)
	total := 0.0
	for _, e := range chosen {
		total += scores[e]
	}
	slices.Sort(chosen)
	for _, e := range chosen {
		w := scores[e] * float64(r.Factor)
		if r.Renormalize {
			w /= total
		}
		if r.expertScale != nil {
			w *= float64(r.expertScale[e])
		}
		give(e, float32(w))
	}
}

// scores are the experts' by themselves.
func (r *routing) scores(logits []float32) []float64 {
	scores := make([]float64, len(logits))
	for i, v := range logits {
		scores[i] = float64(v)
	}
	if r.Score == arch.SigmoidScore {
		for i, v := range scores {
			scores[i] = 1 / (1 + math.Exp(-v))
		}
		return scores
	}
	return softmax(scores)
}

func softmax(x []float64) []float64 {
	most, total := slices.Max(x), 0.0
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = math.Exp(v - most)
		total += out[i]
	}
	for i := range out {
		out[i] /= total
	}
	return out
}

// limitGroups rules out all experts but those of the best groups.
func (r *routing) limitGroups(ranked []float64) {
	if r.Groups <= 1 {
		return
	}
	size := len(ranked) / r.Groups
	best := make([]float64, r.Groups)
	for g := range best {
		group := slices.Clone(ranked[g*size : (g+1)*size])
		slices.Sort(group)
		for _, v := range group[max(0, size-r.GroupBest):] {
			best[g] += v
		}
	}
	kept := highest(best, r.TopGroups)
	for e := range ranked {
		if !slices.Contains(kept, e/size) {
			ranked[e] = math.Inf(-1)
		}
	}
}

// highest returns the places of the k highest values, the first of equals.
func highest(x []float64, k int) []int {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case x[a] > x[b]:
			return -1
		case x[a] < x[b]:
			return 1
		}
		return 0
	})
	return order[:min(k, len(order))]
}

// pick is an expert that sparseMixer chose, and the softmax that weighs it.
type pick struct {
	expert int
	among  []float64
}

// sparsePicks chooses the best expert, weighed by a softmax over those near it, and
// then the best of the others in the same way (Phi-3.5-MoE).
func (r *routing) sparsePicks(logits []float32) (picks [2]pick) {
	left := make([]float64, len(logits))
	for i, v := range logits {
		left[i] = float64(v)
	}
	for p := range picks {
		best := slices.Max(left)
		at := slices.Index(left, best)
		near := make([]float64, len(left))
		for i, v := range left {
			own := float64(logits[i])
			if near[i] = v; (best-own)/max(math.Abs(own), best) > 2*float64(r.Jitter) {
				near[i] = math.Inf(-1)
			}
		}
		picks[p] = pick{at, softmax(near)}
		left[at] = math.Inf(-1)
	}
	return picks
}

func (r *routing) sparseMixer(logits []float32, give func(expert int, weight float32)) {
	picks := r.sparsePicks(logits)
	for e := range logits {
		for _, p := range picks {
			if p.expert == e {
				give(e, float32(p.among[e]))
			}
		}
	}
}

// gradient stores the gradient of a router's outputs for that of the weights that
// choose gives: dweights has one for each expert, those of experts that were not
// chosen 0. The choice itself has no derivative.
func (r *routing) gradient(dst, logits, dweights []float32) {
	clear(dst)
	if r.Score == arch.SparseMixer {
		for _, p := range r.sparsePicks(logits) {
			for i, share := range p.among {
				slope := -share
				if i == p.expert {
					slope = 1 - share
				}
				dst[i] += float32(float64(dweights[p.expert]) * p.among[p.expert] * slope)
			}
		}
		return
	}
	scores, total, dot := r.scores(logits), 0.0, 0.0
	dscores := make([]float64, len(scores))
	r.choose(logits, func(e int, _ float32) {
		dscores[e] = float64(dweights[e]) * float64(r.Factor)
		if r.expertScale != nil {
			dscores[e] *= float64(r.expertScale[e])
		}
		total += scores[e]
		dot += dscores[e] * scores[e]
	})
	if r.Renormalize {
		r.choose(logits, func(e int, _ float32) { dscores[e] = (dscores[e] - dot/total) / total })
		dot = 0 // the weights do not depend on a factor of all scores
	}
	for e, s := range scores {
		if r.Score == arch.SigmoidScore {
			dst[e] = float32(dscores[e] * s * (1 - s))
		} else {
			dst[e] = float32(s * (dscores[e] - dot))
		}
	}
}
